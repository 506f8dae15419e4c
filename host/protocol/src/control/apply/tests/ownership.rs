use super::*;

/// Three nodes; a durable shard of node 1.
fn durable() -> (Log, ShardId) {
    let mut log = Log::of(3);
    let shard = shard(log.kind("d", Durability::Durable, 1), 0);
    log.assign(shard, 1);
    (log, shard)
}

#[test]
fn a_shard_is_assigned_once_for_the_epoch_that_it_had() {
    let mut log = Log::of(2);
    let shard = shard(log.kind("m", Durability::Memory, 2), 0);
    let stale = log.assignment(shard, 2);
    let first = log.assign(shard, 1);
    assert_eq!(
        (log.shard(shard).epoch, log.shard(shard).since),
        (first, first)
    );
    log.down(1);
    assert_eq!(log.owner(shard), None);
    log.void(stale);
    assert!(log.assign(shard, 2) > first);
}

#[test]
fn only_a_member_that_is_up_gets_shards_and_a_durable_one_only_with_a_ledger() {
    let mut log = Log::of(2);
    let durable = shard(log.kind("d", Durability::Durable, 1), 0);
    let memory = shard(log.kind("m", Durability::Memory, 1), 0);
    log.applies(Command::Leave {
        member: log.home(2),
    });
    log.void(log.assignment(memory, 2));
    let boot = Arc::new(boot(3, 1));
    log.applies(Command::Join { boot, after: None });
    log.void(log.assignment(memory, 3));
    log.applies(Command::Up {
        member: log.home(3),
    });
    log.void(log.assignment(durable, 3));
    log.assign(memory, 3);
    log.open(3);
    log.assign(durable, 3);
    log.void(log.beginning(memory, 3, 2));
}

#[test]
fn a_handoff_ends_with_the_target_under_a_new_epoch() {
    let (mut log, shard) = durable();
    let before = log.shard(shard).epoch;
    let handoff = log.begin(shard, 1, 2);
    assert_eq!(log.shard(shard).epoch, before);
    assert_eq!(log.state.home_of(shard), Some((log.home(1), before)));
    let ledger = log.ledger(2);
    let epoch = log.complete(handoff, shard, ledger);
    assert_eq!(log.owner(shard), Some(2));
    let stamp = Epoch(handoff.0 - 1);
    assert_eq!(
        log.shard(shard).since,
        stamp,
        "what the transfer was stamped with"
    );
    assert_eq!(log.shard(shard).epoch, epoch);
    assert_eq!(log.sources(shard), []);
    log.void(Command::AbortHandoff {
        handoff,
        shards: vec![shard],
    });
}

#[test]
fn a_handoff_begins_only_for_the_epoch_and_the_owner_that_it_names() {
    let (mut log, shard) = durable();
    let stale = log.beginning(shard, 1, 2);
    log.void(log.beginning(shard, 2, 3));
    log.void(log.beginning(shard, 1, 1));
    let handoff = log.begin(shard, 1, 2);
    log.void(log.beginning(shard, 1, 3));
    log.abort(handoff, shard);
    log.void(stale);
    log.open(1);
    log.void(log.beginning(shard, 1, 2));
}

#[test]
fn a_durable_shard_is_not_complete_without_a_ledger_of_the_target() {
    let (mut log, shard) = durable();
    let handoff = log.begin(shard, 1, 2);
    for ledger in [None, log.ledger(1), Some(LedgerId(999))] {
        let shards = vec![(shard, ledger)];
        log.void(Command::CompleteHandoff { handoff, shards });
    }
}

#[test]
fn what_the_target_wrote_to_earlier_ledgers_is_a_source() {
    let (mut log, shard) = durable();
    let handoff = log.begin(shard, 1, 2);
    let first = log.ledger(2).unwrap();
    let second = log.open(2);
    log.open(2);
    log.complete(handoff, shard, Some(first));
    let since = Epoch(handoff.0 - 1);
    assert_eq!(log.sources(shard), [(first, since), (second, since)]);
}

#[test]
fn a_handoff_that_is_aborted_gives_the_shard_back_under_a_new_epoch() {
    let (mut log, shard) = durable();
    let since = log.shard(shard).since;
    let handoff = log.begin(shard, 1, 2);
    let epoch = log.abort(handoff, shard);
    assert_eq!(log.owner(shard), Some(1));
    assert_eq!(
        (log.shard(shard).epoch, log.shard(shard).since),
        (epoch, since)
    );
    let ledger = log.ledger(2);
    log.void(Command::CompleteHandoff {
        handoff,
        shards: vec![(shard, ledger)],
    });
}

#[test]
fn the_mutant_gives_it_back_under_the_old_epoch() {
    let (mut log, shard) = durable();
    let before = log.shard(shard).epoch;
    let handoff = log.begin(shard, 1, 2);
    let abort = log.entry(Command::AbortHandoff {
        handoff,
        shards: vec![shard],
    });
    let mutant = crate::cluster::Mutant::SameEpochOnRevert;
    log.state.apply_with(&abort, Some(mutant)).unwrap();
    assert_eq!(
        (log.owner(shard), log.shard(shard).epoch),
        (Some(1), before)
    );
}

#[test]
fn a_target_that_dies_gives_the_shard_back() {
    let (mut log, shard) = durable();
    log.begin(shard, 1, 2);
    let down = log.down(2);
    assert_eq!(log.owner(shard), Some(1));
    assert_eq!(log.shard(shard).epoch, Epoch(down.0));
    assert_eq!(log.sources(shard), []);
}

#[test]
fn a_source_that_dies_leaves_the_handoff_and_the_target_may_complete_it() {
    let (mut log, shard) = durable();
    let ledger = log.ledger(1).unwrap();
    let since = log.shard(shard).since;
    let handoff = log.begin(shard, 1, 2);
    log.down(1);
    assert!(log.state.shards.moving().eq([shard]));
    assert_eq!(log.sources(shard), [(ledger, since)]);
    let target = log.ledger(2);
    log.complete(handoff, shard, target);
    assert_eq!((log.owner(shard), log.sources(shard)), (Some(2), vec![]));
    assert!(!log.state.ledgers.contains_key(&ledger));
}

#[test]
fn a_handoff_whose_source_is_dead_ends_with_nobody() {
    for target_dies in [false, true] {
        let (mut log, shard) = durable();
        let ledger = log.ledger(1).unwrap();
        let since = log.shard(shard).since;
        let handoff = log.begin(shard, 1, 2);
        log.down(1);
        log.join(1);
        if target_dies {
            log.down(2);
        } else {
            log.abort(handoff, shard);
        }
        assert_eq!(log.shard(shard).ownership, Ownership::Unassigned);
        assert_eq!(log.sources(shard), [(ledger, since)]);
        log.assign(shard, 1);
        assert_eq!(log.sources(shard), [(ledger, since)]);
    }
}

#[test]
fn both_ends_of_a_handoff_die_target_first() {
    let (mut log, shard) = durable();
    let ledger = log.ledger(1).unwrap();
    let since = log.shard(shard).since;
    log.begin(shard, 1, 2);
    log.down(2);
    log.down(1);
    assert_eq!(log.shard(shard).ownership, Ownership::Unassigned);
    assert_eq!(log.sources(shard), [(ledger, since)]);
}

#[test]
fn a_shard_in_memory_has_no_sources() {
    let mut log = Log::of(3);
    let shard = shard(log.kind("m", Durability::Memory, 1), 0);
    log.assign(shard, 1);
    let handoff = log.begin(shard, 1, 2);
    log.complete(handoff, shard, None);
    log.open(2);
    log.begin(shard, 2, 3);
    log.down(2);
    log.down(3);
    assert_eq!(log.shard(shard).ownership, Ownership::Unassigned);
    assert_eq!(log.sources(shard), []);
}

#[test]
fn the_lists_follow_the_shards() {
    let mut log = Log::of(3);
    let space = log.kind("m", Durability::Memory, 3);
    let [a, b, c] = [0, 1, 2].map(|number| shard(space, number));
    log.assign(a, 1);
    log.assign(b, 1);
    log.begin(b, 1, 2);
    assert!(log.state.owned_by(log.home(1)).eq([a, b]));
    assert!(log.state.owned_by(log.home(2)).next().is_none());
    assert!(log.state.shards.incoming(log.home(2)).eq([b]));
    assert!(log.state.shards.moving().eq([b]));
    assert!(log.state.shards.unassigned().eq([c]));
    let down = log.home(1);
    let changes = log.run(Command::Down { member: down });
    assert_eq!(changes.shards, [a, b]);
    assert_eq!(changes.members, [NodeId(1)]);
}

#[test]
fn a_batch_takes_what_fits_and_leaves_the_rest() {
    let mut log = Log::of(2);
    let space = log.kind("m", Durability::Memory, 3);
    let [a, b, c] = [0, 1, 2].map(|number| shard(space, number));
    log.assign(b, 2);
    let assignment = |shard, after, node| Assignment {
        shard,
        after: Epoch(after),
        home: log.home(node),
    };
    let shards = vec![
        assignment(a, 0, 1),
        assignment(a, 0, 2),
        assignment(b, 0, 1),
        assignment(c, 5, 1),
        assignment(ShardId { number: 9, ..a }, 0, 1),
    ];
    let changes = log.run(Command::Assign { shards });
    assert_eq!(changes.shards, [a]);
    assert_eq!(
        (log.owner(a), log.owner(b), log.owner(c)),
        (Some(1), Some(2), None)
    );
}

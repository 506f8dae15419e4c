use super::*;

fn adopted(shard: ShardId, epoch: Epoch, source: LedgerId) -> Command {
    Command::Adopted {
        shard,
        epoch,
        source,
    }
}

#[test]
fn a_ledger_is_opened_once_for_the_one_that_it_follows() {
    let mut log = Log::of(2);
    let home = log.home(1);
    let first = log.ledger(1);
    let many = [1, 2, 3, 4].map(disk_of);
    let open = |after, replicas: &[Replica]| Command::OpenLedger {
        home,
        after,
        replicas: replicas.to_vec(),
    };
    let other_disk = Replica {
        disk: 99,
        ..disk_of(1)
    };
    log.void(open(None, &many[..2]));
    log.void(open(first, &[]));
    log.void(open(first, &many));
    log.void(open(first, &many[1..3]));
    log.void(open(first, &[other_disk]));
    log.void(open(first, &[disk_of(1), disk_of(2), disk_of(2)]));
    let second = log.applies(open(first, &many[..3]));
    assert_eq!(log.ledger(1), Some(LedgerId(second.0)));
    assert!(!log.state.ledgers.contains_key(&first.unwrap()));
    log.down(1);
    log.void(open(None, &many[..1]));
}

#[test]
fn the_old_ledger_is_a_source_until_it_is_adopted() {
    let mut log = Log::of(1);
    let durable = log.kind("d", Durability::Durable, 2);
    let memory = shard(log.kind("m", Durability::Memory, 1), 0);
    let [a, b] = [0, 1].map(|number| shard(durable, number));
    let epoch = log.assign(a, 1);
    log.assign(b, 1);
    log.assign(memory, 1);
    let first = log.ledger(1).unwrap();
    let second = log.open(1);
    let third = log.open(1);
    assert_eq!(log.sources(a), [(first, epoch), (second, epoch)]);
    assert_eq!(log.sources(memory), []);
    assert!(log.state.shards.sourced_from(first).eq([a, b]));
    log.void(adopted(a, Epoch(epoch.0 + 1), first));
    log.void(adopted(a, epoch, third));
    log.applies(adopted(a, epoch, first));
    assert!(log.state.ledgers.contains_key(&first));
    let other = log.shard(b).epoch;
    log.applies(adopted(b, other, first));
    assert!(!log.state.ledgers.contains_key(&first));
    assert_eq!(log.sources(a), [(second, epoch)]);
}

/// S23: A dies, B adopts half of its states, B dies.
#[test]
fn every_owner_that_died_before_it_had_adopted_everything_is_a_source() {
    let mut log = Log::of(3);
    let shard = shard(log.kind("d", Durability::Durable, 1), 0);
    let a = (log.ledger(1).unwrap(), log.assign(shard, 1));
    log.down(1);
    let b = (log.ledger(2).unwrap(), log.assign(shard, 2));
    log.down(2);
    assert_eq!(log.sources(shard), [a, b]);
    log.void(adopted(shard, b.1, a.0));
    let c = log.assign(shard, 3);
    assert_eq!(log.sources(shard), [a, b]);
    log.applies(adopted(shard, c, a.0));
    log.applies(adopted(shard, c, b.0));
    assert_eq!(log.state.ledgers.len(), 1);
}

#[test]
fn a_source_that_opens_a_ledger_while_it_hands_off_adopts_only_if_the_shard_comes_back() {
    let mut log = Log::of(2);
    let shard = shard(log.kind("d", Durability::Durable, 1), 0);
    let since = log.assign(shard, 1);
    let first = log.ledger(1).unwrap();
    let handoff = log.begin(shard, 1, 2);
    log.open(1);
    assert_eq!(log.sources(shard), [(first, since)]);
    let mut other = Log {
        state: log.state.clone(),
        term: log.term,
    };
    let target = log.ledger(2);
    log.complete(handoff, shard, target);
    assert_eq!(log.sources(shard), []);
    assert!(!log.state.ledgers.contains_key(&first));
    let epoch = other.abort(handoff, shard);
    assert_eq!(other.sources(shard), [(first, since)]);
    other.applies(adopted(shard, epoch, first));
}

#[test]
fn a_targets_old_ledger_is_kept_until_its_handoffs_are_decided() {
    let mut log = Log::of(2);
    let shard = shard(log.kind("d", Durability::Durable, 1), 0);
    log.assign(shard, 1);
    let handoff = log.begin(shard, 1, 2);
    let first = log.ledger(2).unwrap();
    log.open(2);
    assert!(log.state.ledgers.contains_key(&first));
    log.abort(handoff, shard);
    assert!(!log.state.ledgers.contains_key(&first));
}

#[test]
fn quorums_of_a_ledger_meet() {
    for replicas in 1..=3 {
        let ledger = crate::control::Ledger {
            home: Home::default(),
            replicas: (1..=replicas).map(disk_of).collect(),
        };
        let (append, read) = (ledger.append_quorum(), ledger.read_quorum());
        assert!(append + read > ledger.replicas.len());
    }
}

use std::time::Duration;

use super::super::Unavailable;
use super::world::{Found, World, entity, record, text};
use crate::cluster::{Epoch, Message, Mutant, NodeId, Settings, ShardId, StoredRecord};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const D: NodeId = NodeId(4);

/// A owns a shard and has "x" acknowledged; A's ledger is on A, B and C.
pub(super) fn owned_by_a(world: &mut World) -> ShardId {
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append_now(A, shard, record("x", epoch, 1, "one"));
    shard
}

/// A's process dies, and the control log gives its shard to another.
pub(super) fn a_dies(world: &mut World, shard: ShardId, successor: NodeId) {
    world.crash(A);
    world.down(A);
    world.assign(shard, successor);
}

#[test]
fn every_acknowledged_record_is_found_whichever_replica_is_missing() {
    for slow in [B, C] {
        for missing in [A, B, C] {
            let mut world = World::new(4);
            let shard = world.shard(0);
            let epoch = world.assign(shard, A);
            let id = world.append(A, shard, record("x", epoch, 1, "one"));
            world.lose(|packet| packet.to == slow);
            world.run();
            assert!(world.is_committed(A, id));
            world.down(A);
            if missing == A {
                world.crash(A);
            } else {
                world.crash(A);
                world.start(A);
                world.crash(missing);
            }
            world.assign(shard, D);
            let found = world.find_now(D, shard, "x");
            assert_eq!(
                text(found).unwrap(),
                "one",
                "{slow} never had it, {missing} is gone"
            );
        }
    }
}

#[test]
fn fewer_disks_than_cover_the_ledger_are_never_a_guess() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    world.crash(C);
    a_dies(&mut world, shard, D);
    let (known, unknown) = (world.find(D, shard, "x"), world.find(D, shard, "nobody"));
    world.pass(world.settings.timing.phase + Duration::from_secs(1));
    let ledger = world.control.shards[&shard].sources[0].ledger;
    let found = &world.nodes[&D].heard.found;
    assert_eq!(found[&known], Err(Unavailable::Disks { ledger }));
    assert_eq!(found[&unknown], Err(Unavailable::Disks { ledger }));
    let again = world.find_now(D, shard, "x");
    assert_eq!(
        again,
        Some(Err(Unavailable::Disks { ledger })),
        "nobody waits a second time"
    );
    assert!(world.adopted.is_empty());

    world.start(C);
    world.pass(Duration::from_secs(1));
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "one");
    assert_eq!(text(world.find_now(D, shard, "nobody")), None);
}

#[test]
fn the_home_s_own_disk_has_everything_that_it_acknowledged() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    world.crash(B);
    world.crash(C);
    world.crash(A);
    world.down(A);
    world.start(A);
    world.assign(shard, D);
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "one");
}

#[test]
fn a_sealed_home_acknowledges_nothing_more() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let (epoch, ledger) = (world.control.shards[&shard].epoch, world.ledger_of(A));
    world.cut.insert(A);
    world.down(A);
    world.assign(shard, D);
    world.run();
    world.cut.clear();
    // A has not heard that it is down.
    let id = world.append(A, shard, record("x", epoch, 2, "late"));
    world.pass(Duration::from_secs(1));
    assert!(!world.is_committed(A, id));
    assert!(world.nodes[&A].heard.fenced.contains(&ledger));
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "one");
    assert_eq!(
        world.find_now(A, shard, "x"),
        Some(Err(Unavailable::Fenced))
    );
}

#[test]
fn what_is_being_written_when_the_seal_comes_is_not_acknowledged() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    world.cut.insert(D);
    let id = world.append(A, shard, record("x", epoch, 2, "late"));
    world.sync(A);
    while let Some(packet) = world.net.pop_front() {
        world.deliver(&packet);
    }
    assert!(world.nodes[&B].writes.len() == 1 && world.nodes[&C].writes.len() == 1);
    let member = world.home(A);
    world.propose(crate::control::Command::Down { member });
    world.cut.clear();
    for node in [B, C, D] {
        world.catch_up(node);
    }
    world.propose(crate::control::Command::Assign {
        shards: vec![crate::control::Assignment {
            shard,
            after: epoch,
            home: world.home(D),
        }],
    });
    for node in [B, C, D] {
        world.catch_up(node);
    }
    let seals: Vec<_> = world.net.drain(..).collect();
    for packet in seals.iter().filter(|packet| packet.to != A) {
        world.deliver(packet);
    }
    world.run();
    assert!(!world.is_committed(A, id));
}

#[test]
fn a_seal_is_remembered_over_a_crash() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    let append = |world: &mut World| {
        world.append(A, shard, record("x", epoch, 2, "late"));
        world.net.drain(..).rfind(|packet| packet.to == B).unwrap()
    };
    let packet = append(&mut world);
    a_dies(&mut world, shard, D);
    world.run();
    world.crash(B);
    world.start(B);
    world.deliver(&packet);
    let refused = world.net.back().map(|packet| &packet.message);
    assert!(matches!(refused, Some(Message::AppendRefused { .. })));
}

#[test]
fn only_an_owner_that_has_it_as_a_source_seals_a_ledger() {
    let mut world = World::new(4);
    owned_by_a(&mut world);
    let (ledger, from) = (world.ledger_of(A), world.home(D));
    let seal = Message::Seal { ledger };
    world.with_journal(B, |journal, cx| journal.handle_message(cx, from, &seal));
    let fetch = Message::FetchState {
        query: 1,
        ledger,
        shard: world.shard(0),
        since: Epoch(0),
        page: crate::cluster::Page::After(None),
    };
    world.with_journal(B, |journal, cx| journal.handle_message(cx, from, &fetch));
    let node = &world.nodes[&B];
    assert!(node.writes.is_empty() && node.reads.is_empty() && world.net.is_empty());
}

#[test]
fn what_is_taken_over_is_not_used_before_it_is_committed_here() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    a_dies(&mut world, shard, D);
    let ids = [world.find(D, shard, "x"), world.find(D, shard, "nobody")];
    // D's ledger is on D, A and B. Without B nothing of D's is committed.
    for _ in 0..1_000 {
        world.lose(|p| p.to == B && matches!(p.message, Message::Append { .. }));
        for id in world.running() {
            world.sync(id);
            world.read(id, true);
        }
        if let Some(packet) = world.net.pop_front() {
            world.deliver(&packet);
        }
    }
    let own = Some(world.ledger_of(D));
    let records = &world.nodes[&D].disk.records;
    assert!(
        records.contains_key(&(own, shard, entity("x"))),
        "D has it on its own disk"
    );
    let found = |world: &World, id: &u64| world.nodes[&D].heard.found.contains_key(id);
    assert!(!ids.iter().any(|id| found(&world, id)));
    world.pass(Duration::from_secs(1));
    assert!(ids.iter().all(|id| found(&world, id)));
}

#[test]
fn s23_a_chain_of_deaths_loses_nothing() {
    let mut world = World::new(4);
    world.settings.bounds.page_max = 1;
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let keys: Vec<String> = (0..6).map(|n| format!("k{n}")).collect();
    for key in &keys {
        world.append_now(A, shard, record(key, epoch, 1, "from a"));
    }
    a_dies(&mut world, shard, B);
    while world.nodes[&B]
        .disk
        .records
        .keys()
        .filter(|k| k.0 == Some(world.ledger_of(B)))
        .count()
        < 3
    {
        for id in world.running() {
            world.sync(id);
            world.read(id, true);
        }
        if let Some(packet) = world.net.pop_front() {
            world.deliver(&packet);
        }
    }
    let found = world.find_now(B, shard, "k0").unwrap().unwrap().unwrap();
    assert_eq!(
        found.epoch, world.control.shards[&shard].epoch,
        "B's own now"
    );
    let newer = StoredRecord {
        epoch: found.epoch,
        ..record("k0", epoch, 2, "from b")
    };
    world.append_now(B, shard, newer);
    world.adopted.clear();
    world.crash(B);
    world.down(B);
    world.start(A);
    world.assign(shard, C);
    assert_eq!(world.control.shards[&shard].sources.len(), 2);
    world.pass(Duration::from_secs(1));
    world.decide_adopted();
    assert!(world.control.shards[&shard].sources.is_empty());
    for key in &keys {
        let expected = if key == "k0" { "from b" } else { "from a" };
        assert_eq!(text(world.find_now(C, shard, key)).unwrap(), expected);
    }
}

#[test]
fn an_unacknowledged_record_never_undoes_what_was_used() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    // Both are on A's disk only.
    world.append(A, shard, record("x", epoch, 9, "ghost"));
    world.append(A, shard, record("y", epoch, 9, "ghost"));
    world.net.clear();
    while world.sync(A) {}
    a_dies(&mut world, shard, D);
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "one");
    assert_eq!(text(world.find_now(D, shard, "y")), None);
    world.adopted.clear();
    world.crash(D);
    world.down(D);
    world.start(A);
    world.assign(shard, B);
    assert_eq!(text(world.find_now(B, shard, "x")).unwrap(), "one");
    let y = text(world.find_now(B, shard, "y"));
    assert_eq!(y, None, "somebody was told that there is none");
}

#[test]
fn a_deleted_entity_stays_deleted() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    let mut tombstone = record("x", epoch, 2, "");
    tombstone.record.deleted = true;
    tombstone.record.wake_ms = Some(5);
    world.append_now(A, shard, tombstone);
    a_dies(&mut world, shard, D);
    world.pass(Duration::from_secs(1));
    let found = world.find_now(D, shard, "x").unwrap().unwrap().unwrap();
    assert!(
        found.record.deleted && found.record.version == 2,
        "numbers go on"
    );
    assert!(world.nodes[&D].heard.swept.is_empty());
}

#[test]
fn a_source_is_given_up_when_every_state_is_committed() {
    let mut world = World::new(4);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    for n in 0..5 {
        let mut record = record(&format!("k{n}"), epoch, 1, "one");
        record.record.wake_ms = (n < 2).then_some(100 + n);
        world.append_now(A, shard, record);
    }
    let ledger = world.ledger_of(A);
    a_dies(&mut world, shard, D);
    for _ in 0..1_000 {
        world.lose(|p| p.from.node == D && matches!(p.message, Message::Append { .. }));
        for id in world.running() {
            world.sync(id);
            world.read(id, true);
        }
        if let Some(packet) = world.net.pop_front() {
            world.deliver(&packet);
        }
    }
    assert!(world.adopted.is_empty(), "nothing is on a second disk");
    let scan = world.scan(D, shard, None);
    world.pass(Duration::from_secs(1));
    assert_eq!(
        world.nodes[&D].heard.scanned[&scan].0.len(),
        5,
        "a scan waits for all"
    );
    assert_eq!(
        world.nodes[&D].heard.swept,
        [(entity("k0"), 100), (entity("k1"), 101)]
    );
    assert_eq!(world.adopted.len(), 1);
    world.adopted.clear();
    world.pass(Duration::from_secs(1));
    assert_eq!(
        world.adopted.len(),
        1,
        "told again until the control log has it"
    );
    world.decide_adopted();
    assert!(!world.control.ledgers.contains_key(&ledger));
    let left = world.nodes[&B]
        .disk
        .records
        .keys()
        .any(|key| key.0 == Some(ledger));
    assert!(!left && !world.nodes[&B].disk.sealed.contains(&ledger));
    world.pass(Duration::from_secs(1));
    let timer = world.nodes[&D].journal.as_ref().unwrap().poll_timeout();
    assert_eq!(timer, None, "nothing is left to do");
}

#[test]
fn more_records_than_a_page_are_adopted_page_by_page() {
    let mut settings = Settings::lan();
    settings.bounds.page_max = 3;
    let mut world = World::with(4, settings);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    for n in 0..20 {
        world.append_now(A, shard, record(&format!("k{n}"), epoch, 1, &n.to_string()));
    }
    a_dies(&mut world, shard, D);
    world.pass(Duration::from_secs(2));
    world.decide_adopted();
    assert!(world.control.shards[&shard].sources.is_empty());
    for n in 0..20 {
        assert_eq!(
            text(world.find_now(D, shard, &format!("k{n}"))).unwrap(),
            n.to_string()
        );
    }
}

/// D finds a record that only the dead A's disk has, and dies before anything of it is on a disk; then A's is gone, and B finds what it finds.
fn ghost(mutant: Option<Mutant>) -> (Option<Found>, Option<String>) {
    let mut world = World::new(4);
    world.settings.mutant = mutant;
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    world.append(A, shard, record("x", epoch, 2, "ghost"));
    world.net.clear();
    world.sync(A);
    world.crash(A);
    world.start(A);
    world.crash(B);
    world.open_ledger(D, &[4, 2, 3]);
    world.assign(shard, D);
    let id = world.find(D, shard, "x");
    for _ in 0..1_000 {
        for id in [A, C] {
            world.sync(id);
            world.read(id, true);
        }
        world.read(D, false);
        world.lose(|p| p.from.node == D && matches!(p.message, Message::Append { .. }));
        if let Some(packet) = world.net.pop_front() {
            world.deliver(&packet);
        }
    }
    let used = world.nodes[&D].heard.found.get(&id).cloned();
    world.crash(D);
    world.down(D);
    world.crash(A);
    world.start(B);
    world.open_ledger(B, &[2, 3, 4]);
    world.assign(shard, B);
    (used, text(world.find_now(B, shard, "x")))
}

#[test]
fn a_record_on_one_disk_is_not_used_before_it_is_adopted() {
    let (used, later) = ghost(None);
    assert_eq!((used, later.as_deref()), (None, Some("one")));
    let (used, later) = ghost(Some(Mutant::UseBeforeAdoption));
    assert_eq!(
        (text(used).as_deref(), later.as_deref()),
        (Some("ghost"), Some("one")),
        "undone"
    );
}

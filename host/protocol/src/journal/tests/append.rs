use std::time::Duration;

use super::world::{World, record, text};
use crate::cluster::{LedgerId, Message, NodeId};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

#[test]
fn a_record_is_acknowledged_by_the_own_disk_and_one_other() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let id = world.append(A, shard, record("x", epoch, 1, "one"));
    assert!(world.sync(A));
    assert!(!world.is_committed(A, id), "one disk is not enough");
    world.lose(|packet| packet.to == C);
    world.run();
    assert!(world.is_committed(A, id));
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "one");
}

#[test]
fn a_record_is_not_acknowledged_before_the_own_disk_has_it() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let id = world.append(A, shard, record("x", epoch, 1, "one"));
    while let Some(packet) = world.net.pop_front() {
        world.deliver(&packet);
        for other in [B, C] {
            while world.sync(other) {}
        }
    }
    assert!(
        !world.is_committed(A, id),
        "both others have it, and A has not"
    );
    world.sync(A);
    assert!(world.is_committed(A, id));
}

#[test]
fn a_replica_acknowledges_only_what_it_has_synced() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let id = world.append(A, shard, record("x", epoch, 1, "one"));
    world.sync(A);
    while let Some(packet) = world.net.pop_front() {
        world.deliver(&packet);
    }
    assert!(!world.is_committed(A, id));
    world.crash(B);
    world.crash(C);
    world.start(B);
    assert!(world.nodes[&B].disk.records.is_empty());
    world.pass(Duration::from_secs(1));
    assert!(world.is_committed(A, id), "sent again until enough have it");
}

#[test]
fn lost_doubled_and_disordered_messages_change_nothing() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let ids: Vec<u64> = (1..=5)
        .map(|version| world.append(A, shard, record("x", epoch, version, &version.to_string())))
        .collect();
    world.lose(|packet| packet.to == C);
    let again: Vec<_> = world.net.iter().cloned().rev().collect();
    world.net.extend(again.iter().cloned().chain(again.clone()));
    world.run();
    world.net.extend(again);
    world.run();
    assert!(ids.iter().all(|&id| world.is_committed(A, id)));
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "5");
    assert_eq!(world.nodes[&B].disk.records.len(), 1);
}

#[test]
fn what_is_acknowledged_already_is_acknowledged_again_without_a_write() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append(A, shard, record("x", epoch, 1, "one"));
    let packet = world
        .net
        .iter()
        .find(|packet| packet.to == B)
        .cloned()
        .unwrap();
    world.run();
    world.deliver(&packet);
    assert!(world.nodes[&B].writes.is_empty());
    assert!(matches!(
        world.net.back().unwrap().message,
        Message::Appended { .. }
    ));
}

#[test]
fn a_newer_record_commits_the_older_ones_of_its_entity() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let older = world.append(A, shard, record("x", epoch, 1, "one"));
    world.net.clear();
    let newer = world.append(A, shard, record("x", epoch, 2, "two"));
    world.run();
    assert!(world.is_committed(A, newer) && world.is_committed(A, older));
}

#[test]
fn only_the_home_of_a_ledger_appends_to_it() {
    let mut world = World::new(3);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append(A, shard, record("x", epoch, 1, "one"));
    let mut packet = world
        .net
        .iter()
        .find(|packet| packet.to == B)
        .cloned()
        .unwrap();
    world.net.clear();
    packet.from = world.home(C);
    world.deliver(&packet);
    assert!(world.nodes[&B].writes.is_empty());
    packet.from = world.home(A);
    if let Message::Append { ledger, .. } = &mut packet.message {
        *ledger = LedgerId(999);
    }
    world.deliver(&packet);
    assert!(
        world.nodes[&B].writes.is_empty(),
        "nobody knows this ledger"
    );
}

#[test]
fn a_replica_takes_no_more_than_its_bound_at_once() {
    let mut world = World::new(3);
    world.settings.bounds.in_flight_max = 4;
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let ids: Vec<u64> = (0..20)
        .map(|n| world.append(A, shard, record(&format!("x{n}"), epoch, 1, "one")))
        .collect();
    for _ in 0..world.net.len() {
        let packet = world.net.pop_front().unwrap();
        world.deliver(&packet);
    }
    assert_eq!(world.nodes[&B].writes.len(), 4);
    world.pass(Duration::from_secs(5));
    assert!(
        ids.iter().all(|&id| world.is_committed(A, id)),
        "the rest is sent again"
    );
}

#[test]
fn a_home_without_a_ledger_waits_for_one() {
    let mut world = World::new(1);
    world.crash(A);
    world.start(A);
    let shard = world.shard(0);
    let id = world.append(A, shard, record("x", crate::cluster::Epoch(1), 1, "one"));
    world.run();
    assert!(!world.is_committed(A, id));
    world.open_ledger(A, &[1]);
    world.run();
    assert!(world.is_committed(A, id));
}

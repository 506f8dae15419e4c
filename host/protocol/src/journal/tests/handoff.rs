use std::time::Duration;

use super::super::Unavailable;
use super::takeover::{a_dies, owned_by_a};
use super::world::{World, entity, record, text};
use crate::cluster::{Epoch, HandoffId, NodeId, ShardId, TransferId};
use crate::control::Command;

const A: NodeId = NodeId(1);
const D: NodeId = NodeId(4);

/// The shard begins to move from A to D.
fn begin(world: &mut World, shard: ShardId, epoch: Epoch) -> HandoffId {
    HandoffId(world.decide(Command::BeginHandoff {
        transfer: TransferId::default(),
        stamp: Epoch(world.control.applied.0),
        from: world.home(A),
        to: world.home(D),
        shards: vec![(shard, epoch)],
    }))
}

#[test]
fn what_an_aborted_handoff_installed_is_not_seen() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    let handoff = begin(&mut world, shard, epoch);
    world.append_now(D, shard, record("x", Epoch(handoff.0 - 1), 7, "installed"));
    let shards = vec![shard];
    world.decide(Command::AbortHandoff { handoff, shards });
    let epoch = world.control.shards[&shard].epoch;
    world.append_now(A, shard, record("x", epoch, 2, "two"));
    a_dies(&mut world, shard, D);
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "two");
    world.append(
        D,
        shard,
        record("x", Epoch(handoff.0 - 1), 8, "installed late"),
    );
    world.run();
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "two");
}

#[test]
fn what_a_handoff_installed_is_the_target_s() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    let handoff = begin(&mut world, shard, epoch);
    let oldest = world.ledger_of(D);
    // The first part is on its way when D's ledger changes: it is written to both.
    world.append_now(D, shard, record("y", Epoch(handoff.0 - 1), 3, "y"));
    let stamp = Epoch(handoff.0 - 1);
    world.append(D, shard, record("x", stamp, 1, "old"));
    world.net.clear();
    world.open_ledger(D, &[4, 2, 3]);
    world.append_now(D, shard, record("x", stamp, 2, "new"));
    let mut wake = record("z", stamp, 1, "z");
    wake.record.wake_ms = Some(9);
    world.append_now(D, shard, wake);
    let shards = vec![(shard, Some(oldest))];
    world.decide(Command::CompleteHandoff { handoff, shards });
    for (key, expected) in [("x", "new"), ("y", "y"), ("z", "z")] {
        assert_eq!(text(world.find_now(D, shard, key)).unwrap(), expected);
    }
    assert_eq!(world.nodes[&D].heard.swept, [(entity("z"), 9)]);
    assert_eq!(
        world.find_now(A, shard, "x"),
        Some(Err(Unavailable::NotOwned))
    );
}

#[test]
fn an_install_of_an_aborted_handoff_that_is_on_its_way_keeps_nothing_from_being_adopted() {
    let mut world = World::new(4);
    let shard = owned_by_a(&mut world);
    let epoch = world.control.shards[&shard].epoch;
    let handoff = begin(&mut world, shard, epoch);
    let stamp = Epoch(handoff.0 - 1);
    world.append(D, shard, record("x", stamp, 7, "installed"));
    world.net.clear();
    world.crash(A);
    world.down(A);
    let shards = vec![shard];
    world.decide(Command::AbortHandoff { handoff, shards });
    world.assign(shard, D);
    world.run();
    world.pass(Duration::from_secs(1));
    world.decide_adopted();
    assert!(world.control.shards[&shard].sources.is_empty());
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "one");
}

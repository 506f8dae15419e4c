use std::sync::Arc;

use super::super::{Request, Unavailable};
use super::world::{World, entity, record, text};
use crate::cluster::{Epoch, NodeId, ShardId, StoredRecord};

const A: NodeId = NodeId(1);

fn stash(world: &mut World, shard: ShardId, record: StoredRecord) {
    let record = Arc::new(record);
    world.request(A, Request::Stash { shard, record });
}

#[test]
fn a_stashed_state_is_found_at_once_and_from_the_disk() {
    let mut world = World::new(1);
    let shard = ShardId {
        space: world.memory,
        number: 0,
    };
    let epoch = world.assign(shard, A);
    stash(&mut world, shard, record("x", epoch, 1, "one"));
    stash(&mut world, shard, record("x", epoch, 2, "two"));
    let id = world.find(A, shard, "x");
    assert!(
        world.nodes[&A].heard.found.contains_key(&id),
        "nothing is on disk yet"
    );
    world.run();
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "two");
    assert_eq!(text(world.find_now(A, shard, "y")), None);
}

#[test]
fn a_stash_of_an_earlier_ownership_is_not_seen() {
    let mut world = World::new(1);
    let shard = ShardId {
        space: world.memory,
        number: 0,
    };
    let epoch = world.assign(shard, A);
    stash(&mut world, shard, record("x", epoch, 1, "one"));
    world.run();
    world.crash(A);
    world.start(A);
    world.assign(shard, A);
    assert_eq!(text(world.find_now(A, shard, "x")), None);
}

#[test]
fn what_is_forgotten_is_what_does_not_count() {
    let mut world = World::new(1);
    let (durable, memory) = (
        world.shard(0),
        ShardId {
            space: world.memory,
            number: 0,
        },
    );
    for shard in [durable, memory] {
        world.assign(shard, A);
    }
    let epoch = world.control.shards[&durable].epoch;
    world.append_now(A, durable, record("x", epoch, 1, "one"));
    stash(&mut world, memory, record("x", epoch, 1, "old"));
    let now = world.control.shards[&memory].epoch;
    stash(&mut world, memory, record("y", now, 1, "new"));
    for shard in [durable, memory] {
        world.request(
            A,
            Request::Forget {
                shard,
                before: Epoch(u64::MAX),
            },
        );
    }
    world.run();
    assert_eq!(text(world.find_now(A, durable, "x")).unwrap(), "one");
    assert_eq!(text(world.find_now(A, memory, "y")).unwrap(), "new");
    assert_eq!(world.nodes[&A].disk.records.len(), 2, "the old one is gone");
}

#[test]
fn only_the_owner_is_answered() {
    let mut world = World::new(1);
    let shard = world.shard(0);
    assert_eq!(
        world.find_now(A, shard, "x"),
        Some(Err(Unavailable::NotOwned))
    );
}

#[test]
fn lookups_have_a_bound() {
    let mut world = World::new(1);
    world.settings.bounds.activations_max = 2;
    let shard = world.shard(0);
    world.assign(shard, A);
    let ids = ["x", "y", "z"].map(|key| world.find(A, shard, key));
    let found = &world.nodes[&A].heard.found;
    assert_eq!(found.get(&ids[2]), Some(&Err(Unavailable::Busy)));
    world.run();
    assert_eq!(world.nodes[&A].heard.found.len(), 3);
}

#[test]
fn a_scan_gives_pages_in_order_and_says_when_it_is_through() {
    let mut world = World::new(1);
    world.settings.bounds.page_max = 2;
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    for key in ["c", "a", "b"] {
        world.append_now(A, shard, record(key, epoch, 1, key));
    }
    let first = world.scan(A, shard, None);
    let second = world.scan(A, shard, Some(entity("b")));
    world.run();
    let scanned = &world.nodes[&A].heard.scanned;
    let keys = |id| {
        scanned[id]
            .0
            .iter()
            .map(|r| r.entity.key().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (keys(&first), scanned[&first].1),
        (vec!["a".into(), "b".into()], true)
    );
    assert_eq!(
        (keys(&second), scanned[&second].1),
        (vec!["c".into()], false)
    );
}

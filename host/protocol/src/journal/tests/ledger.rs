use std::time::Duration;

use super::super::Unavailable;
use super::world::{World, record, text};
use crate::cluster::{Message, NodeId};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const D: NodeId = NodeId(4);

#[test]
fn a_home_adopts_from_its_old_ledger_what_it_owns() {
    let mut world = World::new(5);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append_now(A, shard, record("x", epoch, 1, "one"));
    // Both others are gone: what was acknowledged is on A's own disk, too.
    world.crash(B);
    world.crash(C);
    let pending = world.append(A, shard, record("y", epoch, 1, "why"));
    world.pass(Duration::from_secs(1));
    assert!(!world.is_committed(A, pending));
    let old = world.ledger_of(A);
    let new = world.open_ledger(A, &[1, 4, 5]);
    world.run();
    assert_eq!(world.nodes[&A].heard.committed[&pending], new);
    assert!(world.nodes[&A].heard.fenced.is_empty(), "A lives");
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "one");
    world.pass(Duration::from_secs(1));
    world.decide_adopted();
    assert!(!world.control.ledgers.contains_key(&old));
    world.crash(A);
    world.down(A);
    world.assign(shard, D);
    for (key, expected) in [("x", "one"), ("y", "why")] {
        assert_eq!(text(world.find_now(D, shard, key)).unwrap(), expected);
    }
}

#[test]
fn an_append_that_is_older_than_a_committed_one_does_not_come_back_in_the_new_ledger() {
    let mut world = World::new(5);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append(A, shard, record("x", epoch, 1, "one"));
    world.net.clear();
    world.append_now(A, shard, record("x", epoch, 2, "two"));
    world.open_ledger(A, &[1, 4, 5]);
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "two");
    world.pass(Duration::from_secs(1));
    world.decide_adopted();
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "two");
}

#[test]
fn acknowledgements_of_the_old_ledger_commit_nothing_in_the_new_one() {
    let mut world = World::new(5);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let id = world.append(A, shard, record("x", epoch, 1, "one"));
    while let Some(packet) = world.net.pop_front() {
        world.deliver(&packet);
    }
    while world.sync(B) || world.sync(C) {}
    let late: Vec<_> = world.net.drain(..).collect();
    assert!(
        late.iter()
            .any(|packet| matches!(packet.message, Message::Appended { .. }))
    );
    world.open_ledger(A, &[1, 4, 5]);
    world.net.clear();
    for packet in &late {
        world.deliver(packet);
    }
    while world.sync(A) {}
    assert!(!world.is_committed(A, id));
    world.pass(Duration::from_secs(1));
    assert!(world.is_committed(A, id));
}

#[test]
fn a_takeover_goes_on_when_the_successor_s_own_ledger_changes() {
    let mut world = World::new(5);
    world.settings.bounds.page_max = 2;
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let keys: Vec<String> = (0..9).map(|n| format!("k{n}")).collect();
    for key in &keys {
        world.append_now(A, shard, record(key, epoch, 1, key));
    }
    world.crash(A);
    world.down(A);
    let epoch = world.assign(shard, D);
    let own = Some(world.ledger_of(D));
    while world.nodes[&D]
        .disk
        .records
        .keys()
        .filter(|key| key.0 == own)
        .count()
        < 4
    {
        for id in world.running() {
            world.sync(id);
            world.read(id, true);
        }
        if let Some(packet) = world.net.pop_front() {
            world.deliver(&packet);
        }
    }
    world.append_now(D, shard, record("k0", epoch, 2, "newer"));
    let waiting = world.find(D, shard, "k8");
    world.adopted.clear();
    world.open_ledger(D, &[4, 2, 3]);
    assert_eq!(world.control.shards[&shard].sources.len(), 2);
    world.pass(Duration::from_secs(1));
    assert!(world.nodes[&D].heard.found.contains_key(&waiting));
    world.decide_adopted();
    assert!(world.control.shards[&shard].sources.is_empty());
    world.crash(D);
    world.down(D);
    world.assign(shard, B);
    for key in &keys {
        let expected = if key == "k0" { "newer" } else { key };
        assert_eq!(text(world.find_now(B, shard, key)).unwrap(), expected);
    }
}

#[test]
fn a_lost_disk_is_no_replica() {
    let mut world = World::new(4);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    let id = world.append(A, shard, record("x", epoch, 1, "one"));
    world.lose(|packet| packet.to == C);
    world.run();
    assert!(world.is_committed(A, id));
    // B had the second copy. It comes back with an empty disk, as a new node.
    world.crash(B);
    world.down(B);
    let member = world.home(B);
    world.decide(crate::control::Command::Remove { member });
    let node = world.nodes.get_mut(&B).unwrap();
    node.disk = Default::default();
    node.disk_number += 1;
    world.start(B);
    world.crash(A);
    world.down(A);
    world.assign(shard, D);
    let ledger = world.control.shards[&shard].sources[0].ledger;
    let found = world.find(D, shard, "x");
    world.pass(Duration::from_secs(1));
    assert!(
        !world.nodes[&D].disk.sealed.contains(&ledger)
            && !world.nodes[&B].disk.sealed.contains(&ledger)
    );
    world.pass(world.settings.timing.phase);
    let heard = &world.nodes[&D].heard;
    assert_eq!(heard.found[&found], Err(Unavailable::Disks { ledger }));
    world.start(A);
    world.pass(Duration::from_secs(1));
    assert_eq!(text(world.find_now(D, shard, "x")).unwrap(), "one");
}

#[test]
fn a_process_that_was_downed_wrongly_begins_anew() {
    let mut world = World::new(4);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append_now(A, shard, record("x", epoch, 1, "one"));
    let pending = world.append(A, shard, record("y", epoch, 1, "lost"));
    world.net.clear();
    let member = world.home(A);
    world.down(A);
    let boot = std::sync::Arc::new(world.introduction(A));
    let after = Some(member);
    let index = world.decide(crate::control::Command::Join { boot, after });
    let incarnation = crate::cluster::Incarnation(index);
    let member = crate::cluster::Home {
        node: A,
        incarnation,
    };
    world.decide(crate::control::Command::Up { member });
    world.open_ledger(A, &[1, 2, 3]);
    world.assign(shard, A);
    world.pass(Duration::from_secs(1));
    assert!(!world.is_committed(A, pending), "of another life");
    assert_eq!(text(world.find_now(A, shard, "x")).unwrap(), "one");
}

#[test]
fn an_answer_to_an_earlier_life_answers_nothing() {
    let mut world = World::new(4);
    let shard = world.shard(0);
    let epoch = world.assign(shard, A);
    world.append_now(A, shard, record("x", epoch, 1, "one"));
    world.crash(A);
    world.down(A);
    world.assign(shard, D);
    world.find(D, shard, "nobody");
    let mut answers = Vec::new();
    for _ in 0..1_000 {
        for id in world.running() {
            world.sync(id);
            world.read(id, true);
        }
        if let Some(packet) = world.net.pop_front() {
            if matches!(packet.message, Message::State { .. }) {
                answers.push(packet);
            } else {
                world.deliver(&packet);
            }
        }
    }
    assert!(!answers.is_empty());
    world.crash(D);
    world.start(D);
    world.open_ledger(D, &[4, 2, 3]);
    world.assign(shard, D);
    let found = world.find(D, shard, "x");
    for _ in 0..1_000 {
        for packet in &answers {
            world.deliver(packet);
        }
        for id in world.running() {
            world.sync(id);
            world.read(id, true);
        }
        if let Some(packet) = world.net.pop_front() {
            world.deliver(&packet);
        }
    }
    let found = world.nodes[&D].heard.found.get(&found).cloned();
    assert_eq!(text(found).unwrap(), "one");
}

use super::*;
use crate::EntityId;
use crate::control::{Phase, Role};

fn daemons(log: &Log, name: &str) -> (SpaceId, u32, Role) {
    let name = KindName::new(name).unwrap();
    let (id, space) = log.state.space(&name).unwrap();
    (id, space.shards, space.role)
}

fn role(revision: u64, previous: u32, phase: Phase) -> Role {
    Role::Daemons {
        revision,
        previous,
        phase,
    }
}

#[test]
fn a_kind_is_deployed_again_with_another_component_and_nothing_else() {
    let mut log = Log::of(1);
    log.void(deploy("k", "v1", Durability::Memory, 0));
    log.void(deploy("k", "v1", Durability::Memory, 65_537));
    let id = log.kind("k", Durability::Memory, 4);
    assert_eq!(log.state.shards.len(), 4);
    log.void(deploy("k", "v2", Durability::Durable, 4));
    log.void(deploy("k", "v2", Durability::Memory, 5));
    log.applies(deploy("k", "v2", Durability::Memory, 4));
    assert_eq!(log.state.spaces[&id].version, 2);
    log.void(scale("k", "v1", 4, 0));
}

#[test]
fn a_daemon_set_grows_by_new_shards() {
    let mut log = Log::of(1);
    log.void(scale("w", "v1", 2, 1));
    log.void(scale("w", "v1", 0, 0));
    log.applies(scale("w", "v1", 2, 0));
    let (id, ..) = daemons(&log, "w");
    log.assign(shard(id, 0), 1);
    log.void(scale("w", "v1", 4, 2));
    log.void(scale("w", "v1", 2, 1));
    log.void(deploy("w", "v2", Durability::Durable, 2));
    log.applies(scale("w", "v1", 4, 1));
    assert_eq!(daemons(&log, "w"), (id, 4, role(2, 2, Phase::Stable)));
    assert_eq!(log.owner(shard(id, 0)), Some(1));
    assert_eq!(log.state.spaces[&id].version, 1);
    log.applies(scale("w", "v2", 4, 2));
    assert_eq!(log.state.spaces[&id].version, 2);
}

#[test]
fn a_daemon_set_shrinks_in_two_steps() {
    let mut log = Log::of(2);
    log.applies(scale("w", "v1", 4, 0));
    let (id, ..) = daemons(&log, "w");
    let last = shard(id, 3);
    let epoch = log.assign(last, 1);
    log.begin(last, 1, 2);
    log.applies(scale("w", "v1", 1, 1));
    assert_eq!(daemons(&log, "w"), (id, 1, role(2, 4, Phase::Shrinking)));
    assert_eq!(log.state.shards.len(), 4);
    log.void(scale("w", "v1", 4, 2));
    log.void(Command::Retire {
        space: id,
        revision: 1,
    });
    log.applies(Command::Retire {
        space: id,
        revision: 2,
    });
    assert_eq!(daemons(&log, "w"), (id, 1, role(2, 4, Phase::Stable)));
    assert!(log.state.shards.keys().eq([&shard(id, 0)]));
    log.applies(scale("w", "v1", 4, 2));
    assert!(log.assign(last, 2) > epoch);
}

#[test]
fn a_space_is_dropped_with_its_shards_and_their_sources() {
    let mut log = Log::of(2);
    let id = log.kind("d", Durability::Durable, 2);
    log.assign(shard(id, 0), 1);
    let source = log.ledger(1).unwrap();
    log.down(1);
    assert!(log.state.ledgers.contains_key(&source));
    log.applies(Command::Drop { space: id });
    assert!(log.state.shards.is_empty());
    assert!(!log.state.ledgers.contains_key(&source));
    assert_ne!(log.kind("d", Durability::Durable, 2), id);
}

#[test]
fn a_worker_is_addressed_by_its_number_and_an_entity_by_the_hash_of_its_key() {
    let mut log = Log::of(1);
    log.applies(scale("w", "v1", 3, 0));
    let kind = log.kind("k", Durability::Memory, 64);
    let (set, ..) = daemons(&log, "w");
    let find = |text: &str| log.state.shard_of(&text.parse::<EntityId>().unwrap());
    assert_eq!(find("w/2"), Some(shard(set, 2)));
    for none in ["w/3", "w/02", "w/+2", "w/a", "x/2"] {
        assert_eq!(find(none), None, "{none}");
    }
    assert!(find("k/2").is_some_and(|found| found.space == kind));
}

//! What happens while nothing fails.

use super::town::Town;
use crate::Durability;
use crate::cluster::{Epoch, Index, Message, NodeId};
use crate::control::{Command, Ownership};
use crate::coordinator::{Request, RequestError};

#[test]
fn shards_are_spread_at_once_and_named_until_they_are_started() {
    let mut town = Town::new(3);
    town.region(2).ignores.insert("Start");
    town.deploy("counter", Durability::Durable, 30);
    town.until(200, Town::calm);
    assert_eq!(town.loads(), [10, 10, 10]);
    assert_eq!(town.logged(|it| matches!(it, Command::Assign { .. })), 1);
    town.run_ms(1_000);
    assert_eq!(town.coordinator.starting(), 10);
    assert_eq!(town.sent_to(1, "Start"), 1);
    let named = town.sent_to(2, "Start");
    assert!((3..=5).contains(&named), "{named} in a second");
    town.region(2).ignores.clear();
    town.until(2_000, |town| town.coordinator.starting() == 0);
}

#[test]
fn a_calm_cluster_does_nothing() {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 31);
    town.until(200, Town::calm);
    town.run_ms(1_000);
    let orders = |town: &Town| {
        let grant = |message: &&(NodeId, Message)| matches!(message.1, Message::Grant(_));
        town.sent.len() - town.sent.iter().filter(grant).count()
    };
    let before = (town.log.len(), orders(&town));
    town.run_ms(60_000);
    assert_eq!((town.log.len(), orders(&town)), before, "{town}");
}

#[test]
fn a_handoff_takes_two_commits_and_gives_a_new_epoch() {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 3);
    town.until(200, Town::calm);
    let shard = town.some_shard_of(1);
    let before = town.epoch(shard);
    let log = town.log.len();
    town.send_to_shard(shard, 2);
    town.until(100, |town| town.owner(shard) == Some(2));
    assert_eq!(town.log.len(), log + 2, "{town}");
    assert!(town.epoch(shard) > before);
    assert_eq!(town.sent_to(1, "Release"), 1);
    town.until(100, |town| town.coordinator.starting() == 0);
}

#[test]
fn a_new_node_gets_its_share_in_one_round_and_then_nothing_moves() {
    let mut town = Town::new(2);
    town.deploy("counter", Durability::Durable, 32);
    town.until(200, Town::calm);
    town.start(3);
    town.until(10_000, |town| {
        town.loads().get(2).is_some_and(|&load| load >= 9)
    });
    town.until(1_000, Town::calm);
    let begun = town.logged(|it| matches!(it, Command::BeginHandoff { .. }));
    assert!(begun <= 4, "{begun} rounds\n{town}");
    town.run_ms(20_000);
    assert_eq!(
        town.logged(|it| matches!(it, Command::BeginHandoff { .. })),
        begun
    );
}

#[test]
fn where_a_shard_lives_is_told_from_what_is_committed() {
    let mut town = Town::new(2);
    town.deploy("counter", Durability::Memory, 2);
    town.until(200, Town::calm);
    let shard = town.shard(1);
    let asker = town.home(2);
    let query = Message::ShardHomeQuery {
        shard,
        applied: Index(0),
    };
    town.say(asker, query);
    let told = town
        .sent
        .iter()
        .rev()
        .find_map(|(to, message)| match message {
            Message::ShardHome { shard, index, home } => Some((*to, *shard, *index, *home)),
            _ => None,
        });
    let home = town.control.home_of(shard);
    assert_eq!(told, Some((NodeId(2), shard, town.control.applied, home)));
}

#[test]
fn entities_are_counted_by_the_newest_report_of_the_owner() {
    let mut town = Town::new(2);
    town.deploy("counter", Durability::Memory, 2);
    town.until(200, Town::calm);
    let shard = town.some_shard_of(1);
    let epoch = town.epoch(shard);
    let (owner, other) = (town.home(1), town.home(2));
    let report = |epoch, seq, live| Message::EntityStarted {
        shard,
        epoch,
        seq,
        live,
    };
    town.say(owner, report(epoch, 2, 7));
    town.say(owner, report(epoch, 1, 6));
    town.say(other, report(epoch, 9, 99));
    town.say(owner, report(Epoch(1), 9, 99));
    assert_eq!(town.coordinator.entities(shard), Some(7));
}

#[test]
fn an_adoption_is_proposed_once_and_only_for_the_owner() {
    let mut town = Town::new(3);
    for node in 1..=3 {
        town.region(node).ignores.insert("Adopted");
    }
    town.deploy("counter", Durability::Durable, 3);
    town.until(200, Town::calm);
    let shard = town.some_shard_of(3);
    town.kill(3);
    town.until(3_000, |town| {
        town.owner(shard).is_some_and(|node| node != 3)
    });
    let source = town.control.shards[&shard].sources[0].ledger;
    let epoch = town.epoch(shard);
    let adopted = Message::Adopted {
        shard,
        epoch,
        source,
    };
    let owner = town.home(town.owner(shard).unwrap());
    let other = town.home(if owner.node == NodeId(1) { 2 } else { 1 });
    town.say(other, adopted.clone());
    assert!(!town.control.shards[&shard].sources.is_empty());
    for _ in 0..3 {
        town.say(owner, adopted.clone());
    }
    assert!(town.control.shards[&shard].sources.is_empty());
    assert_eq!(town.logged(|it| matches!(it, Command::Adopted { .. })), 1);
}

#[test]
fn requests_that_make_no_sense_say_why() {
    let mut town = Town::new(2);
    town.deploy("counter", Durability::Memory, 2);
    town.until(200, Town::calm);
    let scaled = town.scale("counter", 3);
    assert!(matches!(scaled, Err(RequestError::Fixed { .. })));
    assert!(matches!(
        town.scale("pump", 0),
        Err(RequestError::Count { count: 0 })
    ));
    let node = NodeId(9);
    let drained = town.request(Request::Drain { node });
    assert!(matches!(drained, Err(RequestError::Member { .. })));
    let undrained = town.request(Request::Undrain { node });
    assert_eq!(
        undrained.unwrap_err().to_string(),
        "n9 is no member, and has to be leaving"
    );
    town.coordinator = crate::coordinator::Coordinator::new();
    let late = town.request(Request::Drain { node: NodeId(2) });
    let node = NodeId(1);
    assert_eq!(late, Err(RequestError::NotCoordinator { node }));
}

#[test]
fn a_request_that_the_log_lost_is_proposed_again() {
    let mut town = Town::new(2);
    town.stuck = Some(Default::default());
    town.deploy("counter", Durability::Memory, 4);
    town.run_ms(100);
    town.stuck = None;
    town.until(1_000, |town| !town.control.spaces.is_empty());
    town.until(1_000, Town::calm);
    let owned = |shard: &crate::control::Shard| matches!(shard.ownership, Ownership::Owned { .. });
    assert!(town.control.shards.values().all(owned));
}

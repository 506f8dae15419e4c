//! Another coordinator in the middle of a handoff: S1 to S4 of PROTOCOL section 8, and what the old one leaves behind.

use super::town::Town;
use crate::Durability;
use crate::cluster::{Message, ShardId, Term};
use crate::control::Command;

/// Three nodes, and a shard of node 2 that is asked to move to node 3 by the coordinator on node 1.
fn moving(prepare: impl FnOnce(&mut Town)) -> (Town, ShardId) {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 3);
    town.until(200, Town::calm);
    let shard = town.some_shard_of(2);
    prepare(&mut town);
    town.send_to_shard(shard, 3);
    town.run_ms(20);
    (town, shard)
}

fn finish(mut town: Town, shard: ShardId) -> Town {
    let before = town.epoch(shard);
    town.elect(3);
    let ms = town.until(2_000, |town| town.owner(shard) == Some(3));
    assert!(ms <= 500, "took {ms} ms");
    town.until(500, |town| town.calm() && town.coordinator.starting() == 0);
    assert!(town.epoch(shard) >= before);
    town
}

const fn begins(command: &Command) -> bool {
    matches!(command, Command::BeginHandoff { .. })
}

const fn completes(command: &Command) -> bool {
    matches!(command, Command::CompleteHandoff { .. })
}

#[test]
fn s1_a_begin_that_was_never_sent_is_sent_by_the_next_coordinator() {
    let (town, shard) = moving(|town| town.dies_at = Some(begins));
    assert!(town.handoff(shard).is_some());
    assert_eq!(town.sent_to(2, "BeginHandoff"), 0);
    let town = finish(town, shard);
    assert_eq!(town.logged(completes), 1);
}

#[test]
fn s2_a_begin_without_an_ack_is_sent_again() {
    let (mut town, shard) = moving(|town| {
        town.region(2).ignores.insert("BeginHandoff");
    });
    assert_eq!(town.sent_to(2, "BeginHandoff"), 1);
    town.region(2).ignores.clear();
    let town = finish(town, shard);
    assert_eq!(town.logged(completes), 1);
    assert_eq!(town.logged(begins), 1);
}

#[test]
fn s3_what_the_target_has_is_completed_by_the_next_coordinator_without_the_source() {
    let (mut town, shard) = moving(|town| {
        town.region(3).ignores.insert("InstallQuery");
    });
    assert_eq!(town.sent_to(3, "InstallQuery"), 1);
    town.region(3).ignores.clear();
    town.region(2).ignores.insert("BeginHandoff");
    let town = finish(town, shard);
    assert_eq!(town.logged(completes), 1);
}

#[test]
fn s4_a_complete_that_was_never_told_is_told_by_the_next_coordinator() {
    let (town, shard) = moving(|town| town.dies_at = Some(completes));
    assert_eq!(town.owner(shard), Some(3));
    let epoch = town.epoch(shard);
    let town = finish(town, shard);
    assert_eq!(town.epoch(shard), epoch);
    assert!(town.sent_to(3, "Start") > 0);
}

#[test]
fn a_precopy_of_the_last_coordinator_is_nothing_to_the_next() {
    let (mut town, shard) = moving(|town| {
        town.region(2).ignores.insert("Precopy");
    });
    let old = town.sent.iter().find_map(|(_, message)| match message {
        Message::Precopy(order) => Some(order.transfer),
        _ => None,
    });
    town.region(2).ignores.clear();
    town.elect(3);
    town.run_ms(500);
    let source = town.home(2);
    let transfer = old.unwrap();
    town.say(source, Message::Precopied { transfer });
    town.run_ms(2_000);
    assert_eq!(town.owner(shard), Some(2));
    assert_eq!(town.logged(begins), 0);
}

#[test]
fn a_coordinator_that_another_one_followed_decides_nothing() {
    let mut town = Town::new(3);
    let number = 9;
    let node = crate::cluster::NodeId(2);
    town.commit(Term { number, node }, Command::Coordinate);
    assert!(!town.coordinator.active());
    assert_eq!(town.coordinator.term(), None);
    assert_eq!(town.coordinator.poll_timeout(), None);
    assert_eq!(town.coordinator.poll_action(), None);
}

#[test]
fn a_coordinator_proposes_itself_until_it_is_in_the_log_and_decides_nothing_before() {
    let mut town = Town::new(3);
    town.stuck = Some(Default::default());
    town.elect(2);
    town.run_ms(450);
    assert!(!town.coordinator.active());
    let stuck = town.stuck.as_ref().unwrap();
    assert_eq!(stuck.len(), 3);
    assert!(
        stuck
            .iter()
            .all(|(_, command)| *command == Command::Coordinate)
    );
    town.unstick();
    assert!(town.coordinator.active());
}

#[test]
fn a_node_that_leads_again_in_its_term_waits_for_an_entry_of_this_life() {
    let mut town = Town::new(3);
    let term = town.coordinator.term().unwrap();
    town.coordinator = crate::coordinator::Coordinator::new();
    town.lead_again(term.number);
    assert!(!town.coordinator.active());
    town.run_ms(20);
    assert!(town.coordinator.active());
}

#[test]
fn a_proposal_that_is_in_the_log_twice_counts_once() {
    let (mut town, shard) = moving(|town| town.stuck = Some(Default::default()));
    town.run_ms(500);
    let stuck = town.stuck.as_ref().unwrap();
    let begun = stuck.iter().filter(|(_, command)| begins(command)).count();
    assert!(begun >= 2, "proposed {begun} times");
    town.unstick();
    town.until(200, |town| town.owner(shard) == Some(3));
    town.until(500, Town::calm);
    assert_eq!(town.logged(begins), begun);
    assert_eq!(town.sent_to(2, "HandoffAborted"), 0);
}

//! A source or a target that dies or says nothing, in each phase of a handoff: S6 to S8, and the phase timers.

use super::town::Town;
use crate::Durability;
use crate::cluster::{Message, ShardId, StopReason};
use crate::control::Command;

/// Four nodes; the coordinator on node 1 moves a shard of node 2 to node 3.
fn moving(durability: Durability, prepare: impl FnOnce(&mut Town)) -> (Town, ShardId) {
    let mut town = Town::new(4);
    town.deploy("counter", durability, 4);
    town.until(200, Town::calm);
    let shard = town.some_shard_of(2);
    prepare(&mut town);
    town.send_to_shard(shard, 3);
    town.run_ms(20);
    (town, shard)
}

/// L(1 + rho) and what a downing takes behind it.
const DOWNED_MS: u64 = 1_300;

#[test]
fn a_precopy_that_takes_too_long_is_given_up_and_both_ends_are_told() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(2).ignores.insert("Precopy");
    });
    let epoch = town.epoch(shard);
    town.run_ms(6_000);
    assert_eq!(town.epoch(shard), epoch);
    assert_eq!(town.coordinator.handoffs().count(), 0);
    assert!(town.sent_to(2, "HandoffAborted") > 1);
    assert_eq!(
        town.sent_to(2, "HandoffAborted"),
        town.sent_to(3, "HandoffAborted")
    );
    // And then it is silent.
    let told = town.sent_to(2, "HandoffAborted");
    town.run_ms(2_000);
    assert_eq!(town.sent_to(2, "HandoffAborted"), told);
}

#[test]
fn a_source_that_does_not_stop_in_time_keeps_the_shard_under_a_new_epoch() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(2).ignores.insert("BeginHandoff");
    });
    let before = town.epoch(shard);
    let ms = town.until(10_000, |town| town.owner(shard) == Some(2));
    assert!((4_900..=5_500).contains(&ms), "after {ms} ms");
    assert!(town.epoch(shard) > before);
    assert!(town.sent_to(2, "HandoffAborted") == 1 && town.sent_to(3, "HandoffAborted") == 1);
    town.until(500, |town| town.coordinator.starting() == 0);
}

#[test]
fn a_target_that_does_not_install_in_time_does_not_get_the_shard() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(3).ignores.insert("Chunk");
    });
    let before = town.epoch(shard);
    let ms = town.until(10_000, |town| town.owner(shard) == Some(2));
    assert!((4_900..=5_500).contains(&ms), "after {ms} ms");
    assert!(town.epoch(shard) > before);
}

#[test]
fn an_answer_about_an_older_handoff_is_ignored() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(3).ignores.insert("Chunk");
    });
    let old = town.handoff(shard).unwrap();
    town.until(10_000, |town| town.owner(shard) == Some(2));
    town.send_to_shard(shard, 3);
    town.run_ms(20);
    let new = town.handoff(shard).unwrap();
    assert!(new > old);
    let (source, target) = (town.home(2), town.home(3));
    let stale = town.installed(target, old, shard);
    town.say(target, stale);
    town.say(
        target,
        Message::NotInstalled {
            handoff: old,
            shard,
        },
    );
    // Of this handoff, but not from its target.
    let forged = town.installed(source, new, shard);
    town.say(source, forged);
    town.run_ms(100);
    assert_eq!(town.handoff(shard), Some(new));
    assert_eq!(
        town.logged(|it| matches!(it, Command::CompleteHandoff { .. })),
        0
    );
}

#[test]
fn s6_a_source_that_dies_before_the_target_has_all_leaves_its_ledger_behind() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(3).ignores.insert("Chunk");
    });
    let ledger = town.control.members[&crate::cluster::NodeId(2)]
        .ledger
        .unwrap();
    town.kill(2);
    let ms = town.until(3_000, |town| {
        town.owner(shard).is_some_and(|node| node != 2)
    });
    assert!(ms <= DOWNED_MS, "after {ms} ms");
    let sources: Vec<_> = town.control.shards[&shard]
        .sources
        .iter()
        .map(|it| it.ledger)
        .collect();
    assert_eq!(sources, [ledger]);
}

#[test]
fn s7_a_source_that_dies_when_the_target_has_all_changes_nothing() {
    for durability in [Durability::Durable, Durability::Memory] {
        let (mut town, shard) = moving(durability, |town| {
            town.region(3).ignores.insert("InstallQuery");
        });
        town.kill(2);
        town.region(3).ignores.clear();
        let ms = town.until(1_000, |town| town.owner(shard) == Some(3));
        assert!(ms <= 300, "after {ms} ms");
        assert!(town.control.shards[&shard].sources.is_empty());
    }
}

#[test]
fn s7_also_where_the_coordinator_hears_of_it_after_the_source_is_down() {
    let (mut town, shard) = moving(Durability::Memory, |town| {
        town.region(3).ignores.insert("InstallQuery");
    });
    town.kill(2);
    let source = town.home(2);
    town.until(3_000, |town| town.control.live(source).is_none());
    assert!(town.handoff(shard).is_some(), "waits for the target");
    town.region(3).ignores.clear();
    town.until(500, |town| town.owner(shard) == Some(3));
    let asked = town
        .sent
        .iter()
        .any(|(_, message)| matches!(message, Message::InstallQuery { last: true, .. }));
    assert!(asked);
}

#[test]
fn a_source_that_dies_in_the_precopy_loses_its_shards_and_no_handoff_begins() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(2).ignores.insert("Precopy");
    });
    town.kill(2);
    let ms = town.until(3_000, |town| {
        town.owner(shard).is_some_and(|node| node != 2)
    });
    assert!(ms <= DOWNED_MS, "after {ms} ms");
    assert_eq!(
        town.logged(|it| matches!(it, Command::BeginHandoff { .. })),
        0
    );
    town.until(1_000, Town::calm);
}

#[test]
fn s8_a_target_that_dies_before_it_has_all_gives_the_shard_back() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(3).ignores.insert("InstallQuery");
    });
    let before = town.epoch(shard);
    town.kill(3);
    let ms = town.until(3_000, |town| town.owner(shard) == Some(2));
    assert!(ms <= DOWNED_MS, "after {ms} ms");
    assert!(town.epoch(shard) > before);
    town.until(500, |town| town.coordinator.starting() == 0 && town.calm());
    assert_eq!(town.sent_to(2, "HandoffAborted"), 1);
}

#[test]
fn s8_a_target_that_dies_in_the_precopy_is_no_target_any_more() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(2).ignores.insert("Precopy");
    });
    town.kill(3);
    town.run_ms(700);
    assert_eq!(town.coordinator.handoffs().count(), 0, "it is suspect");
    assert!(town.sent_to(2, "HandoffAborted") >= 1);
    assert_eq!(town.owner(shard), Some(2));
}

#[test]
fn s8_a_target_that_dies_before_it_started_gives_the_shard_to_another_node() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(3).ignores.insert("Start");
    });
    assert_eq!(town.owner(shard), Some(3));
    let before = town.epoch(shard);
    town.kill(3);
    let ms = town.until(3_000, |town| {
        town.owner(shard).is_some_and(|node| node != 3)
    });
    assert!(ms <= DOWNED_MS, "after {ms} ms");
    assert!(town.epoch(shard) > before);
}

#[test]
fn source_and_target_may_both_die() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(3).ignores.insert("InstallQuery");
    });
    let ledger = town.control.members[&crate::cluster::NodeId(2)]
        .ledger
        .unwrap();
    town.kill(2);
    town.kill(3);
    let ms = town.until(3_000, |town| {
        town.owner(shard).is_some_and(|node| node == 1 || node == 4)
    });
    assert!(ms <= DOWNED_MS, "after {ms} ms");
    assert_eq!(town.control.shards[&shard].sources[0].ledger, ledger);
    town.until(1_000, Town::calm);
}

#[test]
fn a_source_that_died_and_a_target_that_says_nothing_end_with_the_handoffs_deadline() {
    let (mut town, shard) = moving(Durability::Memory, |town| {
        town.region(3).ignores.insert("InstallQuery");
    });
    town.kill(2);
    let ms = town.until(30_000, |town| town.owner(shard).is_some());
    assert!((19_000..=22_000).contains(&ms), "after {ms} ms");
}

#[test]
fn a_failed_move_is_not_tried_again_at_once() {
    let mut town = Town::new(2);
    town.deploy("counter", Durability::Durable, 16);
    town.until(200, Town::calm);
    for node in 1..=2 {
        town.region(node).ignores.insert("BeginHandoff");
    }
    town.start(3);
    town.run_ms(30_000);
    let begun = town.logged(|it| matches!(it, Command::BeginHandoff { .. }));
    // Together at first, and then alone, each after 5 and 10 seconds more.
    assert!((2..=14).contains(&begun), "{begun} times\n{town}");
    for node in 1..=2 {
        town.region(node).ignores.clear();
    }
    town.until(100_000, |town| town.loads()[2] >= 4 && town.calm());
}

#[test]
fn messages_that_make_no_sense_change_nothing() {
    let (mut town, shard) = moving(Durability::Durable, |town| {
        town.region(2).ignores.insert("BeginHandoff");
    });
    let handoff = town.handoff(shard).unwrap();
    let source = town.home(2);
    let log = town.log.len();
    let epoch = town.epoch(shard);
    let far = ShardId {
        space: crate::cluster::SpaceId(99),
        number: 7,
    };
    for message in [
        Message::HandoffAcked {
            handoff,
            shards: vec![far, far],
        },
        Message::NotInstalled { handoff, shard },
        Message::Started {
            shards: vec![(far, epoch)],
        },
        Message::StartRefused {
            shards: vec![(shard, epoch)],
            applied: town.control.applied,
        },
        Message::EntityStopped {
            shard: far,
            epoch,
            seq: u64::MAX,
            live: u64::MAX,
            reason: StopReason::Crashed,
        },
        Message::Adopted {
            shard: far,
            epoch,
            source: crate::cluster::LedgerId(1),
        },
    ] {
        town.say(source, message);
    }
    assert_eq!(town.log.len(), log);
    assert_eq!(town.handoff(shard), Some(handoff));
}

#[test]
fn a_process_that_was_seen_to_exit_is_not_waited_for() {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 6);
    town.until(200, Town::calm);
    town.kill(3);
    town.exited(3);
    let ms = town.until(1_000, |town| town.loads()[2] == 0 && town.calm());
    assert!(ms <= 10, "after {ms} ms");
}

#[test]
fn a_coordinator_that_stood_still_downs_nobody_for_it() {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 6);
    town.until(200, Town::calm);
    for ms in [400, 1_100, 10_000] {
        town.pause_ms(ms);
        town.run_ms(500);
    }
    assert_eq!(town.logged(|it| matches!(it, Command::Down { .. })), 0);
}

#[test]
fn a_node_that_starts_again_gets_shards_again_and_loses_none_twice() {
    let mut town = Town::new(3);
    town.deploy("counter", Durability::Durable, 30);
    town.until(200, Town::calm);
    town.start(3);
    let ms = town.until(3_000, |town| {
        let on_3 = town.control.members[&crate::cluster::NodeId(3)]
            .incarnation
            .0
            > 12;
        on_3 && town.calm()
    });
    assert!(ms <= 500, "after {ms} ms");
    town.until(20_000, |town| town.loads()[2] >= 8 && town.calm());
    town.run_ms(10_000);
    let begun = town.logged(|it| matches!(it, Command::BeginHandoff { .. }));
    assert!(begun <= 2, "{begun} rounds");
}

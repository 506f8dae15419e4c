//! Clusters that grow, shrink, are upgraded, or lose a third.
//!
//! R8 to R11 of PROTOCOL section 8.

use std::collections::BTreeSet;

use entia_protocol::cluster::NodeId;
use entia_protocol::control::{Command, Status};
use entia_sim::faults::{FaultKind, Restart, Who, Wish};
use entia_sim::plan::nanos;
use entia_sim::story::{Story, bystander, isolate, ms, seconds, started, within, worst};

const SECOND: u64 = 1_000_000_000;

#[test]
fn r8_a_cluster_grows_from_one_to_five_and_shrinks_to_three_under_load() {
    within("R8, the longest wait", ms(1_000), |seed| {
        let add = FaultKind::Wish(Wish::Add);
        let shift = 37 * seed;
        let told = Story::new(seed)
            .nodes(1)
            .lasting(ms(24_000), ms(15_000))
            .at(ms(2_000 + shift), add)
            .at(ms(2_300), add)
            .at(ms(7_000 + shift), add)
            .at(ms(7_300), add)
            .at(ms(13_000 + shift), FaultKind::Wish(Wish::Leave(NodeId(4))))
            .at(ms(17_000), FaultKind::Wish(Wish::Leave(NodeId(5))))
            .tell();
        let voters = |at: u64| told.control_at(at * SECOND).voters.len();
        assert_eq!(voters(1), 1);
        assert_eq!(voters(6), 3);
        assert_eq!(voters(12), 5);
        assert_eq!(voters(23), 3);
        assert_eq!(told.control().members.len(), 3);
        for id in 1..=5 {
            assert!(!told.owned(NodeId(id), 12 * SECOND).is_empty(), "{id}");
        }
        assert!(told.owned(NodeId(4), 23 * SECOND).is_empty());
        told.longest_wait(SECOND, u64::MAX)
    });
}

#[test]
fn r9_a_voter_that_was_cut_off_comes_back_and_makes_one_election_at_most() {
    within("R9, the longest wait", ms(1_000), |seed| {
        let back = 6_000 + 37 * seed;
        let told = Story::new(seed)
            .lasting(ms(12_000), ms(15_000))
            .when(started(ms(back - 3_000)))
            .then_as(|world, _| isolate(Who::Node(bystander(world)), ms(3_000)))
            // Its term is higher than the leader's: that one steps down, and the oracle of the log elects another.
            .at(ms(back + 20), FaultKind::Elect)
            .tell();
        let back = nanos(ms(back));
        let elected = told.decided(|command| matches!(command, Command::Coordinate));
        let elected = elected.iter().filter(|elected| elected.at >= back);
        assert_eq!(elected.count(), 1);
        assert_eq!(told.downs().len(), 1);
        told.longest_wait(back, u64::MAX)
    });
}

#[test]
fn r10_a_hundred_nodes_lose_thirty_and_serve_a_thousand_shards_again() {
    let worst = worst("R10", 2, |seed| {
        let mut story = Story::new(seed)
            .nodes(100)
            .lasting(ms(10_000), ms(12_000))
            .with(|plan| {
                plan.zones = 5;
                plan.check_every = 10_007;
                plan.spaces[0].shards = 600;
                plan.spaces[1].shards = 300;
                plan.spaces[2].shards = 100;
                plan.work.entities = 300;
                plan.work.clients = 50;
            });
        // Every third: each ledger has one replica among three nodes in a row, and loses one.
        let killed: BTreeSet<_> = (2..32).map(|third| NodeId(3 * third)).collect();
        for &id in &killed {
            let crash = FaultKind::Crash {
                who: Who::Node(id),
                down: ms(0),
                restart: Restart::Never,
            };
            story = story.at(ms(3_000 + 37 * seed), crash);
        }
        let told = story.tell();
        let struck = told.struck();
        let lost: BTreeSet<_> = killed
            .iter()
            .flat_map(|&id| told.owned(id, struck - 1))
            .collect();
        assert_eq!(told.downs().len(), killed.len());
        let settled = struck + 6 * SECOND;
        let decided = told.chronicle().decided.iter();
        let assigned: usize = decided
            .filter(|decided| decided.counts && (struck..settled).contains(&decided.at))
            .map(|decided| match &decided.entry.command {
                Command::Assign { shards } => shards.len(),
                Command::BeginHandoff { shards, .. } => shards.len(),
                _ => 0,
            })
            .sum();
        println!("FIGURE R10: {} lost, {assigned} moved", lost.len());
        assert!(assigned <= lost.len() + lost.len() / 10);
        let times = killed.iter().map(|&id| told.outage(id, struck));
        times.max().expect("thirty")
    });
    assert!(worst <= 5 * SECOND, "{}", seconds(worst));
}

#[test]
fn r11_nodes_are_upgraded_one_by_one_under_load_and_nobody_waits_longer_than_for_a_handoff() {
    within("R11, the longest wait", ms(1_000), |seed| {
        let mut story = Story::new(seed).lasting(ms(28_000), ms(15_000));
        for id in 1..=5 {
            let at = ms(1_000 + 37 * seed + 5_000 * (id - 1));
            let upgrade = FaultKind::Crash {
                who: Who::Node(NodeId(id)),
                down: ms(300),
                restart: Restart::Upgraded,
            };
            story = story
                .at(at, FaultKind::Wish(Wish::Drain(NodeId(id))))
                .at(at + ms(3_000), upgrade);
        }
        let told = story.tell();
        let upgrades: Vec<_> = told.strikes().collect();
        for upgrade in &upgrades {
            let node = upgrade.node.expect("somebody");
            let owned = told.owned(node, upgrade.at - 1);
            assert!(owned.is_empty(), "{node} was drained: {owned:?}");
        }
        // Two versions are members: nothing moves but what is drained.
        let (first, last) = (upgrades[0].at, upgrades[4].at);
        for begun in told.decided(|command| matches!(command, Command::BeginHandoff { .. })) {
            let Command::BeginHandoff { from, .. } = &begun.entry.command else {
                continue;
            };
            if (first..last).contains(&begun.at) {
                let before = told.control_at(begun.at);
                let leaves = before.members[&from.node].status == Status::Leaving;
                assert!(leaves, "{from} is not drained: {:?}", begun.entry);
            }
        }
        let versions = told.control().members.values();
        assert!(versions.map(|member| member.boot.version).all(|it| it == 2));
        let refused = told.refusals(first, u64::MAX);
        let codes: BTreeSet<_> = refused.iter().map(|it| it.error.code()).collect();
        println!("FIGURE R11: {} refusals: {codes:?}", refused.len());
        told.longest_wait(first - 3 * SECOND, u64::MAX)
    });
}

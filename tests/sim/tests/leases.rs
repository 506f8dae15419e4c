//! Who may run what until when: cuts, meshes, flaps, pauses, clocks, and messages that come late or more than once.
//!
//! S12 to S22 of PROTOCOL section 8.

use std::collections::{BTreeMap, BTreeSet};

use entia_protocol::cluster::{Message, NodeId};
use entia_protocol::control::Command;
use entia_sim::faults::{FaultKind, Who, Wish};
use entia_sim::observation::{Cause, Observation};
use entia_sim::plan::{Plan, nanos};
use entia_sim::story::{
    Story, Told, after, aside, begins, bystander, downs, isolate, kill, ms, proposed, received,
    started, within, worst,
};
use entia_sim::world::World;

const LEASE: u64 = 1_000_000_000;

fn busy(seed: u64) -> Story {
    Story::new(seed).lasting(ms(9_000), ms(15_000))
}

fn soon(seed: u64) -> std::time::Duration {
    ms(3_000 + 37 * seed)
}

/// Two nodes that do not coordinate.
fn two(world: &World) -> [NodeId; 2] {
    let mut nodes = world.nodes.keys().copied();
    let mut next = || nodes.find(|&id| world.log.leader != Some(id));
    [next(), next()].map(|id| id.expect("more than two nodes"))
}

#[test]
fn s12_a_region_that_nobody_hears_is_replaced() {
    within("S12, mute", ms(2_000), |seed| {
        let told = busy(seed)
            .when(started(soon(seed)))
            .then_as(|world, _| FaultKind::Mute {
                who: Who::Node(bystander(world)),
                lasts: ms(4_000),
            })
            .tell();
        told.outage(told.victim(), told.struck())
    });
}

#[test]
fn s13_two_nodes_that_do_not_hear_each_other_are_no_reason_to_down_either() {
    for seed in 1..=5 {
        let cut = |from: usize| {
            move |world: &World, _: &Observation<'_>| FaultKind::Cut {
                from: Who::Node(two(world)[from]),
                to: Who::Node(two(world)[1 - from]),
                lasts: ms(5_000),
            }
        };
        let told = busy(seed)
            .when(started(soon(seed)))
            .then_as(cut(0))
            .when(started(soon(seed)))
            .then_as(cut(1))
            .tell();
        assert!(told.downs().is_empty(), "nobody is down by opinion");
        refused_with_a_reason(&told);
    }
}

#[test]
fn s13_over_a_bridge_only_those_are_down_that_the_coordinator_does_not_hear() {
    for seed in 1..=5 {
        let told = busy(seed)
            .when(started(soon(seed)))
            .then_as(|world, _| {
                let [first, second] = two(world);
                let mut others = world.nodes.keys().copied();
                let bridge = others
                    .find(|&id| id > second && world.log.leader != Some(id))
                    .expect("five nodes");
                FaultKind::Split {
                    side: 1 << (first.0 - 1) | 1 << (second.0 - 1),
                    bridge: Some(Who::Node(bridge)),
                    lasts: ms(5_000),
                }
            })
            .tell();
        let FaultKind::Split { side, .. } = told.strike().kind else {
            unreachable!("it is one");
        };
        let downs = told.downs();
        for (at, home) in &downs {
            assert!(side >> (home.node.0 - 1) & 1 == 1, "{downs:?}");
            assert!(at - told.struck() >= LEASE * 89 / 100, "by its lease alone");
        }
        refused_with_a_reason(&told);
    }
}

/// Each call that was not answered well was refused with something that a client can act upon.
fn refused_with_a_reason(told: &Told) {
    let refusals = told.refusals(told.struck(), u64::MAX);
    let codes: BTreeSet<_> = refusals
        .iter()
        .map(|refusal| refusal.error.code())
        .collect();
    println!("FIGURE S13: {} refusals: {codes:?}", refusals.len());
    let known = [
        "deadline_exceeded",
        "unavailable",
        "trapped",
        "rejected",
        "interrupted",
        "overloaded",
    ];
    assert!(codes.iter().all(|code| known.contains(code)), "{codes:?}");
}

#[test]
fn s15_a_link_that_flaps_for_half_a_minute_costs_a_node_at_most_one_down_in_five_seconds() {
    let most = worst("S15, as many downs", 5, |seed| {
        let told = Story::new(seed)
            .lasting(ms(35_000), ms(15_000))
            .when(started(soon(seed)))
            .then_as(|world, _| FaultKind::Flap {
                who: Who::Node(bystander(world)),
                period: ms(200),
                lasts: ms(30_000),
            })
            .tell();
        assert_rare(&told);
        told.downs().len() as u64 * 1_000_000_000
    });
    assert!(most <= 6_000_000_000);
}

#[test]
fn s15_a_link_that_is_cut_for_longer_than_a_lease_each_time_costs_no_more() {
    let most = worst("S15, slow, as many downs", 5, |seed| {
        let told = Story::new(seed)
            .lasting(ms(35_000), ms(20_000))
            .when(started(soon(seed)))
            .then_as(|world, _| FaultKind::Flap {
                who: Who::Node(bystander(world)),
                period: ms(1_300),
                lasts: ms(30_000),
            })
            .tell();
        assert_rare(&told);
        told.downs().len() as u64 * 1_000_000_000
    });
    assert!(most >= 1_000_000_000, "it is down at least once");
}

/// Only the node that was struck is down, and never twice within five seconds.
fn assert_rare(told: &Told) {
    let downs = told.downs();
    assert!(downs.iter().all(|(_, home)| home.node == told.victim()));
    for pair in downs.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        assert!(apart >= 5 * LEASE, "two downs {apart} ns apart");
    }
}

#[test]
fn s16_a_start_that_arrives_after_the_lease_starts_nothing() {
    for seed in 1..=5 {
        // A region hears again, in any order, all that it heard from before a shard moved to it until after it had lost everything.
        let region = NodeId(3);
        let told = Story::new(seed)
            .lasting(ms(10_000), ms(15_000))
            .at(
                ms(2_000),
                FaultKind::Echo {
                    who: Who::Node(region),
                    lasts: ms(5_000),
                },
            )
            .at(
                ms(2_500 + 37 * seed),
                FaultKind::Wish(Wish::Move(0, region)),
            )
            .at(ms(4_000), isolate(Who::Node(region), ms(2_000)))
            .when(after(
                started(ms(7_000)),
                received(|message| matches!(message, Message::Start { .. })),
            ))
            .is_seen()
            .tell();
        let life = told.control_at(nanos(ms(4_000))).members[&region].home();
        let ran = told.turns(nanos(ms(5_000)), u64::MAX);
        assert_eq!(ran.filter(|turn| turn.home == life).count(), 0);
        let owned = told.control_at(nanos(ms(4_000)));
        let epochs: BTreeMap<_, _> = owned
            .shards
            .iter()
            .map(|(&shard, state)| (shard, state.epoch))
            .collect();
        let stale = |turn: &&entia_sim::chronicle::Began| {
            turn.home.node == region && epochs.get(&turn.shard) == Some(&turn.epoch)
        };
        let ran = told.turns(nanos(ms(6_000)), u64::MAX);
        assert_eq!(ran.filter(stale).count(), 0);
    }
}

#[test]
fn s17_a_renewal_that_arrives_while_a_down_is_decided_is_not_granted() {
    for seed in 1..=5 {
        let mut story = busy(seed);
        // Each commit takes its time, so that renewals arrive before it.
        for id in 1..=5 {
            let slow = FaultKind::SlowDisk {
                who: Who::Node(NodeId(id)),
                sync: ms(400),
                lasts: ms(300),
            };
            story = story.when(proposed(downs)).then(slow);
        }
        let told = story
            .when(started(soon(seed)))
            .then_as(|world, _| FaultKind::Isolate {
                who: Who::Node(bystander(world)),
                lasts: ms(8_000),
            })
            .when(after(proposed(downs), |_, _| true))
            .then(FaultKind::Mend)
            .when(after(
                proposed(downs),
                |world: &World, seen: &Observation<'_>| {
                    let mut members = world.log.state.members.values();
                    let Cause::Message { from, message } = seen.cause else {
                        return false;
                    };
                    // The one that was silent is heard, and still a member.
                    matches!(message, Message::Renew(_))
                        && world.log.leader == Some(seen.node)
                        && members.all(|member| world.log.state.live(member.home()).is_some())
                        && world.strikes.iter().any(|strike| {
                            matches!(strike.kind, FaultKind::Isolate { .. })
                                && strike.node == Some(from.node)
                        })
                },
            ))
            .is_seen()
            .tell();
        let isolated = told
            .strikes()
            .find(|strike| matches!(strike.kind, FaultKind::Isolate { .. }))
            .expect("it was");
        let region = isolated.node.expect("somebody");
        let downs = told.downs();
        assert_eq!(downs.len(), 1, "{downs:?}");
        assert_eq!(downs[0].1.node, region);
        let granted = told.chronicle().grants.iter().filter(|granted| {
            granted.to == region
                && granted.grant.incarnation == downs[0].1.incarnation
                && granted.at > isolated.at + LEASE / 2
        });
        assert_eq!(granted.count(), 0, "from the proposal on it is not granted");
    }
}

#[test]
fn s18_a_region_that_stops_for_less_than_a_lease_goes_on() {
    for seed in 1..=5 {
        let told = paused(busy(seed), seed, ms(900));
        println!("FIGURE S18, 0.9 s: {} downs", told.downs().len());
        assert!(told.downs().len() <= 1);
    }
}

#[test]
fn s18_a_region_that_stops_for_longer_than_its_lease_dispatches_nothing_when_it_goes_on() {
    within("S18, 1.1 s", ms(1_500), |seed| {
        let told = paused(busy(seed), seed, ms(1_100));
        assert_over(&told);
        told.outage(told.victim(), told.struck())
    });
    within("S18, 10 s", ms(1_500), |seed| {
        let story = busy(seed).lasting(ms(20_000), ms(15_000));
        let told = paused(story, seed, ms(10_000));
        assert_over(&told);
        told.outage(told.victim(), told.struck())
    });
}

#[test]
fn s18_a_region_that_stops_for_an_hour_is_no_danger() {
    let hour = ms(3_600_000);
    let story = Story::new(1)
        .nodes(3)
        .lasting(hour + ms(10_000), ms(15_000))
        .with(|plan| {
            plan.check_every = 1_001;
            plan.work.clients = 1;
            plan.work.think = ms(5_000);
            plan.spaces[2].shards = 1;
        });
    let told = paused(story, 1, hour);
    assert_over(&told);
    let outage = told.outage(told.victim(), told.struck());
    println!("FIGURE S18, 1 h: {outage} ns");
    assert!(outage <= LEASE * 3 / 2);
}

fn paused(story: Story, seed: u64, lasts: std::time::Duration) -> Told {
    story
        .when(started(soon(seed)))
        .then_as(move |world, _| FaultKind::Pause {
            who: Who::Node(bystander(world)),
            lasts,
        })
        .tell()
}

/// Its life ended while it stopped, and that life dispatched nothing after it: not even what was in its queues.
fn assert_over(told: &Told) {
    let downs = told.downs();
    assert_eq!(downs.len(), 1, "{downs:?}");
    let (_, life) = downs[0];
    assert_eq!(life.node, told.victim());
    let ran = told.turns(told.struck() + 1, u64::MAX);
    assert_eq!(ran.filter(|turn| turn.home == life).count(), 0);
}

/// Clocks that run wrong by so much, either way, while nodes are cut off, stop, and hand over.
fn with_clocks(seed: u64, ppm: i64) -> Told {
    busy(seed)
        .lasting(ms(16_000), ms(20_000))
        .with(|plan: &mut Plan| plan.drift_ppm = vec![ppm, -ppm, ppm, -ppm, 0])
        .when(started(soon(seed)))
        .then_as(aside)
        .at(ms(4_000), isolate(Who::Node(NodeId(1)), ms(2_000)))
        .at(ms(7_000), isolate(Who::Node(NodeId(2)), ms(2_000)))
        .at(ms(10_000), isolate(Who::Coordinator, ms(2_000)))
        .at(
            ms(12_500),
            FaultKind::Pause {
                who: Who::Node(NodeId(3)),
                lasts: ms(1_100),
            },
        )
        .tell()
}

#[test]
fn s19_clocks_that_run_as_wrong_as_they_may_never_make_two_owners() {
    for seed in 1..=5 {
        let told = with_clocks(seed, 10_000);
        assert!(told.downs().len() >= 3, "leases ran out");
    }
}

#[test]
fn s19_clocks_that_run_five_times_as_wrong_lose_and_fork_nothing_durable() {
    for seed in 1..=5 {
        with_clocks(seed, 50_000);
    }
}

#[test]
fn s20_a_wall_clock_that_jumps_a_day_moves_no_shard() {
    const DAY: i64 = 86_400_000;
    for seed in 1..=5 {
        let told = busy(seed)
            .at(
                soon(seed),
                FaultKind::WallJump {
                    who: Who::Node(NodeId(1)),
                    ms: DAY,
                },
            )
            .at(
                soon(seed),
                FaultKind::WallJump {
                    who: Who::Node(NodeId(2)),
                    ms: -DAY,
                },
            )
            .at(
                soon(seed),
                FaultKind::WallJump {
                    who: Who::Coordinator,
                    ms: DAY,
                },
            )
            .tell();
        let decided = told.chronicle().decided.iter();
        let moved: Vec<_> = decided
            .filter(|decided| decided.at >= told.struck() && !decided.shards.is_empty())
            .collect();
        assert!(moved.is_empty(), "{moved:?}");
        assert!(told.longest_wait(told.struck(), u64::MAX) <= LEASE);
    }
}

#[test]
fn s22_all_that_a_process_heard_and_its_successor_hears_again_changes_nothing() {
    for seed in 1..=5 {
        let recorded = ms(3_000);
        let mut story = busy(seed)
            .lasting(ms(12_000), ms(15_000))
            .at(ms(2_500 + 37 * seed), kill(Who::Node(NodeId(2))))
            .at(ms(4_000), FaultKind::Wish(Wish::Move(0, NodeId(3))));
        // Everybody hears again what was said from 2 s to 5 s, in any order: the process that ended, too.
        for id in 1..=5 {
            let echo = FaultKind::Echo {
                who: Who::Node(NodeId(id)),
                lasts: recorded,
            };
            story = story.at(ms(2_000), echo);
        }
        let told = story.tell();
        assert_eq!(told.decided(begins).len(), told.decided(completes).len());
        let again = nanos(ms(5_000));
        let decided = told.chronicle().decided.iter();
        let moved = decided.filter(|decided| {
            let by = &decided.entry.command;
            // What else changes shards is the coordinator's own doing: it evens out what the killed node left.
            decided.at >= again
                && decided.counts
                && matches!(by, Command::Down { .. } | Command::AbortHandoff { .. })
        });
        assert_eq!(moved.count(), 0);
    }
}

fn completes(command: &Command) -> bool {
    matches!(command, Command::CompleteHandoff { .. })
}

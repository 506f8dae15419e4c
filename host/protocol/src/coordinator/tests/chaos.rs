//! Everything at once, by seed: messages are lost, repeated and late, nodes and coordinators come and go, people change their minds.
//! The invariants are checked after every input; in the end everything has a home and nothing is left over.

use super::town::{Noise, Town};
use crate::Durability;
use crate::cluster::{NodeId, WorkerHealth};
use crate::control::{Command, Phase, Role};
use crate::coordinator::Request;

#[test]
fn whatever_happens_everything_has_a_home_in_the_end() {
    let mut ends = [0; 3];
    for seed in 0..40 {
        let town = live_through(seed);
        ends[0] += town.logged(|it| matches!(it, Command::CompleteHandoff { .. }));
        ends[1] += town.logged(|it| matches!(it, Command::AbortHandoff { .. }));
        ends[2] += town.logged(|it| matches!(it, Command::Retire { .. }));
    }
    assert!(ends.iter().all(|&count| count > 0), "{ends:?}");
}

fn live_through(seed: u64) -> Town {
    let mut town = Town::new(5);
    let mut dice = Noise::new(!seed);
    town.deploy("counter", Durability::Durable, 20);
    town.deploy("cache", Durability::Memory, 10);
    town.scale("pump", 5).unwrap();
    town.run_ms(500);
    town.noise = Some(Noise::new(seed));
    for _ in 0..60 {
        happen(&mut town, &mut dice);
        let pause = dice.below(500);
        town.run_ms(u64::try_from(pause).unwrap());
    }
    town.noise = None;
    for node in 1..=5 {
        town.region(node).ignores.clear();
        town.region(node).worker_health = WorkerHealth::Running;
        if !town.region(node).alive {
            town.start(node);
        }
    }
    town.elect(1);
    town.until(1_000, |town| town.coordinator.active());
    for node in 1..=5 {
        let node = NodeId(node);
        // Only some of them were leaving.
        let _ = town.request(Request::Undrain { node });
    }
    town.until(60_000, |town| {
        let stable = |role| match role {
            Role::Daemons { phase, .. } => phase == Phase::Stable,
            Role::Kind => true,
        };
        let mut spaces = town.control.spaces.values();
        town.calm() && town.coordinator.starting() == 0 && spaces.all(|space| stable(space.role))
    });
    town
}

fn happen(town: &mut Town, dice: &mut Noise) {
    let node = 1 + u64::try_from(dice.below(5)).unwrap();
    let deaf = [
        "Precopy",
        "BeginHandoff",
        "InstallQuery",
        "Chunk",
        "Start",
        "Renew",
    ];
    match dice.below(10) {
        0 => town.elect(node),
        1 => {
            let alive = (1..=5).filter(|&node| town.region(node).alive).count();
            if alive > 2 {
                town.kill(node);
            }
        }
        2 | 3 => {
            if !town.region(node).alive {
                town.start(node);
            }
        }
        4 => {
            let what = deaf[dice.below(deaf.len())];
            town.region(node).ignores.insert(what);
        }
        5 => town.region(node).ignores.clear(),
        6 => {
            let node = NodeId(node);
            let request = match dice.below(2) {
                0 => Request::Drain { node },
                _ => Request::Undrain { node },
            };
            // It may make no sense now, or come to a node that does not coordinate.
            let _ = town.request(request);
        }
        7 => {
            let workers = 1 + u32::try_from(dice.below(8)).unwrap();
            let _ = town.scale("pump", workers);
        }
        8 => {
            let all: Vec<_> = town.control.shards.keys().copied().collect();
            let first = dice.below(all.len());
            let shards = all[first..].iter().take(5).copied().collect();
            let to = NodeId(node);
            let _ = town.request(Request::Move { shards, to });
        }
        _ => {
            let failing = WorkerHealth::Failing { failures: 3 };
            town.region(node).worker_health = failing;
        }
    }
}

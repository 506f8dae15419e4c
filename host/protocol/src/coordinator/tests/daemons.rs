//! Workers: as many as there should be, elsewhere when they fail, none too many when there should be fewer.

use super::town::Town;
use crate::cluster::WorkerHealth;
use crate::control::{Command, Phase, Role};
use crate::coordinator::RequestError;

fn phase(town: &Town) -> Phase {
    match town.control.spaces.values().next().unwrap().role {
        Role::Daemons { phase, .. } => phase,
        Role::Kind => panic!("a kind"),
    }
}

fn healthy(town: &Town, workers: usize) -> bool {
    let running = |health| health == Some(WorkerHealth::Running);
    let mut views = town.coordinator.workers();
    town.coordinator.workers().count() == workers && views.all(|view| running(view.health))
}

#[test]
fn workers_are_spread_and_asked_how_they_are() {
    let mut town = Town::new(3);
    town.scale("pump", 7).unwrap();
    town.until(300, Town::calm);
    let mut loads = town.loads();
    loads.sort_unstable();
    assert_eq!(loads, [2, 2, 3]);
    town.until(2_000, |town| healthy(town, 7));
}

#[test]
fn a_smaller_set_is_stable_when_the_last_superfluous_worker_has_stopped() {
    let mut town = Town::new(3);
    town.scale("pump", 9).unwrap();
    town.until(300, Town::calm);
    town.region(2).ignores.insert("StopWorker");
    town.scale("pump", 4).unwrap();
    town.run_ms(1_000);
    assert_eq!(phase(&town), Phase::Shrinking);
    assert_eq!(town.control.shards.len(), 9);
    let again = town.scale("pump", 5);
    assert!(matches!(again, Err(RequestError::Shrinking { .. })));
    town.region(2).ignores.clear();
    town.until(1_000, |town| town.control.shards.len() == 4);
    assert_eq!(phase(&town), Phase::Stable);
    town.scale("pump", 6).unwrap();
    town.until(1_000, |town| town.control.shards.len() == 6 && town.calm());
    town.until(2_000, |town| healthy(town, 6));
}

#[test]
fn a_set_shrinks_also_where_a_node_or_the_coordinator_dies_meanwhile() {
    let mut town = Town::new(3);
    town.scale("pump", 9).unwrap();
    town.until(300, Town::calm);
    town.region(2).ignores.insert("StopWorker");
    town.region(3).ignores.insert("StopWorker");
    town.scale("pump", 3).unwrap();
    town.run_ms(100);
    town.kill(2);
    town.elect(1);
    town.region(3).ignores.clear();
    town.until(5_000, |town| town.control.shards.len() == 3 && town.calm());
    assert!(town.logged(|it| matches!(it, Command::Retire { .. })) >= 1);
}

#[test]
fn a_worker_that_fails_moves_at_once_and_then_ever_more_rarely() {
    let mut town = Town::new(3);
    town.scale("pump", 1).unwrap();
    town.until(300, Town::calm);
    town.until(2_000, |town| healthy(town, 1));
    for node in 1..=3 {
        town.region(node).worker_health = WorkerHealth::Failing { failures: 3 };
    }
    let worker = town.shard(0);
    let first = town.owner(worker);
    town.until(6_000, |town| {
        town.owner(worker).is_some_and(|now| Some(now) != first)
    });
    let second = town.owner(worker);
    town.until(3_000, |town| {
        let now = town.owner(worker);
        now.is_some() && now != first && now != second
    });
    let begun = |town: &Town| town.logged(|it| matches!(it, Command::BeginHandoff { .. }));
    town.run_ms(10_000);
    let soon = begun(&town);
    assert!((2..=6).contains(&soon), "{soon} moves in 10 s\n{town}");
    town.run_ms(60_000);
    let later = begun(&town);
    assert!(later - soon <= 4, "{later} moves in 70 s");
    assert!(town.coordinator.workers().next().unwrap().moves >= 4);
    for node in 1..=3 {
        town.region(node).worker_health = WorkerHealth::Running;
    }
    town.until(10_000, |town| healthy(town, 1));
}

#[test]
fn a_worker_that_fails_on_the_only_node_stays() {
    let mut town = Town::new(1);
    town.scale("pump", 2).unwrap();
    town.until(300, Town::calm);
    town.region(1).worker_health = WorkerHealth::Failing { failures: 3 };
    town.run_ms(20_000);
    assert_eq!(
        town.logged(|it| matches!(it, Command::BeginHandoff { .. })),
        0
    );
    assert!(town.sent_to(1, "StartWorker") >= 20);
}

#[test]
fn d1_the_workers_of_a_dead_node_run_elsewhere() {
    let mut town = Town::new(3);
    town.scale("pump", 6).unwrap();
    town.until(300, Town::calm);
    town.kill(3);
    let ms = town.until(3_000, |town| {
        town.loads()[2] == 0 && town.calm() && town.coordinator.starting() == 0
    });
    assert!(ms <= 1_500, "after {ms} ms");
    let mut loads = town.loads();
    loads.sort_unstable();
    assert_eq!(loads, [0, 3, 3]);
}

#[test]
fn d2_coordinator_and_worker_may_die_together() {
    let mut town = Town::new(3);
    town.scale("pump", 3).unwrap();
    town.until(300, Town::calm);
    town.kill(1);
    town.run_ms(300);
    town.elect(2);
    let ms = town.until(3_000, |town| {
        town.loads()[0] == 0 && town.calm() && town.coordinator.starting() == 0
    });
    assert!(ms <= 2_000, "after {ms} ms");
}

#[test]
fn a_report_of_another_epoch_or_another_node_is_ignored() {
    let mut town = Town::new(2);
    town.scale("pump", 1).unwrap();
    town.until(300, Town::calm);
    town.until(2_000, |town| healthy(town, 1));
    let worker = town.shard(0);
    let owner = town.owner(worker).unwrap();
    let (home, other) = (town.home(owner), town.home(3 - owner));
    let order = crate::cluster::WorkerOrder {
        term: town.coordinator.term().unwrap(),
        worker,
        revision: 1,
        epoch: town.epoch(worker),
        index: town.control.applied,
    };
    let stale = crate::cluster::WorkerOrder {
        epoch: crate::cluster::Epoch(1),
        ..order
    };
    town.report(other, &order, WorkerHealth::Failing { failures: 9 });
    town.report(home, &stale, WorkerHealth::Failing { failures: 9 });
    town.run_ms(100);
    assert!(healthy(&town, 1));
}

#[test]
fn a_worker_that_was_moved_is_not_moved_back_for_an_even_distribution() {
    let mut town = Town::new(3);
    town.scale("pump", 3).unwrap();
    town.until(300, Town::calm);
    town.until(2_000, |town| healthy(town, 3));
    let worker = town.some_shard_of(2);
    let home = town.home(2);
    let order = crate::cluster::WorkerOrder {
        term: town.coordinator.term().unwrap(),
        worker,
        revision: 1,
        epoch: town.epoch(worker),
        index: town.control.applied,
    };
    town.report(home, &order, WorkerHealth::Failing { failures: 3 });
    town.until(500, |town| town.owner(worker).is_some_and(|node| node != 2));
    let now = town.owner(worker);
    town.run_ms(10_000);
    assert_eq!(town.owner(worker), now);
}

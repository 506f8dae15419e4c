//! Daemon workers.

use super::*;
use crate::cluster::{WorkerHealth, WorkerOrder};

impl Story {
    /// With a daemon set `tick` of `workers`, all of them here.
    fn with_workers(workers: u32) -> Self {
        let mut story = Self::new();
        story.scale(workers, 0);
        let space = story.shard("tick").space;
        for number in 0..workers {
            story.assign(ShardId { space, number }, 1);
        }
        story
    }

    fn scale(&mut self, workers: u32, after: u64) {
        self.apply(Command::Scale {
            name: KindName::new("tick").unwrap(),
            component: component(),
            durability: Durability::Memory,
            workers,
            after,
        });
    }

    fn health(&self) -> Vec<WorkerHealth> {
        let reports = self.sent.iter().filter_map(|(_, message)| match message {
            Message::WorkerState(report) => Some(report.health),
            _ => None,
        });
        reports.collect()
    }

    fn step_ends(&mut self, next_ms: u64) {
        let outcome = Outcome {
            next_step: Some(Duration::from_millis(next_ms)),
            ..outcome(Some("stepped"))
        };
        self.end_with(self.turn(), outcome);
    }
}

#[test]
fn a_worker_steps_from_the_moment_that_its_shard_is_here_and_when_it_wants_to() {
    let mut story = Story::with_workers(1);
    assert_eq!(story.ran(), ["step"]);
    assert_eq!(story.runs[0].1, id("tick/0"));
    story.step_ends(3_600_000);
    assert_eq!(story.health(), [WorkerHealth::Running]);
    story.pass(3_599_999);
    assert_eq!(story.ran(), ["step"], "who sleeps for an hour is healthy");
    story.pass(1);
    assert_eq!(story.ran(), ["step", "step"]);
    story.step_ends(10);
    assert_eq!(story.health().len(), 1, "only changes are told");
}

#[test]
fn a_worker_that_is_stuck_is_restarted_and_after_some_failures_wants_to_go_elsewhere() {
    let mut story = Story::with_workers(1);
    for failures in 1..=3 {
        story.pass(999);
        assert_eq!(story.discarded.len(), failures - 1);
        story.pass(1);
        assert_eq!(story.discarded.len(), failures);
        story.pass(100 << (failures - 1));
        assert_eq!(story.ran().len(), failures + 1, "it runs again");
    }
    let failing = [
        WorkerHealth::Restarting { failures: 1 },
        WorkerHealth::Restarting { failures: 2 },
        WorkerHealth::Failing { failures: 3 },
    ];
    assert_eq!(story.health(), failing);
    story.step_ends(10);
    assert_eq!(story.health().last(), Some(&WorkerHealth::Running));
}

#[test]
fn a_worker_whose_steps_fail_pauses_longer_each_time() {
    let mut story = Story::with_workers(1);
    for failures in 1..=10_u32 {
        story.end_with(story.turn(), trapped());
        let pause = 100 << (failures - 1).min(6);
        story.pass(pause - 1);
        assert_eq!(story.ran().len(), failures as usize);
        story.pass(1);
        assert_eq!(story.ran().len(), failures as usize + 1);
    }
}

#[test]
fn a_worker_that_is_called_and_hangs_is_stuck_when_its_step_is_overdue() {
    let mut story = Story::with_workers(1);
    story.step_ends(100);
    story.call("tick/0", 1);
    story.pass(1_099);
    assert_eq!(story.discarded, []);
    story.pass(1);
    assert_eq!(story.discarded, [id("tick/0")]);
    assert_eq!(story.replies(), pairs(&[(1, "interrupted")]));
    story.pass(100);
    assert_eq!(story.ran(), ["step", "1", "step"]);
}

#[test]
fn a_worker_too_many_is_stopped_and_says_so_as_often_as_it_is_asked() {
    let mut story = Story::with_workers(2);
    story.forget();
    story.scale(1, 1);
    let worker = ShardId {
        number: 1,
        ..story.shard("tick")
    };
    assert_eq!(story.discarded, [id("tick/1")]);
    assert_eq!(story.health(), [WorkerHealth::Stopped]);
    let order = WorkerOrder {
        term: TERM,
        worker,
        revision: 2,
        epoch: story.epoch(worker),
        index: story.control.applied,
    };
    story.message(3, Message::StopWorker(order));
    let space = worker.space;
    story.apply(Command::Retire { space, revision: 2 });
    story.message(3, Message::StopWorker(order));
    assert_eq!(story.health(), [WorkerHealth::Stopped; 3]);
    story.pass(10_000);
    let steps = story.runs.iter().filter(|run| run.1 == id("tick/1"));
    assert_eq!(steps.count(), 0);
}

#[test]
fn a_worker_does_not_step_without_a_lease_and_is_not_blamed_for_it() {
    let mut story = Story::with_workers(1);
    story.step_ends(100);
    story.forget();
    story.lose_lease();
    story.pass(10_000);
    assert_eq!((story.ran().len(), story.health().len()), (0, 0));
    story.renew_lease();
    assert_eq!(story.ran(), ["step"]);
}

#[test]
fn a_worker_moves_with_its_shard_and_goes_on_if_it_does_not() {
    let mut story = Story::with_workers(1);
    let shard = story.shard("tick");
    let handoff = story.begin_handoff(shard);
    story.step_ends(10);
    assert_eq!(story.acked(), 1);
    story.pass(100);
    assert_eq!(story.ran(), ["step"]);
    story.abort(handoff, shard);
    assert_eq!(story.ran(), ["step", "step"]);
}

#[test]
fn an_order_to_start_is_answered_with_how_it_is_and_ends_a_pause() {
    let mut story = Story::with_workers(1);
    story.end_with(story.turn(), trapped());
    story.end_with(story.turn(), outcome(None));
    let shard = story.shard("tick");
    let order = WorkerOrder {
        term: TERM,
        worker: shard,
        revision: 1,
        epoch: story.epoch(shard),
        index: story.control.applied,
    };
    assert_eq!(story.ran().len(), 1);
    story.message(3, Message::StartWorker(order));
    assert_eq!(story.ran().len(), 2);
    assert_eq!(story.health().len(), 2);
}

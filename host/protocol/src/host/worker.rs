//! Daemon workers: entities that always run, a step at a time. See PROTOCOL section 5.
//!
//! ```text
//!            due                    begun                 ended well
//!   waits ─────────► step queued ─────────► step runs ───────────────► waits
//!     ▲                   │ overdue             │ too long, lost, failed
//!     └──── backoff ◄─────┴─────────────────────┘
//! ```
//! How a worker is, its own region judges, and tells the coordinator when it changes.

use std::time::Duration;

use super::Host;
use super::activation::{Mail, Place, Stage};
use super::schedule::{Schedule, Timer};
use super::shard::Phase;
use crate::cluster::{
    Context, Index, Instant, Message, Peer, ShardId, WorkerHealth, WorkerOrder, WorkerReport,
};
use crate::control::Role;
use crate::{EntityId, KindName};

/// A worker that lives here.
#[derive(Debug)]
pub(super) struct Worker {
    entity: EntityId,
    /// When its next step is due; none while one is queued or runs.
    due: Option<Instant>,
    /// When the step that is queued or runs is looked at: it has taken too long, or, if it runs, the lease under which it began, or
    /// was last looked at, is over.
    stuck: Option<Instant>,
    /// When it has taken too long.
    patience: Instant,
    /// In a row.
    failures: u32,
    health: Option<WorkerHealth>,
    reports: u64,
    /// The last order to start anew.
    ordered: Index,
}

impl Worker {
    /// Its first step is due at once.
    pub(super) fn new(set: &KindName, number: u32, now: Instant) -> Option<Self> {
        Some(Self {
            entity: EntityId::new(set.clone(), &number.to_string()).ok()?,
            due: Some(now),
            stuck: None,
            patience: now,
            failures: 0,
            health: None,
            reports: 0,
            ordered: Index(0),
        })
    }

    /// No step is due, and none is waited for.
    pub(super) fn disarm(&mut self, schedule: &mut Schedule, id: ShardId) {
        schedule.set(&mut self.due, None, Timer::Step(id));
        schedule.set(&mut self.stuck, None, Timer::Stuck(id));
    }
}

impl Host {
    /// Queues a worker's step if it is due.
    pub(super) fn step(&mut self, cx: &Context<'_>, id: ShardId) {
        let Some((place, worker, schedule)) = self.worker(id) else {
            return;
        };
        if worker.due.is_none_or(|due| due > cx.now.instant) {
            return;
        }
        if !cx.leased() {
            return self.block(cx, &place);
        }
        schedule.set(&mut worker.due, None, Timer::Step(id));
        if self.mail(cx, &place, Mail::Step).is_err() {
            let later = cx.now.instant + cx.settings.timing.backoff;
            return self.step_at(id, later);
        }
        let loading = |stage: &Stage| matches!(stage, Stage::Loading(_));
        let queued = self
            .activation(&place)
            .is_some_and(|a| !a.mailbox.is_empty());
        if queued && !self.activation(&place).is_some_and(|a| loading(&a.stage)) {
            self.watch(cx, id);
        }
    }

    pub(super) fn step_due(&mut self, cx: &Context<'_>, id: ShardId, at: Instant) {
        if self
            .worker(id)
            .is_some_and(|(_, worker, _)| worker.due == Some(at))
        {
            self.step(cx, id);
        }
    }

    /// The worker's state is here: from now on its step has to come.
    pub(super) fn step_loaded(&mut self, cx: &Context<'_>, place: &Place) {
        self.watch(cx, place.shard);
    }

    pub(super) fn step_begun(&mut self, cx: &Context<'_>, id: ShardId) {
        self.watch(cx, id);
    }

    /// The worker's state cannot be read: not its failure, and it is tried again.
    pub(super) fn step_unreadable(&mut self, cx: &Context<'_>, id: ShardId) {
        self.step_at(id, cx.now.instant + cx.settings.timing.backoff);
    }

    /// A step has ended, or a turn that took the instance with it.
    pub(super) fn step_ended(
        &mut self,
        cx: &Context<'_>,
        id: ShardId,
        failed: bool,
        next: Option<Duration>,
    ) {
        if failed {
            return self.step_failed(cx, id);
        }
        let Some((_, worker, schedule)) = self.worker(id) else {
            return;
        };
        worker.failures = 0;
        schedule.set(&mut worker.stuck, None, Timer::Stuck(id));
        self.step_at(id, cx.now.instant + next.unwrap_or_default());
        self.judge(cx, id, WorkerHealth::Running);
    }

    /// A step, begun or due, takes too long, or goes on without a lease. What is not the worker's doing is not held against it.
    ///
    /// Calls that run when the lease ends may run on, since nobody hears of it; a worker acts by itself, so that its step must be over
    /// before another node begins one.
    pub(super) fn step_stuck(&mut self, cx: &Context<'_>, id: ShardId, at: Instant) {
        let Some((place, worker, _)) = self.worker(id) else {
            return;
        };
        if worker.stuck != Some(at) {
            return;
        }
        let patience = worker.patience;
        let running = self.activation(&place).and_then(|a| a.running()).is_some();
        if !running {
            return self.watch(cx, id);
        }
        if !cx.leased() {
            self.interrupt(cx, &place);
            self.step_at(id, cx.now.instant);
            self.step(cx, id);
            return self.go_on(cx, &place);
        }
        if cx.now.instant < patience {
            return self.watch_until(cx, id, patience);
        }
        self.interrupt(cx, &place);
        self.step_failed(cx, id);
        self.go_on(cx, &place);
    }

    fn step_failed(&mut self, cx: &Context<'_>, id: ShardId) {
        let Some((place, worker, schedule)) = self.worker(id) else {
            return;
        };
        worker.failures = worker.failures.saturating_add(1);
        let failures = worker.failures;
        schedule.set(&mut worker.stuck, None, Timer::Stuck(id));
        if let Some(activation) = self.activation(&place) {
            activation
                .mailbox
                .retain(|mail| !matches!(mail, Mail::Step));
        }
        let doublings = (failures - 1).min(DOUBLINGS_MAX);
        let backoff = cx.settings.timing.backoff * (1 << doublings);
        self.step_at(id, cx.now.instant + backoff);
        let health = if failures >= cx.settings.bounds.worker_failures_max {
            WorkerHealth::Failing { failures }
        } else {
            WorkerHealth::Restarting { failures }
        };
        self.judge(cx, id, health);
    }

    /// The coordinator wants to know how a worker is, or wants it to start anew.
    pub(super) fn start_worker(&mut self, cx: &Context<'_>, from: Peer, order: &WorkerOrder) {
        let here = self.shards.get(&order.worker);
        if from.node != order.term.node || here.is_none_or(|here| here.epoch != order.epoch) {
            return;
        }
        let Some((_, worker, _)) = self.worker(order.worker) else {
            return;
        };
        let health = worker.health;
        if worker.ordered < order.index {
            worker.ordered = order.index;
            if worker.failures > 0 && worker.due.is_some() {
                self.step_at(order.worker, cx.now.instant);
                self.step(cx, order.worker);
            }
        }
        if let Some(health) = health {
            self.tell(cx, order.worker, health);
        }
    }

    /// The coordinator says that a worker is one too many; the control log has said so.
    pub(super) fn stop_ordered(&mut self, cx: &Context<'_>, from: Peer, order: &WorkerOrder) {
        if from.node != order.term.node || order.index > cx.control.applied {
            return;
        }
        if let Some(shard) = self.shards.get(&order.worker) {
            if shard.phase == Phase::Stopped && shard.unsettled == 0 {
                self.tell(cx, order.worker, WorkerHealth::Stopped);
            }
            return;
        }
        let report = WorkerReport {
            worker: order.worker,
            revision: order.revision,
            epoch: order.epoch,
            seq: 0,
            health: WorkerHealth::Stopped,
        };
        self.send(from.node, Message::WorkerState(report));
    }

    /// The set has become smaller than this worker's number.
    pub(super) fn stop_worker(&mut self, cx: &Context<'_>, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        if !shard.phase.serving() {
            return;
        }
        shard.phase = Phase::Stopped;
        self.schedule.started.remove(&id);
        if let Some(worker) = &mut shard.worker {
            worker.disarm(&mut self.schedule, id);
        }
        self.stop_turns(cx, id);
        self.worker_settled(cx, id);
    }

    /// A worker too many has nothing more to say: it is gone.
    pub(super) fn worker_settled(&mut self, cx: &Context<'_>, id: ShardId) {
        let shard = self.shards.get(&id);
        if !shard.is_some_and(|shard| shard.phase == Phase::Stopped && shard.unsettled == 0) {
            return;
        }
        for place in self.places(id) {
            self.remove(cx, &place, None);
        }
        self.judge(cx, id, WorkerHealth::Stopped);
    }

    /// The worker's shard is served again.
    pub(super) fn rearm_worker(&mut self, cx: &Context<'_>, id: ShardId) {
        if self.worker(id).is_none() {
            return;
        }
        let space = cx.control.spaces.get(&id.space);
        if space.is_some_and(|space| id.number >= space.shards) {
            return self.stop_worker(cx, id);
        }
        let stepping = self
            .worker(id)
            .is_some_and(|(_, worker, _)| worker.stuck.is_some());
        if !stepping {
            self.step_at(id, cx.now.instant);
            self.step(cx, id);
        }
    }

    fn worker(&mut self, id: ShardId) -> Option<(Place, &mut Worker, &mut Schedule)> {
        let shard = self.shards.get_mut(&id)?;
        if !shard.phase.serving() && shard.phase != Phase::Stopped {
            return None;
        }
        let worker = shard.worker.as_mut()?;
        let place = Place {
            shard: id,
            entity: worker.entity.clone(),
        };
        Some((place, worker, &mut self.schedule))
    }

    fn step_at(&mut self, id: ShardId, at: Instant) {
        if let Some((_, worker, schedule)) = self.worker(id) {
            schedule.set(&mut worker.due, Some(at), Timer::Step(id));
        }
    }

    fn watch(&mut self, cx: &Context<'_>, id: ShardId) {
        let patience = cx.now.instant + cx.settings.timing.worker;
        self.watch_until(cx, id, patience);
    }

    fn watch_until(&mut self, cx: &Context<'_>, id: ShardId, patience: Instant) {
        let Some((place, _, _)) = self.worker(id) else {
            return;
        };
        let running = self.activation(&place).and_then(|a| a.running()).is_some();
        let at = if running {
            patience.min(cx.lease_until)
        } else {
            patience
        };
        if let Some((_, worker, schedule)) = self.worker(id) {
            worker.patience = patience;
            schedule.set(&mut worker.stuck, Some(at), Timer::Stuck(id));
        }
    }

    /// Tells the coordinator if it changes.
    fn judge(&mut self, cx: &Context<'_>, id: ShardId, health: WorkerHealth) {
        let Some((_, worker, _)) = self.worker(id) else {
            return;
        };
        if worker.health != Some(health) {
            worker.health = Some(health);
            self.tell(cx, id, health);
        }
    }

    fn tell(&mut self, cx: &Context<'_>, id: ShardId, health: WorkerHealth) {
        let Some(space) = cx.control.spaces.get(&id.space) else {
            return;
        };
        let Role::Daemons { revision, .. } = space.role else {
            return;
        };
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let Some(worker) = &mut shard.worker else {
            return;
        };
        worker.reports += 1;
        let report = WorkerReport {
            worker: id,
            revision,
            epoch: shard.epoch,
            seq: worker.reports,
            health,
        };
        if cx.leased() {
            self.report(cx, Message::WorkerState(report));
        }
    }
}

/// How often the pause before a worker's next try is doubled.
const DOUBLINGS_MAX: u32 = 6;

//! Keeps the workers of daemon sets running: exactly as many as the set has, each in one place, elsewhere where it fails.
//!
//! A worker is a shard, and is placed and moved as one. What is special is here:
//!
//! ```text
//!   owned ──► StartWorker, until it is reported Running ──► Failing: moved, ever more rarely
//!     └── numbered beyond the set's size ──► StopWorker, until Stopped ──► all are: Retire ══► the shards are gone
//! ```
//! Whether a worker is well is judged by the region that runs it. What is known here is what it last said, for people and for moves.

use std::collections::BTreeMap;
use std::ops::Bound::Included;
use std::time::Duration;

use super::handoffs::{Handoffs, movable};
use super::orders::Orders;
use super::roster::Roster;
use super::schedule::Schedule;
use super::{Action, retiring};
use crate::cluster::{
    Context, Epoch, Home, Instant, Message, NodeId, Peer, ShardId, SpaceId, Term, WorkerHealth,
    WorkerOrder, WorkerReport,
};
use crate::control::{Command, ControlState, Entry, Member, Ownership, Phase, Role, Space};

/// The workers of all sets.
#[derive(Debug)]
pub(super) struct Daemons {
    workers: BTreeMap<ShardId, Worker>,
    timers: Schedule<Timer>,
    orders: Orders,
}

/// How a worker is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerView {
    /// Which.
    pub worker: ShardId,
    /// Where it runs; none while nobody owns it or it moves.
    pub home: Option<Home>,
    /// How it is, as its region says; none before it has said anything.
    pub health: Option<WorkerHealth>,
    /// How often it was moved in a row because it failed.
    pub moves: u32,
}

/// A worker, as far as it is known.
#[derive(Debug)]
struct Worker {
    epoch: Epoch,
    home: Option<Home>,
    /// The newest report of this epoch.
    report: Option<(u64, WorkerHealth)>,
    /// When that health began.
    since: Instant,
    /// Moves in a row because it failed.
    moves: u32,
    /// Where it failed since it ran well last: the latest at the end.
    failed: Vec<NodeId>,
    /// No move before.
    settled: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Worker(ShardId),
    Retire(SpaceId),
}

/// How often the pause between two moves of a worker that fails everywhere is doubled.
const MOVE_DOUBLINGS: u32 = 6;
/// How many such pauses a worker stays where it was moved, whatever is uneven by it.
const PINNED: u32 = 8;
/// How much more rarely a worker that runs is asked than one that does not.
const CALM: u32 = 4;

impl Daemons {
    pub(super) fn new(term: Term) -> Self {
        Self {
            workers: BTreeMap::new(),
            timers: Schedule::new(),
            orders: Orders::new(term),
        }
    }

    /// Looks at all sets.
    pub(super) fn handle_state(&mut self, cx: &Context<'_>) {
        self.workers
            .retain(|shard, _| cx.control.shards.contains_key(shard));
        for (&id, space) in &cx.control.spaces {
            if space.role != Role::Kind {
                self.look(cx, id, space);
            }
        }
    }

    pub(super) fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match &entry.command {
            Command::Assign { shards } => {
                self.refresh_listed(cx, shards.iter().map(|each| each.shard));
            }
            Command::BeginHandoff { shards, .. } => {
                self.refresh_listed(cx, shards.iter().map(|&(shard, _)| shard));
            }
            Command::CompleteHandoff { shards, .. } => {
                self.refresh_listed(cx, shards.iter().map(|&(shard, _)| shard));
            }
            Command::AbortHandoff { shards, .. } => {
                self.refresh_listed(cx, shards.iter().copied());
            }
            Command::Down { .. }
            | Command::Join { .. }
            | Command::Scale { .. }
            | Command::Retire { .. }
            | Command::Drop { .. } => self.handle_state(cx),
            _ => {}
        }
    }

    pub(super) fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        let Message::WorkerState(report) = message else {
            return;
        };
        let Some((_, revision)) = daemon(cx.control, report.worker.space) else {
            return;
        };
        let Some(worker) = self.workers.get_mut(&report.worker) else {
            return;
        };
        let current = worker.home == Some(from) && worker.epoch == report.epoch;
        let newer = worker.report.is_none_or(|(seq, _)| seq < report.seq);
        // One that says Stopped must have understood that it is this change of the number that stops it.
        let stale = report.health == WorkerHealth::Stopped && report.revision != revision;
        if !current || !newer || stale || report.revision > revision {
            return;
        }
        worker.hear(cx, report);
        match report.health {
            WorkerHealth::Failing { .. } => {
                let now = cx.now.instant;
                let at = worker.settled.clamp(now, now + cx.settings.timing.worker);
                self.timers.set(Timer::Worker(report.worker), at);
            }
            WorkerHealth::Stopped => self.retire(cx, report.worker.space),
            WorkerHealth::Running | WorkerHealth::Restarting { .. } => {}
        }
    }

    /// Orders, moves and retires what is due.
    pub(super) fn handle_timeout(
        &mut self,
        cx: &Context<'_>,
        roster: &Roster,
        handoffs: &mut Handoffs,
    ) {
        while let Some(timer) = self.timers.pop(cx.now.instant) {
            match timer {
                Timer::Worker(shard) => self.tend(cx, roster, handoffs, shard),
                Timer::Retire(space) => self.retire(cx, space),
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }

    /// All workers, for people.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerView> {
        self.workers.iter().map(|(&shard, worker)| WorkerView {
            worker: shard,
            home: worker.home,
            health: worker.report.map(|(_, health)| health),
            moves: worker.moves,
        })
    }

    fn look(&mut self, cx: &Context<'_>, id: SpaceId, space: &Space) {
        let all = range(cx.control, id).map(|(shard, _)| shard);
        let all: Vec<ShardId> = all.collect();
        for shard in all {
            self.refresh(cx, shard);
        }
        if shrinking(space) {
            self.retire(cx, id);
        } else {
            self.timers.cancel(Timer::Retire(id));
        }
    }

    fn refresh_listed(&mut self, cx: &Context<'_>, shards: impl Iterator<Item = ShardId>) {
        for shard in shards {
            if daemon(cx.control, shard.space).is_some() {
                self.refresh(cx, shard);
            }
        }
    }

    /// Compares a worker with what is committed.
    fn refresh(&mut self, cx: &Context<'_>, shard: ShardId) {
        let Some(record) = cx.control.shards.get(&shard) else {
            self.workers.remove(&shard);
            self.timers.cancel(Timer::Worker(shard));
            return;
        };
        let home = match record.ownership {
            Ownership::Owned { home } => Some(home),
            Ownership::Unassigned | Ownership::Handoff { .. } => None,
        };
        let now = cx.now.instant;
        let worker = self.workers.entry(shard).or_insert(Worker {
            epoch: Epoch(0),
            home: None,
            report: None,
            since: now,
            moves: 0,
            failed: Vec::new(),
            settled: now,
        });
        let known = worker.epoch == record.epoch && worker.home == home;
        if worker.epoch != record.epoch {
            worker.report = None;
            worker.since = now;
        }
        worker.epoch = record.epoch;
        worker.home = home;
        let timer = Timer::Worker(shard);
        if home.is_none() {
            self.timers.cancel(timer);
        } else if retiring(cx.control, shard) {
            self.timers.set(timer, now);
        } else if !known {
            self.timers.set(timer, now + cx.settings.timing.worker);
        }
    }

    /// Tells the region of a worker what to do about it, and moves it if it fails there.
    fn tend(&mut self, cx: &Context<'_>, roster: &Roster, handoffs: &mut Handoffs, shard: ShardId) {
        let Some((_, revision)) = daemon(cx.control, shard.space) else {
            return;
        };
        let Some(worker) = self.workers.get_mut(&shard) else {
            return;
        };
        let Some(home) = worker.home else {
            return;
        };
        let order = WorkerOrder {
            term: self.orders.term,
            worker: shard,
            revision,
            epoch: worker.epoch,
            index: cx.control.applied,
        };
        let timing = &cx.settings.timing;
        let health = worker.report.map(|(_, health)| health);
        let again = if retiring(cx.control, shard) {
            if health == Some(WorkerHealth::Stopped) {
                return;
            }
            self.orders.send(home.node, Message::StopWorker(order));
            timing.resend
        } else {
            worker.relocate(cx, roster, handoffs, shard);
            self.orders.send(home.node, Message::StartWorker(order));
            match health {
                Some(WorkerHealth::Running) => timing.worker * CALM,
                _ => timing.worker,
            }
        };
        self.timers
            .set(Timer::Worker(shard), cx.now.instant + again);
    }

    /// Proposes to forget the workers beyond a set's number, when none of them runs any more.
    fn retire(&mut self, cx: &Context<'_>, id: SpaceId) {
        let Some((space, revision)) = daemon(cx.control, id) else {
            return;
        };
        if !shrinking(space) {
            return;
        }
        let stopped = range(cx.control, id)
            .filter(|(shard, _)| shard.number >= space.shards)
            .all(|(shard, ownership)| match ownership {
                Ownership::Unassigned => true,
                Ownership::Owned { .. } => self.workers.get(&shard).is_some_and(|worker| {
                    matches!(worker.report, Some((_, WorkerHealth::Stopped)))
                }),
                // It ends one way or the other, and then the worker is told.
                Ownership::Handoff { .. } => false,
            });
        if stopped {
            let space = id;
            self.orders.propose(Command::Retire { space, revision });
            let again = cx.now.instant + cx.settings.timing.resend;
            self.timers.set(Timer::Retire(id), again);
        }
    }
}

impl Worker {
    fn hear(&mut self, cx: &Context<'_>, report: &WorkerReport) {
        let before = self.report.replace((report.seq, report.health));
        let changed = before.map(|(_, health)| health) != Some(report.health);
        // A worker that ran well for long has been cured by its last move: its next failure is a first one.
        let ran = matches!(before, Some((_, WorkerHealth::Running)));
        if changed && ran && cx.now.instant.since(self.since) > self.pause(cx) {
            self.moves = 0;
            self.failed.clear();
        }
        if changed {
            self.since = cx.now.instant;
        }
    }

    /// Moves a worker that fails here to the node with the fewest of its set, if it was not moved lately.
    fn relocate(
        &mut self,
        cx: &Context<'_>,
        roster: &Roster,
        handoffs: &mut Handoffs,
        shard: ShardId,
    ) {
        let failing = matches!(self.report, Some((_, WorkerHealth::Failing { .. })));
        let moving = handoffs.target(shard).is_some();
        let Some(home) = self.home.filter(|_| failing && !moving) else {
            return;
        };
        if cx.now.instant < self.settled {
            return;
        }
        self.failed.retain(|&node| node != home.node);
        self.failed.push(home.node);
        let Some(to) = self.elsewhere(cx, roster, shard, home) else {
            return;
        };
        if handoffs.begin(cx, home, to, &[shard]) > 0 {
            self.moves = self.moves.saturating_add(1);
            self.settled = cx.now.instant + self.pause(cx);
            // An even distribution is not worth the next failure.
            handoffs.pin(shard, cx.now.instant + self.pause(cx) * PINNED);
        }
    }

    fn pause(&self, cx: &Context<'_>) -> Duration {
        cx.settings.timing.worker * (1 << self.moves.min(MOVE_DOUBLINGS))
    }

    /// Another node for a worker: where it did not fail, or longest ago; then with the fewest workers of its set, then the fewest
    /// shards.
    fn elsewhere(
        &self,
        cx: &Context<'_>,
        roster: &Roster,
        shard: ShardId,
        home: Home,
    ) -> Option<Home> {
        let may =
            |to: Home| roster.placeable(cx, to) && movable(cx.control, shard, home, to).is_some();
        let load = |to: Home| {
            let shards = || {
                let incoming = cx.control.shards.incoming(to);
                cx.control.owned_by(to).chain(incoming)
            };
            let workers = shards().filter(|other| other.space == shard.space);
            (workers.count(), shards().count())
        };
        let homes = cx.control.members.values().map(Member::home);
        homes.filter(|&to| may(to)).min_by_key(|&to| {
            let failed = self.failed.iter().position(|&node| node == to.node);
            (failed.map_or(0, |place| place + 1), load(to), to)
        })
    }
}

/// A daemon set and its revision.
fn daemon(control: &ControlState, id: SpaceId) -> Option<(&Space, u64)> {
    let space = control.spaces.get(&id)?;
    match space.role {
        Role::Daemons { revision, .. } => Some((space, revision)),
        Role::Kind => None,
    }
}

/// Workers beyond its number still exist.
pub(super) fn shrinking(space: &Space) -> bool {
    matches!(
        space.role,
        Role::Daemons {
            phase: Phase::Shrinking,
            ..
        }
    )
}

fn range(
    control: &ControlState,
    space: SpaceId,
) -> impl Iterator<Item = (ShardId, Ownership)> + '_ {
    let shard = |number| ShardId { space, number };
    let bounds = (Included(shard(0)), Included(shard(u32::MAX)));
    let all = control.shards.range(bounds);
    all.map(|(&id, record)| (id, record.ownership))
}

//! What a host has to come back to: timers, idle entities, entities that may not go on yet, and what the journal was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Host;
use super::activation::Place;
use crate::cluster::{Context, Instant, Now, ShardId, TransferId};

/// When to look at what again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The last input's.
    pub(super) now: Now,
    /// Each is looked at anew when it fires: what it was set for may be over.
    pub(super) timers: BTreeSet<(Instant, Timer)>,
    /// Settled activations, by when they have been idle for too long: the least recently used first.
    pub(super) idle: BTreeSet<(Instant, Place)>,
    /// Activations that could go on, were it not for the lease or a component.
    pub(super) blocked: BTreeSet<Place>,
    /// Activations whose record is to be found.
    pub(super) loads: VecDeque<Place>,
    /// Shards of which the coordinator has not heard that they are served.
    pub(super) started: BTreeSet<ShardId>,
    /// Something waits for the lease.
    pub(super) frozen: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Turns of a draining shard have had their time.
    Drain(ShardId),
    /// A worker's next step.
    Step(ShardId),
    /// A worker's step, begun or due, takes too long.
    Stuck(ShardId),
    /// Replies of a shard that has gone need not be remembered any more.
    Departed(ShardId),
}

/// What the journal was asked, by the number of the question.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) appends: BTreeMap<u64, Append>,
    pub(super) finds: BTreeMap<u64, Place>,
    pub(super) scans: BTreeMap<u64, (TransferId, ShardId)>,
    made: u64,
}

/// Whose record it is.
#[derive(Debug)]
pub(super) enum Append {
    /// An activation's.
    Turn(Place),
    /// A transfer's, by the receiver's number.
    Install(u64),
}

impl Asked {
    pub(super) fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Forgets what was asked for a shard: nobody waits for it any more.
    pub(super) fn forget(&mut self, shard: ShardId) {
        self.appends
            .retain(|_, append| !matches!(append, Append::Turn(place) if place.shard == shard));
        self.finds.retain(|_, place| place.shard != shard);
        self.scans.retain(|_, (_, scanned)| *scanned != shard);
    }
}

impl Schedule {
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn next_idle(&self) -> Option<Instant> {
        self.idle.first().map(|(at, _)| *at)
    }

    /// Puts a timer in the place of the one that `slot` remembers.
    pub(super) fn set(&mut self, slot: &mut Option<Instant>, at: Option<Instant>, timer: Timer) {
        if let Some(before) = slot.take() {
            self.timers.remove(&(before, timer));
        }
        if let Some(at) = at {
            self.timers.insert((at, timer));
        }
        *slot = at;
    }
}

impl Host {
    pub(super) fn fire_timers(&mut self, cx: &Context<'_>) {
        while let Some(&(at, timer)) = self.schedule.timers.first() {
            if at > cx.now.instant {
                break;
            }
            self.schedule.timers.pop_first();
            match timer {
                Timer::Drain(shard) => self.drain_passed(cx, shard, at),
                Timer::Step(shard) => self.step_due(cx, shard, at),
                Timer::Stuck(shard) => self.step_stuck(cx, shard, at),
                Timer::Departed(shard) => self.inbound.forget_departed(shard, at),
            }
        }
    }

    /// An activation could go on, but may not: it is looked at again when that may have changed.
    pub(super) fn block(&mut self, cx: &Context<'_>, place: &Place) {
        self.schedule.blocked.insert(place.clone());
        self.schedule.frozen |= !cx.leased();
    }

    /// The lease is valid again.
    pub(super) fn thaw(&mut self, cx: &Context<'_>) {
        self.schedule.frozen = false;
        self.unblock(cx);
        self.fire_wakes(cx);
        self.passivate_idle(cx);
    }

    pub(super) fn unblock(&mut self, cx: &Context<'_>) {
        for place in std::mem::take(&mut self.schedule.blocked) {
            self.go_on(cx, &place);
            self.step(cx, place.shard);
        }
    }
}

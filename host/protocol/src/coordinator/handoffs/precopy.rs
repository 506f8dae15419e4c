//! The part of a handoff before anything is committed: the source ships what it has, and goes on serving.
//!
//! Before its Begin is proposed, a precopy can be given up at any time. After that it cannot: the proposal may be committed late, and
//! the ends would have forgotten what was shipped. Then only the log ends it: it is begun, or an end of it is dead, or the shards
//! have another epoch, each of which makes every later Begin void.

use std::collections::BTreeMap;

use super::HandoffProgress;
use crate::cluster::{
    Context, Epoch, Home, Index, Instant, Message, ShardId, ShardMove, TransferId,
};
use crate::control::{Command, Ownership};
use crate::coordinator::orders::Orders;

/// A transfer that is no handoff yet.
#[derive(Debug)]
pub(super) struct Precopy {
    pub(super) id: TransferId,
    /// What was committed when it was planned: what it ships is told apart by it.
    stamp: Epoch,
    pub(super) from: Home,
    pub(super) to: Home,
    pub(super) shards: BTreeMap<ShardId, Epoch>,
    deadline: Instant,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The source ships.
    Shipping,
    /// Its Begin is proposed.
    Beginning,
    /// It was given up; both ends are told so a few times, because no entry of the log will tell them.
    Dropped { told: u32 },
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Again,
    Over,
}

/// How often the ends are told that a transfer was given up.
const NOTICES: u32 = 3;

impl Precopy {
    pub(super) fn new(
        cx: &Context<'_>,
        id: TransferId,
        (from, to): (Home, Home),
        shards: BTreeMap<ShardId, Epoch>,
    ) -> Self {
        Self {
            id,
            stamp: Epoch(cx.control.applied.0),
            from,
            to,
            shards,
            deadline: cx.now.instant + cx.settings.timing.phase,
            step: Step::Shipping,
        }
    }

    /// It may still become a handoff.
    pub(super) fn open(&self) -> bool {
        !matches!(self.step, Step::Dropped { .. })
    }

    /// The source has shipped what it had.
    pub(super) fn copied(&mut self, orders: &mut Orders) {
        if self.step == Step::Shipping {
            self.step = Step::Beginning;
            self.propose(orders);
        }
    }

    /// Says again what was not answered. `wanted`: the move is still a good idea.
    pub(super) fn tick(&mut self, cx: &Context<'_>, wanted: bool, orders: &mut Orders) -> Verdict {
        match self.step {
            Step::Shipping if wanted && cx.now.instant < self.deadline => {
                orders.send(self.from.node, Message::Precopy(self.order()));
            }
            Step::Shipping => self.drop_all(cx, orders),
            Step::Beginning => self.propose(orders),
            Step::Dropped { told } if told < NOTICES => {
                self.step = Step::Dropped { told: told + 1 };
                self.notify(cx, Index(0), self.shards.keys().copied().collect(), orders);
            }
            Step::Dropped { .. } => return Verdict::Over,
        }
        Verdict::Again
    }

    /// Lets go of what can never begin, and says what that was.
    pub(super) fn check(&mut self, cx: &Context<'_>, orders: &mut Orders) -> Vec<ShardId> {
        let dead = cx.control.live(self.from).is_none() || cx.control.live(self.to).is_none();
        let owned = Ownership::Owned { home: self.from };
        let lost: Vec<ShardId> = self
            .shards
            .iter()
            .filter(|&(shard, epoch)| {
                let record = cx.control.shards.get(shard);
                dead || record.is_none_or(|it| it.epoch != *epoch || it.ownership != owned)
            })
            .map(|(&shard, _)| shard)
            .collect();
        if lost.len() == self.shards.len() {
            self.drop_all(cx, orders);
        } else if !lost.is_empty() {
            self.shards.retain(|shard, _| !lost.contains(shard));
            self.notify(cx, Index(0), lost.clone(), orders);
        }
        lost
    }

    /// Frees what was shipped of shards whose Begin was void.
    pub(super) fn free(self, cx: &Context<'_>, shards: Vec<ShardId>, orders: &mut Orders) {
        if !shards.is_empty() {
            self.notify(cx, cx.control.applied, shards, orders);
        }
    }

    pub(super) fn progress(&self) -> HandoffProgress {
        HandoffProgress {
            transfer: self.id,
            handoff: None,
            from: self.from,
            to: self.to,
            shards: self.shards.len(),
            acked: 0,
            installed: 0,
        }
    }

    fn drop_all(&mut self, cx: &Context<'_>, orders: &mut Orders) {
        self.step = Step::Dropped { told: 1 };
        self.notify(cx, Index(0), self.shards.keys().copied().collect(), orders);
    }

    fn order(&self) -> ShardMove {
        ShardMove {
            term: self.id.term,
            transfer: self.id,
            stamp: self.stamp,
            to: self.to,
            shards: self.listed(),
        }
    }

    fn listed(&self) -> Vec<(ShardId, Epoch)> {
        self.shards
            .iter()
            .map(|(&id, &epoch)| (id, epoch))
            .collect()
    }

    fn propose(&self, orders: &mut Orders) {
        orders.propose(Command::BeginHandoff {
            transfer: self.id,
            stamp: self.stamp,
            from: self.from,
            to: self.to,
            shards: self.listed(),
        });
    }

    fn notify(&self, cx: &Context<'_>, index: Index, shards: Vec<ShardId>, orders: &mut Orders) {
        for home in [self.from, self.to] {
            if cx.control.live(home).is_some() {
                let message = Message::HandoffAborted {
                    term: orders.term,
                    index,
                    transfer: self.id,
                    shards: shards.clone(),
                };
                orders.send(home.node, message);
            }
        }
    }
}

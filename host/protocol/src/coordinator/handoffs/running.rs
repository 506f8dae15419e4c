//! A handoff that is committed, on its way to Complete or Abort.
//!
//! ```text
//!                    HandoffAcked            Installed               gathered
//!   Draining ───────────────────► Acked ───────────────► Installed ───────────► Completing ══► (owned by the target)
//!      │  not in time               │ not in time, NotInstalled
//!      └────────────► Aborting ◄────┘                                        Aborting ══► (owned by the source, or nobody)
//! ```
//! Where the source is dead, the target alone decides: it has a shard whole, or promises that it never will.

use std::collections::BTreeMap;

use super::HandoffProgress;
use crate::Durability;
use crate::cluster::{
    Context, Epoch, HandoffId, Home, Instant, LedgerId, Message, Peer, ShardId, ShardMove,
    TransferId,
};
use crate::control::{Command, Ownership};
use crate::coordinator::orders::Orders;

/// The shards of one handoff that have not arrived.
#[derive(Debug)]
pub(super) struct Running {
    id: HandoffId,
    pub(super) transfer: TransferId,
    stamp: Epoch,
    pub(super) from: Home,
    pub(super) to: Home,
    shards: BTreeMap<ShardId, Moving>,
    /// The source is dead.
    orphaned: bool,
    /// Nothing is known of how far it is: the target may have everything.
    resumed: bool,
    deadline: Instant,
    resend: Instant,
    /// When what is installed is completed without waiting for the rest.
    gathered: Option<Instant>,
}

#[derive(Debug)]
struct Moving {
    epoch: Epoch,
    step: Step,
    /// When this step has taken too long.
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The source was told to stop.
    Draining,
    /// It has.
    Acked,
    /// The target has the state.
    Installed { ledger: Option<LedgerId> },
    /// Its Complete is proposed.
    Completing { ledger: Option<LedgerId> },
    /// Its Abort is proposed.
    Aborting,
}

/// How a shard's handoff ended in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is the target's.
    Completed,
    /// It is not.
    Aborted,
}

impl Running {
    /// Takes up what the control state says of these shards of one handoff.
    pub(super) fn new(
        cx: &Context<'_>,
        id: HandoffId,
        shards: &[ShardId],
        resumed: bool,
    ) -> Option<Self> {
        let timing = &cx.settings.timing;
        let first = cx.control.shards.get(shards.first()?)?;
        let Ownership::Handoff {
            transfer,
            stamp,
            from,
            to,
            ..
        } = first.ownership
        else {
            return None;
        };
        let until = cx.now.instant + timing.phase;
        let moving = |&shard: &ShardId| {
            let epoch = cx.control.shards.get(&shard)?.epoch;
            let step = Step::Draining;
            Some((shard, Moving { epoch, step, until }))
        };
        Some(Self {
            id,
            transfer,
            stamp,
            from,
            to,
            shards: shards.iter().filter_map(moving).collect(),
            orphaned: cx.control.live(from).is_none(),
            resumed,
            deadline: cx.now.instant + timing.handoff,
            resend: cx.now.instant,
            gathered: None,
        })
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.shards.keys().copied()
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Instant {
        self.gathered.map_or(self.resend, |at| at.min(self.resend))
    }

    /// The source dispatches nothing of these any more.
    pub(super) fn acked(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        shards: &[ShardId],
        orders: &mut Orders,
    ) {
        if from != self.from {
            return;
        }
        let until = cx.now.instant + cx.settings.timing.phase;
        let mut acked = Vec::new();
        for shard in shards {
            if let Some(moving) = self.shards.get_mut(shard)
                && moving.step == Step::Draining
            {
                moving.step = Step::Acked;
                moving.until = until;
                acked.push(*shard);
            }
        }
        if !acked.is_empty() {
            self.query(acked, orders);
        }
    }

    /// The target has all of a shard. So the source has stopped, too: the last part of a shard is shipped after that.
    pub(super) fn installed(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        (shard, ledger): (ShardId, Option<LedgerId>),
        orders: &mut Orders,
    ) {
        if from != self.to || !kept(cx, shard, from, ledger) {
            return;
        }
        let Some(moving) = self.shards.get_mut(&shard) else {
            return;
        };
        if !matches!(moving.step, Step::Draining | Step::Acked) {
            return;
        }
        moving.step = Step::Installed { ledger };
        let coming = |moving: &Moving| matches!(moving.step, Step::Draining | Step::Acked);
        if self.shards.values().any(coming) {
            let gathered = cx.now.instant + cx.settings.timing.barrier;
            self.gathered.get_or_insert(gathered);
        } else {
            self.complete(false, orders);
        }
    }

    /// The target does not have a shard and never will. An answer that crossed an `Installed` is old.
    pub(super) fn not_installed(&mut self, from: Peer, shard: ShardId, orders: &mut Orders) {
        if from != self.to {
            return;
        }
        if let Some(moving) = self.shards.get_mut(&shard)
            && matches!(moving.step, Step::Draining | Step::Acked)
        {
            moving.step = Step::Aborting;
            self.abort(vec![shard], orders);
        }
    }

    /// A Complete of these was void: the ledger that had them is gone. The target says where they are now.
    pub(super) fn ask_again(&mut self, cx: &Context<'_>, shards: impl Iterator<Item = ShardId>) {
        for shard in shards {
            if let Some(moving) = self.shards.get_mut(&shard)
                && matches!(moving.step, Step::Completing { .. })
            {
                moving.step = Step::Acked;
                moving.until = cx.now.instant + cx.settings.timing.phase;
            }
        }
    }

    /// Gives up what takes too long, and says again what was not answered.
    pub(super) fn tick(&mut self, cx: &Context<'_>, orders: &mut Orders) {
        let now = cx.now.instant;
        if self.gathered.is_some_and(|at| at <= now) {
            self.complete(false, orders);
        }
        if now < self.resend {
            return;
        }
        self.resend = now + cx.settings.timing.resend;
        for moving in self.shards.values_mut() {
            let patience = match moving.step {
                // Only the target can say something, and whatever is shipped, it has: time does not help.
                Step::Draining | Step::Acked if self.orphaned => self.deadline,
                Step::Draining | Step::Acked => moving.until.min(self.deadline),
                Step::Installed { .. } | Step::Completing { .. } | Step::Aborting => continue,
            };
            if patience <= now {
                moving.step = Step::Aborting;
            }
        }
        self.say_again(orders);
    }

    /// Compares with what is committed: takes out what has ended, and tells both ends.
    pub(super) fn reconcile(
        &mut self,
        cx: &Context<'_>,
        orders: &mut Orders,
    ) -> Vec<(ShardId, Ending)> {
        let mut endings = Vec::new();
        for &shard in self.shards.keys() {
            let ownership = cx.control.shards.get(&shard).map(|each| each.ownership);
            match ownership {
                Some(Ownership::Handoff { handoff, .. }) if handoff == self.id => {}
                Some(Ownership::Owned { home }) if home == self.to => {
                    endings.push((shard, Ending::Completed));
                }
                _ => endings.push((shard, Ending::Aborted)),
            }
        }
        for (shard, _) in &endings {
            self.shards.remove(shard);
        }
        self.tell(cx, &endings, orders);
        if !self.orphaned && cx.control.live(self.from).is_none() {
            self.orphaned = true;
            self.say_again(orders);
        }
        endings
    }

    pub(super) fn progress(&self) -> HandoffProgress {
        let count = |wanted: fn(Step) -> bool| {
            let steps = self.shards.values().map(|moving| moving.step);
            steps.filter(|&step| wanted(step)).count()
        };
        HandoffProgress {
            transfer: self.transfer,
            handoff: Some(self.id),
            from: self.from,
            to: self.to,
            shards: self.shards.len(),
            acked: count(|step| !matches!(step, Step::Draining | Step::Aborting)),
            installed: count(|step| {
                matches!(step, Step::Installed { .. } | Step::Completing { .. })
            }),
        }
    }

    /// Orders, asks and proposes whatever is not done.
    fn say_again(&mut self, orders: &mut Orders) {
        let draining = self.at(|step| step == Step::Draining);
        if !draining.is_empty() && !self.orphaned {
            let shards = draining.iter().map(|&id| (id, self.shards[&id].epoch));
            let order = ShardMove {
                term: orders.term,
                transfer: self.transfer,
                stamp: self.stamp,
                to: self.to,
                shards: shards.collect(),
            };
            let handoff = self.id;
            orders.send(self.from.node, Message::BeginHandoff { handoff, order });
        }
        let early = self.resumed || self.orphaned;
        let asked = self.at(|step| step == Step::Acked || (early && step == Step::Draining));
        if !asked.is_empty() {
            self.query(asked, orders);
        }
        let aborting = self.at(|step| step == Step::Aborting);
        if !aborting.is_empty() {
            self.abort(aborting, orders);
        }
        self.complete(true, orders);
    }

    /// Proposes to complete what is installed; with `again` also what was proposed before.
    fn complete(&mut self, again: bool, orders: &mut Orders) {
        let waiting = self.gathered.take().filter(|_| again);
        self.gathered = waiting;
        let mut shards = Vec::new();
        for (&shard, moving) in &mut self.shards {
            match moving.step {
                Step::Installed { ledger } if waiting.is_none() => {
                    moving.step = Step::Completing { ledger };
                    shards.push((shard, ledger));
                }
                Step::Completing { ledger } if again => shards.push((shard, ledger)),
                _ => {}
            }
        }
        if !shards.is_empty() {
            orders.propose(Command::CompleteHandoff {
                handoff: self.id,
                shards,
            });
        }
    }

    fn abort(&self, shards: Vec<ShardId>, orders: &mut Orders) {
        orders.propose(Command::AbortHandoff {
            handoff: self.id,
            shards,
        });
    }

    fn query(&self, shards: Vec<ShardId>, orders: &mut Orders) {
        let message = Message::InstallQuery {
            term: orders.term,
            handoff: self.id,
            shards,
            last: self.orphaned,
        };
        orders.send(self.to.node, message);
    }

    fn at(&self, wanted: impl Fn(Step) -> bool) -> Vec<ShardId> {
        self.shards
            .iter()
            .filter(|(_, moving)| wanted(moving.step))
            .map(|(&shard, _)| shard)
            .collect()
    }

    fn tell(&self, cx: &Context<'_>, endings: &[(ShardId, Ending)], orders: &mut Orders) {
        let with = |wanted: Ending| -> Vec<ShardId> {
            let ended = endings.iter().filter(|(_, ending)| *ending == wanted);
            ended.map(|&(shard, _)| shard).collect()
        };
        let (term, index) = (orders.term, cx.control.applied);
        let completed = with(Ending::Completed);
        if !completed.is_empty() && cx.control.live(self.from).is_some() {
            let message = Message::Release {
                term,
                index,
                handoff: self.id,
                shards: completed,
            };
            orders.send(self.from.node, message);
        }
        let aborted = with(Ending::Aborted);
        for home in [self.from, self.to] {
            if !aborted.is_empty() && cx.control.live(home).is_some() {
                let message = Message::HandoffAborted {
                    term,
                    index,
                    transfer: self.transfer,
                    shards: aborted.clone(),
                };
                orders.send(home.node, message);
            }
        }
    }
}

/// Whether this is a place where a shard's states may lie: a ledger of the target that still exists, or for a memory kind none.
fn kept(cx: &Context<'_>, shard: ShardId, target: Home, ledger: Option<LedgerId>) -> bool {
    let Some(space) = cx.control.spaces.get(&shard.space) else {
        return false;
    };
    match (space.durability, ledger) {
        (Durability::Memory, _) => true,
        (Durability::Durable, None) => false,
        (Durability::Durable, Some(id)) => {
            cx.control.ledgers.get(&id).map(|each| each.home) == Some(target)
        }
    }
}

//! Moves shards: what is committed about a move is in the control log, and this drives it to its end.
//!
//! ```text
//!  begin ─► Precopy ──Precopied──► propose Begin ══► Running ──HandoffAcked──► InstallQuery ──Installed──► propose Complete ══►
//!              │ (nothing is committed)               │  (by the control log: Ownership::Handoff)                    Release, Start
//!              └─ too long: HandoffAborted{index 0}   └─ too long, or the target never will: propose Abort ══► HandoffAborted
//! ```
//!
//! A new coordinator takes up every handoff that it finds in the control state, and knows nothing of precopies. It orders the source
//! again (which acknowledges again) and asks the target at once, so that a handoff whose source has acknowledged, or even died, goes
//! on where it was. The same happens to a Begin that is committed although its precopy is not known here (any more).
//!
//! Nothing here can make two owners, or none for ever: a Complete and an Abort that are both proposed name one handoff, and the
//! first of them in the log makes the other void.

mod precopy;
mod running;

use std::collections::{BTreeMap, BTreeSet};

use super::orders::Orders;
use super::roster::Roster;
use super::schedule::Schedule;
use super::{Action, retiring};
use crate::Durability;
use crate::cluster::{
    Context, Epoch, HandoffId, Home, Instant, Message, NodeId, Peer, ShardId, Term, TransferId,
};
use crate::control::{Command, ControlState, Entry, Ownership, Status};

use precopy::{Precopy, Verdict};
use running::{Ending, Running};

/// All moves.
#[derive(Debug)]
pub(super) struct Handoffs {
    /// The last transfer that was planned in this term.
    count: u64,
    precopies: BTreeMap<TransferId, Precopy>,
    running: BTreeMap<HandoffId, Running>,
    /// The shards of the precopies that may still begin.
    reserved: BTreeSet<ShardId>,
    /// The shards of the transfers that have this stamp, the last one: none of them gets another with it.
    stamped: (Epoch, BTreeSet<ShardId>),
    /// Shards that should not move again so soon.
    cooling: BTreeMap<ShardId, Cooling>,
    timers: Schedule<Timer>,
    orders: Orders,
}

/// How a handoff is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoffProgress {
    /// What is shipped.
    pub transfer: TransferId,
    /// The handoff; none while nothing is committed.
    pub handoff: Option<HandoffId>,
    /// Who has the shards.
    pub from: Home,
    /// Who gets them.
    pub to: Home,
    /// How many shards are on their way.
    pub shards: usize,
    /// Of how many the source has stopped.
    pub acked: usize,
    /// How many the target has.
    pub installed: usize,
}

/// A shard that did not move, or that should stay.
#[derive(Debug)]
struct Cooling {
    /// Moves that failed in a row.
    failures: u32,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Precopy(TransferId),
    Running(HandoffId),
}

/// How many transfers, as a power of two, one coordinator can plan before they could have numbers of its successor in the same term.
const TRANSFERS_BITS: u32 = 24;
/// How often the pause before a failed move is tried again is doubled.
const COOLING_DOUBLINGS: u32 = 4;

impl Handoffs {
    pub(super) fn new(cx: &Context<'_>, term: Term) -> Self {
        Self {
            // A node that restarts may lead in the term in which it led before: by the index its transfers are others.
            count: cx.control.applied.0 << TRANSFERS_BITS,
            precopies: BTreeMap::new(),
            running: BTreeMap::new(),
            reserved: BTreeSet::new(),
            stamped: (Epoch(0), BTreeSet::new()),
            cooling: BTreeMap::new(),
            timers: Schedule::new(),
            orders: Orders::new(term),
        }
    }

    /// Begins to move these shards, as far as they may move now and both nodes have room. Says how many do.
    pub(super) fn begin(
        &mut self,
        cx: &Context<'_>,
        from: Home,
        to: Home,
        shards: &[ShardId],
    ) -> usize {
        let room = self.room(cx, from.node).min(self.room(cx, to.node));
        let stamp = Epoch(cx.control.applied.0);
        if self.stamped.0 != stamp {
            self.stamped = (stamp, BTreeSet::new());
        }
        let shards: BTreeMap<ShardId, Epoch> = shards
            .iter()
            .filter(|shard| !self.reserved.contains(shard) && !self.stamped.1.contains(shard))
            .filter_map(|&shard| Some((shard, movable(cx.control, shard, from, to)?)))
            .take(room)
            .collect();
        if shards.is_empty() {
            return 0;
        }
        self.count += 1;
        let id = TransferId {
            term: self.orders.term,
            number: self.count,
        };
        self.reserved.extend(shards.keys());
        self.stamped.1.extend(shards.keys());
        let count = shards.len();
        let mut precopy = Precopy::new(cx, id, (from, to), shards);
        precopy.tick(cx, true, &mut self.orders);
        self.precopies.insert(id, precopy);
        let again = cx.now.instant + cx.settings.timing.resend;
        self.timers.set(Timer::Precopy(id), again);
        count
    }

    /// Takes up what the control state says, and gives up what it does not.
    pub(super) fn handle_state(&mut self, cx: &Context<'_>) {
        let known: Vec<HandoffId> = self.running.keys().copied().collect();
        for id in known {
            self.reconcile(cx, id);
        }
        let mut found: BTreeMap<HandoffId, Vec<ShardId>> = BTreeMap::new();
        for shard in cx.control.shards.moving() {
            if let Some(Ownership::Handoff { handoff, .. }) = ownership(cx.control, shard)
                && !self.running.contains_key(&handoff)
            {
                found.entry(handoff).or_default().push(shard);
            }
        }
        for (id, shards) in found {
            self.run(cx, id, &shards, true);
        }
        self.check_precopies(cx);
    }

    pub(super) fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match &entry.command {
            Command::BeginHandoff {
                transfer, shards, ..
            } => self.begun(cx, HandoffId(entry.index.0), *transfer, shards),
            Command::CompleteHandoff { handoff, shards } => {
                self.reconcile(cx, *handoff);
                if let Some(running) = self.running.get_mut(handoff) {
                    running.ask_again(cx, shards.iter().map(|&(shard, _)| shard));
                }
            }
            Command::AbortHandoff { handoff, .. } => self.reconcile(cx, *handoff),
            Command::Down { .. }
            | Command::Join { .. }
            | Command::Scale { .. }
            | Command::Retire { .. }
            | Command::Drop { .. } => {
                self.cooling
                    .retain(|shard, _| cx.control.shards.contains_key(shard));
                self.handle_state(cx);
            }
            _ => {}
        }
    }

    pub(super) fn handle_message(
        &mut self,
        cx: &Context<'_>,
        roster: &Roster,
        from: Peer,
        message: &Message,
    ) {
        match message {
            Message::Precopied { transfer } => {
                let Some(precopy) = self.precopies.get_mut(transfer) else {
                    return;
                };
                if precopy.from == from && fit(cx, roster, precopy.to) {
                    precopy.copied(&mut self.orders);
                }
            }
            Message::HandoffAcked { handoff, shards } => {
                if let Some(running) = self.running.get_mut(handoff) {
                    running.acked(cx, from, shards, &mut self.orders);
                }
            }
            Message::Installed {
                handoff,
                shard,
                ledger,
                ..
            } => {
                let Some(running) = self.running.get_mut(handoff) else {
                    return;
                };
                running.installed(cx, from, (*shard, *ledger), &mut self.orders);
                self.timers.set(Timer::Running(*handoff), running.due());
            }
            Message::NotInstalled { handoff, shard } => {
                if let Some(running) = self.running.get_mut(handoff) {
                    running.not_installed(from, *shard, &mut self.orders);
                }
            }
            _ => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &Context<'_>, roster: &Roster) {
        while let Some(timer) = self.timers.pop(cx.now.instant) {
            match timer {
                Timer::Precopy(id) => self.tick_precopy(cx, roster, id),
                Timer::Running(id) => {
                    if let Some(running) = self.running.get_mut(&id) {
                        running.tick(cx, &mut self.orders);
                        self.timers.set(timer, running.due());
                    }
                }
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }

    /// Nothing moves, and nothing is about to.
    pub(super) fn idle(&self) -> bool {
        self.reserved.is_empty() && self.running.is_empty()
    }

    /// Where a precopy takes this shard: not committed yet.
    pub(super) fn target(&self, shard: ShardId) -> Option<Home> {
        if !self.reserved.contains(&shard) {
            return None;
        }
        self.precopies
            .values()
            .find(|precopy| precopy.open() && precopy.shards.contains_key(&shard))
            .map(|precopy| precopy.to)
    }

    /// This shard's last move failed.
    pub(super) fn failed(&self, shard: ShardId) -> bool {
        let cooling = self.cooling.get(&shard);
        cooling.is_some_and(|cooling| cooling.failures > 0)
    }

    /// This shard was moved for a reason that a plan does not know: it stays where it comes to be, for a while.
    pub(super) fn pin(&mut self, shard: ShardId, until: Instant) {
        let cooling = self
            .cooling
            .entry(shard)
            .or_insert(Cooling { failures: 0, until });
        cooling.until = cooling.until.max(until);
    }

    /// This shard's last move failed lately, or it is pinned.
    pub(super) fn cooling(&self, cx: &Context<'_>, shard: ShardId) -> bool {
        self.cooling
            .get(&shard)
            .is_some_and(|cooling| cx.now.instant < cooling.until)
    }

    /// All moves, for people: first those that are committed.
    pub(super) fn progress(&self) -> impl Iterator<Item = HandoffProgress> {
        let running = self.running.values().map(Running::progress);
        let precopies = self.precopies.values().filter(|precopy| precopy.open());
        running.chain(precopies.map(Precopy::progress))
    }

    /// Each shard is on its way once, and nobody takes part in more than the bound, except in what a predecessor began.
    pub(super) fn check_invariants(&self, cx: &Context<'_>) {
        let mut seen = BTreeSet::new();
        for precopy in self.precopies.values().filter(|precopy| precopy.open()) {
            for shard in precopy.shards.keys() {
                assert!(seen.insert(*shard), "{shard} is shipped twice");
            }
        }
        assert_eq!(seen, self.reserved, "reserved is what is shipped");
        for (id, running) in &self.running {
            for shard in running.shards() {
                let found = ownership(cx.control, shard);
                let ours =
                    matches!(found, Some(Ownership::Handoff { handoff, .. }) if handoff == *id);
                assert!(ours, "{shard} is not in {id}: {found:?}");
                assert!(seen.insert(shard), "{shard} moves twice");
            }
        }
    }

    /// How many more shards this node may send or take.
    fn room(&self, cx: &Context<'_>, node: NodeId) -> usize {
        let takes_part = |from: Home, to: Home| from.node == node || to.node == node;
        let precopies = self
            .precopies
            .values()
            .filter(|each| each.open() && takes_part(each.from, each.to))
            .map(|each| each.shards.len());
        let running = self
            .running
            .values()
            .filter(|each| takes_part(each.from, each.to))
            .map(|each| each.shards().count());
        let used: usize = precopies.chain(running).sum();
        cx.settings.bounds.handoffs_max.saturating_sub(used)
    }

    /// A Begin is applied. What it did not begin it never will, except where it was proposed twice: that one is found then as by a
    /// new coordinator.
    fn begun(
        &mut self,
        cx: &Context<'_>,
        handoff: HandoffId,
        transfer: TransferId,
        shards: &[(ShardId, Epoch)],
    ) {
        let moves = |shard: &ShardId| {
            let found = ownership(cx.control, *shard);
            matches!(found, Some(Ownership::Handoff { handoff: h, .. }) if h == handoff)
        };
        let (moved, void): (Vec<ShardId>, Vec<ShardId>) =
            shards.iter().map(|&(shard, _)| shard).partition(moves);
        let precopy = self.precopies.remove(&transfer);
        let known = precopy.as_ref().is_some_and(Precopy::open);
        if let Some(precopy) = precopy {
            self.timers.cancel(Timer::Precopy(transfer));
            if known {
                self.release(precopy.shards.keys().copied().collect());
            }
            precopy.free(cx, void, &mut self.orders);
        }
        if !moved.is_empty() {
            self.run(cx, handoff, &moved, !known);
        }
    }

    /// Drives a handoff that is committed.
    fn run(&mut self, cx: &Context<'_>, id: HandoffId, shards: &[ShardId], resumed: bool) {
        let Some(mut running) = Running::new(cx, id, shards, resumed) else {
            return;
        };
        // Begun, whether the entry was seen or jumped over: not to be given up as a precopy.
        if let Some(precopy) = self.precopies.remove(&running.transfer) {
            self.timers.cancel(Timer::Precopy(precopy.id));
            if precopy.open() {
                self.release(precopy.shards.into_keys().collect());
            }
        }
        running.tick(cx, &mut self.orders);
        self.timers.set(Timer::Running(id), running.due());
        self.running.insert(id, running);
    }

    /// Compares a handoff with what is committed, and ends what has ended.
    fn reconcile(&mut self, cx: &Context<'_>, id: HandoffId) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let endings = running.reconcile(cx, &mut self.orders);
        if running.shards().next().is_none() {
            self.running.remove(&id);
            self.timers.cancel(Timer::Running(id));
        }
        for (shard, ending) in endings {
            match ending {
                Ending::Completed => self.warm(cx, shard),
                Ending::Aborted => self.cool(cx, shard),
            }
        }
    }

    fn tick_precopy(&mut self, cx: &Context<'_>, roster: &Roster, id: TransferId) {
        let Some(precopy) = self.precopies.get_mut(&id) else {
            return;
        };
        let open = precopy.open();
        let wanted = fit(cx, roster, precopy.to) && !roster.suspect(cx, precopy.from);
        let verdict = precopy.tick(cx, wanted, &mut self.orders);
        if open && !precopy.open() {
            let shards: Vec<ShardId> = precopy.shards.keys().copied().collect();
            for &shard in &shards {
                self.cool(cx, shard);
            }
            self.release(shards);
        }
        match verdict {
            Verdict::Again => {
                let again = cx.now.instant + cx.settings.timing.resend;
                self.timers.set(Timer::Precopy(id), again);
            }
            Verdict::Over => {
                self.precopies.remove(&id);
            }
        }
    }

    /// Gives up precopies that can never begin: an end is dead, or the shards are not the source's any more.
    fn check_precopies(&mut self, cx: &Context<'_>) {
        let mut released = Vec::new();
        for precopy in self.precopies.values_mut().filter(|each| each.open()) {
            released.extend(precopy.check(cx, &mut self.orders));
        }
        self.release(released);
    }

    fn release(&mut self, shards: Vec<ShardId>) {
        for shard in shards {
            self.reserved.remove(&shard);
        }
    }

    /// A move succeeded: what failed before is forgotten.
    fn warm(&mut self, cx: &Context<'_>, shard: ShardId) {
        let Some(cooling) = self.cooling.get_mut(&shard) else {
            return;
        };
        cooling.failures = 0;
        if cooling.until <= cx.now.instant {
            self.cooling.remove(&shard);
        }
    }

    fn cool(&mut self, cx: &Context<'_>, shard: ShardId) {
        if cx.control.home_of(shard).is_none() {
            self.cooling.remove(&shard);
            return;
        }
        let phase = cx.settings.timing.phase;
        let cooling = self.cooling.entry(shard).or_insert(Cooling {
            failures: 0,
            until: cx.now.instant,
        });
        let pause = phase * (1 << cooling.failures.min(COOLING_DOUBLINGS));
        cooling.failures = cooling.failures.saturating_add(1);
        cooling.until = cx.now.instant + pause;
    }
}

/// The epoch of a shard that could move from here to there now: both live, and nothing of its state lies elsewhere.
pub(super) fn movable(
    control: &ControlState,
    shard: ShardId,
    from: Home,
    to: Home,
) -> Option<Epoch> {
    let record = control.shards.get(&shard)?;
    let target = control.live(to)?;
    control.live(from)?;
    let owned = record.ownership == Ownership::Owned { home: from };
    let space = control.spaces.get(&shard.space)?;
    let state = match space.durability {
        Durability::Memory => true,
        Durability::Durable => record.sources.is_empty() && target.ledger.is_some(),
    };
    let may = owned && state && from != to && target.status == Status::Up;
    (may && !retiring(control, shard)).then_some(record.epoch)
}

fn ownership(control: &ControlState, shard: ShardId) -> Option<Ownership> {
    control.shards.get(&shard).map(|record| record.ownership)
}

/// Whether a node may get shards now.
fn fit(cx: &Context<'_>, roster: &Roster, home: Home) -> bool {
    let up = cx.control.live(home).map(|member| member.status) == Some(Status::Up);
    up && roster.heard(home) && !roster.suspect(cx, home)
}

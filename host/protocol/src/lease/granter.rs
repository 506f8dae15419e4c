//! The coordinator's side of leases: who was granted what, until when, and who is silent.
//!
//! ```text
//!  Renew ──► region.renewal ──► [ every `barrier` ] ──► Barrier{id} ──► handle_barrier(id, index) ──► Grant
//!                                     │                                       │
//!                    takes what came before it began                expires = received + L(1 + rho)
//! ```
//!
//! A region that does not confirm its grants for `confirm` gets no new ones: a lease that it never sees would only keep its
//! shards from others. It gets its last grant again instead, which extends nothing: as soon as one arrives, it is confirmed,
//! and new ones are given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::cluster::{
    Context, Grant, Home, Index, Instant, Message, Mutant, NodeId, Peer, Renew, Term,
};

/// Grants leases, as long as its coordinator is one. A new coordinator has a new one.
#[derive(Debug)]
pub struct Granter {
    term: Term,
    /// Until when a life that this coordinator has never heard of may have a lease of an earlier one.
    takeover: Instant,
    /// By life: the live members, as the roster introduces them.
    regions: BTreeMap<Home, Region>,
    /// Whose renewal waits for a barrier to begin.
    waiting: BTreeSet<Home>,
    /// Begun and not answered, oldest first.
    barriers: VecDeque<Barrier>,
    /// How many barriers were begun.
    begun: u64,
    /// When the last one was.
    last: Option<Instant>,
    due: Option<Instant>,
    actions: VecDeque<Action>,
}

/// What a granter wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this to that node.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Ask a quorum whether this node still leads, from now on; the answer is `handle_barrier` with the number.
    Barrier {
        /// Unique among all that this node ever asks.
        id: u64,
    },
}

/// What is known of a life.
#[derive(Debug)]
struct Region {
    /// It may act until then, at most.
    expires: Instant,
    /// When it was heard last, or when the waiting for it began.
    silent_since: Instant,
    /// Whether it was heard at all.
    heard: bool,
    /// Nothing is granted any more: its life ends.
    stopped: bool,
    /// The highest renewal.
    seq: u64,
    /// What it has applied.
    applied: Index,
    /// The latest renewal that no barrier was begun for.
    renewal: Option<Renewal>,
    /// The oldest grant since the last that was confirmed, and when it was given.
    unconfirmed: Option<(u64, Instant)>,
    /// The last grant.
    granted: Option<Grant>,
}

#[derive(Debug, Clone, Copy)]
struct Renewal {
    home: Home,
    seq: u64,
    received: Instant,
}

#[derive(Debug)]
struct Barrier {
    id: u64,
    renewals: Vec<Renewal>,
}

/// How many barriers may be unanswered. Beyond it the oldest is given up: its regions have renewed since.
const BARRIERS_MAX: usize = 32;

impl Granter {
    /// A new coordinator's: leases of its predecessors may run for as long as any that was granted just now.
    pub fn new(cx: &Context<'_>, term: Term) -> Self {
        let takeover = if cx.settings.lacks(Mutant::NoTakeoverWait) {
            Instant(0)
        } else {
            cx.now.instant + longest(cx)
        };
        Self {
            term,
            takeover,
            regions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            barriers: VecDeque::new(),
            begun: 0,
            last: None,
            due: None,
            actions: VecDeque::new(),
        }
    }

    /// A life that was a member when this coordinator began.
    pub fn inherit(&mut self, cx: &Context<'_>, home: Home) {
        let region = Region::new(cx.now.instant, self.takeover);
        self.regions.entry(home).or_insert(region);
    }

    /// A new life. Nobody can have granted it anything; it gets the time of a lease to be heard.
    pub fn introduce(&mut self, cx: &Context<'_>, home: Home) {
        let now = cx.now.instant;
        let region = Region::new(now, now + longest(cx));
        self.regions.entry(home).or_insert(region);
    }

    /// A life that is over.
    pub fn forget(&mut self, home: Home) {
        self.regions.remove(&home);
        self.waiting.remove(&home);
    }

    /// From now on nothing is granted to this life. To be called at the latest when its end is proposed.
    pub fn stop(&mut self, cx: &Context<'_>, home: Home) {
        if cx.settings.lacks(Mutant::GrantDownRace) {
            return;
        }
        if let Some(region) = self.regions.get_mut(&home) {
            region.stopped = true;
        }
    }

    /// Whether nothing is granted to it any more.
    pub fn stopped(&self, home: Home) -> bool {
        self.regions.get(&home).is_none_or(|region| region.stopped)
    }

    /// Whether no lease of this life can be valid any more, on any clock that runs within rho.
    pub fn expired(&self, cx: &Context<'_>, home: Home) -> bool {
        cx.now.instant > self.expires(home)
    }

    /// The last instant at which a lease of this life may be valid.
    pub fn expires(&self, home: Home) -> Instant {
        let region = self.regions.get(&home);
        region.map_or(self.takeover, |region| region.expires)
    }

    /// Whether this coordinator has heard a renewal of it.
    pub fn heard(&self, home: Home) -> bool {
        self.regions.get(&home).is_some_and(|region| region.heard)
    }

    /// What it had applied of the control log when it was heard last.
    pub fn applied(&self, home: Home) -> Index {
        let region = self.regions.get(&home);
        region.map_or(Index(0), |region| region.applied)
    }

    /// Whether it is silent for too long, or does not hear this coordinator.
    pub fn suspect(&self, cx: &Context<'_>, home: Home) -> bool {
        cx.now.instant >= self.suspect_from(cx, home)
    }

    /// When it will be suspect, if nothing more is heard of it.
    pub fn suspect_from(&self, cx: &Context<'_>, home: Home) -> Instant {
        let Some(region) = self.regions.get(&home) else {
            return Instant(0);
        };
        let timing = &cx.settings.timing;
        let silent = region.silent_since + timing.suspect;
        match region.unconfirmed {
            Some((_, since)) => silent.min(since + timing.confirm),
            None => silent,
        }
    }

    /// The coordinator's loop was late: what it did not hear may lie in its sockets. Everybody gets the time of a lease again.
    pub fn handle_late(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        for region in self.regions.values_mut() {
            region.expires = region.expires.max(now + longest(cx));
            region.silent_since = now;
            if let Some((_, since)) = &mut region.unconfirmed {
                *since = now;
            }
        }
    }

    /// Takes a `Renew` of a live member; everything else is not for it.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        let Message::Renew(renew) = message else {
            return;
        };
        if renew.incarnation == from.incarnation && cx.control.live(from).is_some() {
            self.handle_renew(cx, from, renew);
        }
    }

    /// The barrier was passed: everything up to `index` was committed, and this node led, at some time after it had begun. `None`: it
    /// may not be the leader any more.
    pub fn handle_barrier(&mut self, cx: &Context<'_>, id: u64, index: Option<Index>) {
        let Some(place) = self.barriers.iter().position(|barrier| barrier.id == id) else {
            return;
        };
        let barrier = self.barriers.remove(place);
        let (Some(barrier), Some(index)) = (barrier, index) else {
            return;
        };
        for renewal in barrier.renewals {
            self.grant(cx, renewal, index);
        }
    }

    /// Begins a barrier, if it is time and something waits for one.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        let mut renewals = Vec::with_capacity(self.waiting.len());
        for home in std::mem::take(&mut self.waiting) {
            let region = self.regions.get_mut(&home);
            renewals.extend(region.and_then(|region| region.renewal.take()));
        }
        if renewals.is_empty() {
            return;
        }
        self.last = Some(now);
        self.begun += 1;
        // An answer to a barrier that this node began in an earlier term must not pass for one of this.
        let id = self.term.number << 32 | self.begun & 0xffff_ffff;
        if self.barriers.len() == BARRIERS_MAX {
            self.barriers.pop_front();
        }
        self.barriers.push_back(Barrier { id, renewals });
        self.actions.push_back(Action::Barrier { id });
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Panics if the granter contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.barriers.len() <= BARRIERS_MAX, "too many barriers");
        assert!(
            self.waiting.is_empty() || self.due.is_some(),
            "renewals wait for a barrier that will not begin"
        );
        for (home, region) in &self.regions {
            assert!(
                region.unconfirmed.is_none() || region.granted.is_some(),
                "{home} should confirm a grant that was not given"
            );
            assert!(
                region.granted.is_none_or(|grant| grant.seq <= region.seq),
                "{home} was granted what it did not ask for"
            );
        }
    }

    fn handle_renew(&mut self, cx: &Context<'_>, home: Home, renew: &Renew) {
        let now = cx.now.instant;
        let fresh = Region::new(now, now + longest(cx));
        let region = self.regions.entry(home).or_insert(fresh);
        if renew.seq <= region.seq {
            return;
        }
        region.seq = renew.seq;
        region.heard = true;
        region.silent_since = now;
        region.applied = region.applied.max(renew.applied);
        if region
            .unconfirmed
            .is_some_and(|(seq, _)| renew.confirmed >= seq)
        {
            region.unconfirmed = None;
        }
        let renewal = Renewal {
            home,
            seq: renew.seq,
            received: now,
        };
        if cx.settings.lacks(Mutant::StaleGrant) {
            return self.grant(cx, renewal, cx.control.applied);
        }
        region.renewal = Some(renewal);
        self.waiting.insert(home);
        let next = self.last.map(|last| last + cx.settings.timing.barrier);
        self.due = Some(next.map_or(now, |next| next.max(now)));
    }

    fn grant(&mut self, cx: &Context<'_>, renewal: Renewal, index: Index) {
        let home = renewal.home;
        let Some(region) = self.regions.get_mut(&home) else {
            return;
        };
        let outdated = region.granted.is_some_and(|last| last.seq >= renewal.seq);
        if region.stopped || outdated || cx.control.live(home).is_none() {
            return;
        }
        let silent = region
            .unconfirmed
            .is_some_and(|(_, since)| cx.now.instant.since(since) >= cx.settings.timing.confirm);
        let grant = match region.granted {
            Some(again) if silent && !cx.settings.lacks(Mutant::UnconfirmedGrants) => again,
            _ => Grant {
                term: self.term,
                seq: renewal.seq,
                incarnation: home.incarnation,
                index,
            },
        };
        if grant.seq == renewal.seq {
            region.expires = region.expires.max(renewal.received + longest(cx));
            region
                .unconfirmed
                .get_or_insert((grant.seq, cx.now.instant));
            region.granted = Some(grant);
        }
        let message = Message::Grant(grant);
        let to = home.node;
        self.actions.push_back(Action::Send { to, message });
    }
}

impl Region {
    fn new(now: Instant, expires: Instant) -> Self {
        Self {
            expires,
            silent_since: now,
            heard: false,
            stopped: false,
            seq: 0,
            applied: Index(0),
            renewal: None,
            unconfirmed: None,
            granted: None,
        }
    }
}

/// How long a lease may run by the coordinator's clock: L(1 + rho).
fn longest(cx: &Context<'_>) -> Duration {
    let timing = &cx.settings.timing;
    if cx.settings.lacks(Mutant::NoDriftMargin) {
        return timing.lease;
    }
    timing.longest(timing.lease)
}

#[cfg(test)]
mod tests;

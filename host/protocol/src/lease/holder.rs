//! The region's side of a lease: renews it, and knows until when it runs.

use std::collections::VecDeque;

use crate::cluster::{
    Context, Grant, Instant, Message, Mutant, NodeId, Peer, Renew, Settings, Term,
};

/// Renews the lease of one life of this node.
///
/// In: [`Holder::reset`] for a new life, `handle_message`, `handle_timeout`, `handle_late`. Out: `poll_action`,
/// `poll_timeout`, and [`Holder::until`].
#[derive(Debug)]
pub struct Holder {
    /// Renewals that may still be granted: their numbers, without a gap, and when they were sent.
    sent: VecDeque<(u64, Instant)>,
    /// The last renewal's number.
    seq: u64,
    /// The highest number that was granted.
    confirmed: u64,
    /// The highest coordinator that granted anything. Kept over lives.
    term: Term,
    until: Instant,
    due: Option<Instant>,
    actions: VecDeque<Action>,
}

/// What a holder wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this to that node; this one itself, too.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
}

/// How many renewals are remembered: several leases' worth.
const SENT_MAX: usize = 64;

impl Holder {
    /// No lease, and no life to renew one for.
    pub fn new(now: Instant) -> Self {
        Self {
            sent: VecDeque::new(),
            seq: 0,
            confirmed: 0,
            term: Term::default(),
            until: now,
            due: None,
            actions: VecDeque::new(),
        }
    }

    /// The node has another life now, or none: the old one's lease is over, and none of its grants counts.
    pub fn reset(&mut self, now: Instant) {
        *self = Self {
            term: self.term,
            due: Some(now),
            ..Self::new(now)
        };
    }

    /// Until when this node may dispatch calls and release their outputs.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// The node was not run when it should have been: whatever it believes to hold is lost until a renewal from after the
    /// pause is granted.
    pub fn handle_late(&mut self, cx: &Context<'_>) {
        self.sent.clear();
        self.until = self.until.min(cx.now.instant);
        self.due = self.due.map(|_| cx.now.instant);
    }

    /// Takes a `Grant`; everything else is not for it.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        if let Message::Grant(grant) = message {
            self.handle_grant(cx, from, grant);
        }
    }

    /// Renews, if it is time.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if cx.me.incarnation.0 == 0 {
            self.due = None;
            return;
        }
        self.due = Some(now + cx.settings.timing.renew);
        self.seq += 1;
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.seq, now));
        let renew = Renew {
            incarnation: cx.me.incarnation,
            seq: self.seq,
            confirmed: self.confirmed,
            applied: cx.control.applied,
        };
        for &to in &cx.control.voters {
            let message = Message::Renew(renew);
            self.actions.push_back(Action::Send { to, message });
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Panics if the holder contradicts itself.
    pub fn check_invariants(&self) {
        assert!(
            self.confirmed <= self.seq,
            "a renewal is granted that was not sent"
        );
        assert!(
            self.sent.len() <= SENT_MAX,
            "more renewals than may be remembered"
        );
        let last = self.sent.back().map_or(self.seq, |&(seq, _)| seq);
        assert!(
            last == self.seq,
            "the last renewal is not the last one sent"
        );
    }

    fn handle_grant(&mut self, cx: &Context<'_>, from: Peer, grant: &Grant) {
        let stale = grant.term < self.term.max(cx.control.coordinator);
        let mine = grant.incarnation == cx.me.incarnation && grant.incarnation.0 != 0;
        // The leader of a term is a part of it: nobody else can speak for it.
        if stale || !mine || from.node != grant.term.node {
            return;
        }
        let Some(sent) = self.sent_at(grant.seq) else {
            return;
        };
        self.term = grant.term;
        self.confirmed = self.confirmed.max(grant.seq);
        // What an older renewal would give is less than what this one gave.
        while self.sent.front().is_some_and(|&(seq, _)| seq <= grant.seq) {
            self.sent.pop_front();
        }
        let from = if cx.settings.lacks(Mutant::LeaseFromReceipt) {
            cx.now.instant
        } else {
            sent
        };
        self.until = self.until.max(trusted(cx.settings, from));
    }

    fn sent_at(&self, seq: u64) -> Option<Instant> {
        let &(first, _) = self.sent.front()?;
        let place = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.sent.get(place).map(|&(_, at)| at)
    }
}

/// Until when a lease from `sent` on may be trusted: `sent + L(1 - rho) - g`.
fn trusted(settings: &Settings, sent: Instant) -> Instant {
    let timing = &settings.timing;
    if settings.lacks(Mutant::NoDriftMargin) {
        return sent + timing.lease;
    }
    sent + timing.shortest(timing.lease).saturating_sub(timing.guard)
}

#[cfg(test)]
mod tests;

//! Who is a member, who votes, and whose life is over. Owns the leases that the coordinator grants.
//!
//! ```text
//!             Join                    renewal heard
//!   (absent) ──────► Joining ─────────────────────► Up ──── Leave ────► Leaving
//!      ▲    after a     │                           │ ▲ Up (undrain)      │
//!      │    Down, too   ▼                           ▼ └───────────────────┤
//!      └── Remove ──── Down ◄───────────────────────┴─────────────────────┘
//!                        silent, and every lease has run out │ its process is proven dead │ it asked, and owns nothing
//! ```
//!
//! Each node has a seat. What a seat wants next is a pure function of it and the control state (`wanted`): it is proposed,
//! and proposed again, until the control log shows it or it is not wanted any more. From the moment at which the end of a life is
//! proposed, that life is granted nothing.
//!
//! A new coordinator knows only the control state. What it must not forget is in there; what it forgets (that a node asked to
//! leave, that one waits for shards) is asked again, or costs nothing but time.

mod joining;
mod readmission;
mod seat;
mod voting;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Context, Home, Index, Instant, Message, MetaDelta, NodeId, Peer, Term};
use crate::control::{Command, Entry, Status};
use crate::lease::{Granter, granter};

use super::Action;
use seat::{Life, Seat};
use voting::Voting;

/// The members, as their coordinator sees them. A new coordinator has a new one, from when its own first entry is applied.
#[derive(Debug)]
pub struct Roster {
    term: Term,
    granter: Granter,
    seats: BTreeMap<NodeId, Seat>,
    /// The members that go: what they still own has to be looked at when anything changes.
    going: BTreeSet<NodeId>,
    voting: Voting,
    /// When to look at every seat again, at the latest.
    due: Instant,
    actions: VecDeque<Action>,
}

impl Roster {
    /// This node's own first entry of `term` is applied: all members may have leases of its predecessor.
    pub fn new(cx: &Context<'_>, term: Term) -> Self {
        let mut roster = Self {
            term,
            granter: Granter::new(cx, term),
            seats: BTreeMap::new(),
            going: BTreeSet::new(),
            voting: Voting::default(),
            due: cx.now.instant,
            actions: VecDeque::new(),
        };
        for (&node, member) in &cx.control.members {
            if member.status != Status::Down {
                roster.granter.inherit(cx, member.home());
            }
            roster.refresh(cx, node);
        }
        roster
    }

    /// Whether this life may get shards: it is up, heard, and not on probation after it was downed.
    pub fn placeable(&self, cx: &Context<'_>, home: Home) -> bool {
        self.life(home).is_some_and(|(seat, life)| {
            life.status == Status::Up
                && seat.candidate.is_none()
                && seat.readmission.over(cx.now.instant)
                && self.heard(home)
                && !(life.doomed || self.granter.stopped(home))
                && !self.suspect(cx, home)
        })
    }

    /// Whether it is silent, or does not hear this coordinator. This coordinator's own node never is.
    pub fn suspect(&self, cx: &Context<'_>, home: Home) -> bool {
        home != cx.me.home() && self.granter.suspect(cx, home)
    }

    /// Whether this coordinator has heard a renewal of it.
    pub fn heard(&self, home: Home) -> bool {
        self.granter.heard(home)
    }

    /// Whether shards may be moved for balance: nobody joins, leaves by itself, is suspect, waits for shards, or runs another
    /// version. Members that are Down do not count: they own nothing.
    pub fn steady(&self, cx: &Context<'_>) -> bool {
        let mut version = None;
        self.seats.iter().all(|(node, seat)| {
            let (None, Some(life)) = (&seat.candidate, &seat.life) else {
                return false;
            };
            let Some(member) = cx.control.members.get(node) else {
                return false;
            };
            let same = *version.get_or_insert(member.boot.version) == member.boot.version;
            match life.status {
                Status::Down => true,
                Status::Joining => false,
                Status::Leaving => same && !life.leaving && !self.suspect(cx, life.home),
                Status::Up => same && self.placeable(cx, life.home),
            }
        })
    }

    /// Takes `Join`, `Renew` and `Leave`; everything else is not for it.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match message {
            Message::Join(boot) => self.handle_join(cx, from, boot),
            Message::Renew(_) => {
                if is_over(cx, from) {
                    return self.tell_over(cx, from);
                }
                self.granter.handle_message(cx, from, message);
                let joining = self
                    .life(from)
                    .is_some_and(|(_, life)| life.status == Status::Joining);
                if joining {
                    self.step(cx, from.node);
                }
            }
            Message::Leave { incarnation } if *incarnation == from.incarnation => {
                self.handle_leave(cx, from);
            }
            _ => return,
        }
        self.forward();
    }

    /// A barrier of this coordinator was answered.
    pub fn handle_barrier(&mut self, cx: &Context<'_>, id: u64, index: Option<Index>) {
        self.granter.handle_barrier(cx, id, index);
        self.forward();
    }

    /// An entry was applied.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        self.feed(cx, entry);
        match &entry.command {
            Command::Join { boot, .. } => self.changed(cx, boot.node),
            Command::Up { member }
            | Command::Leave { member }
            | Command::Down { member }
            | Command::Remove { member } => self.changed(cx, member.node),
            Command::Voters { .. } => {
                self.voting.applied(cx);
                self.vote(cx);
            }
            _ => {}
        }
        let going: Vec<NodeId> = self.going.iter().copied().collect();
        for node in going {
            self.step(cx, node);
        }
    }

    /// The control state has changed in any way.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        let mut nodes: BTreeSet<NodeId> = self.seats.keys().copied().collect();
        nodes.extend(cx.control.members.keys());
        for node in nodes {
            self.refresh(cx, node);
        }
        self.voting.applied(cx);
        self.look(cx);
    }

    /// Does what is due: barriers, proposals, ends of leases.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        self.granter.handle_timeout(cx);
        self.forward();
        if self.due <= cx.now.instant {
            self.look(cx);
        }
    }

    /// A supervisor saw this life's process exit: the proof that no lease of it is used any more.
    pub fn handle_exited(&mut self, cx: &Context<'_>, home: Home) {
        if let Some(life) = self.life_mut(home) {
            life.exited = true;
            self.step(cx, home.node);
        }
    }

    /// Somebody wants this node to be a member no more: it is taken from the voters, and removed when it is down, or owns
    /// nothing. A member that lives is drained first.
    pub fn handle_remove(&mut self, cx: &Context<'_>, node: NodeId) {
        if let Some(life) = self
            .seats
            .get_mut(&node)
            .and_then(|seat| seat.life.as_mut())
        {
            life.removing = true;
            self.going.insert(node);
            self.step(cx, node);
            self.vote(cx);
        }
    }

    /// The coordinator's loop was late by more than a quarter of a lease.
    pub fn handle_late(&mut self, cx: &Context<'_>) {
        self.granter.handle_late(cx);
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let barrier = self.granter.poll_timeout();
        Some(barrier.map_or(self.due, |barrier| barrier.min(self.due)))
    }

    /// Panics if the roster contradicts itself.
    pub fn check_invariants(&self) {
        self.granter.check_invariants();
        for (node, seat) in &self.seats {
            assert!(
                seat.life.is_some() || seat.candidate.is_some(),
                "{node} has a seat, and nobody is on it"
            );
            if let Some(life) = &seat.life {
                assert!(life.home.node == *node, "{node} has another node's seat");
            }
        }
    }

    fn tell_over(&mut self, cx: &Context<'_>, from: Peer) {
        let message = Message::Downed {
            term: self.term,
            incarnation: from.incarnation,
            index: cx.control.applied,
        };
        self.send(from.node, message);
    }

    fn handle_leave(&mut self, cx: &Context<'_>, from: Peer) {
        if is_over(cx, from) {
            let incarnation = from.incarnation;
            return self.send(from.node, Message::LeaveDone { incarnation });
        }
        if let Some(life) = self.life_mut(from) {
            life.leaving = true;
            self.going.insert(from.node);
            self.step(cx, from.node);
        }
    }

    /// Every member that Raft does not tell learns of an entry from its coordinator.
    fn feed(&mut self, cx: &Context<'_>, entry: &Entry) {
        let control = cx.control;
        let mut delta = None;
        for (&node, member) in &control.members {
            let told = control.voters.contains(&node) || node == cx.me.node;
            if told || member.status == Status::Down {
                continue;
            }
            let delta = delta.get_or_insert_with(|| MetaDelta {
                after: Index(entry.index.0.saturating_sub(1)),
                entries: vec![Arc::new(entry.clone())],
            });
            let message = Message::MetaDelta(delta.clone());
            self.actions.push_back(Action::Send { to: node, message });
        }
    }

    /// A member's record may have changed.
    fn changed(&mut self, cx: &Context<'_>, node: NodeId) {
        self.refresh(cx, node);
        self.step(cx, node);
        self.vote(cx);
    }

    /// Brings a seat up to what the control state says.
    fn refresh(&mut self, cx: &Context<'_>, node: NodeId) {
        let now = cx.now.instant;
        let timing = &cx.settings.timing;
        let seat = self.seats.entry(node).or_default();
        let before = seat.life.take();
        let member = cx.control.members.get(&node);
        if let Some(member) = member {
            let home = member.home();
            let mut life = match before.clone() {
                Some(life) if life.home == home => life,
                before => {
                    if let Some(before) = before {
                        seat.readmission.back(now, timing, &before, member);
                    }
                    if member.status != Status::Down {
                        self.granter.introduce(cx, home);
                    }
                    Life::new(now, home, member)
                }
            };
            if life.status != member.status {
                life.status = member.status;
                life.since = now;
                if life.status == Status::Down && !life.leaving {
                    seat.readmission.downed(now, timing);
                }
            }
            if seat
                .candidate
                .as_ref()
                .is_some_and(|c| c.boot.process <= life.process)
                && life.status != Status::Down
            {
                seat.candidate = None;
            }
            seat.life = Some(life);
        }
        let seated = seat.life.as_ref();
        let live = seated.filter(|life| life.status != Status::Down);
        let over = before.filter(|life| live.is_none_or(|live| live.home != life.home));
        let goes = seated
            .is_some_and(|life| life.removing || (life.leaving && life.status != Status::Down));
        if goes {
            self.going.insert(node);
        } else {
            self.going.remove(&node);
        }
        if seat.life.is_none() && seat.candidate.is_none() {
            self.seats.remove(&node);
        }
        if let Some(life) = over {
            self.end(life);
        }
    }

    /// A life is over by the control log.
    fn end(&mut self, life: Life) {
        self.granter.forget(life.home);
        if life.leaving && life.status != Status::Down {
            let incarnation = life.home.incarnation;
            self.send(life.home.node, Message::LeaveDone { incarnation });
        }
    }

    fn vote(&mut self, cx: &Context<'_>) {
        let fit: BTreeSet<NodeId> = self
            .seats
            .iter()
            .filter_map(|(&node, seat)| Some((node, seat.life.as_ref()?.home)))
            .filter(|&(_, home)| self.placeable(cx, home) && self.follows(cx, home))
            .map(|(node, _)| node)
            .collect();
        if let Some(command) = self.voting.propose(cx, &self.seats, &fit) {
            self.actions.push_back(Action::Propose(command));
        }
        if let Some(due) = self.voting.due(cx) {
            self.due = self.due.min(due);
        }
    }

    /// Whether it has applied nearly all that is decided: a voter that is far behind would make commits wait.
    fn follows(&self, cx: &Context<'_>, home: Home) -> bool {
        let behind = cx
            .control
            .applied
            .0
            .saturating_sub(self.granter.applied(home).0);
        behind <= cx.settings.bounds.delta_max as u64
    }

    /// Looks at everything.
    fn look(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        self.due = now + cx.settings.timing.rebalance;
        let patience = cx.settings.timing.announce * 4;
        self.seats.retain(|_, seat| {
            seat.give_up(now, patience);
            seat.life.is_some() || seat.candidate.is_some()
        });
        let nodes: Vec<NodeId> = self.seats.keys().copied().collect();
        for node in nodes {
            self.step(cx, node);
        }
        self.vote(cx);
        // Whatever was overlooked must not make the node spin.
        self.due = self.due.max(now + Duration::from_millis(1));
    }

    fn life(&self, home: Home) -> Option<(&Seat, &Life)> {
        let seat = self.seats.get(&home.node)?;
        let life = seat.life.as_ref().filter(|life| life.home == home)?;
        Some((seat, life))
    }

    fn life_mut(&mut self, home: Home) -> Option<&mut Life> {
        let life = self.seats.get_mut(&home.node)?.life.as_mut();
        life.filter(|life| life.home == home && life.status != Status::Down)
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(Action::Send { to, message });
    }

    fn forward(&mut self) {
        while let Some(action) = self.granter.poll_action() {
            self.actions.push_back(match action {
                granter::Action::Send { to, message } => Action::Send { to, message },
                granter::Action::Barrier { id } => Action::Barrier { id },
            });
        }
    }
}

/// Whether a life is over by the control log. One from the future, whose Join is not applied here yet, is not.
fn is_over(cx: &Context<'_>, from: Peer) -> bool {
    let past = (1..=cx.control.applied.0).contains(&from.incarnation.0);
    past && cx.control.live(from).is_none()
}

#[cfg(test)]
mod tests;

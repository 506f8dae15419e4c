//! The coordinator: the leader of the control log, which decides where everything lives.
//!
//! Each node has this machine; it does something only on the one that leads. What it decides, it proposes; what it orders is
//! committed before. All else that it knows (who was heard of, how far a handoff is, how a worker feels) may be lost at any time:
//! a new coordinator learns it again from the answers to its orders.
//!
//! ```text
//!   Follower ──leads──► Elected ──its Coordinate is applied──► Active ──another leads, or another's Coordinate──► Follower
//!                       (proposes it, decides nothing)            │
//!      roster    who lives, leases, voters ◄──────────────────────┤──────► placing   which node gets which shard
//!      ledgers   whose disks keep whose ledger ◄──────────────────┤──────► handoffs  moves shards without losing anything
//!      reports, requests ◄────────────────────────────────────────┴──────► starts, daemons  what is owned, runs
//! ```

mod daemons;
mod handoffs;
mod ledgers;
mod orders;
mod placing;
mod reports;
mod request;
mod roster;
mod schedule;
mod starts;

use std::collections::VecDeque;

use crate::cluster::{Context, Home, Index, Instant, Message, NodeId, Peer, ShardId, Term};
use crate::control::{Command, ControlState, Entry, Status};

use daemons::Daemons;
use handoffs::Handoffs;
use placing::Placing;
use reports::Reports;
use request::Requests;
use starts::Starts;

pub use daemons::WorkerView;
pub use handoffs::HandoffProgress;
pub use ledgers::Ledgers;
pub use request::{Request, RequestError};
pub use roster::Roster;

/// Where everything goes.
#[derive(Debug)]
pub struct Coordinator {
    role: Role,
}

/// What a coordinator wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A message to a node; also to its own.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// An entry for the control log, in the term of [`Coordinator::term`].
    Propose(Command),
    /// A proof that this node still leads, begun after this instant: [`Coordinator::handle_barrier`] hears of it.
    Barrier {
        /// Which.
        id: u64,
    },
}

#[derive(Debug)]
enum Role {
    /// Another node leads, or nobody.
    Follower,
    /// This node leads, and does not know yet what its predecessors have decided.
    Elected {
        term: Term,
        /// An earlier life of this node has led in the same term: only a Coordinate from now on is its own.
        before: bool,
        /// When its Coordinate is proposed again.
        again: Instant,
        actions: VecDeque<Action>,
    },
    /// This node decides.
    Active(Box<Active>),
}

/// All that a coordinator knows besides the control state.
#[derive(Debug)]
struct Active {
    term: Term,
    roster: Roster,
    ledgers: Ledgers,
    placing: Placing,
    starts: Starts,
    handoffs: Handoffs,
    daemons: Daemons,
    reports: Reports,
    requests: Requests,
    /// When members that were not heard of are told again who coordinates; `None` when all were.
    greeting: Option<Instant>,
    /// The timer whose lateness was noticed last.
    late: Option<Instant>,
    actions: VecDeque<Action>,
}

impl Coordinator {
    /// Of a node that does not lead.
    pub fn new() -> Self {
        Self {
            role: Role::Follower,
        }
    }

    /// This node leads the control log in this Raft term, or does not lead.
    pub fn handle_role(&mut self, cx: &Context<'_>, number: Option<u64>) {
        let Some(number) = number else {
            self.role = Role::Follower;
            return;
        };
        let node = cx.me.node;
        let term = Term { number, node };
        if self.term() == Some(term) || term < cx.control.coordinator {
            return;
        }
        self.role = Role::Elected {
            term,
            before: cx.control.coordinator == term,
            again: cx.now.instant + cx.settings.timing.resend,
            actions: VecDeque::from([Action::Propose(Command::Coordinate)]),
        };
    }

    /// A message for the coordinator. One that is not active has nothing to say.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        if let Role::Active(active) = &mut self.role {
            active.notice_late(cx);
            active.handle_message(cx, from, message);
        }
    }

    /// An entry was applied; `cx.control` is the state behind it.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        self.follow(cx);
        match &mut self.role {
            Role::Follower => {}
            Role::Elected { term, .. } => {
                if entry.term == *term && entry.command == Command::Coordinate {
                    self.role = Role::Active(Box::new(Active::new(cx, *term)));
                }
            }
            Role::Active(active) => {
                active.notice_late(cx);
                active.handle_applied(cx, entry);
            }
        }
    }

    /// The whole control state was replaced.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        self.follow(cx);
        match &mut self.role {
            Role::Follower => {}
            Role::Elected { term, before, .. } => {
                if cx.control.coordinator == *term && !*before {
                    self.role = Role::Active(Box::new(Active::new(cx, *term)));
                }
            }
            Role::Active(active) => {
                active.notice_late(cx);
                active.handle_state(cx);
            }
        }
    }

    /// What a barrier found: the index that was committed when it began, or that this node may not lead any more.
    pub fn handle_barrier(&mut self, cx: &Context<'_>, id: u64, index: Option<Index>) {
        if let Role::Active(active) = &mut self.role {
            active.notice_late(cx);
            active.roster.handle_barrier(cx, id, index);
            active.advance(cx);
        }
    }

    /// A supervisor saw this process exit: the proof of its death.
    pub fn handle_exited(&mut self, cx: &Context<'_>, home: Home) {
        if let Role::Active(active) = &mut self.role {
            active.roster.handle_exited(cx, home);
        }
    }

    /// Somebody asks for a change. It is done when the control state shows it.
    pub fn handle_request(
        &mut self,
        cx: &Context<'_>,
        request: &Request,
    ) -> Result<(), RequestError> {
        match &mut self.role {
            Role::Active(active) => active.handle_request(cx, request),
            Role::Follower | Role::Elected { .. } => Err(RequestError::NotCoordinator {
                node: cx.control.coordinator.node,
            }),
        }
    }

    /// It is late enough for what [`Coordinator::poll_timeout`] said.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        match &mut self.role {
            Role::Follower => {}
            Role::Elected { again, actions, .. } => {
                if *again <= cx.now.instant {
                    *again = cx.now.instant + cx.settings.timing.resend;
                    actions.push_back(Action::Propose(Command::Coordinate));
                }
            }
            Role::Active(active) => {
                active.notice_late(cx);
                active.handle_timeout(cx);
            }
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        match &mut self.role {
            Role::Follower => None,
            Role::Elected { actions, .. } => actions.pop_front(),
            Role::Active(active) => active.poll_action(),
        }
    }

    /// When it wants to be called again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.role {
            Role::Follower => None,
            Role::Elected { again, .. } => Some(*again),
            Role::Active(active) => active.poll_timeout(),
        }
    }

    /// The term in which this node leads, as far as it knows: what it proposes is proposed in it.
    pub fn term(&self) -> Option<Term> {
        match &self.role {
            Role::Follower => None,
            Role::Elected { term, .. } => Some(*term),
            Role::Active(active) => Some(active.term),
        }
    }

    /// This node decides: its first entry is applied here.
    pub fn active(&self) -> bool {
        matches!(self.role, Role::Active(_))
    }

    /// The shards that move, for people; empty where this node does not decide.
    pub fn handoffs(&self) -> impl Iterator<Item = HandoffProgress> + '_ {
        let active = self.as_active().into_iter();
        active.flat_map(|active| active.handoffs.progress())
    }

    /// The workers of daemon sets, for people; empty where this node does not decide.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        let active = self.as_active().into_iter();
        active.flat_map(|active| active.daemons.workers())
    }

    /// How many entities of a shard are in memory, if its owner has said so to this coordinator.
    pub fn entities(&self, shard: ShardId) -> Option<u64> {
        self.as_active()?.reports.live(shard)
    }

    /// How many shards are owned and not known to be served.
    pub fn starting(&self) -> usize {
        self.as_active().map_or(0, |active| active.starts.waiting())
    }

    /// Panics if the parts disagree with each other or with the control state.
    pub fn check_invariants(&self, cx: &Context<'_>) {
        if let Role::Active(active) = &self.role {
            assert!(
                active.term >= cx.control.coordinator,
                "a coordinator of {} is active under {}",
                active.term,
                cx.control.coordinator
            );
            active.roster.check_invariants();
            active.ledgers.check_invariants();
            active.handoffs.check_invariants(cx);
        }
    }

    fn as_active(&self) -> Option<&Active> {
        match &self.role {
            Role::Active(active) => Some(active),
            Role::Follower | Role::Elected { .. } => None,
        }
    }

    /// Is a coordinator no more when a newer one has spoken in the log.
    fn follow(&mut self, cx: &Context<'_>) {
        if self
            .term()
            .is_some_and(|term| term < cx.control.coordinator)
        {
            self.role = Role::Follower;
        }
    }
}

impl Default for Coordinator {
    fn default() -> Self {
        Self::new()
    }
}

impl Active {
    fn new(cx: &Context<'_>, term: Term) -> Self {
        let mut active = Self {
            term,
            roster: Roster::new(cx, term),
            ledgers: Ledgers::new(),
            placing: Placing::new(cx, term),
            starts: Starts::new(term),
            handoffs: Handoffs::new(cx, term),
            daemons: Daemons::new(term),
            reports: Reports::new(term),
            requests: Requests::new(term),
            greeting: None,
            late: None,
            actions: VecDeque::new(),
        };
        active.greet(cx);
        active.handle_state(cx);
        active
    }

    fn handle_state(&mut self, cx: &Context<'_>) {
        self.roster.handle_state(cx);
        self.ledgers.handle_state(cx);
        self.handoffs.handle_state(cx);
        self.starts.handle_state(cx);
        self.placing.handle_state(cx);
        self.daemons.handle_state(cx);
        self.advance(cx);
    }

    fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        self.roster.handle_applied(cx, entry);
        self.ledgers.handle_applied(cx, entry);
        self.handoffs.handle_applied(cx, entry);
        self.starts.handle_applied(cx, entry);
        self.placing.handle_applied(cx, entry);
        self.daemons.handle_applied(cx, entry);
        self.reports.handle_applied(cx, entry);
        self.requests.handle_applied(entry);
        self.advance(cx);
    }

    fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        self.roster.handle_message(cx, from, message);
        if cx.control.live(from).is_none() {
            return;
        }
        if let Message::ShardHomeQuery { shard, .. } = *message {
            let index = cx.control.applied;
            let home = cx.control.home_of(shard);
            let answer = Message::ShardHome { shard, index, home };
            self.send(from.node, answer);
            return;
        }
        self.starts.handle_message(from, message);
        self.handoffs
            .handle_message(cx, &self.roster, from, message);
        self.daemons.handle_message(cx, from, message);
        self.reports.handle_message(cx, from, message);
    }

    fn handle_request(&mut self, cx: &Context<'_>, request: &Request) -> Result<(), RequestError> {
        match request {
            Request::Remove { node } => {
                request::check_member(cx.control, *node)?;
                self.roster.handle_remove(cx, *node);
                Ok(())
            }
            Request::Move { shards, to } => {
                request::move_shards(cx, &mut self.handoffs, shards, *to)
            }
            _ => self.requests.handle_request(cx, request),
        }
    }

    fn handle_timeout(&mut self, cx: &Context<'_>) {
        self.roster.handle_timeout(cx);
        self.ledgers.handle_timeout(cx);
        self.starts.handle_timeout(cx);
        self.handoffs.handle_timeout(cx, &self.roster);
        self.requests.handle_timeout(cx);
        if self.greeting.is_some_and(|at| at <= cx.now.instant) {
            self.greet(cx);
        }
        self.advance(cx);
    }

    /// What follows from what is known now.
    fn advance(&mut self, cx: &Context<'_>) {
        let (roster, handoffs) = (&self.roster, &mut self.handoffs);
        self.placing.handle_timeout(cx, roster, handoffs);
        self.daemons.handle_timeout(cx, roster, handoffs);
    }

    fn poll_action(&mut self) -> Option<Action> {
        let first = self.actions.pop_front();
        first
            .or_else(|| self.roster.poll_action())
            .or_else(|| self.ledgers.poll_action())
            .or_else(|| self.requests.poll_action())
            .or_else(|| self.placing.poll_action())
            .or_else(|| self.handoffs.poll_action())
            .or_else(|| self.starts.poll_action())
            .or_else(|| self.daemons.poll_action())
            .or_else(|| self.reports.poll_action())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let all = [
            self.roster.poll_timeout(),
            self.ledgers.poll_timeout(),
            self.placing.poll_timeout(),
            self.starts.poll_timeout(),
            self.handoffs.poll_timeout(),
            self.daemons.poll_timeout(),
            self.requests.poll_timeout(),
            self.greeting,
        ];
        all.into_iter().flatten().min()
    }

    /// Tells who coordinates: everybody at first, then those that are not heard of.
    fn greet(&mut self, cx: &Context<'_>) {
        let (term, index) = (self.term, cx.control.applied);
        let mut silent = false;
        for member in cx.control.members.values() {
            if member.status == Status::Down || self.roster.heard(member.home()) {
                continue;
            }
            silent = true;
            self.send(member.boot.node, Message::NewCoordinator { term, index });
        }
        self.greeting = silent.then(|| cx.now.instant + cx.settings.timing.announce);
    }

    /// A loop that stood still may have slept through renewals that wait at its door: nobody is expired before they were let in.
    fn notice_late(&mut self, cx: &Context<'_>) {
        let Some(due) = self.poll_timeout() else {
            return;
        };
        let late = cx.now.instant.since(due) > cx.settings.timing.lease / 4;
        if late && self.late != Some(due) {
            self.late = Some(due);
            self.roster.handle_late(cx);
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(Action::Send { to, message });
    }
}

/// A worker beyond its set's number, or a shard of a space that is gone: it gets no home, and moves nowhere.
fn retiring(control: &ControlState, shard: ShardId) -> bool {
    let space = control.spaces.get(&shard.space);
    space.is_none_or(|space| shard.number >= space.shards)
}

#[cfg(test)]
mod tests;

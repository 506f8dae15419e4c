//! The node's own standing in the cluster: how it gets in, how it keeps up with the control log, and how it leaves.
//!
//! ```text
//!             Join, every `announce`                    handle_leave
//!   Joining ───────────────────────► Member{incarnation} ─────────► Leaving ── LeaveDone, or its life is over ──► Left
//!      ▲ │                               │
//!      │ └─ JoinRefused ─► Refused       │ its life is over (Down), by the control log
//!      └─────────────────────────────────┘
//! ```
//!
//! What counts is the control log as it is applied here, never what a message says: that one may only be a reason to pull.

mod pull;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cluster::{
    Boot, Context, Incarnation, Index, Instant, JoinRefusal, Message, NodeId, Peer,
};
use crate::control::{Entry, Status};

use pull::Pull;

/// Where a node stands, and what it does about it.
#[derive(Debug)]
pub struct Membership {
    boot: Arc<Boot>,
    seeds: Vec<NodeId>,
    standing: Standing,
    /// The life that this process has, by the control log as it is applied here.
    incarnation: Incarnation,
    /// When to ask again.
    announce: Option<Instant>,
    /// How often was asked: who comes next among the many.
    asked: usize,
    pull: Pull,
    actions: VecDeque<Action>,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It asks to be a member.
    Joining,
    /// It is one.
    Member {
        /// Its life.
        incarnation: Incarnation,
    },
    /// It cannot be one, and asks no more.
    Refused {
        /// Why.
        reason: JoinRefusal,
    },
    /// It is one, and wants to go.
    Leaving,
    /// It owns nothing, and nobody waits for it.
    Left,
}

/// What a membership wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this to that node; this one itself, too, if it coordinates.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// The process cannot be a member: say why, and stop.
    Refused(JoinRefusal),
    /// The process may stop.
    Left,
}

/// How many nodes are asked at a time to let this one in, or to let it go.
const ASKED_MAX: usize = 5;

impl Membership {
    /// A process that starts. It asks the seeds first.
    pub fn new(boot: Arc<Boot>, seeds: Vec<NodeId>, now: Instant) -> Self {
        Self {
            boot,
            seeds,
            standing: Standing::Joining,
            incarnation: Incarnation(0),
            announce: Some(now),
            asked: 0,
            pull: Pull::new(now),
            actions: VecDeque::new(),
        }
    }

    /// Where this node stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The life of this process; 0 if it is no member, by what is applied here.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The process wants to stop. [`Action::Left`] says when it may.
    pub fn handle_leave(&mut self, cx: &Context<'_>) {
        match self.standing {
            Standing::Member { .. } => {
                self.standing = Standing::Leaving;
                self.announce = Some(cx.now.instant);
            }
            Standing::Joining | Standing::Refused { .. } => self.left(),
            Standing::Leaving | Standing::Left => {}
        }
    }

    /// Takes what concerns this process, and what says that it is behind.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match message {
            Message::JoinRefused { process, reason } => self.handle_refused(*process, reason),
            Message::LeaveDone { incarnation } => {
                if *incarnation == self.incarnation && self.standing == Standing::Leaving {
                    self.left();
                }
            }
            Message::Downed {
                incarnation, index, ..
            } => {
                // The log decides, not the message: so see what the log says.
                if *incarnation == self.incarnation && incarnation.0 != 0 {
                    self.pull.gap(cx, from.node, *index);
                }
            }
            Message::MetaDelta(delta) => {
                let last = Index(delta.after.0.saturating_add(delta.entries.len() as u64));
                if delta.after > cx.control.applied {
                    self.pull.gap(cx, from.node, last);
                } else {
                    self.pull.heard(cx, from.node, last);
                }
            }
            other => {
                if let Some(index) = committed(other) {
                    self.pull.heard(cx, from.node, index);
                }
            }
        }
    }

    /// An entry was applied.
    pub fn handle_applied(&mut self, cx: &Context<'_>, _: &Entry) {
        self.handle_state(cx);
    }

    /// Entries were applied, or a whole state.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        self.pull.fed(cx);
        let mine = cx.control.members.get(&self.boot.node).filter(|member| {
            member.boot.process == self.boot.process && member.status != Status::Down
        });
        let incarnation = mine.map_or(Incarnation(0), |member| member.incarnation);
        if incarnation == self.incarnation {
            return;
        }
        self.incarnation = incarnation;
        match (&self.standing, incarnation.0) {
            (Standing::Refused { .. } | Standing::Left, _) => {}
            (Standing::Leaving, _) => self.left(),
            (Standing::Joining | Standing::Member { .. }, 0) => {
                self.standing = Standing::Joining;
                self.announce = Some(cx.now.instant);
            }
            (Standing::Joining | Standing::Member { .. }, _) => {
                self.standing = Standing::Member { incarnation };
                self.announce = None;
            }
        }
    }

    /// Asks again, and pulls, if it is time.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        if self.announce.is_some_and(|due| due <= now) {
            self.announce = self.ask(cx).then(|| now + cx.settings.timing.announce);
        }
        let retired = matches!(self.standing, Standing::Refused { .. } | Standing::Left);
        if retired || self.pull.due().is_none_or(|due| due > now) {
            return;
        }
        let (me, seeds) = (self.boot.node, &self.seeds);
        let others = || others(cx, me, seeds);
        if let Some(to) = self.pull.next(cx, others) {
            let applied = cx.control.applied;
            self.send(to, Message::MetaPull { applied });
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pull = match self.standing {
            Standing::Refused { .. } | Standing::Left => None,
            _ => self.pull.due(),
        };
        self.announce.into_iter().chain(pull).min()
    }

    /// Panics if the membership contradicts itself.
    pub fn check_invariants(&self) {
        if let Standing::Member { incarnation } = self.standing {
            assert!(
                incarnation == self.incarnation,
                "a member of a life that is not its own"
            );
        }
        assert!(
            self.standing != Standing::Joining || self.announce.is_some(),
            "a process that joins asks for it"
        );
    }

    fn handle_refused(&mut self, process: u64, reason: &JoinRefusal) {
        if process == self.boot.process && self.standing == Standing::Joining {
            let reason = reason.clone();
            self.standing = Standing::Refused {
                reason: reason.clone(),
            };
            self.announce = None;
            self.actions.push_back(Action::Refused(reason));
        }
    }

    /// Says what this node wants to those who may be the coordinator. `false` if it wants nothing.
    fn ask(&mut self, cx: &Context<'_>) -> bool {
        let message = match self.standing {
            Standing::Joining => Message::Join(Arc::clone(&self.boot)),
            Standing::Leaving => Message::Leave {
                incarnation: self.incarnation,
            },
            _ => return false,
        };
        let coordinator = cx.control.coordinator.node;
        let mut others = others(cx, self.boot.node, &self.seeds);
        others.retain(|&node| node != coordinator);
        let skip = self.asked.checked_rem(others.len()).unwrap_or(0);
        others.rotate_left(skip);
        self.asked = self.asked.wrapping_add(ASKED_MAX);
        others.truncate(ASKED_MAX);
        if cx.control.coordinator.number != 0 {
            others.insert(0, coordinator);
        }
        for to in others {
            self.send(to, message.clone());
        }
        true
    }

    fn left(&mut self) {
        self.standing = Standing::Left;
        self.announce = None;
        self.actions.push_back(Action::Left);
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(Action::Send { to, message });
    }
}

/// Whom this node knows besides itself: voters, members, seeds.
fn others(cx: &Context<'_>, me: NodeId, seeds: &[NodeId]) -> Vec<NodeId> {
    let mut others: Vec<NodeId> = cx.control.voters.iter().copied().collect();
    others.extend(cx.control.members.keys());
    others.extend(seeds);
    others.retain(|&node| node != me);
    others.sort_unstable();
    others.dedup();
    others
}

/// What is committed, by a message of somebody who says so.
fn committed(message: &Message) -> Option<Index> {
    match message {
        Message::NewCoordinator { index, .. }
        | Message::ShardHome { index, .. }
        | Message::Start { index, .. }
        | Message::Release { index, .. }
        | Message::HandoffAborted { index, .. } => Some(*index),
        Message::Grant(grant) => Some(grant.index),
        Message::StartWorker(order) | Message::StopWorker(order) => Some(order.index),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! Calls on their way out of this node.
//!
//! Each shard has a route: the calls that wait, and the lane on which they travel to the shard's home.
//!
//! ```text
//!                  waiting                       lane (home, epoch)
//!   handle_call ──► 7 6 5 ──── has room ────► 4 3 2 ───────────────► home
//!                    ▲                          │ resent until answered
//!                    └──────── Moved, ──────────┤
//!                              home is dead     └── Reply, deadline ──► Answer
//! ```
//!
//! The order of calls is kept by two rules. A lane numbers its calls without a gap, and its home runs them in that order.
//! And a new lane begins only where nobody waits for a call of the old one, or the old one's home is dead: then all that
//! it has not answered goes in front of what waits. So two calls of one caller to one entity never overtake each other
//! (I8), whatever the network loses, doubles or delays.

mod lane;
mod route;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::cluster::{Context, Instant, Message, NodeId, Peer, ShardId};
use crate::control::{Command, ControlState, Entry, Role};
use crate::{CallError, Envelope, Payload, Unavailability};

use route::{Route, Sends};

/// A call that leaves.
#[derive(Debug, Clone)]
pub struct OutCall {
    /// The call.
    pub envelope: Arc<Envelope>,
    /// When nobody waits for its answer any more.
    pub deadline: Instant,
}

/// What a call came to.
pub type Answer = Arc<Result<Payload, CallError>>;

/// What the router wants done.
#[derive(Debug)]
pub enum Action<R> {
    /// Send this.
    Send {
        /// To which node; it may be this one.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// A call has its answer.
    Answer {
        /// Whose.
        reply: R,
        /// Which.
        answer: Answer,
    },
}

/// Calls on their way out of this node. `R` is what the node knows a call by.
#[derive(Debug)]
pub struct Router<R> {
    /// The number of the last call: calls are numbered in the order in which they came.
    last: u64,
    calls: BTreeMap<u64, Waiter<R>>,
    /// Of every shard that was ever called from here and still exists.
    routes: BTreeMap<ShardId, Route>,
    timers: BTreeSet<(Instant, Timer)>,
    actions: VecDeque<Action<R>>,
    /// What a route wants sent; empty between inputs.
    sends: Sends,
}

/// Who waits for a call.
#[derive(Debug)]
struct Waiter<R> {
    shard: ShardId,
    deadline: Instant,
    reply: R,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Nobody waits for this call any more.
    Deadline(u64),
    /// Something of this route is to be sent again.
    Route(ShardId),
}

impl<R> Default for Router<R> {
    fn default() -> Self {
        Self {
            last: 0,
            calls: BTreeMap::new(),
            routes: BTreeMap::new(),
            timers: BTreeSet::new(),
            actions: VecDeque::new(),
            sends: Sends::new(),
        }
    }
}

impl<R> Router<R> {
    /// No calls yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a call to its entity, now or when somebody serves it. There is exactly one answer to it, by the deadline.
    pub fn handle_call(&mut self, cx: &Context<'_>, call: OutCall, reply: R) {
        let shard = match admit(cx, &call) {
            Ok(shard) => shard,
            Err(error) => return self.answer(reply, Err(error)),
        };
        let route = self.routes.entry(shard).or_default();
        if route.waiting() >= cx.settings.bounds.waiting_max {
            let error = CallError::Overloaded {
                queue: "the queue of calls to the entity's shard".to_owned(),
                retry_after_ms: millis(cx.settings.timing.resend),
            };
            return self.answer(reply, Err(error));
        }
        self.last += 1;
        let deadline = call.deadline;
        let waiter = Waiter {
            shard,
            deadline,
            reply,
        };
        self.timers.insert((deadline, Timer::Deadline(self.last)));
        self.calls.insert(self.last, waiter);
        route.push(self.last, call);
        self.advance(cx, shard);
    }

    /// Takes what concerns calls: answers, and where shards are.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match message {
            Message::Reply(reply) if reply.origin == cx.me.incarnation => {
                let shard = reply.shard;
                let Some(route) = self.routes.get_mut(&shard) else {
                    return;
                };
                if let Some(number) = route.answered(from, reply.epoch, reply.seq) {
                    self.finish(number, Arc::clone(&reply.answer));
                }
                self.advance(cx, shard);
            }
            &Message::Moved {
                origin,
                shard,
                epoch,
                seq,
                to,
            } if origin == cx.me.incarnation => {
                let Some(route) = self.routes.get_mut(&shard) else {
                    return;
                };
                if route.moved(from, epoch, seq) {
                    if let Some((index, home, epoch)) = to {
                        route.learn(cx, index, Some((home, epoch)));
                    }
                    self.advance(cx, shard);
                }
            }
            &Message::ShardHome { shard, index, home } if cx.control.live(from).is_some() => {
                let Some(route) = self.routes.get_mut(&shard) else {
                    return;
                };
                route.learn(cx, index, home);
                self.advance(cx, shard);
            }
            _ => {}
        }
    }

    /// Takes note of an entry that is applied.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match &entry.command {
            Command::Assign { shards } => {
                for assignment in shards {
                    self.advance(cx, assignment.shard);
                }
            }
            Command::CompleteHandoff { shards, .. } => {
                for &(shard, _) in shards {
                    self.advance(cx, shard);
                }
            }
            Command::AbortHandoff { shards, .. } => {
                for &shard in shards {
                    self.advance(cx, shard);
                }
            }
            Command::Join { .. }
            | Command::Down { .. }
            | Command::Remove { .. }
            | Command::Retire { .. }
            | Command::Drop { .. } => self.handle_state(cx),
            Command::Coordinate
            | Command::Up { .. }
            | Command::Leave { .. }
            | Command::Voters { .. }
            | Command::DeployKind { .. }
            | Command::Scale { .. }
            | Command::BeginHandoff { .. }
            | Command::OpenLedger { .. }
            | Command::Adopted { .. } => {}
        }
    }

    /// Takes note of a control state that may be quite another one.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        let shards: Vec<_> = self.routes.keys().copied().collect();
        for shard in shards {
            if cx.control.shards.contains_key(&shard) {
                self.advance(cx, shard);
            } else {
                self.forget(cx, shard);
            }
        }
    }

    /// This node has another incarnation: for everybody else a sender of whom they have heard nothing. All lanes begin anew.
    pub fn handle_identity(&mut self, cx: &Context<'_>) {
        for route in self.routes.values_mut() {
            route.restart();
        }
        self.handle_state(cx);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > cx.now.instant {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Deadline(number) => self.expire(cx, number),
                Timer::Route(shard) => {
                    let route = self.routes.get_mut(&shard);
                    let route = route.expect("a timer goes with its route");
                    route.timer = None;
                    route.settle(cx, shard, &mut self.sends);
                    route.repeat(cx, shard, &mut self.sends);
                    self.flush(shard);
                }
            }
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action<R>> {
        self.actions.pop_front()
    }

    /// When [`Router::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Calls without an answer.
    pub fn pending(&self) -> usize {
        self.calls.len()
    }

    /// Calls that wait for their shard's home.
    pub fn waiting(&self) -> usize {
        self.routes.values().map(Route::waiting).sum()
    }

    /// Panics where the router contradicts itself.
    pub fn check_invariants(&self, cx: &Context<'_>) {
        assert!(self.sends.is_empty(), "a message was left behind");
        let mut timers = self.calls.len();
        let mut pending = 0;
        for (shard, route) in &self.routes {
            route.check_invariants(cx);
            pending += route.pending();
            if let Some(at) = route.timer {
                timers += 1;
                let timer = (at, Timer::Route(*shard));
                assert!(self.timers.contains(&timer), "{shard} has no timer");
            }
        }
        assert_eq!(pending, self.calls.len(), "a call is lost");
        assert_eq!(timers, self.timers.len(), "a timer of nothing");
        for (&number, waiter) in &self.calls {
            let timer = (waiter.deadline, Timer::Deadline(number));
            assert!(self.timers.contains(&timer), "call {number} may never end");
            let route = self.routes.get(&waiter.shard);
            assert!(
                route.is_some_and(|route| route.has(number)),
                "call {number} is on no route"
            );
        }
    }

    /// Lets a shard's calls go as far as they can now.
    fn advance(&mut self, cx: &Context<'_>, shard: ShardId) {
        if let Some(route) = self.routes.get_mut(&shard) {
            route.settle(cx, shard, &mut self.sends);
            self.flush(shard);
        }
    }

    /// Turns what a route wants into actions and timers.
    fn flush(&mut self, shard: ShardId) {
        let sends = self.sends.drain(..);
        self.actions
            .extend(sends.map(|(to, message)| Action::Send { to, message }));
        let Some(route) = self.routes.get_mut(&shard) else {
            return;
        };
        let due = route.due();
        if due != route.timer {
            if let Some(at) = route.timer {
                self.timers.remove(&(at, Timer::Route(shard)));
            }
            if let Some(at) = due {
                self.timers.insert((at, Timer::Route(shard)));
            }
            route.timer = due;
        }
    }

    fn expire(&mut self, cx: &Context<'_>, number: u64) {
        let waiter = self.calls.get(&number);
        let shard = waiter.expect("a deadline goes with its call").shard;
        let route = self.routes.get_mut(&shard);
        let may_have_run = route.expect("a call is on a route").expire(number);
        let error = CallError::DeadlineExceeded { may_have_run };
        self.finish(number, Arc::new(Err(error)));
        self.advance(cx, shard);
    }

    /// The shard is no more.
    fn forget(&mut self, cx: &Context<'_>, shard: ShardId) {
        let Some(route) = self.routes.remove(&shard) else {
            return;
        };
        if let Some(at) = route.timer {
            self.timers.remove(&(at, Timer::Route(shard)));
        }
        for (number, call, sent) in route.into_calls() {
            let error = match admit(cx, &call) {
                _ if sent => CallError::Interrupted,
                Err(error @ CallError::UnknownKind { .. }) => error,
                _ => CallError::Unavailable {
                    reason: Unavailability::NoOwner,
                },
            };
            self.finish(number, Arc::new(Err(error)));
        }
    }

    fn finish(&mut self, number: u64, answer: Answer) {
        let waiter = self.calls.remove(&number);
        let waiter = waiter.expect("a route has only calls without an answer");
        self.timers
            .remove(&(waiter.deadline, Timer::Deadline(number)));
        let reply = waiter.reply;
        self.actions.push_back(Action::Answer { reply, answer });
    }

    fn answer(&mut self, reply: R, answer: Result<Payload, CallError>) {
        let answer = Arc::new(answer);
        self.actions.push_back(Action::Answer { reply, answer });
    }
}

/// The shard of a call that can be tried at all.
fn admit(cx: &Context<'_>, call: &OutCall) -> Result<ShardId, CallError> {
    if call.deadline <= cx.now.instant {
        return Err(CallError::DeadlineExceeded {
            may_have_run: false,
        });
    }
    let entity = &call.envelope.entity;
    if let Some(shard) = cx.control.shard_of(entity) {
        return Ok(shard);
    }
    // A worker of a number that its set does not have.
    if cx.control.space(entity.kind()).is_some() {
        let reason = Unavailability::NoOwner;
        return Err(CallError::Unavailable { reason });
    }
    // Who is no member knows of no kind, which says nothing.
    if cx.me.incarnation.0 == 0 {
        let reason = Unavailability::NotMember;
        return Err(CallError::Unavailable { reason });
    }
    Err(CallError::UnknownKind {
        kind: entity.kind().as_str().to_owned(),
        known: kinds(cx.control),
    })
}

/// The names of some kinds, for a caller who got one wrong.
fn kinds(control: &ControlState) -> Vec<String> {
    let kinds = control.spaces.values();
    let kinds = kinds.filter(|space| space.role == Role::Kind);
    let names = kinds.map(|space| space.name.as_str().to_owned());
    names.take(KINDS_SHOWN).collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const KINDS_SHOWN: usize = 20;

#[cfg(test)]
pub(crate) mod tests;

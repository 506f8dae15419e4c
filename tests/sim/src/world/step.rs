//! One input to one node, and what the node wants done.

use entia_protocol::cluster::{Home, Index, Message, NodeId, Peer, TurnId};

use super::{CarriedOut, Input, MILLISECOND, Pending, Watch, World};
use crate::net::Fate;
use crate::node::{Action, Event, ExecutorAction, Ticket};
use crate::observation::{Cause, Observation};
use crate::plan::nanos;
use crate::seeded;
use crate::trace;

/// What the checks are told of an event that the node takes away.
enum Seen {
    Applied(std::sync::Arc<entia_protocol::control::Entry>),
    State(Index),
    Elected(u64),
    Deposed,
    Barrier(u64, Option<Index>),
    Persisted(u64),
    Read(u64),
    TurnEnded(TurnId),
    TurnCalls(TurnId),
    Other,
}

impl World {
    /// Lets a node handle an input, shows the checks what it made of it, and does what it wants.
    pub(super) fn step(&mut self, id: NodeId, input: Input, watch: &mut dyn Watch) {
        if self.trace.is_read() {
            self.tell(id, &input);
        }
        let now_true = self.true_time;
        let there = self.nodes.get_mut(&id).expect("the caller found it");
        let now = there.clock.now(now_true);
        let node = there.node.as_mut().expect("a node that is alive");
        match input {
            Input::Message { from, message } => {
                node.handle_message(from, &message, now);
                let message = &message;
                self.observe(id, Cause::Message { from, message }, watch);
            }
            Input::Call { call, ticket } => {
                node.handle_call(call, ticket, now);
                self.observe(id, Cause::Call { ticket }, watch);
            }
            Input::Timer { due } => {
                // Another one was set since.
                if there.timer.is_none_or(|(_, set)| set != due) {
                    return;
                }
                there.timer = None;
                // Set by a clock that went faster then: not yet.
                if node.poll_timeout().is_some_and(|due| due <= now.instant) {
                    node.handle_timeout(now);
                    self.observe(id, Cause::Timeout, watch);
                }
            }
            Input::Event(event) => {
                let seen = Seen::of(&event);
                node.handle_event(event, now);
                self.observe(id, seen.cause(), watch);
            }
        }
        self.after_input(id);
    }

    /// Takes the node's actions, shows them, and carries them out.
    pub(super) fn observe(&mut self, id: NodeId, cause: Cause<'_>, watch: &mut dyn Watch) {
        let there = self.nodes.get_mut(&id).expect("the caller found it");
        let mut actions = Vec::new();
        if let Some(node) = &mut there.node {
            while let Some(action) = node.poll_action() {
                actions.push(action);
            }
            if self.steps.is_multiple_of(self.plan.check_every) {
                node.check_invariants();
            }
        }
        let now = there.clock.now(self.true_time);
        self.stepped = Some(id);
        self.steps += 1;
        let mixed = [self.true_time, id.0, cause.number(), actions.len() as u64];
        self.trace.mix(mixed);
        let seen = Observation {
            node: id,
            true_time: self.true_time,
            now,
            cause,
            actions: &actions,
        };
        let carried_out = watch.after_step(self, &seen);
        for action in actions {
            let sends = matches!(action, Action::Send { .. });
            if carried_out == CarriedOut::All || sends && carried_out == CarriedOut::Sends {
                self.carry_out(id, action, watch);
            }
        }
    }

    /// What follows each input: what the executor will report, and the next timer.
    pub(super) fn after_input(&mut self, id: NodeId) {
        let there = self.nodes.get_mut(&id).expect("the caller found it");
        let life = there.life;
        while let Some((due, event)) = there.executor.poll() {
            let due = due.max(self.true_time);
            let input = Input::Event(event);
            self.queue.push(
                due,
                Pending::Input {
                    node: id,
                    life,
                    input,
                },
            );
        }
        self.set_timer(id);
    }

    /// Sees to it that the node is called when its next timer is due: a bit late, as processes are.
    pub(super) fn set_timer(&mut self, id: NodeId) {
        let there = self.nodes.get_mut(&id).expect("the caller found it");
        let Some(wanted) = there.node.as_ref().and_then(|node| node.poll_timeout()) else {
            return;
        };
        if let Some((set, due)) = there.timer
            && set <= wanted
            && due >= self.true_time
        {
            return;
        }
        let due = there.clock.when(wanted, self.true_time);
        let late = seeded::within(&mut self.rng, 1_000, 300_000);
        let due = due.saturating_add(late);
        if due > self.plan.ends() {
            return;
        }
        there.timer = Some((wanted, due));
        let (life, input) = (there.life, Input::Timer { due });
        self.queue.push(
            due,
            Pending::Input {
                node: id,
                life,
                input,
            },
        );
    }

    fn carry_out(&mut self, id: NodeId, action: Action<Ticket>, watch: &mut dyn Watch) {
        if self.trace.is_read() {
            let words = trace::short(&action);
            self.trace
                .line(self.true_time, || format!("{id}   -> {words}"));
        }
        match action {
            Action::Send {
                to,
                incarnation,
                message,
            } => {
                let from = Home {
                    node: id,
                    incarnation,
                };
                self.send(from, to, message);
            }
            Action::Answer { reply, answer } => {
                watch.answered(id, reply, &answer, self.true_time);
            }
            Action::Propose { term, command } => self.propose(id, term, command),
            Action::Barrier { id: barrier } => self.begin_barrier(id, barrier),
            Action::Persist { token, write } => {
                let disk = &mut self.node_mut(id).disk;
                let after = disk.write(token, write);
                self.await_disk(id, after);
            }
            Action::Read { token, query } => {
                let disk = &mut self.node_mut(id).disk;
                let after = disk.read(token, query);
                self.await_disk(id, after);
            }
            Action::ReadComponent { to, digest } => {
                let there = self.node_mut(id);
                let from = there.home();
                if let Some(bytes) = there.disk.components.get(&digest).cloned() {
                    self.send(from, to, Message::Component { digest, bytes });
                }
            }
            Action::StoreComponent { digest, bytes } => {
                let there = self.node_mut(id);
                there.disk.components.insert(digest, bytes);
                self.later(id, 5 * MILLISECOND, Event::ComponentStored(digest));
            }
            Action::Refused(_) => self.refused(id),
            Action::Left => self.left(id),
            other => self.execute(id, other),
        }
    }

    /// What the executor is told.
    fn execute(&mut self, id: NodeId, action: Action<Ticket>) {
        let action = match action {
            Action::Activate {
                entity,
                epoch,
                record,
            } => ExecutorAction::Activate {
                entity,
                epoch,
                record,
            },
            Action::Run {
                turn,
                entity,
                input,
                ..
            } => ExecutorAction::Run {
                turn,
                entity,
                input,
            },
            Action::Resume {
                turn,
                number,
                answer,
            } => ExecutorAction::Resume {
                turn,
                number,
                answer,
            },
            Action::Discard { entity, epoch } => ExecutorAction::Discard { entity, epoch },
            _ => return,
        };
        let now = self.true_time;
        self.node_mut(id).executor.handle(action, now);
    }

    fn send(&mut self, from: Peer, to: NodeId, message: Message) {
        let fate = self.net.fate(from.node, to);
        match self.net.twisted(fate, &message) {
            Fate::Lost => {}
            Fate::Once(delay) => self.arrive(delay, to, from, message),
            Fate::Twice(delay) => {
                self.arrive(delay, to, from, message.clone());
                self.arrive(delay, to, from, message);
            }
            Fate::Again(delays) => {
                for delay in delays {
                    self.arrive(delay, to, from, message.clone());
                }
            }
        }
    }

    /// A message will arrive.
    pub(super) fn arrive(&mut self, after: u64, to: NodeId, from: Peer, message: Message) {
        let due = self.true_time + after;
        self.queue.push(due, Pending::Message { to, from, message });
    }

    /// An event for the process that runs there now.
    pub(super) fn later(&mut self, id: NodeId, after: u64, event: Event) {
        let Some(there) = self.nodes.get(&id) else {
            return;
        };
        let (life, input) = (there.life, Input::Event(event));
        self.queue.push(
            self.true_time + after,
            Pending::Input {
                node: id,
                life,
                input,
            },
        );
    }

    fn await_disk(&mut self, id: NodeId, after: Option<u64>) {
        let Some(after) = after else {
            return;
        };
        let life = self.node_mut(id).life;
        let due = self.true_time + after;
        self.queue.push(due, Pending::Disk { node: id, life });
    }

    fn node_mut(&mut self, id: NodeId) -> &mut super::SimNode {
        self.nodes.get_mut(&id).expect("nodes are never forgotten")
    }

    /// A node was refused: another one takes its place, and an operator removes it.
    fn refused(&mut self, id: NodeId) {
        let there = self.node_mut(id);
        if there.gone {
            return;
        }
        there.gone = true;
        self.retire(id, nanos(self.plan.settings.timing.lease));
        self.add_node();
    }

    /// A node has left: its process ends.
    fn left(&mut self, id: NodeId) {
        self.node_mut(id).gone = true;
        self.retire(id, MILLISECOND);
    }

    fn tell(&mut self, id: NodeId, input: &Input) {
        let words = trace::short(input);
        self.trace
            .line(self.true_time, || format!("{id} <- {words}"));
    }
}

impl Seen {
    fn of(event: &Event) -> Self {
        match event {
            Event::Applied(entry) => Self::Applied(entry.clone()),
            Event::State(state) => Self::State(state.applied),
            Event::Leader(term) => Self::Elected(*term),
            Event::Follower => Self::Deposed,
            Event::Barrier { id, index } => Self::Barrier(*id, *index),
            Event::Persisted { token } => Self::Persisted(*token),
            Event::Read { token, .. } => Self::Read(*token),
            Event::TurnEnded { turn, .. } => Self::TurnEnded(*turn),
            Event::TurnCalls { turn, .. } => Self::TurnCalls(*turn),
            _ => Self::Other,
        }
    }

    fn cause(&self) -> Cause<'_> {
        match self {
            Self::Applied(entry) => Cause::Applied(entry),
            Self::State(index) => Cause::State(*index),
            Self::Elected(term) => Cause::Elected { term: *term },
            Self::Deposed => Cause::Deposed,
            Self::Barrier(id, index) => Cause::Barrier {
                id: *id,
                index: *index,
            },
            Self::Persisted(token) => Cause::Persisted { token: *token },
            Self::Read(token) => Cause::Read { token: *token },
            Self::TurnEnded(turn) => Cause::TurnEnded(*turn),
            Self::TurnCalls(turn) => Cause::TurnCalls(*turn),
            Self::Other => Cause::Other,
        }
    }
}

impl Cause<'_> {
    /// Tells causes apart in the trace's hash.
    fn number(&self) -> u64 {
        match self {
            Self::Started => 1,
            Self::Crashed { .. } => 2,
            Self::Message { from, .. } => 100 + from.node.0,
            Self::Call { ticket } => ticket << 8 | 3,
            Self::Applied(entry) => entry.index.0 << 8 | 4,
            Self::State(index) => index.0 << 8 | 5,
            Self::Elected { term } => term << 8 | 6,
            Self::Deposed => 7,
            Self::Barrier { id, .. } => id << 8 | 8,
            Self::Persisted { token } => token << 8 | 9,
            Self::Read { token } => token << 8 | 10,
            Self::TurnEnded(turn) => turn.0 << 8 | 11,
            Self::TurnCalls(turn) => turn.0 << 8 | 12,
            Self::Other => 13,
            Self::Timeout => 14,
        }
    }
}

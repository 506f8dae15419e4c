//! Who gets which input, and what becomes of the machines' actions.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Asker, Event, Node, context};
use crate::cluster::{
    Context, Epoch, Identity, Incarnation, Message, MetaDelta, NodeId, Peer, TurnId,
};
use crate::control::{ControlState, Entry};
use crate::host::Origin;
use crate::router::OutCall;
use crate::waits::Waits;
use crate::{
    CallError, EntityId, components, coordinator, host, journal, lease, membership, router, waits,
};

/// Entries kept for peers that are a little behind.
const RECENT_MAX: usize = 256;

impl<R> Node<R> {
    /// Gives a message to the machine whose it is.
    pub(super) fn deliver(&mut self, from: Peer, message: &Message) {
        let cx = context!(self);
        // Whatever says that something is committed may show that this node is behind.
        self.membership.handle_message(&cx, from, message);
        match message {
            Message::MetaDelta(delta) => self.take_delta(delta),
            Message::MetaState(state) => self.take_state(state),
            Message::MetaPull { applied } => self.answer_pull(from, applied.0),
            Message::Grant(_) => {
                self.lease.handle_message(&cx, from, message);
                let cx = context!(self);
                self.host.handle_lease(&cx);
            }
            Message::JoinRefused { .. }
            | Message::Downed { .. }
            | Message::NewCoordinator { .. }
            | Message::LeaveDone { .. } => {}
            Message::Join(_)
            | Message::Renew(_)
            | Message::Leave { .. }
            | Message::ShardHomeQuery { .. }
            | Message::Started { .. }
            | Message::StartRefused { .. }
            | Message::Precopied { .. }
            | Message::HandoffAcked { .. }
            | Message::Installed { .. }
            | Message::NotInstalled { .. }
            | Message::EntityStarted { .. }
            | Message::EntityStopped { .. }
            | Message::WorkerState(_)
            | Message::Adopted { .. } => self.coordinator.handle_message(&cx, from, message),
            Message::ShardHome { .. } | Message::Moved { .. } | Message::Reply(_) => {
                self.router.handle_message(&cx, from, message);
            }
            Message::WaitProbe { .. } | Message::WaitCircle { .. } => {
                self.waits.handle_message(&cx, from, message);
            }
            Message::ComponentQuery { .. } | Message::Component { .. } => {
                self.components.handle_message(&cx, from, message);
            }
            Message::Append { .. }
            | Message::Appended { .. }
            | Message::AppendRefused { .. }
            | Message::Seal { .. }
            | Message::Sealed { .. }
            | Message::SealRefused { .. }
            | Message::FetchState { .. }
            | Message::State { .. } => self.journal.handle_message(&cx, from, message),
            Message::Start { .. }
            | Message::Release { .. }
            | Message::HandoffAborted { .. }
            | Message::StartWorker(_)
            | Message::StopWorker(_)
            | Message::BeginHandoff { .. }
            | Message::InstallQuery { .. }
            | Message::Call(_)
            | Message::Precopy(_)
            | Message::Chunk(_)
            | Message::ChunkAcked { .. } => self.host.handle_message(&cx, from, message),
        }
    }

    /// Gives what happened around this node to the machine that wants to know.
    pub(super) fn happened(&mut self, event: Event) {
        let cx = context!(self);
        match event {
            Event::Applied(entry) => self.apply(&entry),
            Event::State(state) => self.take_state(&state),
            Event::Leader(term) => self.coordinator.handle_role(&cx, Some(term)),
            Event::Follower => self.coordinator.handle_role(&cx, None),
            Event::Barrier { id, index } => self.coordinator.handle_barrier(&cx, id, index),
            Event::Persisted { token } => self.journal.handle_persisted(&cx, token),
            Event::Read {
                token,
                records,
                more,
            } => self.journal.handle_read(&cx, token, records, more),
            Event::TurnEnded { turn, outcome } => self.host.handle_turn_ended(&cx, turn, outcome),
            Event::TurnCalls {
                turn,
                number,
                envelope,
            } => {
                if let Some((entity, _)) = self.host.turn(turn) {
                    let target = envelope.entity.clone();
                    self.waits
                        .begin(&cx, entity.clone(), wait_number(turn, number), target);
                }
                self.host.handle_turn_calls(&cx, turn, number, envelope);
            }
            Event::Exited(home) => self.coordinator.handle_exited(&cx, home),
            Event::Request(request) => {
                let result = self.coordinator.handle_request(&cx, &request);
                self.actions
                    .push_back(Action::Requested { request, result });
            }
            Event::ComponentStored(digest) => {
                self.components.handle_stored(digest);
                self.host.handle_component(&cx, digest);
            }
            Event::Leave => self.membership.handle_leave(&cx),
        }
    }

    /// Lets the machines say what they want of each other until nobody wants anything.
    pub(super) fn settle(&mut self) {
        loop {
            self.drain();
            let Some(message) = self.looped.pop_front() else {
                break;
            };
            self.deliver(self.me.home(), &message);
        }
    }

    fn drain(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(action) = self.coordinator.poll_action() {
                quiet = false;
                self.coordinated(action);
            }
            while let Some(lease::Action::Send { to, message }) = self.lease.poll_action() {
                quiet = false;
                self.send(to, message);
            }
            while let Some(action) = self.membership.poll_action() {
                quiet = false;
                match action {
                    membership::Action::Send { to, message } => self.send(to, message),
                    membership::Action::Refused(reason) => {
                        self.actions.push_back(Action::Refused(reason));
                    }
                    membership::Action::Left => self.actions.push_back(Action::Left),
                }
            }
            while let Some(action) = self.components.poll_action() {
                quiet = false;
                self.fetched(action);
            }
            while let Some(action) = self.host.poll_action() {
                quiet = false;
                self.hosted(action);
            }
            while let Some(action) = self.journal.poll_action() {
                quiet = false;
                self.remembered(action);
            }
            while let Some(action) = self.waits.poll_action() {
                quiet = false;
                match action {
                    waits::Action::Send { to, message } => self.send(to, message),
                    waits::Action::Circle {
                        entity,
                        number,
                        chain,
                    } => {
                        self.break_circle(&entity, number, chain);
                    }
                }
            }
            while let Some(action) = self.router.poll_action() {
                quiet = false;
                match action {
                    router::Action::Send { to, message } => self.send(to, message),
                    router::Action::Answer { reply, answer } => match reply {
                        Asker::Edge(reply) => {
                            self.actions.push_back(Action::Answer { reply, answer });
                        }
                        Asker::Entity(origin) => self.answer_entity(origin, answer),
                    },
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn coordinated(&mut self, action: coordinator::Action) {
        match action {
            coordinator::Action::Send { to, message } => self.send(to, message),
            coordinator::Action::Propose(command) => {
                let term = self.coordinator.term().expect("only a leader proposes");
                self.actions.push_back(Action::Propose { term, command });
            }
            coordinator::Action::Barrier { id } => self.actions.push_back(Action::Barrier { id }),
        }
    }

    fn hosted(&mut self, action: host::Action) {
        match action {
            host::Action::Send { to, message } => self.send(to, message),
            host::Action::Journal(request) => {
                let cx = context!(self);
                self.journal.handle_request(&cx, request);
            }
            host::Action::Route { call, origin } => {
                let left = Duration::from_millis(call.deadline_left_ms);
                let cx = context!(self);
                let call = OutCall {
                    envelope: call,
                    deadline: self.now.instant + left,
                };
                self.router.handle_call(&cx, call, Asker::Entity(origin));
            }
            host::Action::Activate {
                entity,
                epoch,
                record,
            } => self.actions.push_back(Action::Activate {
                entity,
                epoch,
                record,
            }),
            host::Action::Run {
                turn,
                entity,
                input,
            } => {
                let epoch = self.host.turn(turn).map_or(Epoch(0), |(_, epoch)| epoch);
                self.actions.push_back(Action::Run {
                    turn,
                    entity,
                    epoch,
                    input,
                });
            }
            host::Action::Resume {
                turn,
                number,
                answer,
            } => self.actions.push_back(Action::Resume {
                turn,
                number,
                answer,
            }),
            host::Action::Discard { entity, epoch } => {
                self.actions.push_back(Action::Discard { entity, epoch });
            }
        }
    }

    fn remembered(&mut self, action: journal::Action) {
        let cx = context!(self);
        match action {
            journal::Action::Send { to, message } => self.send(to, message),
            journal::Action::Persist { token, write } => {
                self.actions.push_back(Action::Persist { token, write });
            }
            journal::Action::Read { token, query } => {
                self.actions.push_back(Action::Read { token, query });
            }
            journal::Action::Committed { id, .. } => self.host.handle_committed(&cx, id),
            journal::Action::Fenced { ledger } => self.host.handle_fenced(&cx, ledger),
            journal::Action::Found { id, result } => self.host.handle_found(&cx, id, result),
            journal::Action::Scanned { id, records, more } => {
                self.host.handle_scanned(&cx, id, records, more);
            }
            journal::Action::Swept { shard, records } => {
                self.host.handle_swept(&cx, shard, records);
            }
        }
    }

    fn answer_entity(&mut self, origin: Origin, answer: host::Answer) {
        if let &Origin::Turn { turn, number } = &origin
            && let Some((entity, _)) = self.host.turn(turn)
        {
            self.waits.end(entity, wait_number(turn, number));
        }
        let cx = context!(self);
        self.host.handle_answer(&cx, origin, answer);
    }

    /// Fails the call that closes a circle, if it is still waited for. What the call comes to is not heard any more.
    fn break_circle(&mut self, entity: &EntityId, number: u64, chain: Vec<EntityId>) {
        let Some(shard) = self.control.shard_of(entity) else {
            return;
        };
        if let Some((turn, Some(call))) = self.host.running(shard, entity)
            && wait_number(turn, call) == number
        {
            let origin = Origin::Turn { turn, number: call };
            let deadlock = CallError::Deadlock {
                chain,
                may_have_run: true,
            };
            self.answer_entity(origin, Arc::new(Err(deadlock)));
        }
    }

    fn fetched(&mut self, action: components::Action) {
        match action {
            components::Action::Send { to, message } => self.send(to, message),
            components::Action::Read { to, digest } => {
                self.actions.push_back(Action::ReadComponent { to, digest });
            }
            components::Action::Store { digest, bytes } => {
                self.actions
                    .push_back(Action::StoreComponent { digest, bytes });
            }
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        if to == self.me.node {
            self.looped.push_back(message);
            return;
        }
        self.actions.push_back(Action::Send {
            to,
            incarnation: self.me.incarnation,
            message,
        });
    }

    fn take_delta(&mut self, delta: &MetaDelta) {
        for entry in &delta.entries {
            self.apply(entry);
        }
    }

    fn take_state(&mut self, state: &Arc<ControlState>) {
        if state.cluster == self.control.cluster && state.applied > self.control.applied {
            self.control = ControlState::clone(state);
            self.recent.clear();
            self.jump();
        }
    }

    /// Everybody looks at a control state that they have not followed.
    pub(super) fn jump(&mut self) {
        self.identify();
        let cx = context!(self);
        self.membership.handle_state(&cx);
        self.coordinator.handle_state(&cx);
        self.journal.handle_state(&cx);
        self.components.handle_state(&cx);
        self.host.handle_state(&cx);
        self.router.handle_state(&cx);
    }

    /// Applies an entry, if it is the next one.
    fn apply(&mut self, entry: &Arc<Entry>) {
        if self
            .control
            .apply_with(entry, self.settings.mutant)
            .is_none()
        {
            return;
        }
        self.recent.push_back(entry.clone());
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        self.identify();
        let cx = context!(self);
        self.membership.handle_applied(&cx, entry);
        self.coordinator.handle_applied(&cx, entry);
        self.journal.handle_applied(&cx, entry);
        self.components.handle_applied(&cx, entry);
        self.host.handle_applied(&cx, entry);
        self.router.handle_applied(&cx, entry);
    }

    /// Another life begins where the control log says so: nothing of what the last one owned is left.
    fn identify(&mut self) {
        let member = self.control.members.get(&self.me.node);
        let mine = member.filter(|member| {
            member.boot.process == self.boot.process
                && member.status != crate::control::Status::Down
        });
        let incarnation = mine.map_or(Incarnation(0), |member| member.incarnation);
        if incarnation == self.me.incarnation {
            return;
        }
        self.me = Identity {
            node: self.me.node,
            incarnation,
        };
        self.lease.reset(self.now.instant);
        self.waits = Waits::new();
        let cx = context!(self);
        self.router.handle_identity(&cx);
    }

    fn answer_pull(&mut self, from: Peer, applied: u64) {
        if applied >= self.control.applied.0 {
            return;
        }
        let first = self.recent.front().map(|entry| entry.index.0);
        let max = self.settings.bounds.delta_max;
        let message = match first {
            Some(first) if first <= applied + 1 => {
                let skip = usize::try_from(applied + 1 - first).expect("less than RECENT_MAX");
                let entries = self.recent.iter().skip(skip).take(max).cloned().collect();
                Message::MetaDelta(MetaDelta {
                    after: crate::cluster::Index(applied),
                    entries,
                })
            }
            _ => Message::MetaState(Arc::new(self.control.clone())),
        };
        self.send(from.node, message);
    }
}

/// Names a wait among all of an entity: the turn, and the call within it.
fn wait_number(turn: TurnId, number: u64) -> u64 {
    (turn.0 << 20) | (number & 0xf_ffff)
}

//! The shards that live on this node: their calls, their entities, and what these say to the world.
//!
//! ```text
//!   Call ──► lane ──► mailbox ──► turn ──► record ──► journal
//!            (order,   (per        (one     │           │ committed
//!             once)     entity)     at a    ▼           ▼
//!                                   time)  outputs ──► released in order, while the lease is valid ──► Reply, Route
//! ```
//!
//! A shard is served from the moment that the control log's entry is applied here, under the epoch of that entry. It is drained when
//! the log says that it moves, given up when the log says that it has moved, and served again where the log says that it does not:
//!
//! ```text
//!             BeginHandoff             all settled, or `drain` passed         CompleteHandoff
//!   Serving ───────────────► Draining ───────────────────────────────► Acked ────────────────► gone
//!      ▲                        │                                        │
//!      └────────────────────────┴─────────── AbortHandoff ───────────────┘
//! ```
//!
//! Nothing starts, and nothing leaves, while the node's lease is not valid (I2): what is held goes when it is again, and is dropped
//! with the activations when the shard is not this node's any more.

mod activation;
mod drain;
mod inbound;
mod outputs;
mod passivate;
mod schedule;
mod shard;
mod ship;
mod turn;
mod wakes;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{
    Blob, Context, Epoch, Home, Instant, LedgerId, Message, NodeId, Peer, Record, ShardId,
    StoredRecord, TurnId,
};
use crate::control::Entry;
use crate::{CallError, CommandKey, Digest, EntityId, Envelope, Payload, journal};

use activation::Place;
use inbound::Inbound;
use schedule::{Asked, Schedule};
use shard::Shard;
use ship::Transfers;
use wakes::Wakes;

/// What a call ended in. Shared: it is remembered for repetitions while it travels.
pub type Answer = Arc<Result<Payload, CallError>>;

/// The machine that runs the shards of this node.
///
/// In: `handle_*`. Out: [`Host::poll_action`], [`Host::poll_timeout`]. The rest only looks.
#[derive(Debug)]
pub struct Host {
    me: Home,
    /// The components that are on this node.
    components: BTreeSet<Digest>,
    shards: BTreeMap<ShardId, Shard>,
    /// The turns that run, and of which entity.
    turns: BTreeMap<TurnId, Place>,
    turns_made: u64,
    /// Activations of all shards.
    activations: usize,
    asked: Asked,
    schedule: Schedule,
    inbound: Inbound,
    wakes: Wakes,
    transfers: Transfers,
    /// The ledger of this life that a successor has sealed.
    fenced: Option<LedgerId>,
    actions: VecDeque<Action>,
}

/// What the host wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say something.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Ask the journal.
    Journal(journal::Request),
    /// Make an instance of an entity from its record. Turns of it follow.
    Activate {
        /// Which.
        entity: EntityId,
        /// Under which ownership.
        epoch: Epoch,
        /// Its state; none if it never had one. Of a deleted entity: what is remembered of it.
        record: Option<Record>,
    },
    /// Run a turn. It ends with [`Host::handle_turn_ended`].
    Run {
        /// Its name.
        turn: TurnId,
        /// Whose.
        entity: EntityId,
        /// What it is about.
        input: Input,
    },
    /// A turn's call has an answer.
    Resume {
        /// The turn.
        turn: TurnId,
        /// Its call, as [`Host::handle_turn_calls`] named it.
        number: u64,
        /// The answer.
        answer: Answer,
    },
    /// Drop an instance, and the turn that it may be in. Nothing of it counts.
    Discard {
        /// Which.
        entity: EntityId,
        /// The ownership under which it was made.
        epoch: Epoch,
    },
    /// Make a call, and bring its answer with [`Host::handle_answer`].
    Route {
        /// The call.
        call: Arc<Envelope>,
        /// Who waits for the answer.
        origin: Origin,
    },
}

/// Who made a call that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A turn that waits for it.
    Turn {
        /// Which.
        turn: TurnId,
        /// Counts its calls.
        number: u64,
    },
    /// A message that an entity has to deliver.
    Send {
        /// Whose.
        entity: EntityId,
        /// The ownership under which it left.
        epoch: Epoch,
        /// Names it within its entity.
        key: CommandKey,
    },
}

/// What a turn is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A call.
    Call(Arc<Envelope>),
    /// It is as late as the record wanted to be woken.
    Wake,
    /// A message that the entity sent has an answer.
    Delivered {
        /// Which.
        key: CommandKey,
        /// The answer.
        answer: Answer,
    },
    /// A worker's step.
    Step,
}

/// What a turn ended in.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// For the caller, if there is one. Of a step: whether it failed.
    pub answer: Result<Payload, CallError>,
    /// What the entity is now; none if it is as it was.
    pub record: Option<Draft>,
    /// Messages to deliver.
    pub sends: Vec<Arc<Envelope>>,
    /// A worker's next step is due that long from now; at once, if there is none.
    pub next_step: Option<Duration>,
    /// The instance is gone with all that it had in memory.
    pub lost: bool,
}

/// A record before it has a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// When the entity wants to be woken, in milliseconds since 1970.
    pub wake_ms: Option<u64>,
    /// It is deleted.
    pub deleted: bool,
    /// All the rest of it.
    pub bytes: Blob,
}

impl Host {
    /// Nothing lives here yet. `components` are those that the node has on its disk.
    pub fn new(components: BTreeSet<Digest>) -> Self {
        Self {
            me: Home::default(),
            components,
            shards: BTreeMap::new(),
            turns: BTreeMap::new(),
            turns_made: 0,
            activations: 0,
            asked: Asked::default(),
            schedule: Schedule::default(),
            inbound: Inbound::default(),
            wakes: Wakes::default(),
            transfers: Transfers::default(),
            fenced: None,
            actions: VecDeque::new(),
        }
    }

    /// A message from a node, or from this one to itself.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        self.begin(cx);
        match message {
            Message::Call(call) => self.take_call(cx, from, call),
            Message::Start { index, shards, .. } => self.take_start(cx, from, *index, shards),
            Message::Precopy(order) => self.precopy(cx, from, order),
            Message::BeginHandoff { handoff, .. } => self.acknowledge_again(cx, from, *handoff),
            Message::StartWorker(order) => self.start_worker(cx, from, order),
            Message::StopWorker(order) => self.stop_ordered(cx, from, order),
            Message::ChunkAcked { .. }
            | Message::Chunk(_)
            | Message::InstallQuery { .. }
            | Message::HandoffAborted { .. } => self.transfer_message(cx, from, message),
            _ => {}
        }
        self.end(cx);
    }

    /// An entry is applied: `cx.control` is what it made.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        self.begin(cx);
        self.follow(cx, &entry.command);
        self.transfers.receiver.handle_applied(cx, entry);
        self.take_early(cx);
        self.end(cx);
    }

    /// The control state is another one.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        self.begin(cx);
        self.follow_all(cx);
        self.transfers.receiver.handle_state(cx);
        self.take_early(cx);
        self.end(cx);
    }

    /// The lease runs on.
    pub fn handle_lease(&mut self, cx: &Context<'_>) {
        self.begin(cx);
        self.end(cx);
    }

    /// A component is on this node.
    pub fn handle_component(&mut self, cx: &Context<'_>, digest: Digest) {
        self.begin(cx);
        if self.components.insert(digest) {
            self.arm_shards(cx, digest);
        }
        self.end(cx);
    }

    /// The executor has ended a turn.
    pub fn handle_turn_ended(&mut self, cx: &Context<'_>, turn: TurnId, outcome: Outcome) {
        self.begin(cx);
        self.turn_ended(cx, turn, outcome);
        self.end(cx);
    }

    /// A turn waits for a call of its own.
    pub fn handle_turn_calls(
        &mut self,
        cx: &Context<'_>,
        turn: TurnId,
        number: u64,
        envelope: Arc<Envelope>,
    ) {
        self.begin(cx);
        self.turn_calls(cx, turn, number, envelope);
        self.end(cx);
    }

    /// A call that left with [`Action::Route`] has an answer.
    pub fn handle_answer(&mut self, cx: &Context<'_>, origin: Origin, answer: Answer) {
        self.begin(cx);
        self.take_answer(cx, origin, answer);
        self.end(cx);
    }

    /// The journal has a record on as many disks as it needs.
    pub fn handle_committed(&mut self, cx: &Context<'_>, id: u64) {
        self.begin(cx);
        self.committed(cx, id);
        self.end(cx);
    }

    /// A successor has sealed a ledger of this node.
    pub fn handle_fenced(&mut self, cx: &Context<'_>, ledger: LedgerId) {
        self.begin(cx);
        self.fence(cx, ledger);
        self.end(cx);
    }

    /// The journal has looked for an entity's record. An error: its state cannot be read now.
    pub fn handle_found<E>(
        &mut self,
        cx: &Context<'_>,
        id: u64,
        result: Result<Option<StoredRecord>, E>,
    ) {
        self.begin(cx);
        self.found(cx, id, result.ok());
        self.end(cx);
    }

    /// The journal has read a page of a shard.
    pub fn handle_scanned(
        &mut self,
        cx: &Context<'_>,
        id: u64,
        records: Vec<StoredRecord>,
        more: bool,
    ) {
        self.begin(cx);
        self.scanned(cx, id, records, more);
        self.end(cx);
    }

    /// The journal knows of entities that want to be woken.
    pub fn handle_swept(&mut self, cx: &Context<'_>, shard: ShardId, wakes: Vec<(EntityId, u64)>) {
        self.begin(cx);
        self.learn_wakes(cx, shard, wakes);
        self.end(cx);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        self.begin(cx);
        self.fire_timers(cx);
        self.fire_wakes(cx);
        self.passivate_idle(cx);
        self.transfers_timeout(cx);
        self.end(cx);
    }

    /// What is to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut due = [
            self.schedule.next_timer(),
            self.transfers.poll_timeout(),
            None,
            None,
        ];
        if !self.schedule.frozen {
            due[2] = self.wakes.next(self.schedule.now);
            due[3] = self.schedule.next_idle();
        }
        due.into_iter().flatten().min()
    }

    /// The shards of which something is here, each with the epoch under which its calls run: none where none do.
    pub fn activations(&self) -> impl Iterator<Item = (ShardId, Option<Epoch>, usize)> + '_ {
        let shards = self.shards.iter();
        shards.map(|(&id, shard)| (id, shard.serves(), shard.activations.len()))
    }

    /// The epoch under which calls of this shard run here, also while it is drained; none where none do.
    pub fn serving(&self, shard: ShardId) -> Option<Epoch> {
        self.shards.get(&shard)?.serves()
    }

    /// The entity and its shard's epoch of a turn that runs.
    pub fn turn(&self, turn: TurnId) -> Option<(&EntityId, Epoch)> {
        let place = self.turns.get(&turn)?;
        let shard = self.shards.get(&place.shard)?;
        Some((&place.entity, shard.epoch))
    }

    /// The turn that an entity is in, and its call that it waits for.
    pub fn running(&self, shard: ShardId, entity: &EntityId) -> Option<(TurnId, Option<u64>)> {
        self.shards.get(&shard)?.activations.get(entity)?.running()
    }

    /// How much is held: for metrics, and for the invariant that all of it is bounded.
    pub fn lengths(&self) -> Lengths {
        Lengths {
            activations: self.activations,
            turns: self.turns.len(),
            loading: self.asked.finds.len(),
            appending: self.asked.appends.len(),
            early: self.inbound.early(),
            shipments: self.transfers.shipments.len(),
            incoming: self.transfers.receiver.len(),
        }
    }

    /// Panics where something cannot be. Looks at what runs only, so that it can be done after every input.
    pub fn check_invariants(&self) {
        for (turn, place) in &self.turns {
            let shard = self.shards.get(&place.shard);
            let activation = shard.and_then(|shard| shard.activations.get(&place.entity));
            let running = activation.and_then(|activation| activation.running());
            assert_eq!(
                running.map(|(turn, _)| turn),
                Some(*turn),
                "{turn} is nobody's"
            );
        }
    }

    /// As [`Host::check_invariants`], of everything there is.
    pub fn check_everything(&self) {
        self.check_invariants();
        let kinds = self.shards.values().filter(|shard| shard.worker.is_none());
        let all: usize = kinds.map(|shard| shard.activations.len()).sum();
        assert_eq!(self.activations, all, "activations are miscounted");
        for (id, shard) in &self.shards {
            shard.check_invariants(*id);
        }
        self.wakes.check_invariants();
        self.transfers.check_invariants();
    }

    fn begin(&mut self, cx: &Context<'_>) {
        self.schedule.now = cx.now;
        if self.me != cx.me.home() {
            self.change_identity(cx);
        }
        if self.schedule.frozen && cx.leased() {
            self.thaw(cx);
        }
    }

    fn end(&mut self, cx: &Context<'_>) {
        self.announce(cx);
        self.run_transfers(cx);
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(Action::Send { to, message });
    }

    fn report(&mut self, cx: &Context<'_>, message: Message) {
        self.send(cx.control.coordinator.node, message);
    }
}

/// How much a host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lengths {
    /// Entities in memory, or on their way into it; workers are not counted.
    pub activations: usize,
    /// Turns that run.
    pub turns: usize,
    /// Records asked for.
    pub loading: usize,
    /// Records written that are not committed.
    pub appending: usize,
    /// Calls under epochs that are not applied here yet.
    pub early: usize,
    /// Transfers from here.
    pub shipments: usize,
    /// Shards on their way here.
    pub incoming: usize,
}

//! A stand-in for `entia_protocol::node` until it exists, with the same interface.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use entia_protocol::cluster::{
    Blob, Boot, Epoch, Home, Incarnation, Index, Instant, JoinRefusal, LedgerId, Message, NodeId,
    Now, Peer, Record, Settings, ShardId, StoredRecord, Term, TurnId,
};
use entia_protocol::control::{Command, ControlState, Entry};
use entia_protocol::{
    CallError, CommandKey, Digest, Durability, EntityId, Envelope, KindName, Payload,
};

/// The reply handle of a client's call.
pub type Ticket = u64;
/// What the executor reports, as the node takes it.
pub type NodeEvent = Event;

/// What a node's executor is told.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorAction {
    /// Take an entity into memory.
    Activate {
        /// Which.
        entity: EntityId,
        /// Its shard's.
        epoch: Epoch,
        /// What there is of it; nothing if it is new.
        record: Option<Record>,
    },
    /// Run a turn.
    Run {
        /// Its number.
        turn: TurnId,
        /// Whose.
        entity: EntityId,
        /// What it handles.
        input: Input,
    },
    /// A call that a turn waits for was answered.
    Resume {
        /// The turn.
        turn: TurnId,
        /// The number of its call.
        number: u64,
        /// The answer.
        answer: Arc<Result<Payload, CallError>>,
    },
    /// Drop an entity, and what it runs.
    Discard {
        /// Which.
        entity: EntityId,
        /// The epoch it was activated under.
        epoch: Epoch,
    },
}

/// A call on its way out.
#[derive(Debug, Clone)]
pub struct OutCall {
    /// The call.
    pub envelope: Arc<Envelope>,
    /// When nobody waits any more.
    pub deadline: Instant,
}

/// What a turn handles.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A call.
    Call(Arc<Envelope>),
    /// The entity wanted to be woken.
    Wake,
    /// A send of the entity was answered.
    Delivered {
        /// Its key.
        key: CommandKey,
        /// The answer.
        answer: Arc<Result<Payload, CallError>>,
    },
    /// A worker's step.
    Step,
}

/// What a turn did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The answer.
    pub answer: Result<Payload, CallError>,
    /// What there is to store; nothing if nothing changed.
    pub record: Option<Draft>,
    /// What is sent once it is stored.
    pub sends: Vec<Arc<Envelope>>,
    /// Of a worker: when to step again.
    pub next_step: Option<Duration>,
    /// It trapped: the instance is gone.
    pub lost: bool,
}

/// A record without its version.
#[derive(Debug, Clone)]
pub struct Draft {
    /// When to wake the entity.
    pub wake_ms: Option<u64>,
    /// The entity is deleted.
    pub deleted: bool,
    /// The rest.
    pub bytes: Blob,
}

/// What a node starts with.
#[derive(Debug)]
pub struct Start {
    /// Who it is.
    pub boot: Arc<Boot>,
    /// Whom to ask.
    pub seeds: Vec<NodeId>,
    /// The cluster's tuning.
    pub settings: Arc<Settings>,
    /// What was on the disk.
    pub restored: Restored,
}

/// What was on the disk.
#[derive(Debug, Default)]
pub struct Restored {
    /// The control state.
    pub control: Option<Arc<ControlState>>,
    /// The ledgers that are sealed.
    pub sealed: BTreeSet<LedgerId>,
    /// The components.
    pub components: BTreeSet<Digest>,
}

/// A request of an operator.
#[derive(Debug, Clone)]
pub enum Request {
    /// Deploy.
    Deploy {
        /// Its name.
        name: KindName,
        /// Its code.
        component: Digest,
        /// What survives.
        durability: Durability,
        /// How many.
        shards: u32,
    },
    /// Scale.
    Scale {
        /// Its name.
        name: KindName,
        /// Its code.
        component: Digest,
        /// What survives.
        durability: Durability,
        /// How many.
        workers: u32,
    },
    /// Send it away.
    Drain {
        /// Which.
        node: NodeId,
    },
    /// Keep it.
    Undrain {
        /// Which.
        node: NodeId,
    },
    /// Forget it.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// Move.
    Move {
        /// Which.
        shards: Vec<ShardId>,
        /// To whom.
        to: NodeId,
    },
}

/// What happens to a node.
#[derive(Debug, Clone)]
pub enum Event {
    /// The log has an entry.
    Applied(Arc<Entry>),
    /// The log has a state.
    State(Arc<ControlState>),
    /// Elected.
    Leader(u64),
    /// Not any more.
    Follower,
    /// Answer to a barrier.
    Barrier {
        /// Which.
        id: u64,
        /// What is committed.
        index: Option<Index>,
    },
    /// Written.
    Persisted {
        /// Which.
        token: u64,
    },
    /// Read.
    Read {
        /// Which.
        token: u64,
        /// What.
        records: Vec<StoredRecord>,
        /// There is more.
        more: bool,
    },
    /// A turn is over.
    TurnEnded {
        /// Which.
        turn: TurnId,
        /// What it did.
        outcome: Outcome,
    },
    /// A turn calls.
    TurnCalls {
        /// Which.
        turn: TurnId,
        /// Counts its calls.
        number: u64,
        /// The call.
        envelope: Arc<Envelope>,
    },
    /// A process was seen to exit.
    Exited(Home),
    /// An operator wants something.
    Request(Request),
    /// A component is stored.
    ComponentStored(Digest),
    /// This node wants to go.
    Leave,
}

/// What a journal writes.
#[derive(Debug, Clone)]
pub enum Write {
    /// A record.
    Record {
        /// In which ledger.
        ledger: LedgerId,
        /// Whose.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// A seal.
    Seal {
        /// Which ledger.
        ledger: LedgerId,
    },
    /// A record that need not last.
    Stash {
        /// Whose.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// A ledger is not needed.
    DropLedger {
        /// Which.
        ledger: LedgerId,
    },
    /// Records are not needed.
    Forget {
        /// Of which shard.
        shard: ShardId,
        /// Where; nothing is the stash.
        ledger: Option<LedgerId>,
        /// Up to here.
        before: Epoch,
    },
}

/// What a journal reads.
#[derive(Debug, Clone)]
pub enum Query {
    /// One entity.
    Entity {
        /// Where; nothing is the stash.
        ledger: Option<LedgerId>,
        /// Of which shard.
        shard: ShardId,
        /// Which.
        entity: EntityId,
        /// The lowest stamp.
        since: Epoch,
    },
    /// A page.
    Page {
        /// Where; nothing is the stash.
        ledger: Option<LedgerId>,
        /// Of which shard.
        shard: ShardId,
        /// Behind which.
        after: Option<EntityId>,
        /// The lowest stamp.
        since: Epoch,
        /// How many.
        limit: usize,
    },
}

/// What a node wants done.
#[derive(Debug, Clone)]
pub enum Action<R> {
    /// Send.
    Send {
        /// To whom.
        to: NodeId,
        /// As which life of this node.
        incarnation: Incarnation,
        /// What.
        message: Message,
    },
    /// Answer a call.
    Answer {
        /// Which.
        reply: R,
        /// The answer.
        answer: Arc<Result<Payload, CallError>>,
    },
    /// Propose an entry.
    Propose {
        /// As which coordinator.
        term: Term,
        /// What.
        command: Command,
    },
    /// Ask whether this is the leader.
    Barrier {
        /// Names it.
        id: u64,
    },
    /// Write.
    Persist {
        /// Names it.
        token: u64,
        /// What.
        write: Write,
    },
    /// Read.
    Read {
        /// Names it.
        token: u64,
        /// What.
        query: Query,
    },
    /// See [`ExecutorAction`].
    Activate {
        /// Which.
        entity: EntityId,
        /// Its shard's.
        epoch: Epoch,
        /// What there is of it.
        record: Option<Record>,
    },
    /// See [`ExecutorAction`].
    Run {
        /// Its number.
        turn: TurnId,
        /// Whose.
        entity: EntityId,
        /// What it handles.
        input: Input,
    },
    /// See [`ExecutorAction`].
    Resume {
        /// The turn.
        turn: TurnId,
        /// The number of its call.
        number: u64,
        /// The answer.
        answer: Arc<Result<Payload, CallError>>,
    },
    /// See [`ExecutorAction`].
    Discard {
        /// Which.
        entity: EntityId,
        /// The epoch it was activated under.
        epoch: Epoch,
    },
    /// Read a component and send it.
    ReadComponent {
        /// To whom.
        to: NodeId,
        /// Which.
        digest: Digest,
    },
    /// Store a component.
    StoreComponent {
        /// Which.
        digest: Digest,
        /// What.
        bytes: Blob,
    },
    /// This node cannot be a member.
    Refused(JoinRefusal),
    /// This node has left.
    Left,
}

/// A node.
#[derive(Debug)]
pub struct Node<R> {
    boot: Arc<Boot>,
    control: Arc<ControlState>,
    settings: Arc<Settings>,
    due: Instant,
    actions: VecDeque<Action<R>>,
}

impl<R> Node<R> {
    /// Starts.
    pub fn new(start: Start, now: Now) -> Self {
        let cluster = start.boot.cluster;
        Self {
            boot: start.boot,
            control: start
                .restored
                .control
                .unwrap_or_else(|| Arc::new(ControlState::new(cluster))),
            settings: start.settings,
            due: now.instant,
            actions: VecDeque::new(),
        }
    }

    /// A call.
    pub fn handle_call(&mut self, call: OutCall, reply: R, _now: Now) {
        let answer = Arc::new(Err(CallError::ShuttingDown));
        drop(call);
        self.actions.push_back(Action::Answer { reply, answer });
    }

    /// A message.
    pub fn handle_message(&mut self, from: Peer, message: &Message, _now: Now) {
        if let Message::MetaPull { applied } = message
            && applied.0 == 0
        {
            let message = Message::MetaPull {
                applied: Index(from.node.0),
            };
            self.send(from.node, message);
        }
    }

    /// An event.
    pub fn handle_event(&mut self, event: Event, _now: Now) {
        match event {
            Event::Applied(entry) => {
                Arc::make_mut(&mut self.control).apply(&entry);
            }
            Event::State(state) => self.control = state,
            Event::Leader(number) => {
                let term = Term {
                    number,
                    node: self.boot.node,
                };
                let command = Command::Coordinate;
                self.actions.push_back(Action::Propose { term, command });
                self.actions.push_back(Action::Barrier { id: number });
            }
            _ => {}
        }
    }

    /// A timer.
    pub fn handle_timeout(&mut self, now: Now) {
        if now.instant < self.due {
            return;
        }
        self.due = now.instant + self.settings.timing.renew;
        for node in self.control.voters.clone() {
            self.send(node, Message::MetaPull { applied: Index(0) });
        }
    }

    /// What to do.
    pub fn poll_action(&mut self) -> Option<Action<R>> {
        self.actions.pop_front()
    }

    /// When to come back.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(self.due)
    }

    /// Who it is.
    pub fn home(&self) -> Home {
        let member = self.control.members.get(&self.boot.node);
        Home {
            node: self.boot.node,
            incarnation: member.map_or(Incarnation(0), |member| member.incarnation),
        }
    }

    /// What it knows.
    pub fn control(&self) -> &ControlState {
        &self.control
    }

    /// Until when it may act.
    pub fn lease_until(&self) -> Instant {
        Instant(0)
    }

    /// Panics if it is not well.
    pub fn check_invariants(&self) {}

    fn send(&mut self, to: NodeId, message: Message) {
        let incarnation = self.home().incarnation;
        self.actions.push_back(Action::Send {
            to,
            incarnation,
            message,
        });
    }
}

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::{
    Blob, Boot, Epoch, Home, Incarnation, Index, JoinRefusal, LedgerId, Message, NodeId, Record,
    Settings, StoredRecord, Term, TurnId,
};
use crate::control::{Command, ControlState, Entry};
use crate::coordinator::{Request, RequestError};
use crate::host::{Input, Outcome};
use crate::journal::{Query, Write};
use crate::{CallError, Digest, EntityId, Envelope, Payload};

/// What a node starts from.
#[derive(Debug, Clone)]
pub struct Start {
    /// How it introduces itself.
    pub boot: Arc<Boot>,
    /// Nodes of which one may know the cluster.
    pub seeds: Vec<NodeId>,
    /// The cluster's tuning.
    pub settings: Arc<Settings>,
    /// What the disk has kept.
    pub restored: Restored,
}

/// What a node's disk has kept.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The control state of a voter, as far as its log reaches.
    pub control: Option<Arc<ControlState>>,
    /// The ledgers that are sealed here.
    pub sealed: BTreeSet<LedgerId>,
    /// The components that are here.
    pub components: BTreeSet<Digest>,
}

/// What happens to a node, besides calls and messages.
#[derive(Debug, Clone)]
pub enum Event {
    /// The control log has committed an entry. In order; one that is known changes nothing.
    Applied(Arc<Entry>),
    /// The control log was far behind and has got a state.
    State(Arc<ControlState>),
    /// This node leads the control log, in this Raft term.
    Leader(u64),
    /// It does not any more.
    Follower,
    /// A barrier that was asked for is through: this node led at some time after it was asked. `None`: it cannot be known.
    Barrier {
        /// Which.
        id: u64,
        /// What was committed.
        index: Option<Index>,
    },
    /// A write is on disk.
    Persisted {
        /// Which.
        token: u64,
    },
    /// A read is done.
    Read {
        /// Which.
        token: u64,
        /// What was found, in the order of the entities.
        records: Vec<StoredRecord>,
        /// There is more behind the last one.
        more: bool,
    },
    /// A guest's turn is over.
    TurnEnded {
        /// Which.
        turn: TurnId,
        /// How.
        outcome: Outcome,
    },
    /// A guest's turn calls another entity, and waits.
    TurnCalls {
        /// Which turn.
        turn: TurnId,
        /// Counts the calls of the turn from 0.
        number: u64,
        /// The call.
        envelope: Arc<Envelope>,
    },
    /// A supervisor on the same machine saw this process end.
    Exited(Home),
    /// An operator wants something. Only the coordinator hears it.
    Request(Request),
    /// A component is on this node's disk.
    ComponentStored(Digest),
    /// This node is to leave the cluster and stop.
    Leave,
}

/// What a node wants done. The driver does it before it gives the node its next input.
#[derive(Debug)]
pub enum Action<R> {
    /// Say something to a peer. May be lost, and come late, twice and out of order.
    Send {
        /// To whom.
        to: NodeId,
        /// As which of this node's lives; 0 while it is no member.
        incarnation: Incarnation,
        /// What.
        message: Message,
    },
    /// Answer a call.
    Answer {
        /// The handle that came with the call.
        reply: R,
        /// The answer.
        answer: Arc<Result<Payload, CallError>>,
    },
    /// Propose a command to the control log, if this node still leads it in this term.
    Propose {
        /// The term.
        term: Term,
        /// The command.
        command: Command,
    },
    /// Find out whether this node leads the control log now, and what is committed.
    Barrier {
        /// Names the answer.
        id: u64,
    },
    /// Write, and say when it is safe; a write that needs no answer is said so by its kind.
    Persist {
        /// Names the answer.
        token: u64,
        /// What.
        write: Write,
    },
    /// Read what was written.
    Read {
        /// Names the answer.
        token: u64,
        /// What.
        query: Query,
    },
    /// Take an entity into memory.
    Activate {
        /// Which.
        entity: EntityId,
        /// The ownership of its shard.
        epoch: Epoch,
        /// What it was; `None` for one that never was.
        record: Option<Record>,
    },
    /// Run a turn of an entity that is in memory.
    Run {
        /// Names the turn.
        turn: TurnId,
        /// Whose.
        entity: EntityId,
        /// The ownership of its shard.
        epoch: Epoch,
        /// What to do.
        input: Input,
    },
    /// The answer of a call that a turn waits for.
    Resume {
        /// Which turn.
        turn: TurnId,
        /// Which of its calls.
        number: u64,
        /// The answer.
        answer: Arc<Result<Payload, CallError>>,
    },
    /// Take an entity out of memory, whatever it does.
    Discard {
        /// Which.
        entity: EntityId,
        /// The ownership under which it was taken in.
        epoch: Epoch,
    },
    /// Read a component and send it.
    ReadComponent {
        /// To whom.
        to: NodeId,
        /// Which.
        digest: Digest,
    },
    /// Store a component, which has this digest.
    StoreComponent {
        /// Which.
        digest: Digest,
        /// Its bytes.
        bytes: Blob,
    },
    /// What became of an operator's request.
    Requested {
        /// Which.
        request: Request,
        /// Whether it is being done; the control state shows when it is.
        result: Result<(), RequestError>,
    },
    /// The cluster does not take this node.
    Refused(JoinRefusal),
    /// This node is no member any more, as it wanted: it may stop.
    Left,
}

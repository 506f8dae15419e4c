//! The node machine as the simulator drives it.

use std::sync::Arc;

use entia_protocol::cluster::{Epoch, Record, TurnId};
use entia_protocol::{CallError, EntityId, Payload};

pub use entia_protocol::coordinator::Request;
pub use entia_protocol::host::{Draft, Input, Outcome};
pub use entia_protocol::journal::{Query, Write};
pub use entia_protocol::node::{Action, Event, Node, Restored, Start};
pub use entia_protocol::router::OutCall;

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

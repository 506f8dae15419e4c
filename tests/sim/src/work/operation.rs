//! What a client wants once, however often it has to ask for it.

use entia_protocol::cluster::NodeId;
use entia_protocol::{CommandKey, EntityId};

use crate::executor::Command;
use crate::oracle::Turn;

/// Something that a client wants.
#[derive(Debug)]
pub(super) struct Operation {
    /// Who wants it.
    pub(super) asker: Asker,
    /// Of whom.
    pub(super) entity: EntityId,
    /// What.
    pub(super) command: Command,
    /// The same for each attempt.
    pub(super) key: CommandKey,
    /// The first attempt, in true time.
    pub(super) issued: u64,
    /// How often it was asked for.
    pub(super) attempts: u32,
    /// The code of the last error.
    pub(super) error: Option<&'static str>,
    /// Whether there is an answer.
    pub(super) standing: Standing,
}

impl Operation {
    /// What is wanted, and why it is not there.
    pub(super) fn words(&self) -> String {
        let error = self.error.unwrap_or("silence");
        let (entity, command) = (&self.entity, &self.command);
        let seconds = self.issued as f64 / 1e9;
        format!(
            "{entity} {command:?} asked {} times since {seconds:.3} s, last: {error}",
            self.attempts
        )
    }
}

/// Who wants something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client, by number.
    Client(usize),
    /// The one who reads everything at the end.
    Auditor,
}

/// How far an operation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is asked for, or will be again.
    Open,
    /// There is an answer.
    Answered,
    /// The client went away. Whether it took effect is not known.
    Abandoned,
}

/// One try at an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Of which.
    pub(super) operation: usize,
    /// Through which node.
    pub(super) node: NodeId,
    /// Of the first attempt: its place among the calls of its client through this life of the node.
    pub(super) turn: Option<Turn>,
    /// Nobody waits for it any more; the answer is looked at all the same.
    pub(super) expired: bool,
}

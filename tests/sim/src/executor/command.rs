//! What clients and entities say to each other.
//!
//! A serial is a number that is appended once in a run: a client's command has one, and a second one where it makes another
//! entity append. An append answers with where the serial went and what is before it, so that whatever is lost, doubled,
//! reordered or stale shows in the answers alone: see [`crate::oracle`].

use entia_protocol::{EntityId, Envelope, Payload};
use serde::{Deserialize, Serialize};

/// A command or a query of the virtual entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Append a serial.
    Append {
        /// Which.
        serial: u64,
    },
    /// Show everything. A query: no key, nothing stored.
    Read,
    /// Let another entity append, wait for its answer, then append.
    Chain {
        /// What to append here.
        serial: u64,
        /// The other one.
        other: EntityId,
        /// What to append there.
        theirs: u64,
    },
    /// Append, and with it promise a message that makes another entity append.
    Post {
        /// What to append here.
        serial: u64,
        /// The other one.
        other: EntityId,
        /// What to append there.
        theirs: u64,
    },
    /// Append later, by a timer.
    Remind {
        /// What to append.
        serial: u64,
        /// How much later, in milliseconds.
        after_ms: u64,
    },
    /// Delete everything.
    Forget,
    /// Append, then trap: nobody ever sees the serial.
    Boom {
        /// What nobody sees.
        serial: u64,
    },
}

/// What the virtual entity answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A serial is appended.
    Appended {
        /// Where.
        own: Place,
        /// Where the other entity of a chain has put its own.
        nested: Option<Place>,
    },
    /// Everything that is there.
    Listing {
        /// The list's name.
        life: u64,
        /// All serials, oldest first.
        serials: Vec<u64>,
        /// Of a worker: how many steps it has counted.
        ticks: u64,
    },
    /// The timer is set.
    Set,
    /// All is deleted.
    Forgotten {
        /// The first serial of what is gone; 0 if there was nothing.
        life: u64,
        /// How many serials there were.
        length: u64,
    },
}

/// Where a serial went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The first serial of the list: it names the list, from its beginning to a deletion or the loss of the memory it was in.
    pub life: u64,
    /// Counted from 1.
    pub position: u64,
    /// The serial before it; 0 at the first position.
    pub previous: u64,
}

impl Command {
    /// The method's name.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::Read => "read",
            Self::Chain { .. } => "chain",
            Self::Post { .. } => "post",
            Self::Remind { .. } => "remind",
            Self::Forget => "forget",
            Self::Boom { .. } => "boom",
        }
    }

    /// The arguments, as they travel.
    pub fn payload(&self) -> Payload {
        Payload(rmp_serde::to_vec(self).expect("our own types always encode into memory"))
    }

    /// The command that an envelope carries.
    pub fn of(envelope: &Envelope) -> Option<Self> {
        rmp_serde::from_slice(&envelope.arguments.0).ok()
    }
}

impl Answer {
    /// The answer, as it travels.
    pub fn payload(&self) -> Payload {
        Payload(rmp_serde::to_vec(self).expect("our own types always encode into memory"))
    }

    /// The answer that a payload is.
    pub fn of(payload: &Payload) -> Option<Self> {
        rmp_serde::from_slice(&payload.0).ok()
    }
}

//! Where everything goes.

mod ledgers;
mod roster;

use crate::cluster::{Message, NodeId};
use crate::control::Command;

pub use ledgers::Ledgers;
pub use roster::Roster;

/// What a coordinator wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this to that node; this one itself, too.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Propose this for the control log.
    Propose(Command),
    /// Ask a quorum whether this node still leads.
    Barrier {
        /// Unique among all that this node ever asks.
        id: u64,
    },
}

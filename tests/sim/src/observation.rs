//! What the checks are shown of each step.

use std::sync::Arc;

use entia_protocol::cluster::{Home, Index, Message, NodeId, Now, Peer, TurnId};
use entia_protocol::control::Entry;

use crate::node::{Action, Ticket};

/// One step of one node, as the checks see it: what came in, and what the node wants done. They look after the node has handled the
/// input, and before any of the actions is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Who stepped.
    pub node: NodeId,
    /// When, in nanoseconds of true time.
    pub true_time: u64,
    /// When, by the node's own clocks.
    pub now: Now,
    /// What came in.
    pub cause: Cause<'a>,
    /// What the node wants done, in order.
    pub actions: &'a [Action<Ticket>],
}

/// What came in.
#[derive(Debug, Clone, Copy)]
pub enum Cause<'a> {
    /// A process starts. The node is there, and has handled nothing.
    Started,
    /// The process is gone: the node is not there any more. `home` is who it was.
    Crashed {
        /// Who it was; incarnation 0 if it was no member.
        home: Home,
    },
    /// A message.
    Message {
        /// Who sent it.
        from: Peer,
        /// What. After the step.
        message: &'a Message,
    },
    /// A client's call.
    Call {
        /// The handle of its reply.
        ticket: Ticket,
    },
    /// An entry of the control log was handed to a voter. It may be one that the node had already.
    Applied(&'a Arc<Entry>),
    /// A whole control state was handed to a voter.
    State(Index),
    /// A voter was elected, and believes it.
    Elected {
        /// The Raft term.
        term: u64,
    },
    /// A voter learned that it leads no more.
    Deposed,
    /// The answer to a barrier.
    Barrier {
        /// Which.
        id: u64,
        /// What was committed; nothing if the node may lead no more.
        index: Option<Index>,
    },
    /// A write is on the disk.
    Persisted {
        /// Which.
        token: u64,
    },
    /// A read came back.
    Read {
        /// Which.
        token: u64,
    },
    /// An entity's turn is over.
    TurnEnded(TurnId),
    /// An entity's turn calls another entity, and waits.
    TurnCalls(TurnId),
    /// Something else that the node's driver reports: an operator's request, a process that was seen to exit, a stored component, leave.
    Other,
    /// A timer.
    Timeout,
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// Makes a number that cannot be taken for another one.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number! {
    /// A node: one data directory and the process that has locked it. Stable over restarts.
    NodeId(u64), "n"
}
number! {
    /// One life of a node: the log index of its committed Join. 0 is a process that is not a member yet.
    Incarnation(u64), "i"
}
number! {
    /// A position in the control log. The first entry has 1; 0 is before all of them.
    Index(u64), "@"
}
number! {
    /// The fencing number of an ownership: the log index of the entry that assigned the shard. Unique, increasing, never reused.
    Epoch(u64), "e"
}
number! {
    /// A kind or a daemon set, which has shards of its own: the log index of the entry that created it.
    SpaceId(u64), "s"
}
number! {
    /// A ledger of one incarnation's journal: the log index of the entry that opened it.
    LedgerId(u64), "l"
}
number! {
    /// A handoff: the log index of the entry that began it.
    HandoffId(u64), "h"
}
number! {
    /// A cluster, drawn when its first node starts.
    ClusterId(u64), "c"
}
number! {
    /// A turn of an entity, counted by the node that runs it.
    TurnId(u64), "t"
}

/// A coordinator's fencing number. Compared by number first: of one Raft term there could be two leaders in the library's
/// default build, so that the node is part of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Term {
    /// The Raft term.
    pub number: u64,
    /// The leader.
    pub node: NodeId,
}

/// What a handoff ships, from the precopy on: the coordinator's term and a count within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TransferId {
    /// The coordinator that planned it.
    pub term: Term,
    /// Counts within the term, from 1.
    pub number: u64,
}

/// The unit of placement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    /// The kind or daemon set.
    pub space: SpaceId,
    /// From 0 to the space's number of shards; of a daemon set: the worker's index.
    pub number: u32,
}

/// One life of one node, as somebody who owns things.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Home {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}

/// The sender of a message, as the transport has authenticated it. Never read from a payload.
pub type Peer = Home;

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}.{}", self.number, self.node.0)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.term, self.number)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.space, self.number)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.incarnation)
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

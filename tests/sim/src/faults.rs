//! What can go wrong, as data: printed, left out one by one, and done again.

use std::fmt;
use std::time::Duration;

use entia_protocol::cluster::NodeId;

use crate::plan::{LogPlan, NetworkPlan};
use crate::row::{Row, Twist};

/// Something that goes wrong, or that an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: At,
    /// What.
    pub kind: FaultKind,
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At this true time, in nanoseconds.
    Time(u64),
    /// Before this step of the run.
    Step(u64),
}

/// To whom. Looked up when the fault strikes, so that a sweep can name a part in a play; nobody, and nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// This node.
    Node(NodeId),
    /// Whoever leads the control log.
    Coordinator,
    /// The source of the first handoff that runs.
    Source,
    /// The target of the first handoff that runs.
    Target,
    /// The owner of the worker with this number.
    Worker(u32),
    /// The owner of the durable shard with this number.
    Owner(u32),
    /// A voter that does not lead: the one with the lowest number.
    Voter,
}

/// What a node that was killed comes back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// A process on the same machine: its lock proves that the old one is gone.
    Process,
    /// As `Process`, and somebody who saw the old one exit says so at once.
    Supervised,
    /// The machine was started again: nothing is proven.
    Machine,
    /// As `Process`, with a program of the next version.
    Upgraded,
    /// Its disk is lost. It will be refused; another node takes its place.
    EmptyDisk,
    /// It does not come back before the faults end.
    Never,
}

/// An entity that misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    /// The worker with this number.
    Worker(u32),
    /// The durable entity with this number.
    Entity(u32),
}

/// How an entity misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// Its turns never end.
    Hangs,
    /// Its turns trap.
    Traps,
    /// Its turns take that long.
    Slow(Duration),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A process is killed.
    Crash {
        /// Whose.
        who: Who,
        /// How long until it comes back.
        down: Duration,
        /// How.
        restart: Restart,
    },
    /// All processes are killed, and come back one by one within `down`.
    CrashAll {
        /// How long until the last one comes back.
        down: Duration,
        /// How.
        restart: Restart,
    },
    /// A process is stopped, and goes on later.
    Pause {
        /// Whose.
        who: Who,
        /// How long.
        lasts: Duration,
    },
    /// A process stops and goes on in turns.
    Stutter {
        /// Whose.
        who: Who,
        /// How long each pause, and what comes between, is.
        period: Duration,
        /// How long in all.
        lasts: Duration,
    },
    /// Nothing gets from one node to another. The other direction is open.
    Cut {
        /// From whom.
        from: Who,
        /// To whom.
        to: Who,
        /// How long.
        lasts: Duration,
    },
    /// Nothing that a node says reaches anybody.
    Mute {
        /// Who.
        who: Who,
        /// How long.
        lasts: Duration,
    },
    /// Nothing reaches a node.
    Deafen {
        /// Who.
        who: Who,
        /// How long.
        lasts: Duration,
    },
    /// A node and the others do not hear each other.
    Isolate {
        /// Who.
        who: Who,
        /// How long.
        lasts: Duration,
    },
    /// Two sides do not hear each other: those whose bit is set in `side` (bit 0 is node 1), and the rest.
    Split {
        /// One side.
        side: u64,
        /// Who hears both sides.
        bridge: Option<Who>,
        /// How long.
        lasts: Duration,
    },
    /// A node is isolated and back in turns.
    Flap {
        /// Who.
        who: Who,
        /// How long each of both takes.
        period: Duration,
        /// How long in all.
        lasts: Duration,
    },
    /// All links behave otherwise.
    Weather {
        /// How.
        network: NetworkPlan,
        /// How long.
        lasts: Duration,
    },
    /// The messages of one row of the table come otherwise than they are sent.
    Twist {
        /// Of which row.
        row: Row,
        /// How.
        twist: Twist,
        /// How long.
        lasts: Duration,
    },
    /// Everything that a node hears, it hears once more when this ends: also what was for the process before it.
    Echo {
        /// Who.
        who: Who,
        /// How long what it hears is remembered.
        lasts: Duration,
    },
    /// A monotonic clock runs at another rate, from now on.
    ClockRate {
        /// Whose.
        who: Who,
        /// How much too fast, in parts per million.
        ppm: i64,
    },
    /// A wall clock jumps.
    WallJump {
        /// Whose.
        who: Who,
        /// By how many milliseconds.
        ms: i64,
    },
    /// Each fsync takes long.
    SlowDisk {
        /// Whose.
        who: Who,
        /// How long.
        sync: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// An entity misbehaves, wherever it runs or on one node.
    Ailment {
        /// Which entity.
        patient: Patient,
        /// How.
        how: Ailment,
        /// Only there.
        who: Option<Who>,
        /// How long.
        lasts: Duration,
    },
    /// Whatever lasts ends now.
    Mend,
    /// Another voter is elected, though nothing is wrong with the one that leads.
    Elect,
    /// The control log behaves otherwise.
    LogWeather {
        /// How.
        log: LogPlan,
        /// How long.
        lasts: Duration,
    },
    /// An operator wants something.
    Wish(Wish),
}

/// What an operator wants. Asked of the coordinator again until it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// One more node.
    Add,
    /// A node leaves, by its own doing.
    Leave(NodeId),
    /// A node's shards go elsewhere.
    Drain(NodeId),
    /// A node that was drained may have shards again.
    Undrain(NodeId),
    /// A node that is gone is forgotten.
    Remove(NodeId),
    /// The kinds are deployed in another version.
    Redeploy(u64),
    /// There are so many workers.
    Scale(u32),
    /// A durable shard, by its number, lives on that node. Asked once.
    Move(u32, NodeId),
}

impl FaultKind {
    /// How long it lasts; `None` if it has no end of its own.
    pub fn lasts(&self) -> Option<Duration> {
        match *self {
            Self::Pause { lasts, .. }
            | Self::Stutter { lasts, .. }
            | Self::Cut { lasts, .. }
            | Self::Mute { lasts, .. }
            | Self::Deafen { lasts, .. }
            | Self::Isolate { lasts, .. }
            | Self::Split { lasts, .. }
            | Self::Flap { lasts, .. }
            | Self::Weather { lasts, .. }
            | Self::Twist { lasts, .. }
            | Self::Echo { lasts, .. }
            | Self::Ailment { lasts, .. }
            | Self::SlowDisk { lasts, .. }
            | Self::LogWeather { lasts, .. } => Some(lasts),
            Self::Crash { .. }
            | Self::CrashAll { .. }
            | Self::ClockRate { .. }
            | Self::WallJump { .. }
            | Self::Mend
            | Self::Elect
            | Self::Wish(_) => None,
        }
    }

    /// Whom it strikes; of a cut, who is not heard.
    pub fn who(&self) -> Option<Who> {
        match *self {
            Self::Crash { who, .. }
            | Self::Pause { who, .. }
            | Self::Stutter { who, .. }
            | Self::Mute { who, .. }
            | Self::Deafen { who, .. }
            | Self::Isolate { who, .. }
            | Self::Flap { who, .. }
            | Self::Echo { who, .. }
            | Self::ClockRate { who, .. }
            | Self::WallJump { who, .. }
            | Self::SlowDisk { who, .. } => Some(who),
            Self::Cut { from, .. } => Some(from),
            Self::Ailment { who, .. } => who,
            Self::CrashAll { .. }
            | Self::Split { .. }
            | Self::Weather { .. }
            | Self::Mend
            | Self::Elect
            | Self::LogWeather { .. }
            | Self::Wish(_) => None,
        }
    }

    /// What goes in turns: the length of a turn.
    pub fn period(&self) -> Option<Duration> {
        match *self {
            Self::Stutter { period, .. } | Self::Flap { period, .. } => Some(period),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Time(nanos) => write!(f, "at {:.6} s: {:?}", nanos as f64 / 1e9, self.kind),
            At::Step(step) => write!(f, "at step {step}: {:?}", self.kind),
        }
    }
}

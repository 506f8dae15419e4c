//! The rows of the message table: see [`Message`]. Each message is in exactly one, and one that is in none does not compile.

use std::time::Duration;

use entia_protocol::cluster::Message;

macro_rules! rows {
    ($($(#[$doc:meta])* $row:ident: $($message:ident)+;)+) => {
        /// A row of the message table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Row {
            $($(#[$doc])* $row,)+
        }

        impl Row {
            /// All.
            pub const ALL: &[Self] = &[$(Self::$row),+];

            /// The row that a message is in.
            pub fn of(message: &Message) -> Self {
                match message {
                    $($(Message::$message { .. })|+ => Self::$row,)+
                }
            }

            /// The names of its messages.
            pub fn messages(self) -> &'static [&'static str] {
                match self {
                    $(Self::$row => &[$(stringify!($message)),+],)+
                }
            }
        }

        /// The name of a message.
        pub fn name(message: &Message) -> &'static str {
            match message {
                $($(Message::$message { .. } => stringify!($message),)+)+
            }
        }
    };
}

rows! {
    /// Becoming a member.
    Join: Join JoinRefused;
    /// Leases.
    Lease: Renew Grant;
    /// Where a shard lives.
    Home: ShardHomeQuery ShardHome;
    /// Serving a shard.
    Start: Start Started StartRefused;
    /// The control log, for who is no voter.
    Meta: MetaDelta MetaState MetaPull;
    /// Who coordinates, and who is a member no more.
    Notice: NewCoordinator Downed;
    /// The source's part of a handoff.
    Handoff: Precopy Precopied BeginHandoff HandoffAcked;
    /// Calls that came too late.
    Moved: Moved;
    /// The target's part of a handoff.
    Transfer: Chunk ChunkAcked InstallQuery Installed NotInstalled;
    /// The end of a handoff.
    Release: Release HandoffAborted;
    /// What is in memory.
    Entities: EntityStarted EntityStopped;
    /// Daemon workers.
    Workers: StartWorker StopWorker WorkerState;
    /// Who waits for whom.
    Waits: WaitProbe WaitCircle;
    /// Code.
    Components: ComponentQuery Component;
    /// Durable states on three disks.
    Journal: Append Appended AppendRefused Seal Sealed SealRefused FetchState State Adopted;
    /// Going in peace.
    Leaving: Leave LeaveDone;
    /// Calls and their answers.
    Calls: Call Reply;
}

/// What becomes of the messages of a row, besides what the link does to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// Each arrives twice at the same instant, with nothing in between.
    Doubled,
    /// Each arrives three times: after the link's delay, a bit later, and some time within this.
    Tripled(Duration),
    /// Each arrives so much later.
    Delayed(Duration),
    /// Each arrives some time within this: any may overtake any.
    Shuffled(Duration),
}

//! The words of the cluster: who is who, when is now, and what travels between nodes.
//!
//! Everything here is data. The machines that decide are beside it:
//!
//! ```text
//!            control log (Raft)                        peers                      guests, disk
//!   applied │     ▲ propose, barrier        message │      ▲ send        turn ended │    ▲ run, persist
//!           ▼     │                                 ▼      │              persisted ▼    │
//!   ┌───────────────────────────────────── node::Node ───────────────────────────────────────┐
//!   │ control (what is decided)  lease (until when)  membership (who am I)                    │
//!   │ coordinator (where everything goes)   router (calls out)   host (shards here)   journal │
//!   └─────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! All machines have one shape: `handle_call`, `handle_message`, `handle_event`, `handle_timeout` in; `poll_action`,
//! `poll_timeout` out. Time is an argument and never read.

mod blob;
mod context;
mod message;
mod mutant;
mod number;
mod record;
mod settings;
mod time;

pub use blob::Blob;
pub use context::{Context, Identity};
pub use message::{
    Boot, Call, Chunk, Frame, FrameError, Grant, JoinRefusal, Message, MetaDelta, NodeAddress,
    Page, ProtocolRange, Renew, Reply, ShardMove, StopReason, WorkerHealth, WorkerOrder,
    WorkerReport,
};
pub use mutant::Mutant;
pub use number::{
    ClusterId, Epoch, HandoffId, Home, Incarnation, Index, LedgerId, NodeId, Peer, ShardId,
    SpaceId, Term, TransferId, TurnId,
};
pub use record::{Record, StoredRecord};
pub use settings::{Bounds, Settings, Timing};
pub use time::{Instant, Now};

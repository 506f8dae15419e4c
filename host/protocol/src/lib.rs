//! The words that every part of Entia speaks: ids, envelopes, errors, and the records that stored state is made of.
//!
//! These are also the wire types and the disk types: one shape for each thing, whichever boundary it crosses. Nothing
//! here does I/O, reads a clock, takes a lock or draws a random number; time is an argument.
//!
//! ```text
//!   Envelope ──► executor ──► Result<Payload, CallError>
//!                   │
//!                   └──► StoredState + IdempotencyRecord ──► record::seal ──► disk
//! ```

mod call_error;
pub mod cluster;
pub mod components;
pub mod control;
pub mod coordinator;
mod digest;
mod effects;
mod envelope;
pub mod host;
mod id;
mod idempotency;
pub mod journal;
mod kind;
pub mod lease;
mod limits;
pub mod membership;
pub mod node;
pub mod placement;
pub mod record;
pub mod router;
mod stored;
pub mod transfer;
pub mod waits;

pub use call_error::{CallError, GuestLimit, Rejection, Subject, Unavailability};
pub use digest::Digest;
pub use effects::{DeadLetter, SendRecord, TimerRecord, wake_ms};
pub use envelope::{Caller, CommandKey, Envelope, KEY_BYTES_MAX, METHOD_BYTES_MAX, Payload};
pub use id::{ENTITY_KEY_BYTES_MAX, EntityId, InvalidId, KIND_NAME_BYTES_MAX, KindName};
pub use idempotency::{IdempotencyWindow, Lookup};
pub use kind::{Durability, KindDescription, KindRecord, MethodDescription};
pub use limits::Limits;
pub use stored::{IdempotencyId, IdempotencyRecord, StoredState};

//! REMEMBERS: the state of entities, the commands they have executed, their timers and outgoing messages, the deployed
//! kinds and their components.
//!
//! The only crate that names the store engine (fjall). One directory is one store:
//!
//! ```text
//!   DIR/lock          held while the store is open
//!   DIR/format        the version of this layout
//!   DIR/watermark     the last acknowledged sequence
//!   DIR/engine/       fjall: states, idempotency, timers, sends, wakes, kinds, kinds_previous, meta
//!   DIR/components/   one file a component, named by its digest
//!
//!   commit ──► queue ──► committer thread ──► one batch, fdatasync ──► watermark ──► callbacks, in order
//!   load, entities, wakes, kinds ──► a snapshot of the engine, on the caller's thread
//! ```
//!
//! Three things make a record believable: its frame ([`entia_protocol::record`]: format version, sequence, checksum
//! over key and body), the digest of the state within it, and the watermark. The frame and the digest notice bytes that
//! changed. Only the watermark notices bytes that are gone: a journal cut short is a valid, shorter journal, and one
//! flipped bit is enough for the engine to cut it.
//!
//! Absent, on purpose: replication, ownership and its fencing, any reading of a clock for expiry. Those decisions are
//! made above.

mod commit;
mod committer;
mod components;
mod engine;
mod error;
mod group;
mod home;
mod keys;
mod kinds;
mod look;
mod options;
mod precheck;
mod queue;
mod read;
mod store;
#[cfg(test)]
mod tests;
mod watermark;

pub use commit::{Done, EntityCommit, StateChange, WakeChange};
pub use components::COMPONENT_BYTES_MAX;
pub use error::StoreError;
pub use home::FORMAT_VERSION;
pub use look::{Look, look};
pub use options::StoreOptions;
pub use read::{ListedEntity, PAGE_ENTRIES_MAX, Page, StoredEntity};
pub use store::{Store, StoreStats};

//! Runs guests. The only crate that names wasmtime.
//!
//! ```text
//!   bytes ──prepare──► Component ──activate──► Instance ──handle, snapshot──► results
//!             │  compiled in a child process,      one Store per entity
//!             │  kept as an artifact on disk
//!             └─► Refusal: what to change
//! ```
//!
//! Guests are hostile: each export runs under a bound on processor time (epoch interruption), memory, tables and stack,
//! and everything that comes out of one is measured before it is used. A trap poisons a wasmtime instance, so an instance
//! that failed once refuses everything after it; its owner drops it and starts another from the last good state.
//!
//! Instances are allocated on demand, with memory layouts that cost few mappings (see [`engine`]). Most run synchronously on
//! the caller's thread. A component that imports `call` waits inside its turns, so it runs on a fiber, and its turns are
//! futures ([`Host::handle_waiting`]) that need no runtime of their own.
//!
//! What a turn sends and the timers that it sets are collected ([`Effects`]) and handed to whoever commits the turn; only
//! `call` reaches out at once, through [`Calls`].

mod artifact;
mod bindings;
mod clock;
pub mod compile;
mod component;
mod effects;
pub mod engine;
mod exports;
mod instance;
mod log;
mod memory;
mod refusal;
mod state;
mod trap;
mod wasi;

pub use component::{Component, Host, HostError, HostOptions};
pub use effects::{Answering, Calls, Effects, GuestCall, Outgoing};
pub use instance::{GuestConfig, Input, Instance, Turn};
pub use log::{LogLevel, LogLine, TurnLog};
pub use memory::FREE_BYTES;
pub use refusal::Refusal;

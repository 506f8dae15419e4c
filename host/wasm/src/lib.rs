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
//! Instances are allocated on demand, with memory layouts that cost few mappings (see [`engine`]), and run synchronously on
//! the caller's thread. What waits inside a guest call is absent: components that import `call`, `send` or `timers` are
//! refused with the reason.

mod artifact;
mod bindings;
mod clock;
pub mod compile;
mod component;
pub mod engine;
mod instance;
mod log;
mod refusal;
mod state;
mod trap;
mod wasi;

pub use component::{Component, Host, HostError, HostOptions};
pub use instance::{GuestConfig, Instance, Turn};
pub use log::{LogLevel, LogLine, TurnLog};
pub use refusal::Refusal;

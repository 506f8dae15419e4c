//! What the tests of real nodes share: a node as a process of its own, and a client that sees what is on the wire.
//!
//! The `entia` binary and the guests are built before: `cargo xtask test` does it and says where they are. Waits are for a
//! condition, with a bound.

mod guests;
mod hostile;
mod node;
pub mod torture;
mod wire;

pub use guests::{entia, guest, guests};
pub use hostile::Hostile;
pub use node::{Node, NodeOptions};
pub use wire::{Answer, Wire, assert_error};

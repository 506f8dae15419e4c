//! Entities in plain `cargo test`, without a node.
//!
//! - [`Context::test`](crate::Context::test) makes a context for calling methods directly. Its [`Fake`] world records
//!   sends, timers and log lines, and answers calls as the test says.
//!   Methods that use references to other entities (`AccountRef`) run in [`Context::turn`](crate::Context::turn).
//! - [`Host`] drives an entity as the platform does: JSON to MessagePack and back, a snapshot after every command,
//!   restarts, timers that fire when the test advances the clock.
//!
//! ```
//! use entia_sdk::prelude::*;
//! use entia_sdk::testing::{Host, json};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter {
//!     value: u64,
//! }
//!
//! #[entity]
//! impl Counter {
//!     fn increment(&mut self, by: u64) -> u64 {
//!         self.value += by;
//!         self.value
//!     }
//! }
//!
//! let mut host = Host::<Counter>::new("visits");
//! assert_eq!(host.call("increment", json!({"by": 2})), Ok(json!(2)));
//! host.restart();
//! assert_eq!(host.call("increment", json!({"by": 3})), Ok(json!(5)));
//! ```

mod builder;
mod fake;
mod host;
mod json;
mod timers;

pub use builder::ContextBuilder;
pub use fake::{Fake, LogLine, Sent};
pub use host::{Fired, Host};
pub use serde_json::{Value, json};
pub use timers::Timer;

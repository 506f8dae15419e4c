//! Write an entity for Entia: a type with state, and methods that anybody can call by the entity's name.
//!
//! ```
//! use entia_sdk::prelude::*;
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter {
//!     value: u64,
//! }
//!
//! #[entity] // the kind is `counter`
//! impl Counter {
//!     /// Adds to the counter and returns its new value.
//!     fn increment(&mut self, by: u64) -> u64 {
//!         self.value += by;
//!         self.value
//!     }
//!
//!     fn value(&self) -> u64 {
//!         self.value
//!     }
//! }
//! ```
//!
//! # The author's `Cargo.toml`
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"] # the component, and the library that tests use
//!
//! [dependencies]
//! entia-sdk = "0.1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//! `cargo build --release --target wasm32-wasip2` makes the component. Types of arguments, results and errors derive
//! `JsonSchema`, which comes with the prelude; where the prelude is not in scope, `use entia_sdk::schemars;`.
//!
//! # What to know
//! - **Methods** are all functions of the `#[entity]` block, `pub` or not; helpers go to another `impl` block. `&self`
//!   makes a query, which changes nothing and has no effects; `&mut self` makes a command. See [`macro@entity`].
//! - **Refusals**: a method that returns `Result<T, E>` refuses with a typed error. See [`Rejection`].
//! - **Other entities** are called by references: `AccountRef::new("alice").deposit(5)?` waits for the answer,
//!   `AccountRef::new("alice").send().deposit(5)?` does not. `#[entity]` makes one beside the type; [`macro@entity_ref`]
//!   makes one for a kind of another crate.
//! - **The world** is the [`Context`], an optional first parameter: who calls, the clock, settings, the log, calls and
//!   messages to other entities whose methods are known at run time only, timers.
//! - **State** is what serde serializes. The same state has to give the same bytes: use `BTreeMap`, not `HashMap`. When
//!   its form changes so that old snapshots no longer decode, raise `schema` and write an `#[upgrade]` function; for
//!   a new field, `#[serde(default)]` is enough.
//! - **Panics** undo the turn: the entity goes on from its last snapshot, and the caller learns that the call failed.
//! - **Tests** are plain `cargo test`: see [`testing`].
//!
//! ```
//! # use entia_sdk::prelude::*;
//! /// Version 1 had `count`, in dozens.
//! #[derive(Deserialize)]
//! struct Version1 {
//!     count: u64,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Eggs {
//!     eggs: u64,
//! }
//!
//! #[entity(schema = 2)]
//! impl Eggs {
//!     fn hatch(&mut self, ctx: &mut Context, after_ms: u64) -> Result<(), EffectError> {
//!         ctx.after("hatch", std::time::Duration::from_millis(after_ms), &())
//!     }
//!
//!     #[timer]
//!     fn on_timer(&mut self, name: &str) {
//!         self.eggs = self.eggs.saturating_sub(1);
//!     }
//!
//!     #[upgrade]
//!     fn upgrade(_from: u32, bytes: &[u8]) -> Result<Self, String> {
//!         let old: Version1 = decode(bytes)?;
//!         Ok(Self { eggs: old.count * 12 })
//!     }
//! }
//! ```
//!
//! Entities that call each other:
//! ```
//! # use entia_sdk::prelude::*;
//! #[derive(Default, Serialize, Deserialize)]
//! struct Account {
//!     balance: u64,
//! }
//!
//! #[entity]
//! impl Account {
//!     fn withdraw(&mut self, amount: u64) -> Result<u64, String> {
//!         let left = self.balance.checked_sub(amount);
//!         self.balance = left.ok_or("there is not that much")?;
//!         Ok(self.balance)
//!     }
//!
//!     fn collect(&mut self, from: String, amount: u64) -> Result<u64, CallFailure> {
//!         AccountRef::new(from).withdraw(amount)?;
//!         self.balance += amount;
//!         Ok(self.balance)
//!     }
//!
//!     fn collected(&self, report_to: String) -> Result<bool, CallFailure> {
//!         LedgerRef::new(report_to).knows("account", self.balance)
//!     }
//! }
//!
//! /// An entity of another component.
//! #[entity_ref(kind = "ledger")]
//! trait Ledger {
//!     fn knows(&self, name: &str, amount: u64) -> bool;
//! }
//! ```
#![warn(missing_docs)]

extern crate self as entia_sdk;

mod arguments;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod bytes;
#[cfg(target_arch = "wasm32")]
mod component;
mod context;
pub mod describe;
mod entity;
mod failure;
mod id;
mod outgoing;
mod payload;
mod rejection;
mod reply;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bytes::Bytes;
pub use context::{Context, Level};
pub use entia_sdk_macros::{entity, entity_ref};
pub use entity::{Entity, Snapshot};
pub use failure::{CallError, CallFailure, EffectError};
pub use id::{Caller, EntityId, InvalidId};
pub use payload::{DecodeError, decode};
pub use rejection::Rejection;
pub use schemars;

/// All that an entity needs: `use entia_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Bytes, CallError, CallFailure, Caller, Context, EffectError, EntityId, Level, Rejection,
        decode, entity, entity_ref,
    };
    /// The derive of `JsonSchema` refers to its crate by this name.
    pub use schemars::{self, JsonSchema};
    pub use serde::{Deserialize, Serialize};
}

/// What generated code refers to. No promise is made about it.
#[doc(hidden)]
pub mod __private {
    pub use crate::arguments::Arguments;
    pub use crate::describe::{Method, MethodBuilder};
    pub use crate::outgoing::Message;
    pub use crate::reply::*;
    pub use serde::{Deserialize, Serialize};

    #[cfg(target_arch = "wasm32")]
    pub use crate::{bindings, component::Component};
    #[cfg(target_arch = "wasm32")]
    pub use wit_bindgen;
}

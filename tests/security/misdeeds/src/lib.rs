//! What entities do that misbehave when they are told to: the host's tests show that nobody else notices.
//!
//! Methods misbehave in a call; [`methods`](self) of the components list them with what they do. `echo`, `increment` and
//! `value` behave, so that a test can see that the state is intact afterwards.
//!
//! The entity's key makes other exports misbehave: `trap-`, `spin-`, `recurse-` and `allocate-in-activate`,
//! `sometimes-in-activate`, `refuse-activate`, `trap-` and `spin-in-snapshot`, `garbage-in-snapshot` with an `activate` that
//! takes anything, `changing-snapshot`, `effects-outside`. The name of a timer does so for `on-timer`: `trap`, `spin`,
//! `refuse`.
//!
//! The SDK would not let an author do most of this, so the contract is implemented by hand, and only in the component:
//! a native build of this crate is empty. Two components are made of it: one that runs on a plain thread, and one that
//! calls others and so runs on a fiber; `Others` is the difference.

#[cfg(target_arch = "wasm32")]
mod effects;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
mod methods;
#[cfg(target_arch = "wasm32")]
mod misdeeds;

#[cfg(target_arch = "wasm32")]
pub use guest::{Hostile, Nobody, Others};
#[cfg(target_arch = "wasm32")]
pub use methods::{Outcome, argument, arguments};
#[cfg(target_arch = "wasm32")]
pub use misdeeds::{allocate, recurse, spin};

//! An entity that misbehaves when it is told to: the host's tests show that nobody else notices.
//!
//! Methods misbehave in a call: `spin`, `recurse`, `allocate`, `panic`, `gigabyte`, `noise`, `host_calls`, `sleep`,
//! `big_state`, `nan`, `int_keys`. `echo`, `increment` and `value` behave, so that a test can see that
//! the state is intact afterwards.
//!
//! The entity's key makes other exports misbehave: `trap-in-activate`, `spin-in-activate`, `recurse-in-activate`,
//! `allocate-in-activate`, `refuse-activate`, `trap-in-snapshot`, `spin-in-snapshot`.
//!
//! The SDK would not let an author do most of this, so the contract is implemented by hand, and only in the component:
//! a native build of this crate is empty.

#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
mod methods;
#[cfg(target_arch = "wasm32")]
mod misdeeds;

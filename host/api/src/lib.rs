//! What Entia says to people and programs over HTTP: the paths and bodies as types, the conversion between JSON and the
//! entities' MessagePack, and the client.
//!
//! ```text
//!   raw path ──► path ──► EntityPath        body ──► convert ──► Payload ──► (the node)
//!   JSON     ◄── body ◄── ApiError          JSON ◄── convert ◄── Payload ◄──┘
//! ```
//! The node serves these types and the CLI reads them, so that the two cannot drift apart. Nothing here knows how a call
//! is executed.

pub mod body;
pub mod client;
pub mod convert;
mod error;
pub mod path;
mod query;

pub use error::ApiError;

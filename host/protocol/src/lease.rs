//! Until when a node may act: PROTOCOL section 2.
//!
//! ```text
//!    region: Holder                                     coordinator: Granter
//!    ──────────────                                     ────────────────────
//!    sent[seq] = now ── Renew{seq, confirmed} ────────► received, waits for a barrier that begins after it
//!                                                         │ the barrier: still the leader, asked of a quorum
//!    until = sent[seq] ◄────────────── Grant{seq} ──────  exp = received + L(1 + rho)
//!            + L(1 - rho) - g                             now > exp: the region's shards may be assigned
//! ```
//!
//! `sent[seq]` is before `received` in true time, and both clocks count the same L within rho: so `until` is before `exp` in
//! true time, whatever the network does. A grant that is late, doubled or out of order extends nothing beyond that: its
//! renewal's own sending is what counts.
//!
//! What is absent: no wall clock, no leader lease of the Raft library, no opinion of a third node.

#[cfg(test)]
pub(crate) mod fixture;
pub mod granter;
mod holder;

pub use granter::Granter;
pub use holder::{Action, Holder};

#[cfg(test)]
mod tests;

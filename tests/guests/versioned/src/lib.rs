//! One entity in several versions, for the tests of upgrades and rollbacks. Each feature builds another:
//!
//! | feature | state | what is different |
//! |---|---|---|
//! | none | schema 1 | |
//! | `again` | schema 1 | Other code of the same state. |
//! | `v2` | schema 2, reads 1 | Upgrades. Its methods differ from those of 1 in every way that a plan tells apart. |
//! | `v2_refuses` | as `v2` | Cannot read a count of 100 or more. |
//! | `v2_traps` | as `v2` | Panics where `v2_refuses` refuses. |
//! | `v3` | schema 3 | Reads no other. |
//!
//! A native build of this crate is empty.

#[cfg(all(target_arch = "wasm32", not(any(feature = "v2", feature = "v3"))))]
mod v1;
#[cfg(all(target_arch = "wasm32", feature = "v2", not(feature = "v3")))]
mod v2;
#[cfg(all(target_arch = "wasm32", feature = "v3"))]
mod v3;

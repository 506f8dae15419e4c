//! Fuzz targets: one function of bytes for each place that reads what nobody vouches for.
//!
//! ```text
//!   seeds (stable, numbered)  ──►            ┌► conversion    HTTP bodies and results
//!   libFuzzer (cargo-fuzz)    ──► &[u8] ──►  ├► records       stored records
//!                                            ├► recovery      a damaged store
//!                                            └► components    deployed components
//! ```
//! A target reads its decisions from its input: which case, and what is wrong with it. It panics if something that must hold
//! does not, and is quiet else. What is unlikely to come from random bytes, such as a valid record, it makes itself and then
//! damages.

mod choices;
mod components;
mod conversion;
mod records;
mod recovery;

pub use components::{compile_if_asked, components};
pub use conversion::conversion;
pub use records::records;
pub use recovery::recovery;

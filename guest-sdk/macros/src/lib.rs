//! The attribute `#[entity]` of `entia-sdk`, which documents it.
//!
//! ```text
//! impl block ──parse──► Block (what the author declared, checked) ──expand──► impl Entity for the type, and the export
//! ```
//! Everything that can be wrong is found in `parse` and reported at the author's line with what to write instead.
#![warn(missing_docs)]

mod attributes;
mod block;
mod expand;
mod method;
mod names;
mod special;

use proc_macro::TokenStream;

/// Makes the type of an `impl` block an entity whose methods are the functions of the block.
///
/// ```text
/// #[entity]
/// impl Counter {
///     /// Adds to the counter and returns its new value.
///     fn increment(&mut self, by: u64) -> u64 { self.value += by; self.value }
/// }
/// ```
/// Every function in the block can be called from outside, whether it says `pub` or not; helpers go to another `impl`
/// block. `&self` makes a query, `&mut self` a command. Parameters are taken by name and own their data; the first may
/// be `ctx: &Context` (in a command `&mut Context`). A method returns nothing, a value, or a `Result<T, E>` whose error
/// implements `Serialize`, `Display` and `JsonSchema` and becomes a rejection. Doc comments of the block and of its
/// methods are shown to callers.
///
/// The attribute takes `kind = "name"` (otherwise the type's name in kebab case), `schema = 2` (the version of the
/// state, 1 if not given; raise it when old snapshots no longer decode) and `schema_oldest = 1` (the oldest version
/// that the `#[upgrade]` function reads).
///
/// Two functions of the block are not methods:
/// - `#[timer] fn on_timer(&mut self, ctx: &mut Context, name: &str, fire: u64, payload: P)` runs when a timer fires.
///   `ctx`, and from the end `payload` and `fire`, can be left out. It returns nothing or a `Result<(), E>`.
/// - `#[upgrade] fn upgrade(from: u32, bytes: &[u8]) -> Result<Self, String>` reads the state of an older version.
///
/// A component exports one entity, so a crate has one `#[entity]`.
#[proc_macro_attribute]
pub fn entity(attributes: TokenStream, item: TokenStream) -> TokenStream {
    expand::entity(attributes.into(), item.into()).into()
}

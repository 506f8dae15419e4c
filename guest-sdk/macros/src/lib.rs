//! The attributes `#[entity]` and `#[entity_ref]` of `entia-sdk`, which documents them.
//!
//! ```text
//! impl block ──parse──► Block (what the author declared, checked) ──expand──► impl Entity for the type, its reference, the export
//! trait ───────parse──► Contract (of another component) ──────────expand──► a reference
//! ```
//! Everything that can be wrong is found in `parse` and reported at the author's line with what to write instead.
#![warn(missing_docs)]

mod attributes;
mod block;
mod contract;
mod expand;
mod method;
mod names;
mod reference;
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
/// Beside the type there is a reference to such an entity, by which entities call each other: `impl Counter` makes
/// `CounterRef`, with the block's methods and
/// - `CounterRef::new("visits")`, the entity of that key, and `CounterRef::at(id)`, the one of that address;
/// - `CounterRef::new("visits").increment(5)?`, which waits for the answer: a `Result<u64, CallFailure>`. The error with
///   which the method refused is in `CallFailure::details`. A query may call queries only;
/// - `CounterRef::new("visits").send().increment(5)?`, which does not wait: a `Result<(), EffectError>`.
///
/// Results are received as owned types, which implement `Deserialize`; arguments implement `Serialize`. A reference that is
/// not used costs a component nothing.
///
/// A component exports one entity, so a crate has one `#[entity]`.
#[proc_macro_attribute]
pub fn entity(attributes: TokenStream, item: TokenStream) -> TokenStream {
    expand::entity(attributes.into(), item.into()).into()
}

/// Makes a reference to a kind of entity of another component, which does not become part of this one.
///
/// ```text
/// #[entity_ref(kind = "account")]
/// pub trait Account {
///     fn deposit(&mut self, amount: u64) -> Result<u64, Refusal>;
/// }
///
/// AccountRef::new("alice").deposit(5)?;
/// ```
/// The trait declares the methods as the other entity does, those that are called here at least; `ctx` can be left out, and
/// arguments can be borrowed: `text: &str` stands for the other's `text: String`. The kind's name is that of the trait in
/// kebab case unless it is given. The reference is the one that `#[entity]` makes beside an entity's type.
#[proc_macro_attribute]
pub fn entity_ref(attributes: TokenStream, item: TokenStream) -> TokenStream {
    expand::entity_ref(attributes.into(), item.into()).into()
}

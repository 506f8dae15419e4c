use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::describe::Method;
use crate::payload::{decode, encode};
use crate::{Context, Rejection};

/// A type whose values are entities. Written by `#[entity]`, not by hand.
///
/// `Default` makes an entity that nobody has called before; serde's traits make its snapshot. The same state has to
/// give the same bytes, so keep maps in a `BTreeMap`: the order of a `HashMap` differs from one instance to the next.
pub trait Entity: Default + Serialize + DeserializeOwned + 'static {
    /// The kind's name.
    const KIND: &'static str;
    /// For people.
    const DOC: &'static str;
    /// The version of the state that [`Entity::snapshot`] writes.
    const SCHEMA_VERSION: u32;
    /// The oldest version that [`Entity::restore`] reads.
    const SCHEMA_VERSION_OLDEST: u32;

    /// What can be called.
    fn methods() -> Vec<Method>;

    /// Handles one call.
    fn handle(
        &mut self,
        context: &mut Context,
        method: &str,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Rejection>;

    /// Handles one fire of a timer.
    fn on_timer(
        &mut self,
        context: &mut Context,
        name: &str,
        fire: u64,
        payload: &[u8],
    ) -> Result<(), Rejection>;

    /// Reads the state that an older version of the code wrote.
    fn upgrade(from: u32, bytes: &[u8]) -> Result<Self, String>;

    /// The whole state.
    ///
    /// # Panics
    /// If the state's `Serialize` fails, which derived ones do not. The platform then discards the turn.
    fn snapshot(&self) -> Snapshot {
        let bytes = encode(self).unwrap_or_else(|error| {
            panic!("the state of `{}` has no encoding: {error}", Self::KIND)
        });
        Snapshot {
            schema_version: Self::SCHEMA_VERSION,
            bytes,
        }
    }

    /// The entity of a snapshot, or a fresh one.
    fn restore(state: Option<Snapshot>) -> Result<Self, Rejection> {
        let Some(Snapshot {
            schema_version: stored,
            bytes,
        }) = state
        else {
            return Ok(Self::default());
        };
        let (kind, known) = (Self::KIND, Self::SCHEMA_VERSION);
        let oldest = Self::SCHEMA_VERSION_OLDEST;
        let bad_state = |error: String| {
            let message =
                format!("the state of version {stored} of `{kind}` is not readable: {error}");
            Rejection::new("bad_state", message)
        };
        if stored == known {
            decode(&bytes).map_err(|error| bad_state(error.into()))
        } else if stored > known {
            let message = format!(
                "the state has schema version {stored}, this `{kind}` knows up to {known}: deploy the newer component"
            );
            Err(Rejection::new("state_too_new", message))
        } else if stored < oldest {
            let message = format!(
                "the state has schema version {stored}, this `{kind}` reads from {oldest} on: write an `#[upgrade]` \
                 function that reads version {stored}"
            );
            Err(Rejection::new("state_too_old", message))
        } else {
            Self::upgrade(stored, &bytes).map_err(bad_state)
        }
    }
}

/// An entity's whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the encoding.
    pub schema_version: u32,
    /// MessagePack with named fields.
    pub bytes: Vec<u8>,
}

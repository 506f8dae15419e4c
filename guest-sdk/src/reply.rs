//! What generated code calls to turn a method's outcome into an answer.

use std::fmt::Display;

use serde::Serialize;

use crate::payload::encode;
use crate::{Entity, Rejection};

/// The answer of a method that returns a value.
///
/// # Panics
/// If the value's `Serialize` fails, which derived ones do not. The platform then discards the turn.
pub fn reply<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Rejection> {
    Ok(encode(value).unwrap_or_else(|error| panic!("the result has no encoding: {error}")))
}

/// The answer of a method that returns a `Result`.
pub fn reply_or_reject<T, E>(outcome: Result<T, E>) -> Result<Vec<u8>, Rejection>
where
    T: Serialize,
    E: Serialize + Display,
{
    match outcome {
        Ok(value) => reply(&value),
        Err(error) => Err(Rejection::of(&error)),
    }
}

/// The answer of a timer function that returns a `Result`.
pub fn done_or_reject<E: Serialize + Display>(outcome: Result<(), E>) -> Result<(), Rejection> {
    outcome.map_err(|error| Rejection::of(&error))
}

/// The answer to a call of a method that does not exist.
pub fn unknown_method<E: Entity>(method: &str) -> Rejection {
    let names: Vec<String> = E::methods().into_iter().map(|known| known.name).collect();
    let message = format!(
        "`{}` has no method `{method}`; it has `{}`",
        E::KIND,
        names.join("`, `")
    );
    Rejection::new("unknown_method", message)
}

/// The answer to a fire of a timer that the entity has no function for.
pub fn no_timer<E: Entity>(name: &str) -> Rejection {
    let message = format!(
        "`{}` has no `#[timer]` function for timer `{name}`",
        E::KIND
    );
    Rejection::new("no_timer", message)
}

/// A timer's payload as the type that the timer function takes.
pub fn timer_payload<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Rejection> {
    crate::payload::decode(bytes)
        .map_err(|error| Rejection::new("bad_payload", format!("the timer's payload: {error}")))
}

//! The part of a URI after the `?`.

use std::fmt::{Display, Write as _};
use std::str::FromStr;

use crate::ApiError;
use crate::path::{decode, encode};

/// The decoded names and values. A `+` is a plus: our clients write a space as `%20`.
pub(crate) fn pairs(raw_query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let parts = raw_query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name).map_err(|error| bad(name, error))?;
            let value = decode(value).map_err(|error| bad(&name, error))?;
            Ok((name, value))
        })
        .collect()
}

/// Joins what has a value.
pub(crate) fn join<N: AsRef<str>, V: AsRef<str>>(
    pairs: impl IntoIterator<Item = (N, Option<V>)>,
) -> String {
    let mut joined = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            let separator = if joined.is_empty() { "" } else { "&" };
            let (name, value) = (encode(name.as_ref()), encode(value.as_ref()));
            write!(joined, "{separator}{name}={value}").expect("a String takes any text");
        }
    }
    joined
}

pub(crate) fn number<T: FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    value
        .parse()
        .map_err(|_| bad(name, format!("`{value}` is not a number in its range")))
}

pub(crate) fn truth(name: &str, value: &str) -> Result<bool, ApiError> {
    value
        .parse()
        .map_err(|_| bad(name, "it is `true` or `false`"))
}

pub(crate) fn bad(name: &str, message: impl Display) -> ApiError {
    ApiError::BadQuery {
        name: name.to_owned(),
        message: message.to_string(),
    }
}

pub(crate) fn unknown(name: &str, known: &str) -> ApiError {
    bad(
        name,
        format!("there is no such parameter; there is {known}"),
    )
}

//! The one encoding of everything that enters or leaves an entity: MessagePack with named fields.
//!
//! Types are asked for their human-readable form, because the host turns payloads into JSON by JSON Schemas, and those
//! describe that form: an `IpAddr` is text in both.

use std::fmt;

use rmp_serde::decode::Error;
use rmp_serde::{Deserializer, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads what an entity wrote: older states in an `#[upgrade]` function, details of a rejection.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(&mut deserializer).map_err(|error| DecodeError(describe(&error)))
}

pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::new(&mut bytes)
        .with_struct_map()
        .with_human_readable();
    value.serialize(&mut serializer)?;
    Ok(bytes)
}

/// The library names the marker byte only.
fn describe(error: &Error) -> String {
    match error {
        Error::TypeMismatch(marker) => format!("the type does not fit (MessagePack {marker:?})"),
        other => other.to_string(),
    }
}

/// Encodes a method's arguments. `()` stands for no arguments, which on the wire are a map without entries.
pub(crate) fn encode_arguments<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let bytes = encode(value)?;
    Ok(if bytes == [NIL] {
        vec![EMPTY_MAP]
    } else {
        bytes
    })
}

/// The bytes are not a value of the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for String {
    fn from(error: DecodeError) -> Self {
        error.0
    }
}

/// MessagePack's markers of nil and of a map without entries.
const NIL: u8 = 0xc0;
const EMPTY_MAP: u8 = 0x80;

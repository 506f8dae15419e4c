use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Raw bytes: one MessagePack `bin`, and base64 text wherever a person sees JSON.
///
/// A `Vec<u8>` works too, but it is a list of numbers: up to twice as long and slower to read.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

impl Deref for Bytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload;

    #[test]
    fn bytes_are_one_bin_on_the_wire() {
        let encoded = payload::encode(&Bytes(vec![1, 2, 255])).unwrap();
        assert_eq!(encoded, [0xc4, 3, 1, 2, 255]);
        let decoded: Bytes = payload::decode(&encoded).unwrap();
        assert_eq!(decoded, Bytes(vec![1, 2, 255]));
    }

    #[test]
    fn the_schema_of_bytes_is_base64_text() {
        let schema = schemars::schema_for!(Bytes);
        assert_eq!(schema.get("type").unwrap(), "string");
        assert_eq!(schema.get("contentEncoding").unwrap(), "base64");
    }
}

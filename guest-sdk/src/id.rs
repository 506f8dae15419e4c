use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The address of an entity, written `kind/key`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct EntityId {
    kind: String,
    key: String,
}

impl EntityId {
    /// Takes an address as it is. A kind has 1 to 63 characters of `a-z`, `0-9` and `-` and begins with a letter; a key
    /// is any text of 1 to 512 bytes. What breaks that is refused where the address is used.
    pub fn new(kind: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            key: key.into(),
        }
    }

    /// The kind's name.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The key within the kind.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// Somebody whom the API did not have to identify.
    Anonymous,
    /// A person or program, by the name that its token carries.
    Principal(String),
    /// Another entity, or this one.
    Entity(EntityId),
}

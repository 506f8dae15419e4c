use std::fmt;
use std::str::FromStr;

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
    /// is any text of 1 to 512 bytes. What breaks that is refused where the address is used; text from outside is checked
    /// by [`str::parse`].
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

    /// Whether there can be an entity of this address.
    pub(crate) fn check(&self) -> Result<(), InvalidId> {
        let mut kind = self.kind.bytes();
        let is_kind = kind.next().is_some_and(|first| first.is_ascii_lowercase())
            && kind.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && self.kind.len() <= KIND_BYTES_MAX;
        if !is_kind {
            return Err(InvalidId::Kind);
        }
        match self.key.len() {
            1..=KEY_BYTES_MAX => Ok(()),
            bytes => Err(InvalidId::Key { bytes }),
        }
    }
}

/// Reads `kind/key`; the key may contain more slashes.
impl FromStr for EntityId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (kind, key) = text.split_once('/').ok_or(InvalidId::NoSlash)?;
        let id = Self::new(kind, key);
        id.check()?;
        Ok(id)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

/// Why a text is not an entity's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidId {
    /// An address has two parts.
    NoSlash,
    /// The part before the first slash is not a kind's name.
    Kind,
    /// The key is empty or too long.
    Key {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash => {
                f.write_str("an entity is addressed as KIND/KEY, such as counter/alice")
            }
            Self::Kind => f.write_str(
                "a kind's name has 1 to 63 characters of a-z, 0-9 and -, beginning with a letter",
            ),
            Self::Key { bytes } => write!(
                f,
                "an entity's key has 1 to {KEY_BYTES_MAX} bytes, and this one {bytes}"
            ),
        }
    }
}

impl std::error::Error for InvalidId {}

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

const KIND_BYTES_MAX: usize = 63;
const KEY_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let id = EntityId::new("chat-inbox", "ann/phone");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let reason = |text: &str| text.parse::<EntityId>().unwrap_err();
        assert_eq!(reason("ann"), InvalidId::NoSlash);
        for kind in ["", "Inbox", "1st", "a_b", &"k".repeat(64)] {
            assert_eq!(reason(&format!("{kind}/ann")), InvalidId::Kind, "{kind}");
        }
        assert_eq!(reason("inbox/"), InvalidId::Key { bytes: 0 });
        let long = format!("inbox/{}", "k".repeat(513));
        assert_eq!(reason(&long), InvalidId::Key { bytes: 513 });
    }
}

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name of a kind, in bytes.
pub const KIND_NAME_BYTES_MAX: usize = 63;
/// The longest key of an entity, in bytes of UTF-8.
pub const ENTITY_KEY_BYTES_MAX: usize = 512;

/// The name of a kind of entity: 1 to 63 characters of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KindName(Arc<str>);

impl KindName {
    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let mut bytes = name.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let goes_well = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if starts_well && goes_well && name.len() <= KIND_NAME_BYTES_MAX {
            Ok(Self(name.into()))
        } else {
            Err(InvalidId::Kind {
                name: name.chars().take(80).collect(),
            })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The address of an entity, written `kind/key`.
///
/// Cloning is cheap: both parts are shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawEntityId", into = "RawEntityId")]
pub struct EntityId {
    kind: KindName,
    key: Arc<str>,
}

impl EntityId {
    /// Checks and takes an address. The key is any UTF-8 text of 1 to 512 bytes; it never becomes a path.
    pub fn new(kind: KindName, key: &str) -> Result<Self, InvalidId> {
        match key.len() {
            0 => Err(InvalidId::EmptyKey),
            bytes if bytes > ENTITY_KEY_BYTES_MAX => Err(InvalidId::KeyTooLong { bytes }),
            _ => Ok(Self {
                kind,
                key: key.into(),
            }),
        }
    }

    /// The kind's name.
    pub fn kind(&self) -> &KindName {
        &self.kind
    }

    /// The key within the kind.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for EntityId {
    type Err = InvalidId;

    /// Reads `kind/key`; the key may contain more slashes.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (kind, key) = text.split_once('/').ok_or(InvalidId::NoSlash)?;
        Self::new(KindName::new(kind)?, key)
    }
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not a kind's name.
    #[error(
        "`{name}` is not a kind's name: 1 to 63 characters of a-z, 0-9 and -, beginning with a letter"
    )]
    Kind {
        /// What was given, cut to 80 characters.
        name: String,
    },
    /// An entity's key has at least one byte.
    #[error("an entity's key is empty; it has 1 to 512 bytes")]
    EmptyKey,
    /// An entity's key has at most [`ENTITY_KEY_BYTES_MAX`] bytes.
    #[error("an entity's key has {bytes} bytes; 512 are allowed")]
    KeyTooLong {
        /// The length of what was given.
        bytes: usize,
    },
    /// An address has two parts.
    #[error("an entity is addressed as KIND/KEY, such as counter/alice")]
    NoSlash,
}

#[derive(Serialize, Deserialize)]
struct RawEntityId {
    kind: KindName,
    key: String,
}

impl TryFrom<RawEntityId> for EntityId {
    type Error = InvalidId;

    fn try_from(raw: RawEntityId) -> Result<Self, InvalidId> {
        Self::new(raw.kind, &raw.key)
    }
}

impl From<EntityId> for RawEntityId {
    fn from(id: EntityId) -> Self {
        Self {
            key: id.key.to_string(),
            kind: id.kind,
        }
    }
}

impl TryFrom<String> for KindName {
    type Error = InvalidId;

    fn try_from(name: String) -> Result<Self, InvalidId> {
        Self::new(&name)
    }
}

impl From<KindName> for String {
    fn from(name: KindName) -> Self {
        name.0.to_string()
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_names_are_short_lower_case_words() {
        for good in ["counter", "a", "chat-room", "x9", &"k".repeat(63)] {
            assert!(KindName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "9x",
            "-a",
            "Counter",
            "a_b",
            "a/b",
            "ü",
            "..",
            &"k".repeat(64),
        ] {
            assert!(KindName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_kind_and_a_key_that_may_contain_anything() {
        let id: EntityId = "counter/../../etc/pass wd".parse().unwrap();
        assert_eq!(
            (id.kind().as_str(), id.key()),
            ("counter", "../../etc/pass wd")
        );
        assert_eq!("counter".parse::<EntityId>(), Err(InvalidId::NoSlash));
        assert_eq!("counter/".parse::<EntityId>(), Err(InvalidId::EmptyKey));
        let long = format!("counter/{}", "k".repeat(513));
        assert_eq!(
            long.parse::<EntityId>(),
            Err(InvalidId::KeyTooLong { bytes: 513 })
        );
    }

    #[test]
    fn an_invalid_address_is_not_decoded() {
        let bytes = rmp_serde::to_vec_named(&RawEntityId {
            kind: KindName::new("counter").unwrap(),
            key: "k".repeat(513),
        })
        .unwrap();
        assert!(rmp_serde::from_slice::<EntityId>(&bytes).is_err());
    }
}

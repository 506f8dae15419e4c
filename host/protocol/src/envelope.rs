use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, EntityId};

/// The longest idempotency key that a client may give, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// The longest name of a method, in bytes.
pub const METHOD_BYTES_MAX: usize = 128;

/// A call on its way to an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Whom the call is for.
    pub entity: EntityId,
    /// The method's name.
    pub method: String,
    /// The arguments: a MessagePack map with named fields.
    pub arguments: Payload,
    /// Who calls.
    pub caller: Caller,
    /// What makes a repetition of this call recognisable.
    pub key: CommandKey,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// Milliseconds until nobody waits any more. A duration, since two machines' clocks share no zero.
    pub deadline_left_ms: u64,
    /// The entities that wait for this call, outermost first; empty for a call from outside.
    pub chain: Vec<EntityId>,
}

/// MessagePack bytes.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(#[serde(with = "serde_bytes")] pub Vec<u8>);

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// Somebody whom the API did not have to identify.
    Anonymous,
    /// A person or program, by the name that its token carries.
    Principal(String),
    /// Another entity.
    Entity(EntityId),
}

/// The key under which a command takes effect at most once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKey {
    /// Given by a client: at most [`KEY_BYTES_MAX`] bytes.
    Client(String),
    /// Made by [`CommandKey::derive`] or [`CommandKey::of_fire`].
    Derived([u8; 16]),
    /// Drawn at the edge for a command that came without one. Nobody else knows it, so nobody repeats it from outside.
    Random([u8; 16]),
}

impl CommandKey {
    /// Whether somebody could present this key again, so that its reply has to be remembered.
    ///
    /// A random key is known to the node that drew it and to nobody else: until calls travel between nodes the only holder
    /// of it is the connection that waits for the very answer.
    pub fn repeatable(&self) -> bool {
        !matches!(self, Self::Random(_))
    }

    /// The key of an effect: what a turn calls, sends or sets a timer to.
    ///
    /// `entity`, `method` and `command` name the command that the turn executes; `ordinal` counts the turn's effects from 0. A
    /// turn that runs again makes the same keys, and no other command does: clients' keys are scoped to an entity and a
    /// method, so that these have to be part of the hash.
    pub fn derive(entity: &EntityId, method: &str, command: &Self, ordinal: u64) -> Self {
        let mut hash = Hasher::new("turn");
        hash.text(entity.kind().as_str());
        hash.text(entity.key());
        hash.text(method);
        hash.key(command);
        hash.number(ordinal);
        Self::Derived(hash.finish())
    }

    /// The key of the command that a timer's fire is. `timer` is the key of the timer.
    pub fn of_fire(entity: &EntityId, timer: &Self, fire: u64) -> Self {
        let mut hash = Hasher::new("fire");
        hash.text(entity.kind().as_str());
        hash.text(entity.key());
        hash.key(timer);
        hash.number(fire);
        Self::Derived(hash.finish())
    }
}

impl Payload {
    /// The hash that tells two sets of arguments apart.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Display for CommandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(key) => f.write_str(key),
            Self::Derived(bytes) | Self::Random(bytes) => {
                // One write: a guest is told its key on every turn, and sixteen formatted bytes were 5 % of one.
                let digits =
                    bytes.map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                f.write_str(
                    std::str::from_utf8(digits.as_flattened())
                        .expect("hexadecimal digits are ASCII"),
                )
            }
        }
    }
}

/// Hashes parts so that no two lists of parts are the same bytes.
struct Hasher(Vec<u8>);

impl Hasher {
    fn new(domain: &str) -> Self {
        let mut hasher = Self(Vec::with_capacity(256));
        hasher.text(domain);
        hasher
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn key(&mut self, key: &CommandKey) {
        let (tag, bytes) = match key {
            CommandKey::Client(key) => (0, key.as_bytes()),
            CommandKey::Derived(key) => (1, key.as_slice()),
            CommandKey::Random(key) => (2, key.as_slice()),
        };
        self.number(tag);
        self.bytes(bytes);
    }

    fn finish(self) -> [u8; 16] {
        Digest::of(&self.0).as_bytes()[..16]
            .try_into()
            .expect("a digest has 32 bytes")
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_survives_the_wire_and_tolerates_fields_of_a_later_version() {
        let envelope = Envelope {
            entity: "counter/alice".parse().unwrap(),
            method: "increment".to_owned(),
            arguments: Payload(vec![0x81]),
            caller: Caller::Principal("ops".to_owned()),
            key: CommandKey::Derived([7; 16]),
            attempt: 2,
            deadline_left_ms: 10_000,
            chain: vec!["account/bob".parse().unwrap()],
        };
        let bytes = rmp_serde::to_vec_named(&envelope).unwrap();
        assert_eq!(rmp_serde::from_slice::<Envelope>(&bytes).unwrap(), envelope);

        // The outer value is a map of 8 fields: 0x88. A ninth, unknown one is skipped.
        assert_eq!(bytes[0], 0x88);
        let mut later = bytes.clone();
        later[0] = 0x89;
        later.extend_from_slice(&rmp_serde::to_vec("hue").unwrap());
        later.extend_from_slice(&rmp_serde::to_vec(&7u8).unwrap());
        assert_eq!(rmp_serde::from_slice::<Envelope>(&later).unwrap(), envelope);
    }

    #[test]
    fn a_turn_that_runs_again_derives_the_same_keys_and_no_other_command_does() {
        let alice: EntityId = "account/alice".parse().unwrap();
        let bob: EntityId = "account/bob".parse().unwrap();
        let order = CommandKey::Client("order-7".into());
        let key = CommandKey::derive(&alice, "transfer", &order, 0);
        assert_eq!(key, CommandKey::derive(&alice, "transfer", &order, 0));
        let others = [
            CommandKey::derive(&alice, "transfer", &order, 1),
            CommandKey::derive(&alice, "withdraw", &order, 0),
            CommandKey::derive(&bob, "transfer", &order, 0),
            CommandKey::derive(&alice, "transfer", &CommandKey::Client("order-8".into()), 0),
            CommandKey::derive(&alice, "transfer", &key, 0),
            CommandKey::of_fire(&alice, &order, 0),
            CommandKey::of_fire(&alice, &order, 1),
        ];
        let distinct: std::collections::BTreeSet<_> = others.iter().chain([&key]).collect();
        assert_eq!(distinct.len(), others.len() + 1);
    }

    #[test]
    fn keys_are_shown_as_clients_gave_them_or_as_hexadecimal() {
        assert_eq!(CommandKey::Client("order-7".into()).to_string(), "order-7");
        assert_eq!(CommandKey::Random([0xab; 16]).to_string(), "ab".repeat(16));
    }
}

//! The keys of the engine's keyspaces.
//!
//! ```text
//!   states        kind 0x00 key
//!   idempotency   kind 0x00 u16be(bytes of key) key digest16(method, command key)
//!   kinds         kind
//!   meta          "sequence"
//! ```
//! A kind's name has no NUL, so the first one ends it, and an entity's key may contain any. States sort by kind and then
//! by key as text. In `idempotency` the length makes one entity's prefix never the beginning of another's; the order of
//! entities there means nothing.

use entia_protocol::{CommandKey, Digest, EntityId, IdempotencyId, KindName};

/// The key of the record that carries the store's last sequence.
pub(crate) const SEQUENCE: &[u8] = b"sequence";

const COMMAND_DIGEST_BYTES: usize = 16;

/// Where an entity's state is.
pub(crate) fn state(entity: &EntityId) -> Vec<u8> {
    in_kind(entity.kind(), entity.key())
}

/// Where the states of a kind are whose keys begin with `prefix`.
pub(crate) fn in_kind(kind: &KindName, prefix: &str) -> Vec<u8> {
    [kind.as_str().as_bytes(), &[0], prefix.as_bytes()].concat()
}

/// The entity's key within the key of a state.
pub(crate) fn entity_key(state_key: &[u8]) -> Option<&str> {
    let end_of_kind = state_key.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&state_key[end_of_kind + 1..]).ok()
}

/// Where all that an entity remembers is.
pub(crate) fn remembered(entity: &EntityId) -> Vec<u8> {
    let length = u16::try_from(entity.key().len()).expect("an entity's key has at most 512 bytes");
    [
        entity.kind().as_str().as_bytes(),
        &[0],
        &length.to_be_bytes(),
        entity.key().as_bytes(),
    ]
    .concat()
}

/// Where one command is, given its entity's [`remembered`].
pub(crate) fn command(remembered: &[u8], id: &IdempotencyId) -> Vec<u8> {
    let (tag, key) = match &id.key {
        CommandKey::Client(key) => (0u8, key.as_bytes()),
        CommandKey::Derived(key) => (1, key.as_slice()),
        CommandKey::Random(key) => (2, key.as_slice()),
    };
    let method_bytes = (id.method.len() as u64).to_be_bytes();
    let identity = [&method_bytes, id.method.as_bytes(), &[tag], key].concat();
    let digest = Digest::of(&identity);
    [remembered, &digest.as_bytes()[..COMMAND_DIGEST_BYTES]].concat()
}

/// The first key after all that begin with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    unreachable!("every prefix begins with a kind's name, which is ASCII")
}

/// A key for people.
pub(crate) fn readable(keyspace: &str, key: &[u8]) -> String {
    let key = match keyspace {
        "states" => key.iter().position(|byte| *byte == 0).map(|end| {
            let (kind, key) = (&key[..end], &key[end + 1..]);
            format!(
                "{}/{}",
                String::from_utf8_lossy(kind),
                String::from_utf8_lossy(key)
            )
        }),
        "idempotency" => entity_of_command(key),
        _ => None,
    }
    .unwrap_or_else(|| String::from_utf8_lossy(key).into_owned());
    format!("{keyspace} {:?}", key)
}

fn entity_of_command(key: &[u8]) -> Option<String> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let rest = key.get(end + 3..)?;
    let entity = rest.get(..rest.len().checked_sub(COMMAND_DIGEST_BYTES)?)?;
    Some(format!(
        "{}/{}",
        String::from_utf8_lossy(&key[..end]),
        String::from_utf8_lossy(entity)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(text: &str) -> EntityId {
        text.parse().unwrap()
    }

    #[test]
    fn an_entitys_memory_is_never_the_beginning_of_anothers() {
        let keys = ["a", "ab", "a\0", "a\0b", "\0", "ü", "a\u{1}b"];
        for one in keys {
            for other in keys {
                let one = remembered(&EntityId::new(entity("k/x").kind().clone(), one).unwrap());
                let other =
                    remembered(&EntityId::new(entity("k/x").kind().clone(), other).unwrap());
                assert_eq!(one == other, other.starts_with(&one));
            }
        }
    }

    #[test]
    fn commands_differ_by_method_key_and_kind_of_key() {
        let id = |method: &str, key| IdempotencyId {
            method: method.into(),
            key,
        };
        let ids = [
            id("ab", CommandKey::Client("c".into())),
            id("a", CommandKey::Client("bc".into())),
            id("a", CommandKey::Derived([7; 16])),
            id("a", CommandKey::Random([7; 16])),
        ];
        let keys: std::collections::BTreeSet<_> = ids.iter().map(|id| command(b"e", id)).collect();
        assert_eq!(keys.len(), ids.len());
    }

    #[test]
    fn keys_are_shown_as_addresses() {
        let alice = entity("counter/alice");
        assert_eq!(
            readable("states", &state(&alice)),
            r#"states "counter/alice""#
        );
        let id = IdempotencyId {
            method: "m".into(),
            key: CommandKey::Client("k".into()),
        };
        let key = command(&remembered(&alice), &id);
        assert_eq!(
            readable("idempotency", &key),
            r#"idempotency "counter/alice""#
        );
        assert_eq!(entity_key(&state(&alice)), Some("alice"));
    }

    #[test]
    fn the_end_of_a_prefix_carries_over() {
        assert_eq!(after_prefix(b"a\xff\xff"), b"b");
        assert_eq!(after_prefix(b"ab"), b"ac");
    }
}

//! The keys of the engine's keyspaces.
//!
//! ```text
//!   states           kind 0x00 key
//!   idempotency      kind 0x00 u16be(bytes of key) key digest16(method, command key)
//!   timers           kind 0x00 u16be(bytes of key) key name
//!   sends            kind 0x00 u16be(bytes of key) key u64be(number)
//!   wakes            u64be(due_ms) kind 0x00 key
//!   kinds            kind
//!   kinds_previous   kind
//!   meta             "sequence"
//! ```
//! A kind's name has no NUL, so the first one ends it, and an entity's key may contain any. States sort by kind and then
//! by key as text. In `idempotency`, `timers` and `sends` the length makes one entity's prefix never the beginning of
//! another's; the order of entities there means nothing. Wakes sort by time and then as states do.

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

/// Where all that an entity remembers is, and in their tables its timers and its sends.
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

/// Where a timer is, given its entity's [`remembered`].
pub(crate) fn timer(remembered: &[u8], name: &str) -> Vec<u8> {
    [remembered, name.as_bytes()].concat()
}

/// Where an outgoing message is, given its entity's [`remembered`].
pub(crate) fn send(remembered: &[u8], number: u64) -> Vec<u8> {
    [remembered, &number.to_be_bytes()].concat()
}

/// Where it is noted that an entity has to be woken at `due_ms`.
pub(crate) fn wake(due_ms: u64, entity: &EntityId) -> Vec<u8> {
    [&due_ms.to_be_bytes()[..], &state(entity)].concat()
}

/// A key after all wakes up to `due_ms`, and before all later ones.
pub(crate) fn after_wakes(due_ms: u64) -> Vec<u8> {
    // A kind's name is ASCII.
    [&due_ms.to_be_bytes()[..], &[u8::MAX]].concat()
}

/// The time and the entity within the key of a wake.
pub(crate) fn due_and_entity(wake_key: &[u8]) -> Option<(u64, EntityId)> {
    let (due_ms, state_key) = wake_key.split_first_chunk()?;
    let end_of_kind = state_key.iter().position(|byte| *byte == 0)?;
    let kind = std::str::from_utf8(&state_key[..end_of_kind]).ok()?;
    let kind = KindName::new(kind).ok()?;
    let entity = EntityId::new(kind, entity_key(state_key)?).ok()?;
    Some((u64::from_be_bytes(*due_ms), entity))
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
        "states" => address(key),
        "idempotency" => split_remembered(key).map(|(entity, _)| entity),
        "timers" => split_remembered(key)
            .map(|(entity, name)| format!("{entity} {}", String::from_utf8_lossy(name))),
        "sends" => split_remembered(key).map(|(entity, number)| match number.try_into() {
            Ok(number) => format!("{entity} {}", u64::from_be_bytes(number)),
            Err(_) => entity,
        }),
        "wakes" => key.split_first_chunk().and_then(|(due_ms, state_key)| {
            let entity = address(state_key)?;
            Some(format!("{entity} {}", u64::from_be_bytes(*due_ms)))
        }),
        _ => None,
    }
    .unwrap_or_else(|| String::from_utf8_lossy(key).into_owned());
    format!("{keyspace} {:?}", key)
}

/// The entity whose state has this key.
fn address(state_key: &[u8]) -> Option<String> {
    let end = state_key.iter().position(|byte| *byte == 0)?;
    Some(shown(&state_key[..end], &state_key[end + 1..]))
}

/// The entity whose [`remembered`] a key begins with, and the rest of the key.
fn split_remembered(key: &[u8]) -> Option<(String, &[u8])> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let (length, rest) = key[end + 1..].split_first_chunk()?;
    let (entity, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((shown(&key[..end], entity), rest))
}

fn shown(kind: &[u8], key: &[u8]) -> String {
    let (kind, key) = (String::from_utf8_lossy(kind), String::from_utf8_lossy(key));
    format!("{kind}/{key}")
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
        let remembered = remembered(&alice);
        assert_eq!(
            readable("timers", &timer(&remembered, "tick")),
            r#"timers "counter/alice tick""#
        );
        assert_eq!(
            readable("sends", &send(&remembered, 7)),
            r#"sends "counter/alice 7""#
        );
        assert_eq!(
            readable("wakes", &wake(1_700, &alice)),
            r#"wakes "counter/alice 1700""#
        );
        assert_eq!(entity_key(&state(&alice)), Some("alice"));
    }

    #[test]
    fn a_key_that_is_none_is_shown_as_it_is() {
        let alice = entity("counter/alice");
        let whole = [
            ("states", state(&alice)),
            ("timers", timer(&remembered(&alice), "tick")),
            ("sends", send(&remembered(&alice), 7)),
            ("wakes", wake(1_700, &alice)),
        ];
        for (keyspace, key) in whole {
            for length in 0..key.len() {
                assert!(readable(keyspace, &key[..length]).starts_with(keyspace));
            }
        }
    }

    #[test]
    fn wakes_sort_by_time_and_tell_their_entity() {
        let [alice, zoe] = ["counter/alice", "zone/zoe\0"].map(entity);
        let wakes = [
            (0, &zoe),
            (255, &alice),
            (255, &zoe),
            (256, &alice),
            (u64::MAX, &zoe),
        ];
        let keys = wakes.map(|(due_ms, entity)| wake(due_ms, entity));
        assert!(keys.is_sorted());
        for (key, (due_ms, entity)) in keys.iter().zip(wakes) {
            assert_eq!(due_and_entity(key), Some((due_ms, entity.clone())));
            assert!(*key < after_wakes(due_ms));
        }
        assert!(keys[3] > after_wakes(255));
        assert_eq!(due_and_entity(&keys[0][..12]), None);
        assert_eq!(due_and_entity(b""), None);
    }

    #[test]
    fn the_end_of_a_prefix_carries_over() {
        assert_eq!(after_prefix(b"a\xff\xff"), b"b");
        assert_eq!(after_prefix(b"ab"), b"ac");
    }
}

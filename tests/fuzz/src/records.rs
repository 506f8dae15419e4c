//! The frame around what is stored.

use std::collections::BTreeMap;
use std::fmt::Debug;

use entia_protocol::{
    CommandKey, Digest, Durability, IdempotencyId, IdempotencyRecord, KindDescription, KindName,
    KindRecord, Limits, MethodDescription, Payload, Rejection, StoredState, record,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::choices::{Choices, edit};

/// Opens records of every type. It never panics, and:
///
/// - A record that was sealed and then damaged, or is found under another key, is refused; one that is whole opens, and
///   sealed again it has the same bytes.
/// - Of anything else that opens (MessagePack has several forms for one value, and the checksum is no signature) the value
///   survives being sealed and opened again.
pub fn records(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.below(4) {
        0 => {
            let genuine = state(&mut choices);
            open(&genuine, &mut choices);
        }
        1 => {
            let genuine = command(&mut choices);
            open(&genuine, &mut choices);
        }
        2 => {
            let genuine = kind(&mut choices);
            open(&genuine, &mut choices);
        }
        _ => open(&(), &mut choices),
    }
}

fn open<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    genuine: &T,
    choices: &mut Choices<'_>,
) {
    let key = choices.bytes(40).to_vec();
    let sequence = choices.word();
    match choices.below(6) {
        0 => foreign::<T>(&key, choices.rest()),
        1 => foreign::<T>(&key, &framed(&key, sequence, choices.rest())),
        2 => {
            let sealed = record::seal(&key, sequence, genuine);
            let mut body = sealed[HEADER_BYTES..sealed.len() - CHECKSUM_BYTES].to_vec();
            for _ in 0..choices.below(EDITS_MAX) {
                edit(&mut body, choices);
            }
            foreign::<T>(&key, &framed(&key, sequence, &body));
        }
        _ => damaged(&key, sequence, genuine, choices),
    }
}

/// Opens what was sealed, after some edits or none.
fn damaged<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    key: &[u8],
    sequence: u64,
    genuine: &T,
    choices: &mut Choices<'_>,
) {
    let sealed = record::seal(key, sequence, genuine);
    let (mut found_key, mut found) = (key.to_vec(), sealed.clone());
    for _ in 0..choices.below(EDITS_MAX) {
        edit(&mut found, choices);
    }
    if choices.below(4) == 0 {
        edit(&mut found_key, choices);
    }
    let whole = found_key == key && found == sealed;
    match record::open::<T>(&found_key, &found) {
        Ok((found_sequence, body)) => {
            assert!(whole, "{found:02x?} opened under {found_key:02x?}");
            assert_eq!((found_sequence, &body), (sequence, genuine));
            assert_eq!(record::seal(&found_key, found_sequence, &body), found);
        }
        Err(error) => {
            assert!(!whole, "{error}: {found:02x?} under {found_key:02x?}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Opens what may never have been sealed.
fn foreign<T: Serialize + DeserializeOwned + PartialEq + Debug>(key: &[u8], bytes: &[u8]) {
    if let Ok((sequence, body)) = record::open::<T>(key, bytes) {
        let sealed = record::seal(key, sequence, &body);
        assert_eq!(record::open(key, &sealed), Ok((sequence, body)));
    }
}

/// A right frame around any body.
fn framed(key: &[u8], sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("inputs are short");
    let mut bytes = [
        &record::FORMAT_VERSION.to_le_bytes()[..],
        &sequence.to_le_bytes(),
        &length.to_le_bytes(),
        body,
    ]
    .concat();
    let checksum = xxh3_64_with_seed(&bytes, xxh3_64(key));
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn state(choices: &mut Choices<'_>) -> StoredState {
    let bytes = choices.bytes(300).to_vec();
    StoredState::new(7, bytes, choices.word(), choices.word())
}

fn command(choices: &mut Choices<'_>) -> IdempotencyRecord {
    let key = match choices.below(3) {
        0 => CommandKey::Client(choices.text(20)),
        1 => CommandKey::Derived(std::array::from_fn(|_| choices.byte())),
        _ => CommandKey::Random(std::array::from_fn(|_| choices.byte())),
    };
    let answer = match choices.below(3) {
        0 => Ok(Payload(choices.bytes(40).to_vec())),
        tells => Err(Rejection {
            code: choices.text(10),
            message: choices.text(20),
            data: (tells == 1).then(|| Payload(choices.bytes(20).to_vec())),
        }),
    };
    IdempotencyRecord {
        id: IdempotencyId {
            method: choices.text(20),
            key,
        },
        arguments: Digest::of(choices.bytes(4)),
        answer,
        at_ms: choices.word(),
    }
}

fn kind(choices: &mut Choices<'_>) -> KindRecord {
    let method = MethodDescription {
        name: choices.text(10),
        doc: choices.text(40),
        query: choices.byte().is_multiple_of(2),
        arguments: "true".to_owned(),
        result: "true".to_owned(),
        rejection: (choices.byte().is_multiple_of(2)).then(|| choices.text(10)),
    };
    KindRecord {
        name: KindName::new("counter").expect("it is a name"),
        version: choices.word(),
        component: Digest::of(choices.bytes(4)),
        component_bytes: choices.word(),
        durability: Durability::Durable,
        limits: Limits::default(),
        shards: KindRecord::SHARDS_DEFAULT,
        description: KindDescription {
            name: choices.text(10),
            doc: choices.text(40),
            schema_version: 2,
            schema_version_oldest: 1,
            methods: vec![method],
        },
        config: BTreeMap::from([(choices.text(10), choices.text(10))]),
        deployed_ms: choices.word(),
    }
}

const HEADER_BYTES: usize = 14;
const CHECKSUM_BYTES: usize = 8;
const EDITS_MAX: usize = 4;

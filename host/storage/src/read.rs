use std::fmt;
use std::ops::Bound;

use entia_protocol::{EntityId, IdempotencyRecord, KindName, StoredState};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::engine::{Engine, Table, View, open_record};
use crate::{StoreError, keys};

/// The most entries of one page.
pub const PAGE_ENTRIES_MAX: usize = 1_000;
/// A page ends early rather than read more than this: states may be large, and listing reads them to check them.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// All that is stored of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntity {
    /// The newest commit that wrote any of it.
    pub sequence: u64,
    /// Its state; absent if it so far only remembers commands that changed nothing.
    pub state: Option<StoredState>,
    /// The commands that it remembers, in no particular order.
    pub idempotency: Vec<IdempotencyRecord>,
}

/// Some entities of a kind, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entities.
    pub entities: Vec<ListedEntity>,
    /// What to pass as `after` for the next page; `None` after the last one.
    pub next: Option<String>,
}

/// An entity in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntity {
    /// The key within the kind.
    pub key: String,
    /// The commit that wrote its state.
    pub sequence: u64,
    /// The length of its state in bytes.
    pub state_bytes: usize,
}

/// Reads an entity as of one moment.
pub(crate) fn load(engine: &Engine, entity: &EntityId) -> Result<Option<StoredEntity>, StoreError> {
    let view = engine.view();
    let mut found = StoredEntity {
        sequence: 0,
        state: None,
        idempotency: Vec::new(),
    };
    let key = keys::state(entity);
    if let Some((sequence, state)) = view.record::<StoredState>(Table::States, &key)? {
        if !state.intact() {
            return Err(StoreError::Corrupt {
                what: keys::readable(Table::States.name(), &key),
                reason: "the state is not the one of its digest".to_owned(),
            });
        }
        found.sequence = sequence;
        found.state = Some(state);
    }
    let prefix = keys::remembered(entity);
    let start = Bound::Included(prefix.clone());
    for entry in view.scan(Table::Idempotency, &prefix, start) {
        let (key, bytes) = entry?;
        let (sequence, record) = open_record(Table::Idempotency, &key, &bytes)?;
        found.sequence = found.sequence.max(sequence);
        found.idempotency.push(record);
    }
    let anything = found.state.is_some() || !found.idempotency.is_empty();
    Ok(anything.then_some(found))
}

/// Lists entities with a state.
pub(crate) fn entities(
    engine: &Engine,
    kind: &KindName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, StoreError> {
    let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
    let prefix = keys::in_kind(kind, prefix);
    let after = after.map(|after| keys::in_kind(kind, after));
    let start = match after {
        // A cursor from outside the prefix: from before it starts at the prefix, from behind it finds nothing.
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix.clone()),
    };
    let past_the_end = match &start {
        Bound::Excluded(after) => *after >= keys::after_prefix(&prefix),
        _ => false,
    };
    let mut page = Page {
        entities: Vec::new(),
        next: None,
    };
    if !past_the_end {
        fill(&mut page, &engine.view(), &prefix, start, limit)?;
    }
    Ok(page)
}

fn fill(
    page: &mut Page,
    view: &View<'_>,
    prefix: &[u8],
    start: Bound<Vec<u8>>,
    limit: usize,
) -> Result<(), StoreError> {
    let mut bytes_read = 0;
    for entry in view.scan(Table::States, prefix, start) {
        let (key, bytes) = entry?;
        if page.entities.len() == limit || bytes_read > PAGE_BYTES_MAX {
            page.next = page.entities.last().map(|last| last.key.clone());
            break;
        }
        bytes_read += bytes.len();
        page.entities.push(listed(&key, &bytes)?);
    }
    Ok(())
}

fn listed(key: &[u8], bytes: &[u8]) -> Result<ListedEntity, StoreError> {
    let (sequence, state): (u64, StateLength) = open_record(Table::States, key, bytes)?;
    let key = keys::entity_key(key).ok_or_else(|| StoreError::Corrupt {
        what: keys::readable(Table::States.name(), key),
        reason: "its key is not an entity's".to_owned(),
    })?;
    Ok(ListedEntity {
        key: key.to_owned(),
        sequence,
        state_bytes: state.bytes.0,
    })
}

/// A [`StoredState`] of which only the length is wanted.
#[derive(Deserialize)]
struct StateLength {
    bytes: Length,
}

struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(LengthVisitor)
    }
}

struct LengthVisitor;

impl Visitor<'_> for LengthVisitor {
    type Value = Length;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Length, E> {
        Ok(Length(bytes.len()))
    }
}

use std::fmt;
use std::ops::Bound;

use entia_protocol::{EntityId, IdempotencyRecord, KindName, SendRecord, StoredState, TimerRecord};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};

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
    /// Its state; absent if it so far only remembers commands that changed nothing, has timers or messages.
    pub state: Option<StoredState>,
    /// The commands that it remembers, in no particular order.
    pub idempotency: Vec<IdempotencyRecord>,
    /// Its timers, in the order of their names.
    pub timers: Vec<TimerRecord>,
    /// Its messages that are on their way and its dead letters, in the order of their numbers.
    pub sends: Vec<SendRecord>,
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
    /// The version of its state's encoding.
    pub schema_version: u32,
}

/// Reads an entity as of one moment.
pub(crate) fn load(engine: &Engine, entity: &EntityId) -> Result<Option<StoredEntity>, StoreError> {
    let view = engine.view();
    let mut sequence = 0;
    let key = keys::state(entity);
    let state = match view.record::<StoredState>(Table::States, &key)? {
        Some((_, state)) if !state.intact() => {
            return Err(StoreError::Corrupt {
                what: keys::readable(Table::States.name(), &key),
                reason: "the state is not the one of its digest".to_owned(),
            });
        }
        Some((written, state)) => {
            sequence = written;
            Some(state)
        }
        None => None,
    };
    let prefix = keys::remembered(entity);
    let found = StoredEntity {
        state,
        idempotency: all_of(&view, Table::Idempotency, &prefix, &mut sequence)?,
        timers: all_of(&view, Table::Timers, &prefix, &mut sequence)?,
        sends: all_of(&view, Table::Sends, &prefix, &mut sequence)?,
        sequence,
    };
    let anything = found.state.is_some()
        || !(found.idempotency.is_empty() && found.timers.is_empty() && found.sends.is_empty());
    Ok(anything.then_some(found))
}

/// An entity's records in one table, in the order of their keys. `newest` becomes the highest of their sequences.
fn all_of<T: DeserializeOwned>(
    view: &View<'_>,
    table: Table,
    prefix: &[u8],
    newest: &mut u64,
) -> Result<Vec<T>, StoreError> {
    view.scan(table, prefix, Bound::Included(prefix.to_vec()))
        .map(|entry| {
            let (key, bytes) = entry?;
            let (sequence, record) = open_record(table, &key, &bytes)?;
            *newest = sequence.max(*newest);
            Ok(record)
        })
        .collect()
}

/// Lists entities to wake.
pub(crate) fn wakes(
    engine: &Engine,
    after: Option<&(u64, EntityId)>,
    until_ms: u64,
    limit: usize,
) -> Result<Vec<(u64, EntityId)>, StoreError> {
    let end = keys::after_wakes(until_ms);
    let start = match after.map(|(due_ms, entity)| keys::wake(*due_ms, entity)) {
        Some(after) if after >= end => return Ok(Vec::new()),
        Some(after) => Bound::Excluded(after),
        None => Bound::Unbounded,
    };
    let rows = engine.view().between(Table::Wakes, start, end);
    rows.take(limit)
        .map(|entry| {
            let (key, bytes) = entry?;
            let (_, ()) = open_record(Table::Wakes, &key, &bytes)?;
            keys::due_and_entity(&key).ok_or_else(|| not_an_entitys(Table::Wakes, &key))
        })
        .collect()
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
    let key = keys::entity_key(key).ok_or_else(|| not_an_entitys(Table::States, key))?;
    Ok(ListedEntity {
        key: key.to_owned(),
        sequence,
        state_bytes: state.bytes.0,
        schema_version: state.schema_version,
    })
}

fn not_an_entitys(table: Table, key: &[u8]) -> StoreError {
    StoreError::Corrupt {
        what: keys::readable(table.name(), key),
        reason: "its key is not an entity's".to_owned(),
    }
}

/// A [`StoredState`] of which only the length and the version are wanted.
#[derive(Deserialize)]
struct StateLength {
    schema_version: u32,
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

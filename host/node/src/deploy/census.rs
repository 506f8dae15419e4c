//! What states there are, and which of them to try.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use entia_protocol::{EntityId, InvalidId, KindName};
use entia_storage::{PAGE_ENTRIES_MAX, StoreError};

use super::{Reads, Target};
use crate::executor::StateInMemory;

/// A look at the last good state of each of a kind's entities, on disk and in memory.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Entities that have a state.
    pub(super) entities: u64,
    /// There was no time for all of them.
    pub(super) cut_short: bool,
    /// The states that were asked for: the first of them with its schema version, and how many there are.
    pub(super) unreadable: Option<(EntityId, u32, u64)>,
    in_memory: Vec<EntityId>,
    largest: Option<(usize, EntityId)>,
    oldest: Option<(u32, EntityId)>,
    newest: Option<(u32, EntityId)>,
}

/// Until when a [`Census`] looks. One that decides looks at all states, and fails if one cannot be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    All,
    Time(Instant),
}

impl Census {
    /// Looks at the states of `kind`, for those that `reads` does not read.
    ///
    /// Memory comes first: an entity that is passivated meanwhile is then on disk, and none is missed.
    pub(super) fn take(
        target: &Target<'_>,
        kind: &KindName,
        reads: &Reads<'_>,
        until: Until,
    ) -> Result<Self, StoreError> {
        let mut census = Self::default();
        let mut in_memory = target.executor.states(kind);
        for (entity, state) in &in_memory {
            census.entities += 1;
            census.look_at(entity, reads.written(state), state.bytes, reads);
        }
        census.in_memory = in_memory.keys().cloned().collect();
        match census.take_disk(target, kind, reads, until, &mut in_memory) {
            Err(error) if matches!(until, Until::Time(_)) => {
                // It cannot be read whatever version the kind has.
                tracing::warn!(kind = %kind, "not all states were looked at: {error}");
                census.cut_short = true;
            }
            looked => looked?,
        }
        Ok(census)
    }

    fn take_disk(
        &mut self,
        target: &Target<'_>,
        kind: &KindName,
        reads: &Reads<'_>,
        until: Until,
        in_memory: &mut BTreeMap<EntityId, StateInMemory>,
    ) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            if matches!(until, Until::Time(end) if Instant::now() >= end) {
                self.cut_short = true;
                return Ok(());
            }
            let page = target
                .store
                .entities(kind, "", after.as_deref(), PAGE_ENTRIES_MAX)?;
            for listed in &page.entities {
                let entity = EntityId::new(kind.clone(), &listed.key).map_err(not_a_key)?;
                let counted = match in_memory.remove(&entity) {
                    Some(state) => !reads.goes_on_with(reads.written(&state)),
                    None => {
                        self.entities += 1;
                        false
                    }
                };
                // Of kinds in memory it is what a crash leaves.
                if !counted {
                    self.look_at(&entity, listed.schema_version, listed.state_bytes, reads);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn look_at(&mut self, entity: &EntityId, version: u32, bytes: usize, reads: &Reads<'_>) {
        if !reads.goes_on_with(version) {
            let (.., count) = self
                .unreadable
                .get_or_insert_with(|| (entity.clone(), version, 0));
            *count += 1;
        }
        keep(&mut self.largest, bytes, entity, |new, old| new > old);
        keep(&mut self.oldest, version, entity, |new, old| new < old);
        keep(&mut self.newest, version, entity, |new, old| new > old);
    }

    /// Entities to try, at most `wanted`: the extremes, then those in memory, which somebody uses, then some from all over
    /// the keys.
    pub(super) fn sample(
        &self,
        target: &Target<'_>,
        kind: &KindName,
        wanted: usize,
    ) -> Vec<EntityId> {
        let mut sample = Vec::new();
        let mut seen = BTreeSet::new();
        let mut add = |entity: EntityId| {
            if sample.len() < wanted && seen.insert(entity.clone()) {
                sample.push(entity);
            }
        };
        let unreadable = self.unreadable.iter().map(|(entity, ..)| entity);
        let largest = self.largest.iter().map(|(_, entity)| entity);
        let ages = self.oldest.iter().chain(&self.newest);
        let extremes = unreadable
            .chain(largest)
            .chain(ages.map(|(_, entity)| entity));
        extremes.cloned().for_each(&mut add);
        let step = self.in_memory.len().div_ceil(wanted / 2).max(1);
        self.in_memory
            .iter()
            .step_by(step)
            .cloned()
            .for_each(&mut add);
        let first = |prefix: &str, after: Option<&str>| {
            let page = target.store.entities(kind, prefix, after, 1)?;
            Ok(page.entities.into_iter().next().map(|listed| listed.key))
        };
        match spread(first, wanted) {
            Ok(keys) => (keys.iter())
                .filter_map(|key| EntityId::new(kind.clone(), key).ok())
                .for_each(&mut add),
            Err::<_, StoreError>(error) => {
                tracing::warn!(kind = %kind, "fewer states are tried: {error}");
            }
        }
        sample
    }
}

fn keep<T>(
    best: &mut Option<(T, EntityId)>,
    value: T,
    entity: &EntityId,
    better: fn(&T, &T) -> bool,
) {
    if best.as_ref().is_none_or(|(old, _)| better(&value, old)) {
        *best = Some((value, entity.clone()));
    }
}

fn not_a_key(error: InvalidId) -> StoreError {
    StoreError::Corrupt {
        what: "the list of entities".to_owned(),
        reason: error.to_string(),
    }
}

/// Keys that differ as early as possible, at most `wanted`: one for each first character, then for each second, and so on.
///
/// `first` is asked for the first key that begins with a prefix and comes after another.
fn spread<E>(
    mut first: impl FnMut(&str, Option<&str>) -> Result<Option<String>, E>,
    wanted: usize,
) -> Result<Vec<String>, E> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut prefixes = VecDeque::from([String::new()]);
    let mut questions = 0;
    while let Some(prefix) = prefixes.pop_front() {
        let mut after: Option<String> = None;
        while let Some(key) = first(&prefix, after.as_deref())? {
            questions += 1;
            if seen.insert(key.clone()) {
                found.push(key.clone());
            }
            if found.len() >= wanted || questions >= QUESTIONS_MAX {
                return Ok(found);
            }
            let next = key[prefix.len()..].chars().next();
            let longer = next.map(|next| format!("{prefix}{next}"));
            after = match longer {
                // The last key that there can be of this prefix, but for those that go on with that character.
                Some(longer) if prefixes.back() != Some(&longer) => {
                    let last = format!("{longer}{}", char::MAX);
                    prefixes.push_back(longer);
                    Some(last)
                }
                _ => Some(key),
            };
        }
    }
    Ok(found)
}

/// Bounds the search where keys have much in common.
const QUESTIONS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn spread_over(keys: &[&str], wanted: usize) -> Vec<String> {
        let keys: BTreeSet<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let first = |prefix: &str, after: Option<&str>| {
            let mut keys = keys.iter();
            let first = keys.find(|key| {
                key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
            });
            Ok::<_, Infallible>(first.cloned())
        };
        let Ok(found) = spread(first, wanted);
        found
    }

    #[test]
    fn keys_that_differ_early_come_first() {
        let keys = ["a/1", "a/2", "a/3", "b/1", "b/2", "c"];
        assert_eq!(spread_over(&keys, 3), ["a/1", "b/1", "c"]);
        assert_eq!(spread_over(&keys, 5), ["a/1", "b/1", "c", "a/2", "a/3"]);
    }

    #[test]
    fn every_key_is_found_once_whatever_its_characters() {
        let max = char::MAX.to_string();
        let long = "l".repeat(512);
        let keys = [
            "a",
            "ab",
            "abc",
            "ü",
            "üb",
            "\0",
            "\0\0",
            "user-1",
            "user-2",
            "user-10",
            &max,
            &format!("{max}{max}"),
            &format!("a{max}"),
            &format!("a{max}b"),
            &long,
        ];
        let mut found = spread_over(&keys, 100);
        found.sort();
        let mut expected = keys.map(ToOwned::to_owned);
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(spread_over(&[], 100), [""; 0]);
    }
}

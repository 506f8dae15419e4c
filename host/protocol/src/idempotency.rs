use std::collections::{BTreeMap, VecDeque};

use crate::{CallError, Digest, IdempotencyId, IdempotencyRecord, Payload, Rejection};

/// An entity's memory of the commands it has executed, bounded in number, bytes and age.
///
/// Within its bounds a command takes effect once per key. The newest record is always kept, even if its answer alone is
/// larger than the byte bound: otherwise the retry that matters most would run twice.
#[derive(Debug, Default)]
pub struct IdempotencyWindow {
    records: BTreeMap<IdempotencyId, IdempotencyRecord>,
    /// Oldest first; exactly the keys of `records`.
    order: VecDeque<IdempotencyId>,
    bytes: usize,
}

/// What the window knows of a command that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// Not seen within the window: run it.
    New,
    /// Ran before: give the same answer again.
    Replay(&'a Result<Payload, Rejection>),
    /// The key is taken by other arguments: run nothing.
    Reused,
}

impl IdempotencyWindow {
    /// The most records of one entity.
    pub const RECORDS_MAX: usize = 1_000;
    /// The most bytes of one entity's records, by [`IdempotencyRecord::cost_bytes`].
    pub const BYTES_MAX: usize = 64 << 10;
    /// How long a record is kept.
    pub const AGE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

    /// Takes up an entity's stored records, in any order.
    pub fn restore(mut records: Vec<IdempotencyRecord>) -> Self {
        records.sort_by(|a, b| (a.at_ms, &a.id).cmp(&(b.at_ms, &b.id)));
        let mut window = Self::default();
        for record in records {
            window.push(record);
        }
        window
    }

    /// Looks a command up at the time `now_ms`.
    pub fn lookup(&self, id: &IdempotencyId, arguments: &Digest, now_ms: u64) -> Lookup<'_> {
        match self.records.get(id) {
            Some(record) if !expired(record, now_ms) => {
                if record.arguments == *arguments {
                    Lookup::Replay(&record.answer)
                } else {
                    Lookup::Reused
                }
            }
            _ => Lookup::New,
        }
    }

    /// Remembers a command and returns what no longer fits: it has to leave the store in the same commit.
    pub fn insert(&mut self, record: IdempotencyRecord) -> Vec<IdempotencyId> {
        let now_ms = record.at_ms;
        let kept = record.id.clone();
        // An expired record of the same key is overwritten in the store, not removed from it.
        self.remove(&kept);
        self.push(record);
        let mut left = Vec::new();
        while let Some(oldest) = self.order.front() {
            let over = self.order.len() > Self::RECORDS_MAX || self.bytes > Self::BYTES_MAX;
            if *oldest == kept || !(over || expired(&self.records[oldest], now_ms)) {
                break;
            }
            let oldest = oldest.clone();
            self.remove(&oldest);
            left.push(oldest);
        }
        left
    }

    /// Whether the window remembers a command, whatever its age.
    pub fn contains(&self, id: &IdempotencyId) -> bool {
        self.records.contains_key(id)
    }

    /// Forgets commands whose effect was undone.
    pub fn forget(&mut self, ids: &[IdempotencyId]) {
        for id in ids {
            self.remove(id);
        }
    }

    /// The records, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &IdempotencyRecord> {
        self.order.iter().map(|id| &self.records[id])
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The error for a key that other arguments have taken.
    pub fn reused(id: &IdempotencyId) -> CallError {
        CallError::KeyReused {
            key: id.key.to_string(),
            method: id.method.clone(),
        }
    }

    fn push(&mut self, record: IdempotencyRecord) {
        self.bytes += record.cost_bytes();
        self.order.push_back(record.id.clone());
        self.records.insert(record.id.clone(), record);
    }

    fn remove(&mut self, id: &IdempotencyId) {
        if let Some(record) = self.records.remove(id) {
            self.bytes -= record.cost_bytes();
            // Almost always the oldest, so the search ends at once.
            if let Some(place) = self.order.iter().position(|other| other == id) {
                self.order.remove(place);
            }
        }
    }
}

fn expired(record: &IdempotencyRecord, now_ms: u64) -> bool {
    now_ms.saturating_sub(record.at_ms) >= IdempotencyWindow::AGE_MS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommandKey;

    fn record(key: usize, answer_bytes: usize, at_ms: u64) -> IdempotencyRecord {
        IdempotencyRecord {
            id: id(key),
            arguments: Digest::of(b"arguments"),
            answer: Ok(Payload(vec![0; answer_bytes])),
            at_ms,
        }
    }

    fn id(key: usize) -> IdempotencyId {
        IdempotencyId {
            method: "increment".into(),
            key: CommandKey::Client(key.to_string()),
        }
    }

    #[test]
    fn a_repetition_gets_the_same_answer_and_other_arguments_are_refused() {
        let mut window = IdempotencyWindow::default();
        assert_eq!(
            window.lookup(&id(1), &Digest::of(b"arguments"), 0),
            Lookup::New
        );
        assert!(window.insert(record(1, 3, 0)).is_empty());
        assert_eq!(
            window.lookup(&id(1), &Digest::of(b"arguments"), 5),
            Lookup::Replay(&Ok(Payload(vec![0; 3])))
        );
        assert_eq!(
            window.lookup(&id(1), &Digest::of(b"other"), 5),
            Lookup::Reused
        );
        let other_method = IdempotencyId {
            method: "reset".into(),
            ..id(1)
        };
        assert_eq!(
            window.lookup(&other_method, &Digest::of(b"arguments"), 5),
            Lookup::New
        );
    }

    #[test]
    fn the_window_is_bounded_in_number_bytes_and_age() {
        let mut window = IdempotencyWindow::default();
        for key in 0..IdempotencyWindow::RECORDS_MAX {
            assert!(window.insert(record(key, 0, 0)).is_empty());
        }
        assert_eq!(window.insert(record(5_000, 0, 0)), [id(0)]);
        assert_eq!(window.len(), IdempotencyWindow::RECORDS_MAX);

        let left = window.insert(record(5_001, IdempotencyWindow::BYTES_MAX + 1, 0));
        assert_eq!(
            left.len(),
            IdempotencyWindow::RECORDS_MAX,
            "only the newest is left"
        );
        assert_eq!(window.len(), 1);

        let day_later = IdempotencyWindow::AGE_MS_MAX;
        assert_eq!(
            window.lookup(&id(5_001), &Digest::of(b"arguments"), day_later),
            Lookup::New
        );
        assert_eq!(window.insert(record(5_002, 0, day_later)), [id(5_001)]);
    }

    #[test]
    fn a_window_is_restored_in_the_order_of_its_times() {
        let window = IdempotencyWindow::restore(vec![record(2, 0, 20), record(1, 0, 10)]);
        let keys: Vec<_> = window
            .iter()
            .map(|record| record.id.key.to_string())
            .collect();
        assert_eq!(keys, ["1", "2"]);
    }
}

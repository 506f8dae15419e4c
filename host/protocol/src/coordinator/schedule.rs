//! What is due when, of many things of one sort: setting, cancelling and finding the earliest cost O(log n).

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Instant;

/// At most one instant for each key.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    at: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Schedule<K> {
    /// Nothing is due.
    pub(super) fn new() -> Self {
        Self {
            at: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// `key` is due then, whatever was set before.
    pub(super) fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.at.insert(key, at) {
            self.order.remove(&(before, key));
        }
        self.order.insert((at, key));
    }

    /// `key` is not due any more.
    pub(super) fn cancel(&mut self, key: K) {
        if let Some(before) = self.at.remove(&key) {
            self.order.remove(&(before, key));
        }
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes the first one, if it is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        let &(at, key) = self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_a_key_is_due_once() {
        let mut schedule = Schedule::new();
        schedule.set('b', Instant(2));
        schedule.set('a', Instant(1));
        schedule.set('a', Instant(3));
        schedule.set('c', Instant(2));
        schedule.cancel('c');
        assert_eq!(schedule.next(), Some(Instant(2)));
        assert_eq!(schedule.pop(Instant(1)), None);
        assert_eq!(schedule.pop(Instant(9)), Some('b'));
        assert_eq!(schedule.pop(Instant(9)), Some('a'));
        assert_eq!(schedule.pop(Instant(9)), None);
    }
}

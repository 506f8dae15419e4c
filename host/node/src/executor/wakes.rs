//! Wakes entities that have something to do by themselves: a timer is due, or a message has to be tried again.
//!
//! ```text
//!   entities in memory ───────────────► soon: a heap by due time ──due──► mailbox
//!   the store's index ──every 30 s──────►┘
//! ```
//! Being woken is a hint: an entity looks at its agenda and may find nothing to do. Each entity has one time at which it is
//! woken, the earliest that was asked for; after it the entity asks again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use entia_protocol::{CallError, EntityId};

use super::{Shared, now_ms};

/// The entities to wake, by time.
#[derive(Default)]
pub(super) struct Wakes {
    soon: Mutex<Soon>,
    changed: Condvar,
}

#[derive(Default)]
struct Soon {
    heap: BinaryHeap<Reverse<(u64, EntityId)>>,
    /// When each entity is woken. What the heap has beside is out of date.
    times: HashMap<EntityId, u64>,
    /// What the store's index has until here is in the heap, or about to be. In milliseconds since 1970.
    horizon_ms: u64,
    /// The horizon before that. Reading begins here: a commit under way while the horizon moved was not in the index yet.
    horizon_before_ms: u64,
    /// The row behind which reading goes on, while there is more.
    reading: Option<(u64, EntityId)>,
    ended: bool,
}

/// How far ahead the store's index is read, and how often.
const AHEAD_MS: u64 = 60_000;
const READ_EVERY_MS: u64 = 30_000;
/// Rows read at once.
const ROWS_MAX: usize = 1_000;
/// The wall clock may be set: it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Entities that wait for a worker. With more, nobody else is woken: those from disk come by the thousand.
const QUEUE_MAX: usize = 1_000;
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// So long at most: a node that is always busy wakes entities all the same.
const QUEUE_PATIENCE: Duration = Duration::from_millis(20);

impl Soon {
    /// Wakes the entity at that time, unless it is woken before.
    fn push(&mut self, due_ms: u64, entity: &EntityId) {
        if self.times.get(entity).is_some_and(|ms| *ms <= due_ms) {
            return;
        }
        self.times.insert(entity.clone(), due_ms);
        self.heap.push(Reverse((due_ms, entity.clone())));
        if self.heap.len() > 2 * self.times.len() + OUT_OF_DATE_MAX {
            let times = self.times.iter();
            self.heap = times
                .map(|(entity, ms)| Reverse((*ms, entity.clone())))
                .collect();
        }
    }

    /// Takes out what comes first; none if it is out of date.
    fn pop(&mut self) -> Option<(u64, EntityId)> {
        let Reverse((due_ms, entity)) = self.heap.pop()?;
        if self.times.get(&entity) != Some(&due_ms) {
            return None;
        }
        self.times.remove(&entity);
        Some((due_ms, entity))
    }
}

/// Entries out of date that the heap may have, beside as many as there are entities.
const OUT_OF_DATE_MAX: usize = 1_000;

impl Wakes {
    /// Wakes an entity at a time. False: it is in the store's index and beyond the horizon, and left to it.
    pub(super) fn at(&self, due_ms: u64, entity: &EntityId, in_index: bool) -> bool {
        let mut soon = self.lock();
        if in_index && due_ms > soon.horizon_ms {
            return false;
        }
        let first = soon.heap.peek().is_none_or(|Reverse((ms, _))| due_ms < *ms);
        soon.push(due_ms, entity);
        if first {
            self.changed.notify_one();
        }
        true
    }

    /// Ends [`run`].
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Soon> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes entities until [`Wakes::end`].
pub(super) fn run(shared: &std::sync::Arc<Shared>) {
    loop {
        read_ahead(shared);
        let mut soon = shared.wakes.lock();
        if soon.ended {
            return;
        }
        let now = now_ms();
        match soon.heap.peek() {
            Some(Reverse((due_ms, _))) if *due_ms <= now => {
                let Some((due_ms, entity)) = soon.pop() else {
                    continue;
                };
                drop(soon);
                if let Err(CallError::UnknownKind { .. }) = shared.wake(&entity) {
                    shared.forget_wake(due_ms, entity);
                }
                let began = Instant::now();
                while shared.queue.len() > QUEUE_MAX && began.elapsed() < QUEUE_PATIENCE {
                    std::thread::sleep(QUEUE_PAUSE);
                }
            }
            next => {
                let wait = next.map_or(LOOK_EVERY, |Reverse((due_ms, _))| {
                    Duration::from_millis(due_ms - now).min(LOOK_EVERY)
                });
                let _woken = shared
                    .wakes
                    .changed
                    .wait_timeout(soon, wait)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Brings what the store's index has until [`AHEAD_MS`] from now into the heap, a page at a time.
fn read_ahead(shared: &Shared) {
    let (from, until_ms) = {
        let mut soon = shared.wakes.lock();
        let now = now_ms();
        if soon.reading.is_none() {
            if soon.ended || soon.horizon_ms > now + READ_EVERY_MS {
                return;
            }
            let from_ms = soon.horizon_before_ms.saturating_sub(1);
            soon.reading = Some((from_ms, FIRST.parse().expect("it is an address")));
            soon.horizon_before_ms = soon.horizon_ms;
            // Before the index is read: from here on whoever writes below the horizon pushes into the heap.
            soon.horizon_ms = now + AHEAD_MS;
        }
        (soon.reading.take(), soon.horizon_ms)
    };
    match shared.store.wakes(from, until_ms, ROWS_MAX) {
        Ok(rows) => {
            let mut soon = shared.wakes.lock();
            soon.reading = rows.last().filter(|_| rows.len() == ROWS_MAX).cloned();
            for (due_ms, entity) in rows {
                soon.push(due_ms, &entity);
            }
        }
        Err(error) => tracing::error!("the index of entities to wake cannot be read: {error}"),
    }
}

/// An address before any other; rows of the very first millisecond do not matter.
const FIRST: &str = "a/a";

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(key: &str) -> EntityId {
        format!("room/{key}").parse().unwrap()
    }

    #[test]
    fn an_entity_is_woken_once_at_the_earliest_time_that_was_asked_for() {
        let mut soon = Soon::default();
        for (ms, key) in [(500, "a"), (300, "a"), (400, "a"), (350, "b")] {
            soon.push(ms, &entity(key));
        }
        assert_eq!(soon.pop(), Some((300, entity("a"))));
        assert_eq!(soon.pop(), Some((350, entity("b"))));
        assert_eq!(soon.pop(), None, "500 is out of date");
        soon.push(500, &entity("a"));
        assert_eq!(soon.pop(), Some((500, entity("a"))), "it asked again");
    }

    #[test]
    fn a_timer_that_is_set_earlier_again_and_again_does_not_fill_the_heap() {
        let mut soon = Soon::default();
        for ms in (0..10_000).rev() {
            soon.push(ms, &entity("a"));
        }
        assert!(
            soon.heap.len() <= OUT_OF_DATE_MAX + 2,
            "{}",
            soon.heap.len()
        );
        assert_eq!(soon.pop(), Some((0, entity("a"))));
    }

    #[test]
    fn what_lies_beyond_the_horizon_is_left_to_the_index_and_nothing_else_is() {
        let wakes = Wakes::default();
        wakes.lock().horizon_ms = 1_000;
        assert!(!wakes.at(1_001, &entity("a"), true));
        assert!(wakes.at(1_001, &entity("a"), false));
        assert!(wakes.at(999, &entity("b"), true));
    }
}

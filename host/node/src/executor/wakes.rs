//! Wakes entities that have something to do by themselves: a timer is due, or a message has to be tried again.
//!
//! ```text
//!   entities in memory ───────────────► soon: a heap by due time ──due──► mailbox
//!   the store's index ──every 30 s──────►┘
//! ```
//! Being woken is a hint: an entity looks at its agenda and may find nothing to do. So nothing is ever taken out of the heap
//! early, and an entity may be in it twice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

impl Wakes {
    /// Wakes an entity at a time. False: it is in the store's index and beyond the horizon, and left to it.
    pub(super) fn at(&self, due_ms: u64, entity: &EntityId, in_index: bool) -> bool {
        let mut soon = self.lock();
        if in_index && due_ms > soon.horizon_ms {
            return false;
        }
        let first = soon.heap.peek().is_none_or(|Reverse((ms, _))| due_ms < *ms);
        soon.heap.push(Reverse((due_ms, entity.clone())));
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
                let first = soon.heap.pop();
                while soon.heap.peek() == first.as_ref() {
                    soon.heap.pop();
                }
                let Some(Reverse((due_ms, entity))) = first else {
                    continue;
                };
                drop(soon);
                if let Err(CallError::UnknownKind { .. }) = shared.wake(&entity) {
                    shared.forget_wake(due_ms, entity);
                }
                while shared.queue.len() > QUEUE_MAX && !shared.wakes.lock().ended {
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
            soon.heap.extend(rows.into_iter().map(Reverse));
        }
        Err(error) => tracing::error!("the index of entities to wake cannot be read: {error}"),
    }
}

/// An address before any other; rows of the very first millisecond do not matter.
const FIRST: &str = "a/a";

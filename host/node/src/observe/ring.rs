//! A bounded memory of what was told last, and those who follow it.
//!
//! Every item belongs to a holder, and each holder has a bound of its own within the ring's: whoever tells too much pushes
//! out what it told before, not what others did.
//!
//! A follower is a place in the ring, not a queue: it costs no memory however slow it is. What leaves the ring before a
//! follower has read it is counted for that follower, by its own filter.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What a ring keeps.
pub(crate) trait Item: Send + Sync + 'static {
    /// Whose items have a bound together.
    type Holder: Clone + Eq + Hash + Send;

    /// Takes its number.
    fn number(&mut self, id: u64);
    /// The number that it took.
    fn id(&self) -> u64;
    /// Who told it.
    fn holder(&self) -> Self::Holder;
    /// What it takes in memory besides its place in the ring.
    fn bytes(&self) -> usize;
}

/// Which items a reader wants.
pub(crate) type Filter<T> = Box<dyn Fn(&T) -> bool + Send>;

pub(crate) struct Ring<T: Item> {
    bounds: Bounds,
    kept: Mutex<Kept<T>>,
    /// The number of the newest item.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes_max: usize,
    pub(super) holder_bytes_max: usize,
}

struct Kept<T: Item> {
    items: BTreeMap<u64, Arc<T>>,
    holders: HashMap<T::Holder, Held>,
    bytes: usize,
    /// The number that the first item had.
    first: u64,
    next: u64,
    followers: HashMap<u64, Following<T>>,
    next_follower: u64,
}

#[derive(Default)]
struct Held {
    ids: VecDeque<u64>,
    bytes: usize,
}

struct Following<T> {
    filter: Filter<T>,
    /// The last item that it has seen or skipped.
    after: u64,
    missed: u64,
}

/// Reads a ring as it fills.
pub(crate) struct Follower<T: Item> {
    ring: Arc<Ring<T>>,
    number: u64,
    newest: watch::Receiver<u64>,
}

/// What a follower gets at once.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// Items that left the ring before they could be read; they come before the others.
    pub(crate) missed: u64,
    pub(crate) items: Vec<Arc<T>>,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the last so many.
    Last(usize),
    /// After the item of this number.
    After(u64),
}

/// Enough are following.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyFollowers;

impl<T: Item> Ring<T> {
    /// An empty ring whose numbers begin with `first`.
    pub(super) fn new(bounds: Bounds, first: u64) -> Self {
        Self {
            bounds,
            kept: Mutex::new(Kept {
                items: BTreeMap::new(),
                holders: HashMap::new(),
                bytes: 0,
                first,
                next: first,
                followers: HashMap::new(),
                next_follower: 0,
            }),
            newest: watch::Sender::new(first - 1),
        }
    }

    /// Adds items, in order, and wakes those who follow.
    pub(super) fn push(&self, items: Vec<T>) {
        let mut items = items.into_iter();
        loop {
            // A few at a time, so that nobody waits for long.
            let mut kept = self.lock();
            let mut some = items.by_ref().take(PUSHED_AT_ONCE).peekable();
            if some.peek().is_none() {
                return;
            }
            some.for_each(|item| kept.push(item, self.bounds));
            let newest = kept.next - 1;
            drop(kept);
            self.newest.send_replace(newest);
        }
    }

    /// The items that a reader wants, in order: the last `limit`, or the first `limit` after a number. And the number
    /// after which to read on.
    pub(crate) fn read(&self, filter: &Filter<T>, from: Start, limit: usize) -> (Vec<Arc<T>>, u64) {
        match from {
            Start::Last(_) => {
                let newest = self.lock().next - 1;
                let (items, _) = self.last(filter, newest, limit);
                (items, newest)
            }
            Start::After(after) => self.first_after(filter, after, limit),
        }
    }

    /// The last `limit` up to `newest`, and the number of the first of them.
    fn last(&self, filter: &Filter<T>, newest: u64, limit: usize) -> (Vec<Arc<T>>, u64) {
        let mut found = VecDeque::new();
        let mut before = newest + 1;
        let mut first = before;
        loop {
            let kept = self.lock();
            let mut range = kept.items.range(..before).rev().take(SCANNED_AT_ONCE);
            let mut scanned = 0;
            for (id, item) in range.by_ref() {
                scanned += 1;
                before = *id;
                if found.len() == limit {
                    break;
                }
                if filter(item) {
                    first = *id;
                    found.push_front(Arc::clone(item));
                }
            }
            if found.len() == limit || scanned < SCANNED_AT_ONCE {
                return (found.into(), first);
            }
        }
    }

    fn first_after(&self, filter: &Filter<T>, after: u64, limit: usize) -> (Vec<Arc<T>>, u64) {
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let kept = self.lock();
            let (scanned, last) = kept.scan(filter, after, limit, &mut found);
            after = last;
            if found.len() >= limit || scanned < SCANNED_AT_ONCE {
                return (found, after);
            }
        }
    }

    /// Follows from there on.
    pub(crate) fn follow(
        self: &Arc<Self>,
        filter: Filter<T>,
        from: Start,
    ) -> Result<Follower<T>, TooManyFollowers> {
        let newest = self.newest.subscribe();
        let after = match from {
            Start::Last(limit) => {
                let newest = self.lock().next - 1;
                self.last(&filter, newest, limit).1 - 1
            }
            Start::After(after) => after,
        };
        let mut kept = self.lock();
        if kept.followers.len() >= FOLLOWERS_MAX {
            return Err(TooManyFollowers);
        }
        let missed = match from {
            Start::Last(_) => 0,
            // What is gone can no longer be asked whether this reader wanted it.
            Start::After(after) => kept.gone_since(after),
        };
        let number = kept.next_follower;
        kept.next_follower += 1;
        let following = Following {
            filter,
            after,
            missed,
        };
        kept.followers.insert(number, following);
        drop(kept);
        Ok(Follower {
            ring: Arc::clone(self),
            number,
            newest,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Item> Kept<T> {
    fn push(&mut self, mut item: T, bounds: Bounds) {
        let (holder, bytes) = (item.holder(), cost(&item));
        let held = self.holders.get(&holder).map_or(0, |held| held.bytes);
        if held + bytes > bounds.holder_bytes_max {
            self.forget_of(&holder, bounds.holder_bytes_max.saturating_sub(bytes));
        }
        while self.bytes + bytes > bounds.bytes_max
            && let Some(oldest) = self.items.first_key_value().map(|(_, item)| item.holder())
        {
            self.forget_oldest_of(&oldest);
        }
        let id = self.next;
        self.next += 1;
        item.number(id);
        self.items.insert(id, Arc::new(item));
        self.bytes += bytes;
        let held = self.holders.entry(holder).or_default();
        held.ids.push_back(id);
        held.bytes += bytes;
    }

    /// Forgets a holder's oldest items until the others take at most so much.
    fn forget_of(&mut self, holder: &T::Holder, bytes_max: usize) {
        while self
            .holders
            .get(holder)
            .is_some_and(|held| held.bytes > bytes_max)
        {
            self.forget_oldest_of(holder);
        }
    }

    fn forget_oldest_of(&mut self, holder: &T::Holder) {
        let Some(held) = self.holders.get_mut(holder) else {
            return;
        };
        if let Some(id) = held.ids.pop_front()
            && let Some(item) = self.items.remove(&id)
        {
            let bytes = cost(&*item);
            held.bytes -= bytes;
            self.bytes -= bytes;
            for following in self.followers.values_mut() {
                if following.after < id && (following.filter)(&item) {
                    following.missed += 1;
                }
            }
        }
        if held.ids.is_empty() {
            self.holders.remove(holder);
        }
    }

    /// Adds what is wanted after a number, and returns how many were looked at and the number of the last.
    fn scan(
        &self,
        filter: &Filter<T>,
        after: u64,
        limit: usize,
        found: &mut Vec<Arc<T>>,
    ) -> (usize, u64) {
        let (mut scanned, mut last) = (0, after);
        let Some(start) = after.checked_add(1) else {
            return (scanned, last);
        };
        for (id, item) in self.items.range(start..).take(SCANNED_AT_ONCE) {
            if found.len() >= limit {
                break;
            }
            scanned += 1;
            last = *id;
            if filter(item) {
                found.push(Arc::clone(item));
            }
        }
        (scanned, last)
    }

    /// How many of the items since a number are no longer kept.
    fn gone_since(&self, after: u64) -> u64 {
        let start = after.saturating_add(1).max(self.first);
        let kept = self.items.range(start..).count() as u64;
        self.next.saturating_sub(start).saturating_sub(kept)
    }
}

impl<T: Item> Follower<T> {
    /// Waits for something new.
    pub(crate) async fn next(&mut self) -> Batch<T> {
        loop {
            self.newest.borrow_and_update();
            let batch = self.take();
            if !batch.is_empty() {
                return batch;
            }
            self.newest
                .changed()
                .await
                .expect("the ring that sends is held by this follower");
        }
    }

    /// What there is now.
    pub(crate) fn take(&mut self) -> Batch<T> {
        let mut items = Vec::new();
        let mut missed = 0;
        loop {
            let mut kept = self.ring.lock();
            let kept = &mut *kept;
            // Taken out, so that it can be used on what it is kept beside.
            let Some(mut following) = kept.followers.remove(&self.number) else {
                break;
            };
            missed += std::mem::take(&mut following.missed);
            let (scanned, last) = kept.scan(
                &following.filter,
                following.after,
                BATCH_ITEMS_MAX,
                &mut items,
            );
            following.after = last;
            kept.followers.insert(self.number, following);
            if items.len() >= BATCH_ITEMS_MAX || scanned < SCANNED_AT_ONCE {
                break;
            }
        }
        Batch { missed, items }
    }
}

impl<T: Item> Drop for Follower<T> {
    fn drop(&mut self) {
        self.ring.lock().followers.remove(&self.number);
    }
}

impl<T> Batch<T> {
    fn is_empty(&self) -> bool {
        self.missed == 0 && self.items.is_empty()
    }
}

impl<T: Item> std::fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

fn cost<T: Item>(item: &T) -> usize {
    item.bytes() + ITEM_BYTES
}

/// An item's place in the maps, its holder's share of them, and the item itself without its texts.
const ITEM_BYTES: usize = 384;
/// Each costs a look at every item that leaves.
const FOLLOWERS_MAX: usize = 64;
/// Items that a follower gets at once.
const BATCH_ITEMS_MAX: usize = 64;
/// Items added, or looked at, before others get the lock.
const PUSHED_AT_ONCE: usize = 256;
const SCANNED_AT_ONCE: usize = 1_024;

#[cfg(test)]
mod tests;

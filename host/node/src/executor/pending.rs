use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts the calls under way on a node, from the mailbox to the answer, and bounds them.
#[derive(Debug)]
pub(super) struct Pending {
    calls_max: usize,
    count: Mutex<Count>,
    none_left: Condvar,
}

#[derive(Debug, Default)]
struct Count {
    calls: usize,
    closed: bool,
}

/// One call under way.
#[derive(Debug)]
pub(super) struct PendingGuard(Arc<Pending>);

/// Why a call is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotNow {
    Full,
    Closed,
}

impl Pending {
    pub(super) fn new(calls_max: usize) -> Self {
        Self {
            calls_max,
            count: Mutex::default(),
            none_left: Condvar::new(),
        }
    }

    /// Lets a call in.
    pub(super) fn begin(self: &Arc<Self>) -> Result<PendingGuard, NotNow> {
        let mut count = self.lock();
        if count.closed {
            return Err(NotNow::Closed);
        }
        if count.calls >= self.calls_max {
            return Err(NotNow::Full);
        }
        count.calls += 1;
        Ok(PendingGuard(Arc::clone(self)))
    }

    pub(super) fn calls(&self) -> usize {
        self.lock().calls
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until no call is under way. False if some still are after `patience`.
    pub(super) fn wait_for_none(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut count = self.lock();
        while count.calls > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.none_left.wait_timeout(count, left);
            count = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.calls -= 1;
        if count.calls == 0 {
            self.0.none_left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_bounded_and_closing_lets_those_under_way_end() {
        let pending = Arc::new(Pending::new(1));
        let call = pending.begin().unwrap();
        assert_eq!(pending.begin().unwrap_err(), NotNow::Full);
        pending.close();
        assert_eq!(pending.begin().unwrap_err(), NotNow::Closed);
        assert!(!pending.wait_for_none(Duration::ZERO));
        drop(call);
        assert!(pending.wait_for_none(Duration::ZERO));
    }
}

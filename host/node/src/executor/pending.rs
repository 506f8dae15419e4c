use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts the calls under way on a node, from the mailbox to the answer, and bounds them.
///
/// One number that every call touches twice: how many there are, and in its highest bit whether more are let in.
#[derive(Debug)]
pub(super) struct Pending {
    calls_max: usize,
    calls: AtomicUsize,
    /// Held to wait for the last call, and to tell of it.
    last: Mutex<()>,
    none_left: Condvar,
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

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Pending {
    pub(super) fn new(calls_max: usize) -> Self {
        Self {
            calls_max,
            calls: AtomicUsize::new(0),
            last: Mutex::default(),
            none_left: Condvar::new(),
        }
    }

    /// Lets a call in.
    pub(super) fn begin(self: &Arc<Self>) -> Result<PendingGuard, NotNow> {
        let one_more = |calls: usize| (calls < self.calls_max).then_some(calls + 1);
        match self
            .calls
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
        {
            Ok(_) => Ok(PendingGuard(Arc::clone(self))),
            Err(calls) if calls & CLOSED != 0 => Err(NotNow::Closed),
            Err(_) => Err(NotNow::Full),
        }
    }

    /// Lets in a call that another one waits for: also while closing, since that one is under way and has to end.
    pub(super) fn begin_nested(self: &Arc<Self>) -> Result<PendingGuard, NotNow> {
        let one_more = |calls: usize| ((calls & !CLOSED) < self.calls_max).then_some(calls + 1);
        match self
            .calls
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
        {
            Ok(_) => Ok(PendingGuard(Arc::clone(self))),
            Err(_) => Err(NotNow::Full),
        }
    }

    /// Lets in what has to be done however much is under way.
    pub(super) fn begin_unbounded(self: &Arc<Self>) -> Result<PendingGuard, NotNow> {
        let one_more = |calls: usize| (calls & CLOSED == 0).then_some(calls + 1);
        match self
            .calls
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
        {
            Ok(_) => Ok(PendingGuard(Arc::clone(self))),
            Err(_) => Err(NotNow::Closed),
        }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst) & !CLOSED
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.calls.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Waits until no call is under way, once closed. False if some still are after `patience`.
    pub(super) fn wait_for_none(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        while self.calls() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.none_left.wait_timeout(last, left);
            last = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::SeqCst) == (CLOSED | 1) {
            // Under the lock, so that it cannot fall between the look and the wait of `wait_for_none`.
            let _last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
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
        let waiting = std::thread::spawn({
            let pending = Arc::clone(&pending);
            move || pending.wait_for_none(Duration::from_secs(60))
        });
        drop(call);
        assert!(waiting.join().unwrap());
        assert_eq!(pending.begin().unwrap_err(), NotNow::Closed);
    }

    #[test]
    fn a_call_within_another_is_let_in_while_closing_and_is_bounded_all_the_same() {
        let pending = Arc::new(Pending::new(2));
        let outer = pending.begin().unwrap();
        pending.close();
        let inner = pending.begin_nested().unwrap();
        assert_eq!(pending.begin_nested().unwrap_err(), NotNow::Full);
        drop((inner, outer));
        assert!(pending.wait_for_none(Duration::ZERO));
    }
}

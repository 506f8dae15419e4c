use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the turns that run on fibers. Each holds a stack until it ends, so they are bounded.
#[derive(Debug, Default)]
pub(super) struct Fibers(AtomicUsize);

/// Turns on fibers at once.
const FIBERS_MAX: usize = 4_000;

impl Fibers {
    /// Counts one more, if there may be one.
    pub(super) fn enter(&self) -> bool {
        let one_more = |fibers: usize| (fibers < FIBERS_MAX).then_some(fibers + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Counts one less.
    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

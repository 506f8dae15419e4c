//! When a node that was downed may get shards again.
//!
//! Who was downed and lives (a cut, a pause, a slow machine) may be cut off again: moving shards to it at once would move them
//! twice. It waits for `readmit`, twice as long with each time, to 16 times. While it waits it is not downed again: it owns
//! nothing that others could serve.

use crate::cluster::{Context, Instant, Timing};
use crate::control::{Member, Status};

use super::seat::Life;

/// The waiting of one node, over its lives.
#[derive(Debug, Default)]
pub(super) struct Readmission {
    /// When it was downed last.
    downed: Option<Instant>,
    /// How often it had been downed before, not long before.
    flaps: u32,
    /// When it may get shards.
    from: Instant,
}

/// The wait is doubled so often.
const DOUBLINGS_MAX: u32 = 4;

impl Readmission {
    /// Whether nothing is waited for.
    pub(super) fn over(&self, now: Instant) -> bool {
        now >= self.from
    }

    /// Until when is waited.
    pub(super) fn from(&self) -> Instant {
        self.from
    }

    /// Its life was ended, and it had not asked for it.
    pub(super) fn downed(&mut self, now: Instant, timing: &Timing) {
        let window = timing.readmit * (1 << DOUBLINGS_MAX);
        let again = self.downed.is_some_and(|last| now < last + window);
        self.flaps = if again {
            (self.flaps + 1).min(DOUBLINGS_MAX)
        } else {
            0
        };
        self.downed = Some(now);
    }

    /// It has a new life after `before`.
    pub(super) fn back(&mut self, now: Instant, timing: &Timing, before: &Life, member: &Member) {
        if before.status != Status::Down || before.leaving {
            return;
        }
        self.downed.get_or_insert(now);
        // A process that is still the same was downed and lives. One that is new had ended: that may happen once.
        let doublings = if before.process == member.boot.process {
            Some(self.flaps)
        } else {
            self.flaps.checked_sub(1)
        };
        if let Some(doublings) = doublings {
            self.from = now + timing.readmit * (1 << doublings);
        }
    }

    /// Whether its life may be ended because nothing is heard of it.
    pub(super) fn may_end(&self, cx: &Context<'_>) -> bool {
        let now = cx.now.instant;
        self.over(now) || now >= self.may_end_from(&cx.settings.timing)
    }

    /// From when on it may, however long it waits.
    pub(super) fn may_end_from(&self, timing: &Timing) -> Instant {
        self.downed
            .map_or(Instant(0), |downed| downed + timing.readmit)
    }
}

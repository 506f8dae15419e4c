//! A node's clocks: the monotonic one runs at a rate of its own, the wall clock may be anything.

use entia_protocol::cluster::{Instant, Now};

/// Both clocks of a node.
#[derive(Debug, Clone)]
pub struct Clock {
    /// True time of the last change of rate.
    anchor_true: u64,
    /// What the monotonic clock showed then.
    anchor_local: u64,
    /// How much faster than true time it runs, in parts per million.
    ppm: i64,
    /// What the wall clock shows more than true time, in milliseconds.
    wall_ms: i64,
}

/// 2027: the wall clock of a run that begins.
const EPOCH_MS: i64 = 1_800_000_000_000;
const MILLION: u128 = 1_000_000;

impl Clock {
    /// A clock that shows `local` at the beginning and runs `ppm` too fast.
    pub fn new(local: u64, ppm: i64, wall_ms: i64) -> Self {
        Self {
            anchor_true: 0,
            anchor_local: local,
            ppm,
            wall_ms: EPOCH_MS + wall_ms,
        }
    }

    /// What the node reads.
    pub fn now(&self, true_time: u64) -> Now {
        let utc = self.wall_ms + i64::try_from(true_time / 1_000_000).unwrap_or(0);
        Now {
            instant: self.instant(true_time),
            utc_ms: u64::try_from(utc).unwrap_or(0),
        }
    }

    /// The monotonic clock.
    pub fn instant(&self, true_time: u64) -> Instant {
        let passed = true_time.saturating_sub(self.anchor_true);
        // Two days in nanoseconds, times the largest rate, fit.
        let signed = i64::try_from(passed).unwrap_or(i64::MAX);
        let wrong = signed.saturating_mul(self.ppm) / 1_000_000;
        Instant((self.anchor_local + passed).saturating_add_signed(wrong))
    }

    /// The first true time at which the monotonic clock shows `instant`; never before `true_time`.
    pub fn when(&self, instant: Instant, true_time: u64) -> u64 {
        let ahead = u128::from(instant.0.saturating_sub(self.anchor_local));
        let rate = u128::try_from(1_000_000 + self.ppm).unwrap_or(MILLION);
        let passed = u64::try_from((ahead * MILLION).div_ceil(rate)).unwrap_or(u64::MAX);
        let mut when = self.anchor_true.saturating_add(passed).max(true_time);
        // The two roundings may leave it a nanosecond early.
        while when < u64::MAX && self.instant(when) < instant && passed < u64::MAX / 2 {
            when += 1;
        }
        when
    }

    /// Runs at another rate from now on.
    pub fn run_at(&mut self, ppm: i64, true_time: u64) {
        self.anchor_local = self.instant(true_time).0;
        self.anchor_true = true_time;
        self.ppm = ppm;
    }

    /// How much too fast it runs.
    pub fn ppm(&self) -> i64 {
        self.ppm
    }

    /// The machine was started again: its monotonic clock begins anew.
    pub fn reboot(&mut self, true_time: u64) {
        self.anchor_local = 1_000_000_000;
        self.anchor_true = true_time;
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, ms: i64) {
        self.wall_ms += ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_comes_when_the_local_clock_shows_its_instant_and_not_before() {
        for ppm in [-50_000, -9_999, -1, 0, 1, 10_000, 50_000] {
            let mut clock = Clock::new(77_000_000_000, ppm, 0);
            clock.run_at(ppm, 1_234_567_891);
            for ahead in [0, 1, 999, 1_000_003, 3_600_000_000_007] {
                let due = Instant(clock.instant(1_234_567_891).0 + ahead);
                let when = clock.when(due, 1_234_567_891);
                assert!(clock.instant(when) >= due, "{ppm} {ahead}");
                assert!(
                    when == 1_234_567_891 || clock.instant(when - 2) < due,
                    "{ppm} {ahead}"
                );
            }
        }
    }
}

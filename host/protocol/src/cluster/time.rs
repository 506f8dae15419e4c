use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant on one node's monotonic clock (CLOCK_BOOTTIME), in nanoseconds since any zero. Two nodes' instants cannot be
/// compared, and nothing that travels contains one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

/// When an input comes in: what the node's driver reads once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The monotonic clock. All ownership is decided with it.
    pub instant: Instant,
    /// The wall clock, in milliseconds since 1970: for the due times of timers and the age of records, and nothing else.
    pub utc_ms: u64,
}

impl Instant {
    /// Time from `earlier` to this, zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.0 as f64 / 1e9)
    }
}

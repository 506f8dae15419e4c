use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::HostWallClock;

/// An entity's clock: the machine's wall clock, held back from ever going back.
///
/// It starts at the time of the stored state, so that an entity that moved to a machine whose clock is behind does not see
/// time run backwards.
#[derive(Debug, Clone)]
pub(crate) struct EntityClock {
    latest_ns: Arc<AtomicU64>,
}

impl EntityClock {
    pub(crate) fn from_ms(floor_ms: u64) -> Self {
        Self {
            latest_ns: Arc::new(AtomicU64::new(floor_ms.saturating_mul(1_000_000))),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let system_ns = u64::try_from(system.as_nanos()).unwrap_or(u64::MAX);
        self.latest_ns
            .fetch_max(system_ns, Ordering::Relaxed)
            .max(system_ns)
    }
}

impl HostWallClock for EntityClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_behind_the_stored_state() {
        let future_ms = 4_000_000_000_000;
        let clock = EntityClock::from_ms(future_ms);
        assert_eq!(clock.now_ns(), future_ms * 1_000_000);
        assert!(EntityClock::from_ms(0).now_ns() > 1_700_000_000_000_000_000);
    }
}

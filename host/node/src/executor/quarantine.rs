use std::time::{Duration, Instant};

use entia_api::body::Event;
use entia_protocol::EntityId;

/// Keeps an entity that fails again and again from taking its node's time.
///
/// ```text
///   well ──5 failures in a row──► quarantined ──time passes──► on trial ──a turn ends well──► well
///                                      ▲                          │
///                                      └──────twice as long───────┘ another failure
/// ```
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    failures_in_row: u32,
    until: Option<Instant>,
    reason: String,
}

/// What a caller is told of an entity in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    /// The failure that led to it.
    pub(crate) reason: String,
    /// When it ends.
    pub(crate) until: Instant,
}

/// Failures in a row until an entity is quarantined.
const FAILURES_MAX: u32 = 5;
/// The first quarantine. Each failure on trial doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl Quarantine {
    /// Whether the entity may run now. Once the time has passed one call is let through on trial.
    pub(super) fn refusal(&self, now: Instant) -> Option<Quarantined> {
        let until = self.until.filter(|until| now < *until)?;
        Some(Quarantined {
            reason: self.reason.clone(),
            until,
        })
    }

    /// When the quarantine's time has passed, until a turn ends well.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How the entity stands, for those who are told when it changes.
    pub(super) fn event(&self, entity: &EntityId) -> Event {
        let entity = entity.into();
        match self.until {
            None => Event::EntityReleased { entity },
            Some(until) => Event::EntityQuarantined {
                entity,
                reason: self.reason.clone(),
                retry_after_ms: u64::try_from(
                    until.saturating_duration_since(Instant::now()).as_millis(),
                )
                .unwrap_or(u64::MAX),
            },
        }
    }

    /// A turn was undone.
    pub(super) fn failed(&mut self, now: Instant, reason: &str) {
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        if let Some(beyond) = self.failures_in_row.checked_sub(FAILURES_MAX) {
            let time = FIRST.saturating_mul(1 << beyond.min(16)).min(LONGEST);
            self.until = Some(now + time);
            reason.clone_into(&mut self.reason);
        }
    }

    /// A turn ended well, or an operator says that the cause is gone.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_quarantine_and_a_good_turn_between_does_not() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        for _ in 0..4 {
            quarantine.failed(now, "trap");
        }
        quarantine.end();
        for _ in 0..4 {
            quarantine.failed(now, "trap");
        }
        assert_eq!(quarantine.refusal(now), None);
        quarantine.failed(now, "the fifth");
        let refusal = quarantine.refusal(now).unwrap();
        assert_eq!(
            (&*refusal.reason, refusal.until),
            ("the fifth", now + FIRST)
        );
    }

    #[test]
    fn a_failure_on_trial_doubles_the_time_up_to_a_minute() {
        let mut now = Instant::now();
        let mut quarantine = Quarantine::default();
        for _ in 0..FAILURES_MAX {
            quarantine.failed(now, "trap");
        }
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let until = quarantine.refusal(now).unwrap().until;
            assert_eq!(until - now, Duration::from_secs(expected));
            now = until;
            assert_eq!(quarantine.refusal(now), None, "on trial");
            quarantine.failed(now, "trap");
        }
        quarantine.end();
        assert_eq!(quarantine.refusal(now), None);
    }
}

use std::collections::BTreeMap;

use serde_json::Value;

use crate::EffectError;
use crate::testing::fake::shown;

/// A timer that has yet to fire.
#[derive(Debug, Clone, PartialEq)]
pub struct Timer {
    /// What the entity called it.
    pub name: String,
    /// When it fires next, in milliseconds since 1970.
    pub due_ms: u64,
    /// The time between two fires, if it repeats.
    pub period_ms: Option<u64>,
    /// How often it has fired.
    pub fires: u64,
    /// What it gives to the entity.
    pub payload: Value,
    pub(crate) payload_bytes: Vec<u8>,
}

/// The timers of one entity, by the platform's rules.
#[derive(Default)]
pub(crate) struct Timers(BTreeMap<String, Timer>);

impl Timers {
    /// The next one first.
    pub(crate) fn in_order(&self) -> Vec<Timer> {
        let mut timers: Vec<Timer> = self.0.values().cloned().collect();
        timers.sort_by_key(|timer| timer.due_ms);
        timers
    }

    /// Starts a timer, which fires once unless it has a period; one of the same name is replaced.
    pub(crate) fn start(
        &mut self,
        now_ms: u64,
        name: &str,
        delay_ms: u64,
        period_ms: Option<u64>,
        payload_bytes: Vec<u8>,
    ) -> Result<(), EffectError> {
        check_name(name)?;
        if period_ms.is_some_and(|period_ms| period_ms < PERIOD_MS_MIN) {
            return Err(invalid(format!(
                "timer `{name}` has a period of {delay_ms} ms; the shortest is {PERIOD_MS_MIN} ms"
            )));
        }
        if delay_ms > DELAY_MS_MAX {
            return Err(invalid(format!(
                "timer `{name}` fires in {delay_ms} ms; the longest delay is {DELAY_MS_MAX} ms, ten years"
            )));
        }
        if self.0.len() >= TIMERS_MAX && !self.0.contains_key(name) {
            let limit = format!("an entity has at most {TIMERS_MAX} timers");
            return Err(EffectError::Limit(limit));
        }
        let timer = Timer {
            name: name.to_owned(),
            due_ms: now_ms.saturating_add(delay_ms),
            period_ms,
            fires: 0,
            payload: shown(&payload_bytes),
            payload_bytes,
        };
        self.0.insert(name.to_owned(), timer);
        Ok(())
    }

    pub(crate) fn cancel(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// The fire that is due next until then, and what the clock shows at it. A timer that repeats keeps to its beat, and
    /// beats that passed before anybody could fire it are skipped.
    pub(crate) fn next_fire(&mut self, now_ms: u64, until_ms: u64) -> Option<(Timer, u64)> {
        let mut timer = self.in_order().into_iter().next()?;
        if timer.due_ms > until_ms {
            return None;
        }
        let now_ms = now_ms.max(timer.due_ms);
        timer.fires += 1;
        match timer.period_ms {
            None => self.0.remove(&timer.name),
            Some(period_ms) => {
                let beats = (now_ms - timer.due_ms) / period_ms + 1;
                let due_ms = timer.due_ms.saturating_add(beats.saturating_mul(period_ms));
                let next = Timer {
                    due_ms,
                    ..timer.clone()
                };
                self.0.insert(timer.name.clone(), next)
            }
        };
        Some((timer, now_ms))
    }
}

fn check_name(name: &str) -> Result<(), EffectError> {
    match name.len() {
        0 => Err(invalid("a timer's name is empty".to_owned())),
        bytes if bytes > NAME_BYTES_MAX => Err(invalid(format!(
            "a timer's name has {bytes} bytes; {NAME_BYTES_MAX} are allowed"
        ))),
        _ => Ok(()),
    }
}

fn invalid(reason: String) -> EffectError {
    EffectError::Invalid(reason)
}

/// Timers of one entity.
const TIMERS_MAX: usize = 100;
/// The longest name of a timer, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The shortest period of a timer that repeats, in milliseconds.
const PERIOD_MS_MIN: u64 = 10;
/// The longest delay or period, in milliseconds: ten years.
const DELAY_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NIL: u8 = 0xc0;

    fn start(timers: &mut Timers, name: &str, delay_ms: u64) -> Result<(), EffectError> {
        timers.start(0, name, delay_ms, None, vec![NIL])
    }

    fn every(timers: &mut Timers, now_ms: u64, period_ms: u64) -> Result<(), EffectError> {
        timers.start(now_ms, "beat", period_ms, Some(period_ms), vec![NIL])
    }

    fn fires(timers: &mut Timers, now_ms: u64, until_ms: u64) -> Vec<(u64, u64)> {
        let mut clock_ms = now_ms;
        std::iter::from_fn(|| {
            let (timer, at_ms) = timers.next_fire(clock_ms, until_ms)?;
            clock_ms = at_ms;
            Some((timer.fires, at_ms))
        })
        .collect()
    }

    #[test]
    fn a_repeating_timer_keeps_its_beat() {
        let mut timers = Timers::default();
        every(&mut timers, 0, 50).unwrap();
        assert_eq!(fires(&mut timers, 0, 170), [(1, 50), (2, 100), (3, 150)]);
        assert_eq!(timers.in_order()[0].due_ms, 200);
    }

    #[test]
    fn missed_beats_are_skipped() {
        let mut timers = Timers::default();
        every(&mut timers, 0, 50).unwrap();
        assert_eq!(fires(&mut timers, 1_020, 1_020), [(1, 1_020)]);
        assert_eq!(fires(&mut timers, 1_020, 1_050), [(2, 1_050)]);
    }

    #[test]
    fn a_replaced_timer_starts_again_at_its_first_fire() {
        let mut timers = Timers::default();
        every(&mut timers, 0, 50).unwrap();
        assert_eq!(fires(&mut timers, 0, 100).len(), 2);
        every(&mut timers, 100, 20).unwrap();
        assert_eq!(fires(&mut timers, 100, 120), [(1, 120)]);
        assert_eq!(timers.in_order().len(), 1);
    }

    #[test]
    fn an_entity_has_a_hundred_timers_and_may_replace_each() {
        let mut timers = Timers::default();
        for at in 0..TIMERS_MAX {
            start(&mut timers, &at.to_string(), 1).unwrap();
        }
        let error = start(&mut timers, "more", 1).unwrap_err();
        assert!(matches!(&error, EffectError::Limit(limit) if limit.contains("100 timers")));
        start(&mut timers, "0", 2).unwrap();
        assert!(timers.cancel("0"));
        assert!(!timers.cancel("0"));
        start(&mut timers, "more", 1).unwrap();
    }

    #[test]
    fn a_timer_out_of_bounds_is_invalid_and_not_started() {
        let mut timers = Timers::default();
        let long = "n".repeat(NAME_BYTES_MAX);
        for refused in [
            start(&mut timers, "", 1),
            start(&mut timers, &format!("{long}n"), 1),
            start(&mut timers, "late", DELAY_MS_MAX + 1),
            every(&mut timers, 0, PERIOD_MS_MIN - 1),
            every(&mut timers, 0, DELAY_MS_MAX + 1),
        ] {
            assert!(
                matches!(refused, Err(EffectError::Invalid(_))),
                "{refused:?}"
            );
        }
        assert_eq!(timers.in_order(), []);
        start(&mut timers, &long, DELAY_MS_MAX).unwrap();
        every(&mut timers, 0, PERIOD_MS_MIN).unwrap();
    }
}

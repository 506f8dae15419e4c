use serde::{Deserialize, Serialize};

use crate::{Caller, CommandKey, EntityId, Payload};

/// A message that an entity has to deliver: part of its state until the other entity has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRecord {
    /// The entity's messages leave in this order, to each target by itself. Not an identity: that is `key`.
    pub number: u64,
    /// Whom it is for.
    pub target: EntityId,
    /// The method's name.
    pub method: String,
    /// Its arguments: a MessagePack map with named fields.
    pub arguments: Payload,
    /// Whom the target sees as its caller: the sending entity, or whoever handed the message to this one.
    pub caller: Caller,
    /// The key under which the target executes it once, however often it is delivered.
    pub key: CommandKey,
    /// When the message was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// Why nobody tries any more to deliver it; none while it is on its way.
    pub dead: Option<DeadLetter>,
}

/// Why a message was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The code of the last answer, as in the HTTP API's errors.
    pub code: String,
    /// The last answer, for people.
    pub message: String,
}

/// A timer that has yet to fire: part of its entity's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerRecord {
    /// What the entity called it.
    pub name: String,
    /// When it fires next, in milliseconds since 1970.
    pub due_ms: u64,
    /// The time between two fires, if it repeats.
    pub period_ms: Option<u64>,
    /// The number of the next fire, counted from 1.
    pub fire: u64,
    /// Derived from the turn that set it, so that a timer set anew is another one although its fires count from 1 again.
    pub key: CommandKey,
    /// What it gives to the entity: any MessagePack value.
    pub payload: Payload,
}

impl SendRecord {
    /// Messages of one entity that may be on their way at once.
    pub const PENDING_MAX: usize = 1_000;
    /// Bytes of arguments of one entity's messages that may be on their way at once.
    pub const PENDING_BYTES_MAX: usize = 8 << 20;
    /// Dead letters that an entity keeps; the oldest go first.
    pub const DEAD_MAX: usize = 100;
    /// Bytes of arguments of the dead letters that an entity keeps.
    pub const DEAD_BYTES_MAX: usize = 8 << 20;
    /// How long delivery is tried.
    pub const AGE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
}

impl TimerRecord {
    /// Timers of one entity.
    pub const TIMERS_MAX: usize = 100;
    /// Bytes of payloads of one entity's timers.
    pub const PAYLOADS_BYTES_MAX: usize = 8 << 20;
    /// The longest name of a timer, in bytes.
    pub const NAME_BYTES_MAX: usize = 128;
    /// The shortest period of a timer that repeats, in milliseconds.
    pub const PERIOD_MS_MIN: u64 = 10;
    /// The longest delay or period, in milliseconds: ten years.
    pub const DELAY_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

    /// The timer after it has fired at `now_ms`, or none if it fires once.
    ///
    /// A timer that repeats keeps to its beat. Beats that passed while nobody could fire it are skipped.
    pub fn fired(self, now_ms: u64) -> Option<Self> {
        let period_ms = self.period_ms?.max(1);
        let missed = now_ms.saturating_sub(self.due_ms) / period_ms;
        let due_ms = self
            .due_ms
            .saturating_add(period_ms.saturating_mul(missed + 1));
        Some(Self {
            due_ms,
            fire: self.fire + 1,
            ..self
        })
    }
}

/// When an entity has something to do by itself next, in milliseconds since 1970: a timer is due, or a message has to be
/// delivered. The store's index of entities to wake is made of this.
pub fn wake_ms<'a>(
    timers: impl IntoIterator<Item = &'a TimerRecord>,
    sends: impl IntoIterator<Item = &'a SendRecord>,
) -> Option<u64> {
    let timers = timers.into_iter().map(|timer| timer.due_ms);
    let sends = sends
        .into_iter()
        .filter(|send| send.dead.is_none())
        .map(|send| send.accepted_ms);
    timers.chain(sends).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(due_ms: u64, period_ms: Option<u64>) -> TimerRecord {
        TimerRecord {
            name: "tick".to_owned(),
            due_ms,
            period_ms,
            fire: 1,
            key: CommandKey::Derived([1; 16]),
            payload: Payload::default(),
        }
    }

    #[test]
    fn a_timer_that_fires_once_is_gone_after_it() {
        assert_eq!(timer(100, None).fired(100), None);
    }

    #[test]
    fn a_repeating_timer_keeps_its_beat_and_skips_what_was_missed() {
        let on_time = timer(100, Some(50)).fired(100).unwrap();
        assert_eq!((on_time.due_ms, on_time.fire), (150, 2));
        let late = timer(100, Some(50)).fired(149).unwrap();
        assert_eq!((late.due_ms, late.fire), (150, 2));
        let very_late = timer(100, Some(50)).fired(1_020).unwrap();
        assert_eq!((very_late.due_ms, very_late.fire), (1_050, 2));
    }

    #[test]
    fn an_entity_wakes_for_the_first_timer_or_message_and_not_for_dead_letters() {
        let send = |accepted_ms, dead: bool| SendRecord {
            number: 1,
            target: "account/bob".parse().unwrap(),
            method: "deposit".to_owned(),
            arguments: Payload::default(),
            caller: Caller::Anonymous,
            key: CommandKey::Derived([2; 16]),
            accepted_ms,
            dead: dead.then(|| DeadLetter {
                at_ms: 0,
                code: "unknown_kind".to_owned(),
                message: String::new(),
            }),
        };
        let timers = [timer(500, None), timer(300, None)];
        assert_eq!(wake_ms(&timers, &[]), Some(300));
        assert_eq!(wake_ms(&timers, &[send(200, false)]), Some(200));
        assert_eq!(wake_ms(&[], &[send(200, true)]), None);
    }
}

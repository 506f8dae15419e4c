use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::context::Level;
use crate::payload::encode;
use crate::testing::json;
use crate::{CallFailure, EffectError, EntityId};

/// The world of an entity under test: it records effects, and nothing happens by itself.
pub struct Fake {
    now_ms: u64,
    config: BTreeMap<String, String>,
    logs: RefCell<Vec<LogLine>>,
    sends: Vec<Sent>,
    calls: Vec<Sent>,
    answers: BTreeMap<(EntityId, String), VecDeque<Answer>>,
    timers: BTreeMap<String, Timer>,
}

/// A message or a call to another entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The other entity.
    pub target: EntityId,
    /// Its method.
    pub method: String,
    /// An object with the arguments.
    pub arguments: Value,
}

/// A line of the entity's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub message: String,
}

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

type Answer = Result<Vec<u8>, CallFailure>;

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            now_ms: BEGINNING_OF_2026_MS,
            config: BTreeMap::new(),
            logs: RefCell::default(),
            sends: Vec::new(),
            calls: Vec::new(),
            answers: BTreeMap::new(),
            timers: BTreeMap::new(),
        }
    }

    /// Messages in the order in which they were sent.
    pub fn sends(&self) -> &[Sent] {
        &self.sends
    }

    /// Calls in the order in which they were made.
    pub fn calls(&self) -> &[Sent] {
        &self.calls
    }

    /// Timers that have yet to fire, the next one first.
    pub fn timers(&self) -> Vec<Timer> {
        let mut timers: Vec<Timer> = self.timers.values().cloned().collect();
        timers.sort_by_key(|timer| timer.due_ms);
        timers
    }

    /// Everything that the entity logged.
    pub fn logs(&self) -> Vec<LogLine> {
        self.logs.borrow().clone()
    }

    /// Sets the entity's clock, in milliseconds since 1970. No timer fires: [`Host::advance`](crate::testing::Host)
    /// does that.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Moves the entity's clock.
    pub fn advance(&mut self, by: Duration) {
        self.now_ms = self.after_ms(by);
    }

    /// Gives the kind a setting.
    pub fn set_config(&mut self, name: &str, value: &str) {
        self.config.insert(name.to_owned(), value.to_owned());
    }

    /// Says what a call of the target's method answers. Several answers to one method are given in turn.
    ///
    /// # Panics
    /// If the value has no encoding.
    pub fn answer(
        &mut self,
        target: &EntityId,
        method: &str,
        outcome: Result<impl Serialize, CallFailure>,
    ) {
        let outcome = outcome.map(|value| encode(&value).expect("a test's answer has an encoding"));
        let address = (target.clone(), method.to_owned());
        self.answers.entry(address).or_default().push_back(outcome);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn after_ms(&self, by: Duration) -> u64 {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.saturating_add(by_ms)
    }

    pub(crate) fn config(&self, name: &str) -> Option<String> {
        self.config.get(name).cloned()
    }

    pub(crate) fn log(&self, level: Level, message: String) {
        self.logs.borrow_mut().push(LogLine { level, message });
    }

    pub(crate) fn call(
        &mut self,
        target: &EntityId,
        method: &str,
        arguments: Vec<u8>,
        _deadline_ms: Option<u64>,
    ) -> Result<Vec<u8>, CallFailure> {
        self.calls.push(sent(target, method, &arguments));
        let answers = self.answers.get_mut(&(target.clone(), method.to_owned()));
        answers.and_then(VecDeque::pop_front).unwrap_or_else(|| {
            panic!(
                "the test has no answer to a call of `{method}` of {target}: give one with `answer`"
            )
        })
    }

    pub(crate) fn send(
        &mut self,
        target: &EntityId,
        method: &str,
        arguments: Vec<u8>,
    ) -> Result<(), EffectError> {
        check_address(target)?;
        self.sends.push(sent(target, method, &arguments));
        Ok(())
    }

    pub(crate) fn after(
        &mut self,
        name: &str,
        delay_ms: u64,
        payload: Vec<u8>,
    ) -> Result<(), EffectError> {
        self.start(name, delay_ms, None, payload)
    }

    pub(crate) fn every(
        &mut self,
        name: &str,
        period_ms: u64,
        payload: Vec<u8>,
    ) -> Result<(), EffectError> {
        if period_ms == 0 {
            return Err(invalid(format!("timer `{name}` has a period of 0 ms")));
        }
        self.start(name, period_ms, Some(period_ms), payload)
    }

    pub(crate) fn cancel(&mut self, name: &str) -> Result<bool, EffectError> {
        Ok(self.timers.remove(name).is_some())
    }

    /// Sets the clock to the next fire that is due until then, and says which it is.
    pub(crate) fn next_fire(&mut self, until_ms: u64) -> Option<Timer> {
        let mut timer = self.timers().into_iter().next()?;
        if timer.due_ms > until_ms {
            return None;
        }
        self.now_ms = self.now_ms.max(timer.due_ms);
        timer.fires += 1;
        match timer.period_ms {
            None => self.timers.remove(&timer.name),
            Some(period_ms) => {
                let due_ms = timer.due_ms.saturating_add(period_ms);
                let next = Timer {
                    due_ms,
                    ..timer.clone()
                };
                self.timers.insert(timer.name.clone(), next)
            }
        };
        Some(timer)
    }

    fn start(
        &mut self,
        name: &str,
        delay_ms: u64,
        period_ms: Option<u64>,
        payload_bytes: Vec<u8>,
    ) -> Result<(), EffectError> {
        if name.is_empty() {
            return Err(invalid("a timer's name is empty".to_owned()));
        }
        let timer = Timer {
            name: name.to_owned(),
            due_ms: self.now_ms.saturating_add(delay_ms),
            period_ms,
            fires: 0,
            payload: shown(&payload_bytes),
            payload_bytes,
        };
        self.timers.insert(name.to_owned(), timer);
        Ok(())
    }
}

fn sent(target: &EntityId, method: &str, arguments: &[u8]) -> Sent {
    Sent {
        target: target.clone(),
        method: method.to_owned(),
        arguments: shown(arguments),
    }
}

fn shown(bytes: &[u8]) -> Value {
    json::from_messagepack(bytes)
        .unwrap_or_else(|error| panic!("people could not read this payload as JSON: {error}"))
}

fn check_address(id: &EntityId) -> Result<(), EffectError> {
    let mut kind = id.kind().bytes();
    let is_kind = kind.next().is_some_and(|first| first.is_ascii_lowercase())
        && kind.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && id.kind().len() <= KIND_BYTES_MAX;
    if is_kind && (1..=KEY_BYTES_MAX).contains(&id.key().len()) {
        Ok(())
    } else {
        Err(invalid(format!("{id} is not an entity's address")))
    }
}

fn invalid(reason: String) -> EffectError {
    EffectError::Invalid(reason)
}

const KIND_BYTES_MAX: usize = 63;
const KEY_BYTES_MAX: usize = 512;
const BEGINNING_OF_2026_MS: u64 = 1_767_225_600_000;

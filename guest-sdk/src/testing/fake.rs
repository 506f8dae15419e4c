use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::context::Level;
use crate::payload::encode;
use crate::testing::json;
use crate::testing::timers::{Timer, Timers};
use crate::{CallError, CallFailure, EffectError, EntityId};

/// The world of an entity under test: it records effects, and nothing happens by itself.
///
/// Timers and messages have the bounds that the platform sets: what it refuses, the fake refuses in the same words.
pub struct Fake(Rc<RefCell<World>>);

/// Shared by the entity's context and, during a turn, by the references that its methods make.
struct World {
    now_ms: u64,
    config: BTreeMap<String, String>,
    logs: Vec<LogLine>,
    sends: Vec<Sent>,
    calls: Vec<Sent>,
    answers: BTreeMap<(EntityId, String), VecDeque<Answer>>,
    timers: Timers,
    in_query: bool,
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

type Answer = Result<Vec<u8>, CallFailure>;

impl Fake {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(World {
            now_ms: BEGINNING_OF_2026_MS,
            config: BTreeMap::new(),
            logs: Vec::new(),
            sends: Vec::new(),
            calls: Vec::new(),
            answers: BTreeMap::new(),
            timers: Timers::default(),
            in_query: false,
        })))
    }

    /// Messages that have yet to be delivered, in the order in which they were sent.
    pub fn sends(&self) -> Vec<Sent> {
        self.0.borrow().sends.clone()
    }

    /// Takes the messages, as if the platform had delivered them: they do not count as pending any more. A test of
    /// several entities hands them to each target's [`Host`](crate::testing::Host).
    pub fn take_sends(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.0.borrow_mut().sends)
    }

    /// Calls in the order in which they were made.
    pub fn calls(&self) -> Vec<Sent> {
        self.0.borrow().calls.clone()
    }

    /// Timers that have yet to fire, the next one first.
    pub fn timers(&self) -> Vec<Timer> {
        self.0.borrow().timers.in_order()
    }

    /// Everything that the entity logged.
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.borrow().logs.clone()
    }

    /// Sets the entity's clock, in milliseconds since 1970. No timer fires: [`Host::advance`](crate::testing::Host)
    /// does that.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        self.0.borrow_mut().now_ms = now_ms;
    }

    /// Moves the entity's clock.
    pub fn advance(&mut self, by: Duration) {
        self.set_now_ms(self.after_ms(by));
    }

    /// Gives the kind a setting.
    pub fn set_config(&mut self, name: &str, value: &str) {
        let mut world = self.0.borrow_mut();
        world.config.insert(name.to_owned(), value.to_owned());
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
        let mut world = self.0.borrow_mut();
        world.answers.entry(address).or_default().push_back(outcome);
    }

    /// Begins a turn: until what it returns is dropped, this is the world of all references on this thread.
    pub(crate) fn enter(&self, in_query: bool) -> Entered {
        self.0.borrow_mut().in_query = in_query;
        let before = CURRENT.replace(Some(Self(Rc::clone(&self.0))));
        Entered { before }
    }

    /// The world of the turn that runs on this thread.
    pub(crate) fn current() -> Self {
        let current = CURRENT.with_borrow(|current| Some(Rc::clone(&current.as_ref()?.0)));
        Self(current.expect(
            "a reference to an entity works in a turn only: call the method through `testing::Host`, or in \
             `Context::turn`",
        ))
    }

    /// Refuses the call of a command by a query.
    pub(crate) fn check_command(&self, method: &str) -> Result<(), CallFailure> {
        if !self.0.borrow().in_query {
            return Ok(());
        }
        Err(CallFailure::Failed(CallError {
            code: "in_query".to_owned(),
            message: format!("a query calls queries only, and `{method}` is a command"),
            may_have_run: false,
        }))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.borrow().now_ms
    }

    pub(crate) fn after_ms(&self, by: Duration) -> u64 {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now_ms().saturating_add(by_ms)
    }

    pub(crate) fn config(&self, name: &str) -> Option<String> {
        self.0.borrow().config.get(name).cloned()
    }

    pub(crate) fn log(&self, level: Level, message: String) {
        self.0.borrow_mut().logs.push(LogLine { level, message });
    }

    pub(crate) fn call(
        &self,
        target: &EntityId,
        method: &str,
        arguments: Vec<u8>,
        _deadline_ms: Option<u64>,
    ) -> Result<Vec<u8>, CallFailure> {
        let mut world = self.0.borrow_mut();
        world.calls.push(sent(target, method, &arguments));
        let answers = world.answers.get_mut(&(target.clone(), method.to_owned()));
        answers.and_then(VecDeque::pop_front).unwrap_or_else(|| {
            panic!(
                "the test has no answer to a call of `{method}` of {target}: give one with `answer`"
            )
        })
    }

    pub(crate) fn send(
        &self,
        target: &EntityId,
        method: &str,
        arguments: Vec<u8>,
    ) -> Result<(), EffectError> {
        let mut world = self.command()?;
        target
            .check()
            .map_err(|error| EffectError::Invalid(error.to_string()))?;
        if world.sends.len() >= PENDING_MAX {
            let limit = format!("an entity has at most {PENDING_MAX} messages on their way");
            return Err(EffectError::Limit(limit));
        }
        world.sends.push(sent(target, method, &arguments));
        Ok(())
    }

    pub(crate) fn after(
        &self,
        name: &str,
        delay_ms: u64,
        payload: Vec<u8>,
    ) -> Result<(), EffectError> {
        let mut world = self.command()?;
        let now_ms = world.now_ms;
        world.timers.start(now_ms, name, delay_ms, None, payload)
    }

    pub(crate) fn every(
        &self,
        name: &str,
        period_ms: u64,
        payload: Vec<u8>,
    ) -> Result<(), EffectError> {
        let mut world = self.command()?;
        let now_ms = world.now_ms;
        let period = Some(period_ms);
        world.timers.start(now_ms, name, period_ms, period, payload)
    }

    pub(crate) fn cancel(&self, name: &str) -> Result<bool, EffectError> {
        Ok(self.command()?.timers.cancel(name))
    }

    /// Sets the clock to the next fire that is due until then, and says which it is.
    pub(crate) fn next_fire(&mut self, until_ms: u64) -> Option<Timer> {
        let mut world = self.0.borrow_mut();
        let now_ms = world.now_ms;
        let (timer, now_ms) = world.timers.next_fire(now_ms, until_ms)?;
        world.now_ms = now_ms;
        Some(timer)
    }

    /// The world of a turn that may have effects.
    fn command(&self) -> Result<RefMut<'_, World>, EffectError> {
        let world = self.0.borrow_mut();
        if world.in_query {
            return Err(EffectError::InQuery);
        }
        Ok(world)
    }
}

/// A turn that runs.
pub(crate) struct Entered {
    before: Option<Fake>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

thread_local! {
    /// References have no context, and find their world here.
    static CURRENT: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

fn sent(target: &EntityId, method: &str, arguments: &[u8]) -> Sent {
    Sent {
        target: target.clone(),
        method: method.to_owned(),
        arguments: shown(arguments),
    }
}

/// A payload as people see it.
///
/// # Panics
/// If JSON cannot say it.
pub(crate) fn shown(bytes: &[u8]) -> Value {
    json::from_messagepack(bytes)
        .unwrap_or_else(|error| panic!("people could not read this payload as JSON: {error}"))
}

/// Messages of one entity that may be on their way at once.
const PENDING_MAX: usize = 1_000;
const BEGINNING_OF_2026_MS: u64 = 1_767_225_600_000;

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::outgoing::Outgoing;
use crate::payload::encode;
use crate::{CallFailure, Caller, EffectError, EntityId};

#[cfg(target_arch = "wasm32")]
mod imports;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::Fake as World;
#[cfg(target_arch = "wasm32")]
pub(crate) use imports::Imports as World;

/// What a method knows of its call, and what it can do to the world.
///
/// A query has a `&Context` and so has no effects: all that has one takes `&mut self`. Effects of a turn leave the
/// entity together with its state: if the turn fails, none of them happened.
///
/// In a component these functions are the imports of `wit/entity.wit`, and those that no method uses drop out of it.
/// In a native build they are a recording fake: see [`Context::test`].
pub struct Context {
    me: EntityId,
    turn: Turn,
    world: World,
}

/// What differs from one call to the next.
pub(crate) struct Turn {
    pub(crate) caller: Caller,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) deadline_left: Duration,
}

impl Turn {
    /// The turn of a timer's fire: the entity calls itself, and nobody waits.
    pub(crate) fn of_timer(me: &EntityId, name: &str, fire: u64) -> Self {
        Self {
            caller: Caller::Entity(me.clone()),
            key: format!("timer/{name}/{fire}"),
            attempt: 1,
            deadline_left: Duration::MAX,
        }
    }
}

impl Context {
    pub(crate) fn new(me: EntityId, turn: Turn, world: World) -> Self {
        Self { me, turn, world }
    }

    /// The address of this entity.
    pub fn me(&self) -> &EntityId {
        &self.me
    }

    /// Who called; in a timer's turn this entity itself.
    pub fn caller(&self) -> &Caller {
        &self.turn.caller
    }

    /// The call's idempotency key: the client's, one derived from the calling turn, or a random one.
    pub fn key(&self) -> &str {
        &self.turn.key
    }

    /// 1 for the first delivery; more when an earlier one may have run.
    pub fn attempt(&self) -> u32 {
        self.turn.attempt
    }

    /// How long somebody waits for the answer, counted from the beginning of the turn. [`Duration::MAX`] for timers; calls that a
    /// timer's turn makes wait for 10 s at most.
    pub fn deadline_left(&self) -> Duration {
        self.turn.deadline_left
    }

    /// Milliseconds since 1970 by the entity's clock, which never goes back.
    pub fn now_ms(&self) -> u64 {
        self.world.now_ms()
    }

    /// A setting that the operator gave the kind when it was deployed.
    pub fn config(&self, name: &str) -> Option<String> {
        self.world.config(name)
    }

    /// Writes a line to the entity's log. Lines beyond the turn's bound are counted, not kept.
    pub fn log(&self, level: Level, message: impl Display) {
        self.world.log(level, message.to_string());
    }

    /// Logs at [`Level::Debug`].
    pub fn debug(&self, message: impl Display) {
        self.log(Level::Debug, message);
    }

    /// Logs at [`Level::Info`]. Takes `format_args!("..")`, too.
    pub fn info(&self, message: impl Display) {
        self.log(Level::Info, message);
    }

    /// Logs at [`Level::Warn`].
    pub fn warn(&self, message: impl Display) {
        self.log(Level::Warn, message);
    }

    /// Logs at [`Level::Error`].
    pub fn error(&self, message: impl Display) {
        self.log(Level::Error, message);
    }

    /// Calls a method of another entity and waits for the answer, at most until this turn's own deadline.
    ///
    /// `arguments` is a struct or map with a field for each argument, or `&()` for none. A call that would close a
    /// circle of entities waiting for each other fails at once with the code `deadlock`.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        target: &EntityId,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<T, CallFailure> {
        Outgoing::new(target, method, arguments).call(&self.world, None)
    }

    /// [`Context::call`] with a deadline of its own, which cannot be later than this turn's.
    pub fn call_within<T: DeserializeOwned>(
        &mut self,
        deadline: Duration,
        target: &EntityId,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<T, CallFailure> {
        let deadline_ms = Some(as_ms(deadline));
        Outgoing::new(target, method, arguments).call(&self.world, deadline_ms)
    }

    /// Records a message to another entity. It leaves after this turn, once, in order, and is retried for 24 hours.
    pub fn send(
        &mut self,
        target: &EntityId,
        method: &str,
        arguments: &impl Serialize,
    ) -> Result<(), EffectError> {
        Outgoing::new(target, method, arguments).send(&self.world)
    }

    /// Calls the `#[timer]` function once after the delay. A timer of the same name is replaced.
    pub fn after(
        &mut self,
        name: &str,
        delay: Duration,
        payload: &impl Serialize,
    ) -> Result<(), EffectError> {
        let payload = encode(payload).map_err(|error| invalid(name, &error))?;
        self.world.after(name, as_ms(delay), payload)
    }

    /// Calls the `#[timer]` function again and again, first after one period. A timer of the same name is replaced.
    pub fn every(
        &mut self,
        name: &str,
        period: Duration,
        payload: &impl Serialize,
    ) -> Result<(), EffectError> {
        let payload = encode(payload).map_err(|error| invalid(name, &error))?;
        self.world.every(name, as_ms(period), payload)
    }

    /// Ends a timer. False if there was none of that name.
    pub fn cancel(&mut self, name: &str) -> Result<bool, EffectError> {
        self.world.cancel(name)
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    pub(crate) fn begin(&mut self, turn: Turn) {
        self.turn = turn;
    }
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For the author.
    Debug,
    /// For the operator.
    Info,
    /// Something to look at some day.
    Warn,
    /// Something to look at now.
    Error,
}

/// The platform counts whole milliseconds; a shorter wait is one, so that nothing fires early.
fn as_ms(duration: Duration) -> u64 {
    let whole_ms = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole_ms).unwrap_or(u64::MAX)
}

fn invalid(name: &str, error: &dyn Display) -> EffectError {
    EffectError::Invalid(format!(
        "the payload of timer `{name}` has no encoding: {error}"
    ))
}

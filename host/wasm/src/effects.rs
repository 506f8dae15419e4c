//! What a turn does to the world: `call` at once, `send` and `timers` when it is committed.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entia_protocol::{
    CallError, CommandKey, EntityId, KindName, Limits, METHOD_BYTES_MAX, Payload, SendRecord,
    Subject, TimerRecord,
};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::bindings::{self, send, timers, types};
use crate::instance::{Input, Turn};
use crate::state::State;

/// What a turn wants done. Whoever commits the turn's state commits this with it, or neither.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Messages, in the order in which they were sent.
    pub sends: Vec<Outgoing>,
    /// Timers by name: as they were set last, or none if they were ended.
    pub timers: BTreeMap<String, Option<TimerRecord>>,
}

/// A message to another entity.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whom it is for.
    pub target: EntityId,
    /// The method's name.
    pub method: String,
    /// Its arguments.
    pub arguments: Payload,
    /// The key under which the target executes it once.
    pub key: CommandKey,
}

impl Effects {
    /// Whether the turn had none.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.timers.is_empty()
    }
}

/// Carries out the calls that a turn makes.
pub trait Calls: Send + Sync {
    /// Calls another entity. The turn waits until the future ends; it never outlives the turn.
    fn call(&self, call: GuestCall) -> Answering;
}

/// The answer to a call, on its way.
pub type Answering = Pin<Box<dyn Future<Output = Result<Payload, CallError>> + Send>>;

/// A call that a turn makes.
#[derive(Debug)]
pub struct GuestCall {
    /// Whom.
    pub target: EntityId,
    /// The method's name.
    pub method: String,
    /// Its arguments.
    pub arguments: Payload,
    /// The key under which the target executes it once.
    pub key: CommandKey,
    /// Until when the turn waits.
    pub deadline: Instant,
}

/// The turn that runs, as far as its effects need to know it.
pub(crate) struct ActiveTurn {
    entity: EntityId,
    /// Empty for a timer's fire.
    method: String,
    command: CommandKey,
    query: bool,
    deadline: Instant,
    calls: Option<Arc<dyn Calls>>,
    /// Effects so far, calls and ended timers included.
    ordinal: u64,
    sends_pending: usize,
    sends_pending_bytes: usize,
    /// The bytes of each timer's payload.
    timers: Arc<BTreeMap<String, usize>>,
    effects: Effects,
}

impl ActiveTurn {
    pub(crate) fn new(entity: EntityId, turn: &Turn<'_>) -> Self {
        Self {
            entity,
            method: match turn.input {
                Input::Call { method, .. } => method.to_owned(),
                Input::Timer { .. } => String::new(),
            },
            command: turn.key.clone(),
            query: turn.query,
            deadline: turn.deadline,
            calls: turn.calls.map(Arc::clone),
            ordinal: 0,
            sends_pending: turn.sends_pending,
            sends_pending_bytes: turn.sends_pending_bytes,
            timers: Arc::clone(turn.timers),
            effects: Effects::default(),
        }
    }

    pub(crate) fn into_effects(self) -> Effects {
        self.effects
    }

    fn next_key(&mut self) -> CommandKey {
        let key = CommandKey::derive(&self.entity, &self.method, &self.command, self.ordinal);
        self.ordinal += 1;
        key
    }

    fn send(&mut self, outgoing: Message, limits: &Limits) -> Result<(), types::EffectError> {
        let bytes = outgoing.check(limits).map_err(effect_error)?;
        if self.sends_pending >= SendRecord::PENDING_MAX {
            return limit(format!(
                "{} messages of this entity wait to be delivered already",
                SendRecord::PENDING_MAX
            ));
        }
        if self.sends_pending_bytes + bytes > SendRecord::PENDING_BYTES_MAX {
            return limit(format!(
                "messages with {} bytes of this entity wait to be delivered already",
                SendRecord::PENDING_BYTES_MAX
            ));
        }
        self.sends_pending += 1;
        self.sends_pending_bytes += bytes;
        let key = self.next_key();
        self.effects.sends.push(Outgoing {
            target: outgoing.target,
            method: outgoing.method,
            arguments: outgoing.arguments,
            key,
        });
        Ok(())
    }

    fn set_timer(&mut self, timer: NewTimer, limits: &Limits) -> Result<(), types::EffectError> {
        timer.check(limits)?;
        let bytes = timer.payload.len();
        let others = self.timers.iter().filter(|(name, _)| **name != timer.name);
        let (count, others_bytes) =
            others.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes));
        if count >= TimerRecord::TIMERS_MAX {
            return limit(format!(
                "this entity has {} timers already",
                TimerRecord::TIMERS_MAX
            ));
        }
        if others_bytes + bytes > TimerRecord::PAYLOADS_BYTES_MAX {
            return limit(format!(
                "the payloads of an entity's timers may have {} bytes together",
                TimerRecord::PAYLOADS_BYTES_MAX
            ));
        }
        Arc::make_mut(&mut self.timers).insert(timer.name.clone(), bytes);
        let key = self.next_key();
        // In the place of what the turn did to it before: a turn that sets it again and again holds one payload.
        let record = TimerRecord {
            name: timer.name.clone(),
            due_ms: timer.now_ms.saturating_add(timer.delay_ms),
            period_ms: timer.period_ms,
            fire: 1,
            key,
            payload: Payload(timer.payload),
        };
        self.effects.timers.insert(timer.name, Some(record));
        Ok(())
    }

    fn cancel(&mut self, name: String) -> bool {
        let found = self.timers.contains_key(&name);
        if found {
            Arc::make_mut(&mut self.timers).remove(&name);
            self.effects.timers.insert(name, None);
        }
        found
    }
}

/// A message or call as a guest gave it, its address checked.
struct Message {
    target: EntityId,
    method: String,
    arguments: Payload,
}

/// Why a message cannot leave.
enum Unsendable {
    Invalid(String),
    TooLarge { bytes_max: u64 },
}

impl Message {
    fn new(
        target: types::EntityId,
        method: String,
        arguments: Vec<u8>,
    ) -> Result<Self, Unsendable> {
        let invalid = |error: &dyn ToString| Unsendable::Invalid(error.to_string());
        let kind = KindName::new(&target.kind).map_err(|error| invalid(&error))?;
        let target = EntityId::new(kind, &target.key).map_err(|error| invalid(&error))?;
        if method.is_empty() || method.len() > METHOD_BYTES_MAX {
            return Err(Unsendable::Invalid(format!(
                "a method's name has 1 to {METHOD_BYTES_MAX} bytes"
            )));
        }
        Ok(Self {
            target,
            method,
            arguments: Payload(arguments),
        })
    }

    /// The arguments' length in bytes, if it may be that.
    fn check(&self, limits: &Limits) -> Result<usize, Unsendable> {
        let bytes = self.arguments.0.len();
        if bytes as u64 > limits.payload_bytes_max {
            return Err(Unsendable::TooLarge {
                bytes_max: limits.payload_bytes_max,
            });
        }
        Ok(bytes)
    }
}

struct NewTimer {
    name: String,
    now_ms: u64,
    delay_ms: u64,
    period_ms: Option<u64>,
    payload: Vec<u8>,
}

impl NewTimer {
    fn check(&self, limits: &Limits) -> Result<(), types::EffectError> {
        if self.name.is_empty() || self.name.len() > TimerRecord::NAME_BYTES_MAX {
            return invalid(format!(
                "a timer's name has 1 to {} bytes",
                TimerRecord::NAME_BYTES_MAX
            ));
        }
        if self.delay_ms > TimerRecord::DELAY_MS_MAX {
            return invalid(format!(
                "a timer waits at most {} ms",
                TimerRecord::DELAY_MS_MAX
            ));
        }
        if self
            .period_ms
            .is_some_and(|ms| ms < TimerRecord::PERIOD_MS_MIN)
        {
            return invalid(format!(
                "a timer repeats at most every {} ms",
                TimerRecord::PERIOD_MS_MIN
            ));
        }
        if self.payload.len() as u64 > limits.payload_bytes_max {
            return limit(too_large(limits.payload_bytes_max));
        }
        Ok(())
    }
}

impl State {
    /// Counts a host call and gives the turn for an effect, or says why there can be none.
    fn effect(
        &mut self,
    ) -> wasmtime::Result<Result<(&mut ActiveTurn, &Limits), types::EffectError>> {
        self.meter.host_call()?;
        Ok(match &mut self.turn {
            None => invalid(OUTSIDE.to_owned()),
            Some(turn) if turn.query => Err(types::EffectError::InQuery),
            Some(turn) => Ok((turn, &self.meter.limits)),
        })
    }

    fn timer(
        &mut self,
        name: String,
        delay_ms: u64,
        period_ms: Option<u64>,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), types::EffectError>> {
        let now_ms = self.clock.now_ns() / 1_000_000;
        Ok(self.effect()?.and_then(|(turn, limits)| {
            let timer = NewTimer {
                name,
                now_ms,
                delay_ms,
                period_ms,
                payload,
            };
            turn.set_timer(timer, limits)
        }))
    }

    /// Begins a call of another entity: the answer on its way, or why there is none.
    fn call(
        &mut self,
        message: Result<Message, Unsendable>,
        deadline_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Answering, types::CallFailure>> {
        self.meter.host_call()?;
        let refused = |code: &str, message: String| {
            Ok(Err(types::CallFailure::Failed(types::CallError {
                code: code.to_owned(),
                message,
                may_have_run: false,
            })))
        };
        let limits = &self.meter.limits;
        let message = match message.and_then(|message| message.check(limits).map(|_| message)) {
            Ok(message) => message,
            Err(Unsendable::Invalid(reason)) => return refused("bad_address", reason),
            Err(Unsendable::TooLarge { bytes_max }) => {
                let subject = Subject::Arguments;
                let error = CallError::TooLarge { subject, bytes_max };
                return Ok(Err(bindings::call_failure(error)));
            }
        };
        let Some(turn) = &mut self.turn else {
            return refused("bad_address", OUTSIDE.to_owned());
        };
        let own = deadline_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let deadline = own.map_or(turn.deadline, |own| own.min(turn.deadline));
        let key = turn.next_key();
        let Some(calls) = &turn.calls else {
            return refused("bad_address", OUTSIDE.to_owned());
        };
        Ok(Ok(calls.call(GuestCall {
            target: message.target,
            method: message.method,
            arguments: message.arguments,
            key,
            deadline,
        })))
    }
}

impl send::Host for State {
    fn send(
        &mut self,
        target: types::EntityId,
        method: String,
        arguments: Vec<u8>,
    ) -> wasmtime::Result<Result<(), types::EffectError>> {
        let message = Message::new(target, method, arguments).map_err(effect_error);
        Ok(self
            .effect()?
            .and_then(|(turn, limits)| turn.send(message?, limits)))
    }
}

impl timers::Host for State {
    fn after(
        &mut self,
        name: String,
        delay_ms: u64,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), types::EffectError>> {
        self.timer(name, delay_ms, None, payload)
    }

    fn every(
        &mut self,
        name: String,
        period_ms: u64,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), types::EffectError>> {
        self.timer(name, period_ms, Some(period_ms), payload)
    }

    fn cancel(&mut self, name: String) -> wasmtime::Result<Result<bool, types::EffectError>> {
        Ok(self.effect()?.map(|(turn, _)| turn.cancel(name)))
    }
}

/// Links `call`, the one import that waits. A component without it needs no fiber.
pub(crate) fn add_call_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Arguments = (types::EntityId, String, Vec<u8>, Option<u64>);
    type Answer = Result<Vec<u8>, types::CallFailure>;
    let mut interface = linker.instance("entia:entity/call@1.0.0")?;
    interface.func_wrap_async(
        "call",
        |mut store: StoreContextMut<'_, State>,
         (target, method, arguments, deadline_ms): Arguments| {
            Box::new(async move {
                let message = Message::new(target, method, arguments);
                let answer: Answer = match store.data_mut().call(message, deadline_ms)? {
                    Ok(mut answering) => {
                        let mut waited = false;
                        let answer = poll_fn(|task| {
                            let polled = answering.as_mut().poll(task);
                            waited |= polled.is_pending();
                            polled
                        });
                        let answer = answer.await;
                        if waited {
                            // Time that passed while it waited is not its own.
                            store.set_epoch_deadline(1);
                        }
                        answer
                            .map(|payload| payload.0)
                            .map_err(bindings::call_failure)
                    }
                    Err(failure) => Err(failure),
                };
                Ok((answer,))
            })
        },
    )
}

fn effect_error(error: Unsendable) -> types::EffectError {
    match error {
        Unsendable::Invalid(reason) => types::EffectError::Invalid(reason),
        Unsendable::TooLarge { bytes_max } => types::EffectError::Limit(too_large(bytes_max)),
    }
}

fn too_large(bytes_max: u64) -> String {
    format!("a payload may have {bytes_max} bytes (payload_bytes_max)")
}

fn invalid<T>(reason: String) -> Result<T, types::EffectError> {
    Err(types::EffectError::Invalid(reason))
}

fn limit<T>(reason: String) -> Result<T, types::EffectError> {
    Err(types::EffectError::Limit(reason))
}

/// `describe`, `activate` and `snapshot` are not turns.
const OUTSIDE: &str = "only `handle` and `on-timer` can have effects";

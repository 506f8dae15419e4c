use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use entia_protocol::{
    CallError, Caller, CommandKey, Digest, EntityId, KindDescription, Limits, Payload, StoredState,
    Subject,
};
use wasmtime::Store;

use crate::bindings::{self, Context, Entity, types};
use crate::clock::EntityClock;
use crate::component::{Component, Host};
use crate::effects::{ActiveTurn, Calls, Effects};
use crate::engine::{Ticker, ticks};
use crate::exports::{Exports, Fiber, at_tick, block};
use crate::log::{LogBuffer, TurnLog};
use crate::state::State;
use crate::{trap, wasi};

/// What all instances of one version of a kind share.
#[derive(Debug, Clone, Default)]
pub struct GuestConfig {
    /// What each may use.
    pub limits: Limits,
    /// What `config.read` gives.
    pub settings: Arc<BTreeMap<String, String>>,
}

/// A running guest: one entity in memory.
///
/// After an error that [`Instance::failed`] confirms it is poisoned: every later call answers that error's like.
pub struct Instance {
    store: Store<State>,
    exports: Exports,
    clock: EntityClock,
    /// Whose instance it is, if its turns can have effects.
    entity: Option<EntityId>,
    failed: bool,
}

/// One turn: a call or a timer's fire, as the guest sees it, and what its effects need to know.
pub struct Turn<'a> {
    /// What is handed to the guest.
    pub input: Input<'a>,
    /// Who calls.
    pub caller: &'a Caller,
    /// The command's key.
    pub key: &'a CommandKey,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// Milliseconds until nobody waits any more.
    pub deadline_left_ms: u64,
    /// The same as an instant: calls to others do not wait longer.
    pub deadline: Instant,
    /// Effects are refused.
    pub query: bool,
    /// The names of the entity's timers, and the bytes of their payloads.
    pub timers: &'a Arc<BTreeMap<String, usize>>,
    /// The entity's messages that wait to be delivered.
    pub sends_pending: usize,
    /// Bytes of their arguments.
    pub sends_pending_bytes: usize,
    /// Carries out `call`; none if nobody does.
    pub calls: Option<&'a Arc<dyn Calls>>,
}

/// What a turn is about.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A call.
    Call {
        /// The method.
        method: &'a str,
        /// Its arguments.
        arguments: &'a Payload,
    },
    /// A timer's fire.
    Timer {
        /// The timer's name.
        name: &'a str,
        /// Counts its fires from 1.
        fire: u64,
        /// What the entity gave to it.
        payload: &'a Payload,
    },
}

impl Host {
    /// Starts an entity from its stored state, or afresh.
    pub fn activate(
        &self,
        component: &Component,
        entity: &EntityId,
        config: &GuestConfig,
        state: Option<&StoredState>,
    ) -> Result<Instance, CallError> {
        let floor_ms = state.map_or(0, |state| state.taken_ms);
        let mut instance = Instance::start(self, component, entity, config, floor_ms)?;
        let me = bindings::entity_id(entity);
        let snapshot = state.map(bindings::snapshot);
        let answer = instance.run(
            self.ticker(),
            "activate",
            |exports, store| {
                let guest = exports.entia_entity_guest();
                guest.call_activate(store, &me, snapshot.as_ref())
            },
            async |fiber, store| fiber.activate(store, &me, snapshot.as_ref()).await,
        )?;
        match answer {
            Ok(()) => Ok(instance),
            Err(rejection) => Err(CallError::ActivationFailed {
                entity: entity.clone(),
                message: cut(rejection.message),
            }),
        }
    }

    /// Hands a call or a timer's fire to an entity, on this thread. A refusal is an answer: [`CallError::Rejected`] leaves
    /// the instance as it is. A timer's answer is empty.
    ///
    /// For a component that [waits](Component::waits) use [`Host::handle_waiting`]: here it would keep the thread.
    pub fn handle(&self, instance: &mut Instance, turn: &Turn<'_>) -> Result<Payload, CallError> {
        instance.begin_turn(turn);
        let answer = match turn.input {
            Input::Call { method, arguments } => {
                let context = context(turn);
                instance.run(
                    self.ticker(),
                    "handle",
                    |exports, store| {
                        let guest = exports.entia_entity_guest();
                        guest.call_handle(store, &context, method, &arguments.0)
                    },
                    async |fiber, store| fiber.handle(store, &context, method, &arguments.0).await,
                )
            }
            Input::Timer {
                name,
                fire,
                payload,
            } => instance
                .run(
                    self.ticker(),
                    "on-timer",
                    |exports, store| {
                        let guest = exports.entia_entity_guest();
                        guest.call_on_timer(store, name, fire, &payload.0)
                    },
                    async |fiber, store| fiber.on_timer(store, name, fire, &payload.0).await,
                )
                .map(|answer| answer.map(|()| Vec::new())),
        };
        instance.answer(answer?)
    }

    /// As [`Host::handle`], for a component that waits inside its turns. The future needs no runtime but the one that its
    /// [`Calls`] need; it gives its thread away at each tick that the guest runs.
    pub async fn handle_waiting(
        &self,
        instance: &mut Instance,
        turn: &Turn<'_>,
    ) -> Result<Payload, CallError> {
        let Exports::Fiber(fiber) = instance.exports else {
            return self.handle(instance, turn);
        };
        instance.begin_turn(turn);
        let during = match turn.input {
            Input::Call { .. } => "handle",
            Input::Timer { .. } => "on-timer",
        };
        instance.begin(during)?;
        let outcome = {
            let context = context(turn);
            let store = &mut instance.store;
            let mut turn = pin!(async {
                match turn.input {
                    Input::Call { method, arguments } => {
                        fiber.handle(store, &context, method, &arguments.0).await
                    }
                    Input::Timer {
                        name,
                        fire,
                        payload,
                    } => {
                        let answer = fiber.on_timer(store, name, fire, &payload.0).await?;
                        Ok(answer.map(|()| Vec::new()))
                    }
                }
            });
            poll_fn(|task| {
                // Only while it runs: a guest that waits needs no ticks.
                let _running = self.ticker().running();
                turn.as_mut().poll(task)
            })
            .await
        };
        let answer = instance.end(outcome)?;
        instance.answer(answer)
    }

    /// Takes an entity's state as (schema version, bytes).
    pub fn snapshot(&self, instance: &mut Instance) -> Result<(u32, Vec<u8>), CallError> {
        let snapshot = instance.run(
            self.ticker(),
            "snapshot",
            |exports, store| exports.entia_entity_guest().call_snapshot(store),
            async |fiber, store| fiber.snapshot(store).await,
        )?;
        let bytes_max = instance.limits().state_bytes_max;
        if snapshot.bytes.len() as u64 > bytes_max {
            instance.failed = true;
            return Err(CallError::TooLarge {
                subject: Subject::State,
                bytes_max,
            });
        }
        Ok((snapshot.schema_version, snapshot.bytes))
    }
}

impl Instance {
    pub(crate) fn start(
        host: &Host,
        component: &Component,
        entity: &EntityId,
        config: &GuestConfig,
        clock_floor_ms: u64,
    ) -> Result<Self, CallError> {
        let clock = EntityClock::from_ms(clock_floor_ms);
        let log = LogBuffer::new(config.limits.log_bytes_max);
        let wasi = wasi::context(clock.clone(), &log, seed(entity));
        let state = State::new(
            wasi,
            log,
            Arc::clone(&config.settings),
            config.limits.clone(),
            clock.clone(),
            Arc::clone(host.memory()),
        );
        let mut store = Store::new(host.engine(), state);
        store.limiter(|state| &mut state.meter);
        let running = host.ticker().running();
        let exports = if component.waits() {
            store.epoch_deadline_callback(at_tick);
            store.set_epoch_deadline(1);
            block(Fiber::start(component, &mut store)).map(Exports::Fiber)
        } else {
            store.epoch_deadline_trap();
            store.set_epoch_deadline(ticks(config.limits.cpu_ms_max));
            component.pre.instantiate(&mut store).map(Exports::Plain)
        };
        drop(running);
        match exports {
            Ok(exports) => Ok(Self {
                store,
                exports,
                clock,
                entity: component.imports.effects.then(|| entity.clone()),
                failed: false,
            }),
            Err(error) => {
                let state = store.data();
                Err(state
                    .log
                    .with_lines(|lines| trap::error(&error, &state.meter, lines)))
            }
        }
    }

    pub(crate) fn describe(&mut self, ticker: &Ticker) -> Result<Vec<KindDescription>, CallError> {
        let kinds = self.run(
            ticker,
            "describe",
            |exports, store| exports.entia_entity_guest().call_describe(store),
            async |fiber, store| fiber.describe(store).await,
        )?;
        Ok(kinds.into_iter().map(bindings::kind).collect())
    }

    /// Whether the guest trapped or overran a bound: it has to be dropped.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The entity's clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ns() / 1_000_000
    }

    /// The guest's linear memory, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().meter.memory_bytes()
    }

    /// What the guest logged since this was last called.
    pub fn take_log(&self) -> TurnLog {
        self.store.data().log.take()
    }

    fn limits(&self) -> &Limits {
        &self.store.data().meter.limits
    }

    /// What the turn that ended well wants done. None of it is, if the turn failed.
    pub fn take_effects(&mut self) -> Effects {
        let turn = self.store.data_mut().turn.take();
        turn.map(ActiveTurn::into_effects).unwrap_or_default()
    }

    fn begin_turn(&mut self, turn: &Turn<'_>) {
        if let Some(entity) = &self.entity {
            self.store.data_mut().turn = Some(ActiveTurn::new(entity.clone(), turn));
        }
    }

    /// Runs one export under its bounds, to its end on this thread.
    fn run<T>(
        &mut self,
        ticker: &Ticker,
        during: &'static str,
        plain: impl FnOnce(&Entity, &mut Store<State>) -> wasmtime::Result<T>,
        fiber: impl AsyncFnOnce(Fiber, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        self.begin(during)?;
        let running = ticker.running();
        let outcome = match &self.exports {
            Exports::Plain(exports) => plain(exports, &mut self.store),
            Exports::Fiber(exports) => block(fiber(*exports, &mut self.store)),
        };
        drop(running);
        self.end(outcome)
    }

    /// Gives the export that is about to run its bounds.
    fn begin(&mut self, during: &'static str) -> Result<(), CallError> {
        if self.failed {
            return Err(CallError::Trapped {
                during: during.to_owned(),
                message: "the instance failed before and was not replaced".to_owned(),
            });
        }
        self.store.data_mut().meter.begin(during);
        let deadline = match &self.exports {
            Exports::Plain(_) => ticks(self.limits().cpu_ms_max),
            Exports::Fiber(_) => 1,
        };
        self.store.set_epoch_deadline(deadline);
        Ok(())
    }

    fn end<T>(&mut self, outcome: wasmtime::Result<T>) -> Result<T, CallError> {
        outcome.map_err(|error| {
            self.failed = true;
            self.store.data_mut().turn = None;
            // The lines stay for whoever takes the log.
            let state = self.store.data();
            state
                .log
                .with_lines(|lines| trap::error(&error, &state.meter, lines))
        })
    }

    /// Bounds what a guest answered to a call.
    fn answer(&mut self, answer: Result<Vec<u8>, types::Rejection>) -> Result<Payload, CallError> {
        let bytes_max = self.limits().payload_bytes_max;
        let bytes = match &answer {
            Ok(payload) => payload.len(),
            Err(rejection) => {
                rejection.data.as_ref().map_or(0, Vec::len)
                    + rejection.message.len()
                    + rejection.code.len()
            }
        };
        if bytes as u64 > bytes_max {
            // What the turn changed must not stay: its caller is told that nothing did.
            self.failed = true;
            return Err(CallError::TooLarge {
                subject: Subject::Result,
                bytes_max,
            });
        }
        answer
            .map(Payload)
            .map_err(|rejection| CallError::Rejected(bindings::rejection(rejection)))
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("memory_bytes", &self.memory_bytes())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn context(turn: &Turn<'_>) -> Context {
    Context {
        caller: bindings::caller(turn.caller),
        key: turn.key.to_string(),
        attempt: turn.attempt,
        deadline_left_ms: turn.deadline_left_ms,
    }
}

/// The insecure random seed of an entity: the same wherever and whenever it runs.
fn seed(entity: &EntityId) -> u128 {
    let digest = Digest::of(entity.to_string().as_bytes());
    u128::from_le_bytes(
        digest.as_bytes()[..16]
            .try_into()
            .expect("a digest has 32 bytes"),
    )
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}

/// The longest guest-written message that an error repeats, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_000;

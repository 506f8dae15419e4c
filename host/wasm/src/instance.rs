use std::collections::BTreeMap;
use std::sync::Arc;

use entia_protocol::{
    CallError, Caller, CommandKey, Digest, EntityId, KindDescription, Limits, Payload, StoredState,
    Subject,
};
use wasmtime::Store;

use crate::bindings::{self, Context, Entity};
use crate::clock::EntityClock;
use crate::component::{Component, Host};
use crate::engine::{Ticker, ticks};
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
    exports: Entity,
    clock: EntityClock,
    failed: bool,
}

/// One call, as the guest sees it.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// The command's key.
    pub key: &'a CommandKey,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// Milliseconds until nobody waits any more.
    pub deadline_left_ms: u64,
    /// The method.
    pub method: &'a str,
    /// Its arguments.
    pub arguments: &'a Payload,
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
        let answer = instance.run(self.ticker(), "activate", |exports, store| {
            exports
                .entia_entity_guest()
                .call_activate(store, &me, snapshot.as_ref())
        })?;
        match answer {
            Ok(()) => Ok(instance),
            Err(rejection) => Err(CallError::ActivationFailed {
                entity: entity.clone(),
                message: cut(rejection.message),
            }),
        }
    }

    /// Hands a call to an entity. A refusal is an answer: [`CallError::Rejected`] leaves the instance as it is.
    pub fn handle(&self, instance: &mut Instance, turn: &Turn<'_>) -> Result<Payload, CallError> {
        let context = Context {
            caller: bindings::caller(turn.caller),
            key: turn.key.to_string(),
            attempt: turn.attempt,
            deadline_left_ms: turn.deadline_left_ms,
        };
        let answer = instance.run(self.ticker(), "handle", |exports, store| {
            let guest = exports.entia_entity_guest();
            guest.call_handle(store, &context, turn.method, &turn.arguments.0)
        })?;
        let bytes_max = instance.limits().payload_bytes_max;
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
            instance.failed = true;
            return Err(CallError::TooLarge {
                subject: Subject::Result,
                bytes_max,
            });
        }
        answer
            .map(Payload)
            .map_err(|rejection| CallError::Rejected(bindings::rejection(rejection)))
    }

    /// Takes an entity's state as (schema version, bytes).
    pub fn snapshot(&self, instance: &mut Instance) -> Result<(u32, Vec<u8>), CallError> {
        let snapshot = instance.run(self.ticker(), "snapshot", |exports, store| {
            exports.entia_entity_guest().call_snapshot(store)
        })?;
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
        );
        let mut store = Store::new(host.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(ticks(config.limits.cpu_ms_max));
        let running = host.ticker().running();
        let exports = component.pre.instantiate(&mut store);
        drop(running);
        match exports {
            Ok(exports) => Ok(Self {
                store,
                exports,
                clock,
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
        let kinds = self.run(ticker, "describe", |exports, store| {
            exports.entia_entity_guest().call_describe(store)
        })?;
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

    /// Runs one export under its bounds.
    fn run<T>(
        &mut self,
        ticker: &Ticker,
        during: &'static str,
        export: impl FnOnce(&Entity, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        if self.failed {
            return Err(CallError::Trapped {
                during: during.to_owned(),
                message: "the instance failed before and was not replaced".to_owned(),
            });
        }
        self.store.data_mut().meter.begin(during);
        let deadline = ticks(self.limits().cpu_ms_max);
        self.store.set_epoch_deadline(deadline);
        let running = ticker.running();
        let outcome = export(&self.exports, &mut self.store);
        drop(running);
        outcome.map_err(|error| {
            self.failed = true;
            // The lines stay for whoever takes the log.
            let state = self.store.data();
            state
                .log
                .with_lines(|lines| trap::error(&error, &state.meter, lines))
        })
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

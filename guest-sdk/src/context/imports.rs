//! The world as a component sees it: one function for each import, so that the linker drops those that nobody calls.

use std::time::SystemTime;

use crate::bindings::entia::entity::{call, config, log, send, timers, types};
use crate::context::Level;
use crate::{Bytes, CallError, CallFailure, EffectError, EntityId, Rejection};

pub(crate) struct Imports;

impl Imports {
    /// The world of the turn that runs: there is one entity in a component.
    pub(crate) fn current() -> Self {
        Self
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_1970.map_or(0, |elapsed| elapsed.as_millis() as u64)
    }

    pub(crate) fn config(&self, name: &str) -> Option<String> {
        config::read(name)
    }

    pub(crate) fn log(&self, level: Level, message: String) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, &message);
    }

    pub(crate) fn call(
        &self,
        target: &EntityId,
        method: &str,
        arguments: Vec<u8>,
        deadline_ms: Option<u64>,
    ) -> Result<Vec<u8>, CallFailure> {
        Ok(call::call(&target.into(), method, &arguments, deadline_ms)?)
    }

    pub(crate) fn send(
        &self,
        target: &EntityId,
        method: &str,
        arguments: Vec<u8>,
    ) -> Result<(), EffectError> {
        Ok(send::send(&target.into(), method, &arguments)?)
    }

    pub(crate) fn after(
        &self,
        name: &str,
        delay_ms: u64,
        payload: Vec<u8>,
    ) -> Result<(), EffectError> {
        Ok(timers::after(name, delay_ms, &payload)?)
    }

    pub(crate) fn every(
        &self,
        name: &str,
        period_ms: u64,
        payload: Vec<u8>,
    ) -> Result<(), EffectError> {
        Ok(timers::every(name, period_ms, &payload)?)
    }

    pub(crate) fn cancel(&self, name: &str) -> Result<bool, EffectError> {
        Ok(timers::cancel(name)?)
    }
}

impl From<&EntityId> for types::EntityId {
    fn from(id: &EntityId) -> Self {
        Self {
            kind: id.kind().to_owned(),
            key: id.key().to_owned(),
        }
    }
}

impl From<types::CallFailure> for CallFailure {
    fn from(failure: types::CallFailure) -> Self {
        match failure {
            types::CallFailure::Rejected(rejection) => Self::Rejected(Rejection {
                code: rejection.code,
                message: rejection.message,
                data: rejection.data.map(Bytes),
            }),
            types::CallFailure::Failed(error) => Self::Failed(CallError {
                code: error.code,
                message: error.message,
                may_have_run: error.may_have_run,
            }),
        }
    }
}

impl From<types::EffectError> for EffectError {
    fn from(error: types::EffectError) -> Self {
        match error {
            types::EffectError::InQuery => Self::InQuery,
            types::EffectError::Limit(limit) => Self::Limit(limit),
            types::EffectError::Invalid(reason) => Self::Invalid(reason),
        }
    }
}

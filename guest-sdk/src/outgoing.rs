//! Calls and messages to other entities: those of a [`Context`](crate::Context), and those of generated references.

use rmp_serde::encode::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::World;
use crate::payload::{decode, encode, encode_arguments};
use crate::{CallError, CallFailure, EffectError, EntityId};

/// A call or a message, ready to leave.
pub(crate) struct Outgoing<'a> {
    target: &'a EntityId,
    method: &'a str,
    arguments: Result<Vec<u8>, Error>,
}

impl<'a> Outgoing<'a> {
    /// `arguments` is a struct or map with a field for each argument, or `()` for none.
    pub(crate) fn new(
        target: &'a EntityId,
        method: &'a str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Self {
        Self {
            target,
            method,
            arguments: encode_arguments(arguments),
        }
    }

    /// Waits for the answer.
    pub(crate) fn call<T: DeserializeOwned>(
        self,
        world: &World,
        deadline_ms: Option<u64>,
    ) -> Result<T, CallFailure> {
        let method = self.method;
        let arguments = self.arguments.map_err(|error| {
            let message = format!("the arguments of `{method}` have no encoding: {error}");
            failed("bad_arguments", message, false)
        })?;
        let answer = world.call(self.target, method, arguments, deadline_ms)?;
        decode(&answer).map_err(|error| {
            let message = format!("the result of `{method}` is not of the expected type: {error}");
            failed("bad_result", message, true)
        })
    }

    /// Does not wait.
    pub(crate) fn send(self, world: &World) -> Result<(), EffectError> {
        let arguments = self.arguments.map_err(|error| {
            let method = self.method;
            EffectError::Invalid(format!(
                "the arguments of `{method}` have no encoding: {error}"
            ))
        })?;
        world.send(self.target, self.method, arguments)
    }
}

/// A call or a message in the making, by a reference's method. It takes one argument after the other, so that a method
/// costs a component no type of its own.
pub struct Message<'a> {
    target: &'a EntityId,
    method: &'static str,
    count: u32,
    fields: Result<Vec<u8>, Error>,
}

impl<'a> Message<'a> {
    /// A message without arguments.
    pub fn new(target: &'a EntityId, method: &'static str) -> Self {
        Self {
            target,
            method,
            count: 0,
            fields: Ok(Vec::new()),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, name: &str, value: impl Serialize) -> Self {
        self.count += 1;
        self.fields = self.fields.and_then(|mut fields| {
            fields.extend(encode(name)?);
            fields.extend(encode(&value)?);
            Ok(fields)
        });
        self
    }

    /// Calls a command and waits for the answer.
    pub fn command<T: DeserializeOwned>(self) -> Result<T, CallFailure> {
        let world = World::current();
        #[cfg(not(target_arch = "wasm32"))]
        world.check_command(self.method)?;
        self.finish().call(&world, None)
    }

    /// Calls a query and waits for the answer.
    pub fn query<T: DeserializeOwned>(self) -> Result<T, CallFailure> {
        self.finish().call(&World::current(), None)
    }

    /// Does not wait.
    pub fn send(self) -> Result<(), EffectError> {
        self.finish().send(&World::current())
    }

    fn finish(self) -> Outgoing<'a> {
        let count = self.count;
        let arguments = self.fields.and_then(|fields| {
            let mut map = Vec::with_capacity(fields.len() + 5);
            rmp::encode::write_map_len(&mut map, count)?;
            map.extend(fields);
            Ok(map)
        });
        Outgoing {
            target: self.target,
            method: self.method,
            arguments,
        }
    }
}

fn failed(code: &str, message: String, may_have_run: bool) -> CallFailure {
    CallFailure::Failed(CallError {
        code: code.to_owned(),
        message,
        may_have_run,
    })
}

//! The edge between JSON and MessagePack.
//!
//! ```text
//!   JSON text ──parse──► Value ──validate──► encode by shape ──► Payload     (arguments)
//!   Payload ──────────────────────────────────────────────────► JSON text    (results)
//! ```
//! Integers are exact in both directions or refused; bytes are base64 where the schema says `contentEncoding: base64`; NaN,
//! infinities and keys that are not text have no JSON and are refused. Arguments are written with their keys in order, so
//! that the same arguments have the same hash whoever wrote them down.
//!
//! Schemas, arguments and results all come from people whom the node does not trust, so depth, size and the work that a
//! schema may cause are bounded.

mod complaint;
mod cost;
mod encode;
mod json;
mod parse;
mod schema;
mod shape;

#[cfg(test)]
mod tests;

use entia_protocol::{CallError, MethodDescription, Payload, Subject};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

pub use json::json_from_payload;
pub use schema::SchemaError;

use crate::ApiError;
use crate::convert::schema::Checked;
use crate::convert::shape::Shapes;

/// The deepest nesting of arguments and results. Far below what a thread's stack bears.
pub const DEPTH_MAX: usize = 64;
/// The longest JSON Schema of a method's arguments, result or rejection, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// The longest JSON text of arguments whose MessagePack may have `payload_bytes_max` bytes.
///
/// JSON is longer than MessagePack (base64, quotes, white space), hardly ever twice as long.
pub const fn json_bytes_max(payload_bytes_max: u64) -> u64 {
    payload_bytes_max.saturating_mul(2)
}

/// A method's schemas, checked and compiled when its kind is deployed or loaded.
#[derive(Debug)]
pub struct MethodSchema {
    method: String,
    shapes: Shapes,
    validator: Validator,
}

impl MethodSchema {
    /// Checks all schemas of a method and compiles that of its arguments.
    ///
    /// Refused are schemas that are too large or too deep, refer to anything but their own `$defs`, describe what JSON or
    /// MessagePack cannot carry (128-bit integers, maps with keys that are not text), or would make validation endless.
    pub fn compile(method: &MethodDescription) -> Result<Self, SchemaError> {
        let in_part = |part: &'static str| {
            move |error: SchemaError| SchemaError {
                method: method.name.clone(),
                part,
                ..error
            }
        };
        let arguments = Checked::new(&method.arguments).map_err(in_part("arguments"))?;
        if !arguments.shapes.takes_an_object() {
            let error = SchemaError::at_root("arguments are an object with a property for each");
            return Err(in_part("arguments")(error));
        }
        Checked::new(&method.result).map_err(in_part("result"))?;
        if let Some(rejection) = &method.rejection {
            Checked::new(rejection).map_err(in_part("rejection"))?;
        }
        let validator = validator(&arguments.schema)
            .map_err(|message| SchemaError::at_root(&message))
            .map_err(in_part("arguments"))?;
        Ok(Self {
            method: method.name.clone(),
            shapes: arguments.shapes,
            validator,
        })
    }

    /// Reads a call's arguments: one JSON object with a property for each, or nothing at all for a call without any.
    ///
    /// # Errors
    /// `bad_json` for what is not JSON, `bad_arguments` for what does not fit the schema, and `too_large`.
    pub fn arguments_from_json(
        &self,
        json: &[u8],
        payload_bytes_max: u64,
    ) -> Result<Payload, ApiError> {
        let too_large = CallError::TooLarge {
            subject: Subject::Arguments,
            bytes_max: payload_bytes_max,
        };
        if json.len() as u64 > json_bytes_max(payload_bytes_max) {
            return Err(too_large.into());
        }
        let arguments = parse::arguments(json)?;
        self.validate(&arguments, json.len())
            .map_err(|message| CallError::BadArguments { message })?;
        let payload = encode::encode(&self.shapes, &arguments, json)
            .map_err(|message| CallError::BadArguments { message })?;
        if payload.0.len() as u64 > payload_bytes_max {
            return Err(too_large.into());
        }
        Ok(payload)
    }

    fn validate(&self, arguments: &Value, json_bytes: usize) -> Result<(), String> {
        let known = self.shapes.arguments();
        if let (Some(given), Some(known)) = (arguments.as_object(), &known)
            && let Some(unknown) = given.keys().find(|name| !known.contains(&name.as_str()))
        {
            let takes = complaint::takes(&self.method, known);
            let unknown = complaint::shortened(unknown);
            return Err(format!("unknown argument `{unknown}`; {takes}"));
        }
        cost::check(&self.shapes, arguments, json_bytes)?;
        if self.validator.is_valid(arguments) {
            return Ok(());
        }
        let known = known.unwrap_or_default();
        Err(match self.validator.iter_errors(arguments).next() {
            Some(error) => complaint::complaint(&self.method, &known, &error),
            None => "the arguments do not fit the method's schema".to_owned(),
        })
    }
}

/// Compiles a checked schema, on a thread of its own: compiling follows a chain of references by recursion, and the chain
/// may be as long as the schema has nodes.
fn validator(schema: &Value) -> Result<Validator, String> {
    // Linear-time patterns: a backtracking engine lets a caller's text cost exponential time.
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    let compile = || {
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| complaint::shortened(&error.to_string()))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("compile-schema".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, compile)
            .map_err(|error| format!("no thread to compile it on: {error}"))?;
        let compiled = thread.join();
        compiled.unwrap_or_else(|_| Err("the validator failed to compile it".to_owned()))
    })
}

/// The largest compiled form of one `pattern`, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Enough for a chain through all the nodes that a schema may have.
const COMPILE_STACK_BYTES: usize = 64 << 20;

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Rejection;

/// Why [`Context::call`](crate::Context::call) did not return a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CallFailure {
    /// The other entity answered with a refusal.
    Rejected(Rejection),
    /// No answer.
    Failed(CallError),
}

/// Why a call to another entity has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallError {
    /// The code of the HTTP API's errors, such as `deadline_exceeded` or `deadlock`. New ones may appear.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the call's effect may be in the other entity's state. False: repeating it is safe.
    pub may_have_run: bool,
}

/// Why a send or a timer was refused. Nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EffectError {
    /// The turn is a query; only commands have effects.
    InQuery,
    /// A bound was met; the text names it.
    Limit(String),
    /// The address, name or payload is not a valid one; the text says why.
    Invalid(String),
}

impl CallFailure {
    /// The error with which the other entity's method refused, as its type. `None` if it is not of that type, or there was
    /// no answer.
    ///
    /// ```
    /// # use entia_sdk::prelude::*;
    /// # #[derive(Debug, PartialEq, Deserialize)]
    /// # enum Refusal { Overdraft { missing: u64 } }
    /// # fn example(failure: CallFailure) -> Option<u64> {
    /// match failure.details() {
    ///     Some(Refusal::Overdraft { missing }) => Some(missing),
    ///     None => None,
    /// }
    /// # }
    /// ```
    pub fn details<E: DeserializeOwned>(&self) -> Option<E> {
        match self {
            Self::Rejected(rejection) => rejection.details(),
            Self::Failed(_) => None,
        }
    }

    /// A rejection with this error, as a test's answer to a call: see [`Fake::answer`](crate::testing::Fake::answer).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn rejected(error: &(impl Serialize + fmt::Display)) -> Self {
        Self::Rejected(Rejection::of(error))
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "the other entity refused: {rejection}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.may_have_run {
            true => "it may have run",
            false => "it did not run",
        };
        write!(
            f,
            "the call failed: {} ({}); {effect}",
            self.message, self.code
        )
    }
}

impl fmt::Display for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InQuery => f.write_str("a query has no effects"),
            Self::Limit(limit) => write!(f, "over a limit: {limit}"),
            Self::Invalid(reason) => write!(f, "invalid: {reason}"),
        }
    }
}

impl std::error::Error for CallFailure {}
impl std::error::Error for CallError {}
impl std::error::Error for EffectError {}

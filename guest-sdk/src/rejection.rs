use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Bytes;
use crate::payload::{decode, encode};

mod code;

/// An entity's refusal of a call: an answer, not a failure.
///
/// A method that returns `Result<T, E>` makes one of every `Err`. An enum's variant is the code, in snake case:
/// `Overdraft { missing: u64 }` becomes `overdraft`; anything else, such as a `String`, has the code `rejected`. The
/// error's `Display` is the message, the error itself is the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejection {
    /// For programs: a short stable word such as `overdraft`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The error as MessagePack.
    pub data: Option<Bytes>,
}

impl Rejection {
    /// A rejection without data.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            data: None,
        }
    }

    /// The data as the error type of the method that refused. `None` if there is no data or it is not of that type.
    pub fn details<E: DeserializeOwned>(&self) -> Option<E> {
        decode(self.data.as_ref()?).ok()
    }

    /// An error with its code, message and data.
    pub(crate) fn of<E: Serialize + fmt::Display>(error: &E) -> Self {
        Self {
            code: code::of(error),
            message: error.to_string(),
            data: encode(error).ok().map(Bytes),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Rejection {}

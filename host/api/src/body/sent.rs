use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer to a call with `?mode=send`: it will run, and nobody is told how it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentBody {
    /// True. What is not accepted is answered with an error.
    pub accepted: bool,
    /// The message's idempotency key: the client's, or one that the node chose.
    pub key: String,
}

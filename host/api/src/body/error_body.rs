use entia_protocol::CallError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ApiError;
use crate::convert::json_from_payload;

/// The one shape of every error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What happened.
    pub error: ErrorDetail,
}

/// What happened, whether it had an effect, and what to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// For programs: a short stable word.
    pub code: String,
    /// For people.
    pub message: String,
    /// False: repeating the request cannot double anything.
    pub may_have_run: bool,
    /// What to do next.
    pub hint: String,
    /// When to try again, in milliseconds, if waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The entity's own words, if it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<RejectionBody>,
}

/// An entity's refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RejectionBody {
    /// For programs: the entity's own stable word.
    pub code: String,
    /// For people.
    pub message: String,
    /// Details by the method's rejection schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Why the details cannot be shown as JSON. The refusal itself stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_error: Option<String>,
}

impl From<&ApiError> for ErrorBody {
    fn from(error: &ApiError) -> Self {
        Self {
            error: ErrorDetail {
                code: error.code().to_owned(),
                message: error.to_string(),
                may_have_run: error.may_have_run(),
                hint: error.hint().to_owned(),
                retry_after_ms: error.retry_after_ms(),
                rejection: rejection(error),
            },
        }
    }
}

fn rejection(error: &ApiError) -> Option<RejectionBody> {
    let ApiError::Call(CallError::Rejected(rejection)) = error else {
        return None;
    };
    let mut body = RejectionBody {
        code: rejection.code.clone(),
        message: rejection.message.clone(),
        data: None,
        data_error: None,
    };
    if let Some(data) = &rejection.data {
        match json_from_payload(data) {
            Ok(json) => body.data = serde_json::from_slice(&json).ok(),
            Err(error) => body.data_error = Some(error.to_string()),
        }
    }
    Some(body)
}

use http::StatusCode;
use hyper_util::client::legacy;

use crate::body::{ErrorBody, RefusalBody};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node's URL is not one.
    #[error("`{url}` is not the URL of a node: {message}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// The request cannot be sent, such as for a header with a line break in it.
    #[error("the request cannot be sent: {message}")]
    BadRequest {
        /// What is wrong with it.
        message: String,
    },
    /// The component's file cannot be read.
    #[error("the component cannot be read")]
    Component {
        /// Why.
        source: std::io::Error,
    },
    /// There was no connection, or it broke.
    #[error("the node at {url} cannot be reached")]
    Unreachable {
        /// The node.
        url: String,
        /// Why.
        source: legacy::Error,
    },
    /// The node did not answer in time.
    #[error("the node at {url} did not answer within {after_ms} ms")]
    Timeout {
        /// The node.
        url: String,
        /// How long was waited.
        after_ms: u64,
    },
    /// The node answered with an error.
    #[error("{}", body.error.message)]
    Api {
        /// The response's status.
        status: StatusCode,
        /// What the node said.
        body: Box<ErrorBody>,
    },
    /// What answered does not speak as a node does.
    #[error("{url} is not a node of this version: {message}")]
    Protocol {
        /// Where.
        url: String,
        /// What it said.
        message: String,
    },
}

impl ClientError {
    /// What a plan says that the node would answer, as if it had.
    pub fn planned(refusal: RefusalBody) -> Self {
        match StatusCode::from_u16(refusal.status) {
            Ok(status) => Self::Api {
                status,
                body: Box::new(ErrorBody {
                    error: refusal.error,
                }),
            },
            Err(error) => Self::Protocol {
                url: "what answered".to_owned(),
                message: error.to_string(),
            },
        }
    }

    /// Whether the request may have had an effect.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::BadRequest { .. } | Self::Component { .. } => false,
            // Without a connection nothing was sent. One that broke later may have carried the request.
            Self::Unreachable { source, .. } => !source.is_connect(),
            Self::Timeout { .. } | Self::Protocol { .. } => true,
            Self::Api { body, .. } => body.error.may_have_run,
        }
    }

    /// The stable word for programs: the node's, or one of `bad_url`, `bad_request`, `component`, `unreachable`, `timeout`
    /// and `protocol`.
    pub fn code(&self) -> &str {
        match self {
            Self::BadUrl { .. } => "bad_url",
            Self::BadRequest { .. } => "bad_request",
            Self::Component { .. } => "component",
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Api { body, .. } => &body.error.code,
            Self::Protocol { .. } => "protocol",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        match self {
            Self::BadUrl { .. } => "give scheme, host and port, such as http://127.0.0.1:7070",
            Self::BadRequest { .. } => "use visible ASCII characters in the idempotency key",
            Self::Component { .. } => "check that the file is there and readable",
            Self::Unreachable { source, .. } if source.is_connect() => {
                "is it running? `entia node` starts one; --api or ENTIA_API names another"
            }
            Self::Unreachable { .. } => {
                "inspect before repeating, or repeat with the same idempotency key: it takes effect once"
            }
            Self::Timeout { .. } => {
                "repeat with the same idempotency key, which takes effect once, or give it a longer deadline"
            }
            Self::Api { body, .. } => &body.error.hint,
            Self::Protocol { .. } => "check the URL (--api, ENTIA_API) and the node's version",
        }
    }
}

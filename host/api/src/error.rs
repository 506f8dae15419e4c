use entia_protocol::{CallError, EntityId, InvalidId, KindName, Subject};
use http::StatusCode;

/// Why a request has no result: a call's own error, or something that went wrong before there was a call.
///
/// Every error has the same five faces: [`ApiError::code`] for programs, `Display` for people, the HTTP
/// [`ApiError::status`], [`ApiError::may_have_run`], and [`ApiError::hint`] with what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The request's body is not JSON that Entia takes.
    #[error("the body is not acceptable JSON: {message}")]
    BadJson {
        /// What is wrong, and where.
        message: String,
    },
    /// The request's path cannot be read.
    #[error("{message}")]
    BadPath {
        /// What is wrong with which part.
        message: String,
    },
    /// A parameter after the `?` cannot be read.
    #[error("the parameter `{name}`: {message}")]
    BadQuery {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A header cannot be read.
    #[error("the header {name}: {message}")]
    BadHeader {
        /// The header.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such entity to show or delete. Calls never meet this: they make the entity.
    #[error("there is no entity {entity}")]
    UnknownEntity {
        /// The entity.
        entity: EntityId,
    },
    /// The uploaded component cannot be deployed.
    #[error("the component is refused: {message}")]
    ComponentRefused {
        /// What is wrong with it.
        message: String,
        /// What its author has to change.
        hint: String,
    },
    /// A version of a kind cannot take over the entities that there are.
    #[error("`{kind}` stays as it is: {entity} {message}")]
    StateRefused {
        /// The kind.
        kind: KindName,
        /// One of the entities, for all of them.
        entity: EntityId,
        /// What is wrong with it, and how many others there are.
        message: String,
    },
    /// A kind was to go back to the version before, and there is none.
    #[error("the kind `{kind}` has no version to go back to: it never changed")]
    NoPreviousVersion {
        /// The kind.
        kind: KindName,
    },
    /// A kind that still has entities is deleted only with them.
    #[error("the kind `{kind}` still has entities")]
    KindInUse {
        /// The kind.
        kind: KindName,
    },
    /// Something that is fixed for a kind's life was asked to change.
    #[error("the kind `{kind}` exists with {existing}; {requested} was asked for")]
    KindExistsDifferently {
        /// The kind.
        kind: KindName,
        /// What it has, such as `memory durability`.
        existing: String,
        /// What the deployment wanted, such as `durable durability`.
        requested: String,
    },
    /// The API has no such path.
    #[error("the API has no path {path}")]
    NotFound {
        /// The path.
        path: String,
    },
    /// The path exists, the method does not.
    #[error("{path} does not take {method}; it takes {allowed}")]
    MethodNotAllowed {
        /// The request's method.
        method: String,
        /// The path.
        path: String,
        /// What the path takes, as in the `Allow` header.
        allowed: String,
    },
    /// A defect or a broken machine: nothing that the caller did.
    #[error("the node failed: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl ApiError {
    /// The stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Call(error) => error.code(),
            Self::BadJson { .. } => "bad_json",
            Self::BadPath { .. } => "bad_path",
            Self::BadQuery { .. } => "bad_query",
            Self::BadHeader { .. } => "bad_header",
            Self::UnknownEntity { .. } => "unknown_entity",
            Self::ComponentRefused { .. } => "component_refused",
            Self::StateRefused { .. } => "state_refused",
            Self::NoPreviousVersion { .. } => "no_previous_version",
            Self::KindInUse { .. } => "kind_in_use",
            Self::KindExistsDifferently { .. } => "kind_exists_differently",
            Self::NotFound { .. } => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Internal { .. } => "internal",
        }
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Call(error) => call_status(error),
            Self::BadJson { .. }
            | Self::BadPath { .. }
            | Self::BadQuery { .. }
            | Self::BadHeader { .. } => StatusCode::BAD_REQUEST,
            Self::UnknownEntity { .. } | Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::ComponentRefused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::StateRefused { .. }
            | Self::NoPreviousVersion { .. }
            | Self::KindInUse { .. }
            | Self::KindExistsDifferently { .. } => StatusCode::CONFLICT,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the request may have had an effect. After an internal failure nobody knows.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Call(error) => error.may_have_run(),
            Self::Internal { .. } => true,
            _ => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        match self {
            Self::Call(error) => error.hint(),
            Self::BadJson { .. } => {
                "the body of a call is one JSON object with the arguments by name"
            }
            Self::BadPath { .. } => {
                "paths are /v1/entities/{kind}/{key}/{method} and /v1/kinds/{kind}; percent-encode the key, `/` as %2F"
            }
            Self::BadQuery { .. } => "correct the parameter; nothing was changed",
            Self::BadHeader { .. } => "correct the header; nothing ran",
            Self::UnknownEntity { .. } => {
                "check the key; an entity begins to exist with its first call"
            }
            Self::ComponentRefused { hint, .. } => hint,
            Self::StateRefused { .. } => {
                "deploy a version that reads this state, in its #[upgrade] function if its schema version changed; \
                 `entia deploy --plan` shows what a version fails on, and `entia entities delete` gives up an entity"
            }
            Self::NoPreviousVersion { .. } => "deploy the component that it is to have",
            Self::KindInUse { .. } => {
                "delete its entities first, or pass with_entities=true (`--with-entities`) to delete them too"
            }
            Self::KindExistsDifferently { .. } => {
                "deploy under another name, or delete the kind first"
            }
            Self::NotFound { .. } => "GET /openapi.json describes the API's paths",
            Self::MethodNotAllowed { .. } => "use one of the methods that the path takes",
            Self::Internal { .. } => "see the node's log; please report it if it happens again",
        }
    }

    /// When to try again, in milliseconds, if waiting helps.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Call(
                CallError::Overloaded { retry_after_ms, .. }
                | CallError::Quarantined { retry_after_ms, .. },
            ) => Some(*retry_after_ms),
            Self::Call(CallError::ShuttingDown) => Some(RESTART_MS),
            Self::Call(CallError::Unavailable { .. }) => Some(TAKEOVER_MS),
            _ => None,
        }
    }

    /// [`ApiError::retry_after_ms`] as the `Retry-After` header wants it: whole seconds, at least one.
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_ms().map(|ms| ms.div_ceil(1_000).max(1))
    }
}

impl From<InvalidId> for ApiError {
    fn from(error: InvalidId) -> Self {
        Self::BadPath {
            message: error.to_string(),
        }
    }
}

/// What a restart of a node takes, for clients that wait for it.
const RESTART_MS: u64 = 1_000;
/// What it takes until another node has a shard, for clients that wait for it.
const TAKEOVER_MS: u64 = 1_000;

/// 4xx: the same request will fail again unless somebody changes something. 5xx: the node's side.
///
/// A result or state that is too large is 422, not 413: the request was acceptable, what the entity made of it was not.
fn call_status(error: &CallError) -> StatusCode {
    match error {
        CallError::BadArguments { .. } => StatusCode::BAD_REQUEST,
        CallError::UnknownKind { .. } | CallError::UnknownMethod { .. } => StatusCode::NOT_FOUND,
        CallError::TooLarge {
            subject: Subject::Result | Subject::State,
            ..
        }
        | CallError::Rejected(_)
        | CallError::InQuery { .. }
        | CallError::KeyReused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        CallError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        CallError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        CallError::Deadlock { .. } | CallError::TooDeep { .. } => StatusCode::CONFLICT,
        CallError::LimitExceeded { .. }
        | CallError::Trapped { .. }
        | CallError::UndoneSince { .. }
        | CallError::ActivationFailed { .. }
        | CallError::BadResult { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        CallError::StoreFailed { .. }
        | CallError::Quarantined { .. }
        | CallError::ShuttingDown
        | CallError::Unavailable { .. }
        | CallError::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        CallError::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
    }
}

use entia_protocol::KindName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ApiError;
use crate::query;

/// One entity as `GET /v1/entities/{kind}/{key}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntityBody {
    /// The kind's name.
    #[schemars(with = "String")]
    pub kind: KindName,
    /// The key within the kind.
    pub key: String,
    /// Whether an instance is in memory.
    pub activation: Activation,
    /// The version of the kind that wrote its state, or that runs it if it has none yet.
    pub kind_version: u64,
    /// The version of its state's encoding; none before the first state.
    pub schema_version: Option<u32>,
    /// The store's latest commit of this entity; none before the first.
    pub sequence: Option<u64>,
    /// The stored state, in bytes.
    pub state_bytes: u64,
    /// The instance's linear memory, in bytes; 0 while cold.
    pub memory_bytes: u64,
    /// Calls that wait for it.
    pub mailbox: u64,
    /// Calls that it has begun since it was last loaded.
    pub calls: u64,
    /// Turns that were undone since it was last loaded: traps and limits.
    pub failures: u64,
    /// Why it is left alone for a while, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineBody>,
    /// The latest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<FailureBody>,
    /// Timers that have yet to fire, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timers: Vec<TimerBody>,
    /// Messages that wait to be delivered.
    #[serde(default)]
    pub sends_pending: u64,
    /// Messages that were given up, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<DeadLetterBody>,
}

/// A timer that has yet to fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimerBody {
    /// What the entity called it.
    pub name: String,
    /// When it fires next, in milliseconds since 1970.
    pub due_ms: u64,
    /// The time between two fires, if it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
    /// The number of the next fire, counted from 1.
    pub fire: u64,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterBody {
    /// Whom it was for, as `kind/key`.
    pub target: String,
    /// The method.
    pub method: String,
    /// The key under which the target would have executed it.
    pub key: String,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// When it was given up, in milliseconds since 1970.
    pub at_ms: u64,
    /// The code of the last answer, as in errors.
    pub code: String,
    /// The last answer.
    pub message: String,
}

/// The answer to `POST /v1/entities/{kind}/{key}/{method}?mode=send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SentBody {
    /// True: the message will be delivered.
    pub accepted: bool,
    /// The key under which the entity executes it once: the client's, or one that was drawn.
    pub key: String,
}

/// Whether an entity has an instance in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Only its state is kept.
    Cold,
    /// An instance is ready to run.
    Live,
}

/// An entity that failed again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuarantineBody {
    /// The last failure.
    pub reason: String,
    /// When the next call is let through, in milliseconds.
    pub retry_after_ms: u64,
}

/// Why a turn was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureBody {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    pub message: String,
}

/// A page of `GET /v1/entities`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct EntitiesBody {
    /// In the order of kind and key.
    pub entries: Vec<EntityEntryBody>,
    /// What to pass as `cursor` for the next page; none: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An entity in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntityEntryBody {
    /// The kind's name.
    #[schemars(with = "String")]
    pub kind: KindName,
    /// The key within the kind.
    pub key: String,
    /// Whether an instance is in memory.
    pub activation: Activation,
}

/// The parameters of `GET /v1/entities`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only this kind.
    pub kind: Option<KindName>,
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// The most entries of a page; the node has a bound of its own.
    pub limit: Option<u32>,
}

/// `GET /healthz` and `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthBody {
    /// `ok` of `/healthz`, `ready` of `/readyz`.
    pub status: String,
    /// The node's version.
    pub version: String,
    /// Since the node's start, in milliseconds.
    pub uptime_ms: u64,
    /// Deployed kinds.
    pub kinds: u64,
    /// Entities with an instance in memory.
    pub entities_live: u64,
}

impl ListQuery {
    /// Reads the part of a URI after the `?`.
    pub fn parse(raw_query: &str) -> Result<Self, ApiError> {
        let mut list = Self::default();
        for (name, value) in query::pairs(raw_query)? {
            match name.as_str() {
                "kind" => {
                    let kind = KindName::new(&value);
                    list.kind = Some(kind.map_err(|error| query::bad("kind", error))?);
                }
                "prefix" => list.prefix = Some(value),
                "cursor" => list.cursor = Some(value),
                "limit" => list.limit = Some(query::number("limit", &value)?),
                _ => return Err(query::unknown(&name, "kind, prefix, cursor, limit")),
            }
        }
        Ok(list)
    }

    /// What [`ListQuery::parse`] reads.
    pub fn to_query(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let kind = self.kind.as_ref().map(KindName::as_str);
        query::join([
            ("kind", kind),
            ("prefix", self.prefix.as_deref()),
            ("cursor", self.cursor.as_deref()),
            ("limit", limit.as_deref()),
        ])
    }
}

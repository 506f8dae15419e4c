use entia_protocol::KindName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ApiError;
use crate::query;

/// How grave a log line is, the least grave first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// A line of an entity's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLineBody {
    /// Its place in the node's log. Later lines have greater numbers, across restarts too; some numbers are left out.
    pub id: u64,
    /// When the turn that wrote it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// How grave it is.
    pub level: LogLevel,
    /// The kind's name.
    #[schemars(with = "String")]
    pub kind: KindName,
    /// The key within the kind.
    pub key: String,
    /// The version of the kind that wrote it.
    pub kind_version: u64,
    /// The line, cut where it was very long.
    pub text: String,
}

/// `GET /v1/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsBody {
    /// The newest last.
    pub lines: Vec<LogLineBody>,
    /// What to pass as `cursor` for the lines after these.
    pub next: String,
}

/// In a stream of log lines or events: how many of them came too fast for their reader, or are too old to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissedBody {
    /// How many.
    pub missed: u64,
}

/// The parameters of `GET /v1/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogsQuery {
    /// Only this kind.
    pub kind: Option<KindName>,
    /// Only the entity of the kind that has this key.
    pub key: Option<String>,
    /// Only lines at least so grave.
    pub level: Option<LogLevel>,
    /// How many lines; in a stream, how many to begin with.
    pub limit: Option<u32>,
    /// Only lines after this one.
    pub cursor: Option<u64>,
    /// Go on with the lines to come.
    pub follow: bool,
}

/// The most lines or events of an answer, and the most that a stream begins with.
pub const LINES_MAX: u32 = 1_000;
/// How many there are without `limit`.
pub const LINES_DEFAULT: u32 = 100;

impl LogLevel {
    /// All of them, the least grave first.
    pub const ALL: [Self; 5] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
    ];

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|level| level.as_str() == text);
        named.ok_or_else(|| "a level is trace, debug, info, warn or error".to_owned())
    }
}

impl LogsQuery {
    /// Reads the part of a URI after the `?`.
    pub fn parse(raw_query: &str) -> Result<Self, ApiError> {
        let mut logs = Self::default();
        for (name, value) in query::pairs(raw_query)? {
            match name.as_str() {
                "kind" => {
                    let kind = KindName::new(&value);
                    logs.kind = Some(kind.map_err(|error| query::bad("kind", error))?);
                }
                "key" => logs.key = Some(value),
                "level" => {
                    let level = value.parse();
                    logs.level = Some(level.map_err(|error: String| query::bad("level", error))?);
                }
                "limit" => logs.limit = Some(limit(&value)?),
                "cursor" => logs.cursor = Some(cursor(&value)?),
                "follow" => logs.follow = query::truth("follow", &value)?,
                _ => {
                    let known = "kind, key, level, limit, cursor, follow";
                    return Err(query::unknown(&name, known));
                }
            }
        }
        if logs.key.is_some() && logs.kind.is_none() {
            return Err(query::bad("key", "it names an entity only with `kind`"));
        }
        Ok(logs)
    }

    /// What [`LogsQuery::parse`] reads.
    pub fn to_query(&self) -> String {
        query::join([
            ("kind", self.kind.as_ref().map(ToString::to_string)),
            ("key", self.key.clone()),
            ("level", self.level.map(|level| level.as_str().to_owned())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.map(|cursor| cursor.to_string())),
            ("follow", self.follow.then(|| "true".to_owned())),
        ])
    }
}

pub(super) fn limit(value: &str) -> Result<u32, ApiError> {
    match query::number("limit", value)? {
        limit @ 1..=LINES_MAX => Ok(limit),
        _ => Err(query::bad("limit", format!("it is from 1 to {LINES_MAX}"))),
    }
}

/// Where a list ended or a stream broke off.
pub(super) fn cursor(value: &str) -> Result<u64, ApiError> {
    let number = value.parse();
    number.map_err(|_| query::bad("cursor", "it is not one that a list ended with"))
}

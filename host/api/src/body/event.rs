use entia_protocol::{EntityId, KindName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log::{cursor, limit};
use crate::ApiError;
use crate::query;

/// Something that happened on a node, of the few things that an operator wants to know.
///
/// Readers have to expect types that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The node serves.
    NodeStarted {
        /// Its version.
        version: String,
    },
    /// The node takes no more requests and is going to end.
    NodeStopping,
    /// A component became the current version of a kind.
    KindDeployed {
        /// The kind.
        #[schemars(with = "String")]
        kind: KindName,
        /// Counts the deployments of this name from 1.
        version: u64,
        /// The component's hash.
        digest: String,
    },
    /// A kind went back to a component that it had before.
    KindRolledBack {
        /// The kind.
        #[schemars(with = "String")]
        kind: KindName,
        /// The version that runs now.
        version: u64,
        /// The version that it is a copy of.
        from_version: u64,
    },
    /// A kind is gone.
    KindDeleted {
        /// The kind.
        #[schemars(with = "String")]
        kind: KindName,
        /// How many entities went with it.
        entities_deleted: u64,
    },
    /// An entity failed again and again and is left alone for a while.
    EntityQuarantined {
        /// The entity.
        #[serde(flatten)]
        entity: EntityName,
        /// The last failure.
        reason: String,
        /// When the next call is let through, in milliseconds.
        retry_after_ms: u64,
    },
    /// A quarantine ended: a call on trial went well, an operator ended it, or the entity was deleted.
    EntityReleased {
        /// The entity.
        #[serde(flatten)]
        entity: EntityName,
    },
    /// An entity's message was given up.
    DeadLetter {
        /// The entity that sent it.
        #[serde(flatten)]
        entity: EntityName,
        /// Whom it was for.
        target: EntityName,
        /// The method that it was to call.
        method: String,
        /// The code of the last answer, as in errors.
        code: String,
        /// The last answer, for people.
        message: String,
    },
    /// What a later node tells and this program does not know.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// An entity's name in its two parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntityName {
    /// The kind's name.
    #[schemars(with = "String")]
    pub kind: KindName,
    /// The key within the kind.
    pub key: String,
}

/// An event, with its place and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventBody {
    /// Its place among the node's events. Later ones have greater numbers, across restarts too; some numbers are left out.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// `GET /v1/events?follow=false`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsBody {
    /// The newest last.
    pub events: Vec<EventBody>,
    /// What to pass as `cursor` for the events after these.
    pub next: String,
}

/// The parameters of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsQuery {
    /// How many events; in a stream, how many to begin with.
    pub limit: Option<u32>,
    /// Only events after this one.
    pub cursor: Option<u64>,
    /// Go on with the events to come, unless it is false.
    pub follow: bool,
}

impl Event {
    /// The entity that it is about.
    pub fn entity(&self) -> Option<&EntityName> {
        match self {
            Self::EntityQuarantined { entity, .. }
            | Self::EntityReleased { entity }
            | Self::DeadLetter { entity, .. } => Some(entity),
            _ => None,
        }
    }
}

impl From<&EntityId> for EntityName {
    fn from(entity: &EntityId) -> Self {
        Self {
            kind: entity.kind().clone(),
            key: entity.key().to_owned(),
        }
    }
}

impl Default for EventsQuery {
    fn default() -> Self {
        Self {
            limit: None,
            cursor: None,
            follow: true,
        }
    }
}

impl EventsQuery {
    /// Reads the part of a URI after the `?`.
    pub fn parse(raw_query: &str) -> Result<Self, ApiError> {
        let mut events = Self::default();
        for (name, value) in query::pairs(raw_query)? {
            match name.as_str() {
                "limit" => events.limit = Some(limit(&value)?),
                "cursor" => events.cursor = Some(cursor(&value)?),
                "follow" => events.follow = query::truth("follow", &value)?,
                _ => return Err(query::unknown(&name, "limit, cursor, follow")),
            }
        }
        Ok(events)
    }

    /// What [`EventsQuery::parse`] reads.
    pub fn to_query(&self) -> String {
        query::join([
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.map(|cursor| cursor.to_string())),
            ("follow", Some(self.follow.to_string())),
        ])
    }
}

use entia_protocol::{Digest, EntityId, KindName, KindRecord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChangeBody, ErrorBody, ErrorDetail};
use crate::ApiError;

/// The answer to `PUT /v1/kinds/{kind}?plan=true`: what a deployment would change. Nothing was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanBody {
    /// The kind.
    #[schemars(with = "String")]
    pub kind: KindName,
    /// What runs now; none: the kind would be new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<VersionBody>,
    /// What would run; the same as `from` if nothing would change.
    pub to: VersionBody,
    /// What callers, operators and the entities would notice.
    pub changes: Vec<ChangeBody>,
    /// The new version on stored states.
    pub dry_run: DryRunBody,
    /// Why the deployment would be refused; none: it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalBody>,
}

/// A version of a kind, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionBody {
    /// Counts the deployments of the kind from 1.
    pub version: u64,
    /// The component's hash.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The component's length in bytes.
    pub component_bytes: u64,
    /// The version of the state that it writes.
    pub schema_version: u32,
    /// The oldest version of the state that it reads.
    pub schema_version_oldest: u32,
}

/// What came of starting entities with the new version, each from a copy of its state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DryRunBody {
    /// Entities that were tried.
    pub tried: u64,
    /// Entities that have a state.
    pub entities: u64,
    /// There was no time to look at them all: there are more than `entities`.
    #[serde(default)]
    pub more: bool,
    /// Those that the new version cannot go on with.
    pub failures: Vec<DryRunFailureBody>,
}

/// An entity that the new version cannot go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRunFailureBody {
    /// Which.
    #[schemars(with = "super::EntityName")]
    pub entity: EntityId,
    /// Why.
    pub message: String,
    /// The version that runs now cannot go on with it either, so that this refuses nothing.
    pub already: bool,
}

/// What a deployment would be answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefusalBody {
    /// The status of the response.
    pub status: u16,
    /// The error in it.
    pub error: ErrorDetail,
}

impl From<&KindRecord> for VersionBody {
    fn from(record: &KindRecord) -> Self {
        Self {
            version: record.version,
            digest: record.component,
            component_bytes: record.component_bytes,
            schema_version: record.description.schema_version,
            schema_version_oldest: record.description.schema_version_oldest,
        }
    }
}

impl From<&ApiError> for RefusalBody {
    fn from(error: &ApiError) -> Self {
        Self {
            status: error.status().as_u16(),
            error: ErrorBody::from(error).error,
        }
    }
}

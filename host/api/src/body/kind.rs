use std::collections::BTreeMap;

use entia_protocol::{Digest, Durability, KindName, KindRecord, Limits, MethodDescription};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ChangeBody;
use super::schema;
use crate::ApiError;
use crate::query;

/// A deployed kind as `GET /v1/kinds/{kind}` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindBody {
    /// The name.
    #[schemars(with = "String")]
    pub name: KindName,
    /// What its author says of it.
    pub doc: String,
    /// Counts the deployments of this name from 1.
    pub version: u64,
    /// The component's hash.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The component's length in bytes.
    pub component_bytes: u64,
    /// What survives a crash.
    #[schemars(schema_with = "schema::durability")]
    pub durability: Durability,
    /// The number of shards, fixed for the kind's life.
    pub shards: u32,
    /// What one entity may use.
    #[schemars(schema_with = "schema::limits")]
    pub limits: Limits,
    /// The version of the state that it writes.
    pub schema_version: u32,
    /// The names of its settings. Values may be secrets and are never shown.
    pub config: Vec<String>,
    /// Its methods, in the author's order.
    pub methods: Vec<MethodBody>,
    /// When this version was deployed, in milliseconds since 1970.
    pub deployed_ms: u64,
    /// Its entities with an instance in memory.
    pub entities_live: u64,
}

/// A method, with its schemas as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MethodBody {
    /// The name.
    pub name: String,
    /// What its author says of it.
    pub doc: String,
    /// A query changes nothing.
    pub query: bool,
    /// JSON Schema of the arguments.
    pub arguments: Value,
    /// JSON Schema of the result.
    pub result: Value,
    /// JSON Schema of a rejection's data, if the method can reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Value>,
}

/// `GET /v1/kinds`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct KindsBody {
    /// In the order of their names.
    pub kinds: Vec<KindSummaryBody>,
}

/// A kind in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindSummaryBody {
    /// The name.
    #[schemars(with = "String")]
    pub name: KindName,
    /// Counts the deployments of this name from 1.
    pub version: u64,
    /// The component's hash.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// What survives a crash.
    #[schemars(schema_with = "schema::durability")]
    pub durability: Durability,
    /// The names of its methods, in the author's order.
    pub methods: Vec<String>,
    /// When this version was deployed, in milliseconds since 1970.
    pub deployed_ms: u64,
    /// Its entities with an instance in memory.
    pub entities_live: u64,
}

/// The answer to `PUT /v1/kinds/{kind}` and `POST /v1/kinds/{kind}/rollback`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeployedBody {
    /// False: this very component with these options was there already, and the version did not change.
    pub changed: bool,
    /// The kind as it is now.
    pub kind: KindBody,
    /// What differs from the version before; nothing if there was none.
    #[serde(default)]
    pub changes: Vec<ChangeBody>,
}

/// The answer to `DELETE /v1/kinds/{kind}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindDeletedBody {
    /// The kind that is gone.
    #[schemars(with = "String")]
    pub kind: KindName,
    /// How many entities went with it.
    pub entities_deleted: u64,
}

/// The parameters of `PUT /v1/kinds/{kind}`:
/// `?durability=durable&limits.cpu_ms_max=200&config.greeting=hello`.
///
/// What is left out stays as it is for a kind that exists, and is the default for a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeployOptions {
    /// What survives a crash.
    pub durability: Option<Durability>,
    /// Limits to change, by the names of [`Limits`]' fields.
    pub limits: BTreeMap<String, u64>,
    /// Settings that the guest reads through `config`. Those given replace all that were there.
    pub config: BTreeMap<String, String>,
    /// Only say what would change. The answer is a [`PlanBody`](super::PlanBody).
    pub plan: bool,
}

impl KindBody {
    /// Shows a record.
    pub fn new(record: &KindRecord, entities_live: u64) -> Self {
        Self {
            name: record.name.clone(),
            doc: record.description.doc.clone(),
            version: record.version,
            digest: record.component,
            component_bytes: record.component_bytes,
            durability: record.durability,
            shards: record.shards,
            limits: record.limits.clone(),
            schema_version: record.description.schema_version,
            config: record.config.keys().cloned().collect(),
            methods: record.description.methods.iter().map(Into::into).collect(),
            deployed_ms: record.deployed_ms,
            entities_live,
        }
    }
}

impl KindSummaryBody {
    /// Shows a record in short.
    pub fn new(record: &KindRecord, entities_live: u64) -> Self {
        let methods = record.description.methods.iter();
        Self {
            name: record.name.clone(),
            version: record.version,
            digest: record.component,
            durability: record.durability,
            methods: methods.map(|method| method.name.clone()).collect(),
            deployed_ms: record.deployed_ms,
            entities_live,
        }
    }
}

impl From<&MethodDescription> for MethodBody {
    /// Schemas were checked at deploy; one that is not JSON all the same is shown as the text it is.
    fn from(method: &MethodDescription) -> Self {
        let json = |schema: &String| {
            serde_json::from_str(schema).unwrap_or_else(|_| Value::String(schema.clone()))
        };
        Self {
            name: method.name.clone(),
            doc: method.doc.clone(),
            query: method.query,
            arguments: json(&method.arguments),
            result: json(&method.result),
            rejection: method.rejection.as_ref().map(json),
        }
    }
}

impl DeployOptions {
    /// Reads the part of a URI after the `?`. Limits are named and numbers, yet not known to be in range:
    /// see [`DeployOptions::limits_over`].
    pub fn parse(raw_query: &str) -> Result<Self, ApiError> {
        let mut options = Self::default();
        for (name, value) in query::pairs(raw_query)? {
            if name == "durability" {
                options.durability = Some(durability(&value)?);
            } else if name == "plan" {
                options.plan = query::truth("plan", &value)?;
            } else if let Some(limit) = name.strip_prefix("limits.") {
                options
                    .limits
                    .insert(limit.to_owned(), query::number(&name, &value)?);
            } else if let Some(setting) = name.strip_prefix("config.") {
                options.config.insert(setting.to_owned(), value);
            } else {
                return Err(query::unknown(
                    &name,
                    "durability, limits.NAME, config.NAME, plan",
                ));
            }
        }
        Ok(options)
    }

    /// What [`DeployOptions::parse`] reads.
    pub fn to_query(&self) -> String {
        let durability = self.durability.map(|durability| match durability {
            Durability::Memory => "memory".to_owned(),
            Durability::Durable => "durable".to_owned(),
        });
        let durability = durability.map(|value| ("durability".to_owned(), value));
        let limits = self.limits.iter();
        let limits = limits.map(|(name, value)| (format!("limits.{name}"), value.to_string()));
        let config = self.config.iter();
        let config = config.map(|(name, value)| (format!("config.{name}"), value.clone()));
        let plan = self.plan.then(|| ("plan".to_owned(), "true".to_owned()));
        query::join(
            durability
                .into_iter()
                .chain(limits)
                .chain(config)
                .chain(plan)
                .map(|(name, value)| (name, Some(value))),
        )
    }

    /// `base` with these limits put over it, checked to be in range.
    pub fn limits_over(&self, base: &Limits) -> Result<Limits, ApiError> {
        let known: Vec<_> = base.ranges().iter().map(|range| range.0).collect();
        let mut fields: BTreeMap<String, u64> = base
            .ranges()
            .iter()
            .map(|range| (range.0.to_owned(), range.1))
            .collect();
        for (name, value) in &self.limits {
            if !known.contains(&name.as_str()) {
                let message = format!("there is no such limit; there is {}", known.join(", "));
                return Err(query::bad(&format!("limits.{name}"), message));
            }
            fields.insert(name.clone(), *value);
        }
        // Through serde, so that a limit added to the struct needs no second list here.
        let limits: Limits = serde_json::to_value(fields)
            .and_then(serde_json::from_value)
            .map_err(|error| query::bad("limits", error))?;
        limits
            .check()
            .map_err(|message| query::bad("limits", message))?;
        Ok(limits)
    }
}

fn durability(value: &str) -> Result<Durability, ApiError> {
    match value {
        "memory" => Ok(Durability::Memory),
        "durable" => Ok(Durability::Durable),
        _ => Err(query::bad("durability", "it is `memory` or `durable`")),
    }
}

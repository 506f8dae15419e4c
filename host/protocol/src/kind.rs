use serde::{Deserialize, Serialize};

use crate::{Digest, KindName, Limits};

/// What survives when a node dies. A property of a kind, fixed when it is first deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// State is written when the entity is passivated or the node shuts down; a crash may lose it.
    Memory,
    /// A command is answered only after its state is on disk.
    Durable,
}

/// A deployed kind, as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindRecord {
    /// The name.
    pub name: KindName,
    /// Counts the deployments of this name from 1.
    pub version: u64,
    /// The component's bytes.
    pub component: Digest,
    /// The component's length in bytes.
    pub component_bytes: u64,
    /// What survives a crash.
    pub durability: Durability,
    /// What one entity may use.
    pub limits: Limits,
    /// The number of shards, fixed for the kind's life.
    pub shards: u32,
    /// What the component said of itself.
    pub description: KindDescription,
    /// Settings that the guest reads through `config`.
    pub config: std::collections::BTreeMap<String, String>,
    /// When this version was deployed, in milliseconds since 1970.
    pub deployed_ms: u64,
}

/// What a component says of one of its kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindDescription {
    /// The name that the author gave it.
    pub name: String,
    /// For people.
    pub doc: String,
    /// The version of the state that it writes.
    pub schema_version: u32,
    /// The oldest version of the state that it reads.
    pub schema_version_oldest: u32,
    /// Its methods, in the author's order.
    pub methods: Vec<MethodDescription>,
}

/// What a component says of one method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodDescription {
    /// The name.
    pub name: String,
    /// For people.
    pub doc: String,
    /// A query changes nothing.
    pub query: bool,
    /// JSON Schema of the arguments.
    pub arguments: String,
    /// JSON Schema of the result.
    pub result: String,
    /// JSON Schema of a rejection's data, if the method can reject.
    pub rejection: Option<String>,
}

impl KindRecord {
    /// The number of shards of a new kind.
    pub const SHARDS_DEFAULT: u32 = 64;
}

impl KindDescription {
    /// The method of that name.
    pub fn method(&self, name: &str) -> Option<&MethodDescription> {
        self.methods.iter().find(|method| method.name == name)
    }
}

//! Schemas of the protocol's own types, which know nothing of JSON Schema.

use entia_protocol::Limits;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

pub(super) fn durability(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["memory", "durable"] })
}

pub(super) fn limits(_: &mut SchemaGenerator) -> Schema {
    let ranges = Limits::default().ranges();
    let properties: Map<String, Value> = ranges
        .iter()
        .map(|(name, default, lowest, highest)| {
            let limit = json!({
                "type": "integer", "default": default, "minimum": lowest, "maximum": highest,
            });
            ((*name).to_owned(), limit)
        })
        .collect();
    let names: Vec<&str> = ranges.iter().map(|range| range.0).collect();
    json_schema!({ "type": "object", "properties": properties, "required": names })
}

//! The methods of deployed kinds.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Operation;
use crate::catalog::KindVersion;
use crate::http::entities::calling;

/// A path for each method, and the schemas that they refer to.
///
/// A kind's schemas may be large. What is over [`SCHEMAS_BYTES_MAX`] is left out: it is in `GET /v1/kinds/{kind}`.
pub(super) fn methods(kinds: &[Arc<KindVersion>]) -> (Vec<Operation>, Map<String, Value>) {
    let mut operations = Vec::new();
    let mut schemas = Map::new();
    let mut bytes = 0;
    for version in kinds {
        let kind = &version.record.name;
        for method in &version.record.description.methods {
            bytes += method.arguments.len() + method.result.len();
            if bytes > SCHEMAS_BYTES_MAX {
                return (operations, schemas);
            }
            let mut add = |part: &str, text: &str| {
                let name = format!("{kind}.{}.{part}", method.name);
                let place = format!("#/components/schemas/{name}");
                // Schemas were checked when the kind was deployed.
                let mut schema = serde_json::from_str(text).unwrap_or(Value::Bool(true));
                move_to(&place, &mut schema);
                schemas.insert(name, schema);
                serde_json::json!({ "$ref": place })
            };
            let arguments = add("arguments", &method.arguments);
            let result = add("result", &method.result);
            let path = format!("/v1/entities/{kind}/{{key}}/{}", method.name);
            let required = required(&method.arguments);
            operations.push(
                calling(path, method.doc.trim())
                    .takes_schema("The arguments by name", arguments, required)
                    .answers_schema(result),
            );
        }
    }
    (operations, schemas)
}

/// Whether a call without a body lacks something.
fn required(arguments: &str) -> bool {
    let schema: Value = serde_json::from_str(arguments).unwrap_or_default();
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|names| !names.is_empty())
}

/// Lets a schema's references to itself mean the same where it is put.
///
/// What would give it another base than the document's is taken away: the node does not follow it either.
fn move_to(place: &str, schema: &mut Value) {
    let Value::Object(keywords) = schema else {
        return;
    };
    for foreign in ["$schema", "$id", "$anchor", "$dynamicAnchor"] {
        keywords.remove(foreign);
    }
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("$ref", Value::String(reference)) => {
                if let Some(within) = reference.strip_prefix('#') {
                    *reference = format!("{place}{within}");
                }
            }
            ("const" | "enum" | "default" | "examples", _) => {}
            ("properties" | "$defs" | "definitions" | "dependentSchemas", Value::Object(named)) => {
                named.values_mut().for_each(|schema| move_to(place, schema));
            }
            (_, Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| move_to(place, schema));
            }
            (_, schema) => move_to(place, schema),
        }
    }
}

/// Schemas in a document, as text.
const SCHEMAS_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_mean_the_same_after_the_move() {
        let mut schema = json!({
            "$id": "https://example.org/x",
            "$ref": "#/$defs/A",
            "properties": { "const": { "$ref": "#" }, "$ref": { "type": "string" } },
            "anyOf": [{ "$ref": "#/$defs/A" }],
            "enum": [{ "$ref": "#/kept" }],
            "$defs": { "A": { "items": { "$ref": "#/$defs/A" } } },
        });
        move_to("#/c/x", &mut schema);
        let moved = json!({
            "$ref": "#/c/x/$defs/A",
            "properties": { "const": { "$ref": "#/c/x" }, "$ref": { "type": "string" } },
            "anyOf": [{ "$ref": "#/c/x/$defs/A" }],
            "enum": [{ "$ref": "#/kept" }],
            "$defs": { "A": { "items": { "$ref": "#/c/x/$defs/A" } } },
        });
        assert_eq!(schema, moved);
    }
}

use entia_api::body::{KindBody, KindsBody, MethodBody};
use entia_api::client::Client;
use entia_protocol::Durability;
use serde_json::Value;

use crate::arguments::{Kinds, KindsAction};
use crate::entities::confirm;
use crate::output::{Output, ago, bytes, list, printable, table};

pub(crate) async fn run(client: Client, kinds: Kinds, output: &Output) -> anyhow::Result<()> {
    match kinds.action {
        None => output.result(&client.kinds().await?, listed),
        Some(KindsAction::Show { kind }) => output.result(&client.kind(&kind).await?, shown),
        Some(KindsAction::Delete {
            kind,
            with_entities,
            yes,
        }) => {
            let with = if with_entities {
                " with all its entities and their states"
            } else {
                ""
            };
            confirm(&format!("delete the kind {kind}{with}"), yes, output)?;
            let deleted = client.delete_kind(&kind, with_entities).await?;
            output.result(&deleted, |deleted| {
                let entities = deleted.entities_deleted;
                format!("{} is deleted, with {entities} entities", deleted.kind)
            })
        }
    }
}

/// A method as its author's text shows it: `increment(by: integer, note?: string) -> integer`.
///
/// Of a schema's members only the required ones have an order; the others follow them.
pub(crate) fn signature(method: &MethodBody) -> String {
    let required = required(&method.arguments);
    let properties = method.arguments.get("properties");
    let schema = |name: &str| properties.and_then(|all| all.get(name));
    let first = (required.iter()).filter_map(|name| Some((*name, "", schema(name)?)));
    let others = properties.and_then(Value::as_object).into_iter().flatten();
    let others = others.filter(|(name, _)| !required.contains(&name.as_str()));
    let others = others.map(|(name, schema)| (name.as_str(), "?", schema));
    let arguments = first.chain(others).map(|(name, optional, schema)| {
        format!("{}{optional}: {}", printable(name), type_of(schema))
    });
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    let result = match type_of(&method.result) {
        result if result == "null" => String::new(),
        result => format!(" -> {result}"),
    };
    format!("{}({arguments}){result}", printable(&method.name))
}

/// In the author's order.
pub(crate) fn required(schema: &Value) -> Vec<&str> {
    let required = schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// A schema in a word.
fn type_of(schema: &Value) -> String {
    if schema
        .get("contentEncoding")
        .is_some_and(|encoding| encoding == "base64")
    {
        return "base64".to_owned();
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.collect::<Vec<_>>().join(" or ")
        }
        _ => match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => reference.rsplit('/').next().unwrap_or_default().to_owned(),
            None => "any".to_owned(),
        },
    };
    printable(&name)
}

fn listed(body: &KindsBody) -> String {
    if body.kinds.is_empty() {
        return "no kinds; `entia deploy` makes one".to_owned();
    }
    let rows: Vec<_> = (body.kinds.iter())
        .map(|kind| {
            [
                kind.name.to_string(),
                kind.version.to_string(),
                durability(kind.durability).to_owned(),
                kind.entities_live.to_string(),
                ago(kind.deployed_ms),
                printable(&kind.methods.join(", ")),
            ]
        })
        .collect();
    let headings = [
        "KIND",
        "VERSION",
        "DURABILITY",
        "LIVE",
        "DEPLOYED",
        "METHODS",
    ];
    table(headings, &rows)
}

fn shown(kind: &KindBody) -> String {
    let mut entries = vec![
        ("kind", kind.name.to_string()),
        (
            "version",
            format!("{}, deployed {}", kind.version, ago(kind.deployed_ms)),
        ),
        (
            "component",
            format!("{}, {}", kind.digest.short(), bytes(kind.component_bytes)),
        ),
        ("durability", durability(kind.durability).to_owned()),
        ("entities live", kind.entities_live.to_string()),
    ];
    if !kind.config.is_empty() {
        entries.push(("config", printable(&kind.config.join(", "))));
    }
    let limits = kind.limits.ranges();
    entries.extend(limits.map(|(name, value, ..)| (name, value.to_string())));
    let mut text = list(&entries);
    text += "\n";
    for method in &kind.methods {
        let query = if method.query { "  (query)" } else { "" };
        text += &format!("{}{query}\n", signature(method));
        for line in method.doc.lines() {
            text += &format!("    {}\n", printable(line.trim()));
        }
    }
    text
}

pub(crate) fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "memory",
        Durability::Durable => "durable",
    }
}

#[cfg(test)]
mod tests {
    use entia_api::body::KindSummaryBody;
    use entia_protocol::{Digest, KindName};
    use serde_json::json;

    use super::*;

    fn method(arguments: Value, result: Value) -> MethodBody {
        MethodBody {
            name: "increment".to_owned(),
            doc: String::new(),
            query: false,
            arguments,
            result,
            rejection: None,
        }
    }

    #[test]
    fn a_signature_is_as_short_as_a_line() {
        let arguments = json!({
            "type": "object",
            "properties": {
                "by": {"type": "integer"},
                "note": {"type": ["string", "null"]},
                "blob": {"type": "string", "contentEncoding": "base64"},
                "to": {"$ref": "#/$defs/Name"},
            },
            "required": ["by", "blob"],
        });
        let method = method(arguments, json!({"type": "integer"}));
        assert_eq!(
            signature(&method),
            "increment(by: integer, blob: base64, note?: string or null, to?: Name) -> integer"
        );
    }

    #[test]
    fn a_method_without_arguments_or_result_has_empty_brackets() {
        let method = method(json!({"type": "object"}), json!({"type": "null"}));
        assert_eq!(signature(&method), "increment()");
    }

    #[test]
    fn kinds_are_a_table() {
        let body = KindsBody {
            kinds: vec![KindSummaryBody {
                name: KindName::new("counter").unwrap(),
                version: 3,
                digest: Digest::of(b""),
                durability: Durability::Durable,
                methods: vec!["increment".to_owned(), "value".to_owned()],
                deployed_ms: u64::MAX,
                entities_live: 2,
            }],
        };
        assert_eq!(
            listed(&body),
            "KIND     VERSION  DURABILITY  LIVE  DEPLOYED  METHODS\ncounter  3        durable     2     0 s ago   increment, value\n"
        );
        assert!(listed(&KindsBody::default()).contains("entia deploy"));
    }
}

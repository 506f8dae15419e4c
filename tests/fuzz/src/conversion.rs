//! The edge between JSON and MessagePack, both ways.

use std::sync::OnceLock;

use entia_api::convert::{MethodSchema, json_from_payload};
use entia_protocol::{CallError, MethodDescription, Payload};
use serde_json::{Map, Value, json};

use crate::choices::{Choices, edit, overwrite};

/// Reads arguments and results. Neither panics, and:
///
/// - Arguments that are accepted come back as equal JSON: integers exact, bytes in the same base64, and a number whose schema
///   wants a float as the nearest float. What comes back is accepted again and becomes the same MessagePack.
/// - Any object of JSON is accepted where the schema is open.
/// - A result that is accepted is JSON.
pub fn conversion(input: &[u8]) {
    let mut choices = Choices::new(input);
    let sample = choices.pick(samples());
    match choices.below(6) {
        0 => {
            round_trip(&sample.schema, choices.rest());
        }
        1 | 2 => {
            let json = edited_json(sample, &mut choices);
            round_trip(&sample.schema, &json);
        }
        3 => {
            let json = Value::Object(object(&mut choices, LEVELS)).to_string();
            let accepted = round_trip(&sample.schema, json.as_bytes());
            assert!(accepted || !sample.open, "refused: {json}");
        }
        4 => result(choices.rest()),
        _ => {
            let example = sample.example.to_string();
            let arguments = sample
                .schema
                .arguments_from_json(example.as_bytes(), BYTES_MAX);
            let mut bytes = arguments.expect("the example fits its schema").0;
            for _ in 0..choices.below(EDITS_MAX) {
                edit(&mut bytes, &mut choices);
            }
            result(&bytes);
        }
    }
}

/// A method's arguments: their schema, and some that fit.
struct Sample {
    schema: MethodSchema,
    example: Value,
    /// Whether the schema takes every object.
    open: bool,
}

/// Sends arguments through MessagePack and back. False: they were refused.
fn round_trip(schema: &MethodSchema, json: &[u8]) -> bool {
    let shown = || String::from_utf8_lossy(json).into_owned();
    let payload = match schema.arguments_from_json(json, BYTES_MAX) {
        Ok(payload) => payload,
        Err(error) => {
            let known = ["bad_json", "bad_arguments", "too_large"];
            assert!(known.contains(&error.code()), "{error:?} of {}", shown());
            assert!(!error.to_string().is_empty(), "{error:?} of {}", shown());
            return false;
        }
    };
    let back = match json_from_payload(&payload) {
        Ok(back) => back,
        Err(error) => panic!("accepted, yet without JSON: {error}: {}", shown()),
    };
    let sent = if json.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        serde_json::from_slice(json).expect("what is accepted is JSON")
    };
    let returned: Value = serde_json::from_slice(&back).expect("what comes back is JSON");
    assert!(
        same(&sent, &returned, false),
        "{} came back as {returned}",
        shown()
    );
    match schema.arguments_from_json(&back, BYTES_MAX) {
        Ok(again) => assert_eq!(again.0, payload.0, "the second time, of {}", shown()),
        Err(error) => panic!("accepted, then refused: {error}: {}", shown()),
    }
    true
}

/// Reads MessagePack that a guest may have answered.
fn result(bytes: &[u8]) {
    match json_from_payload(&Payload(bytes.to_vec())) {
        Ok(json) => {
            let parsed: Result<Value, _> = serde_json::from_slice(&json);
            assert!(parsed.is_ok(), "{bytes:02x?} became no JSON");
            let open = samples().iter().find(|sample| sample.open);
            let open = open.expect("one of the schemas is open");
            // Refused if a key is there twice, or if it is as deep as results may be.
            round_trip(&open.schema, &[&b"{\"result\":"[..], &json, b"}"].concat());
        }
        Err(CallError::BadResult { message }) => assert!(!message.is_empty(), "{bytes:02x?}"),
        Err(error) => panic!("{error:?} of {bytes:02x?}"),
    }
}

/// Equal, with the rule for floats: below a name that begins with `ratio`, and nowhere else, the schemas want floats.
fn same(sent: &Value, back: &Value, float: bool) -> bool {
    match (sent, back) {
        (Value::Object(sent), Value::Object(back)) => {
            sent.len() == back.len()
                && sent.iter().all(|(name, value)| {
                    let float = name.starts_with("ratio");
                    back.get(name).is_some_and(|back| same(value, back, float))
                })
        }
        (Value::Array(sent), Value::Array(back)) => {
            let mut pairs = sent.iter().zip(back);
            sent.len() == back.len() && pairs.all(|(sent, back)| same(sent, back, float))
        }
        (Value::Number(sent), Value::Number(back)) => {
            sent == back || (float && back.is_f64() && sent.as_f64() == back.as_f64())
        }
        _ => sent == back,
    }
}

/// An example with pieces of JSON where they do not belong.
fn edited_json(sample: &Sample, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut json = sample.example.to_string().into_bytes();
    for _ in 0..choices.below(EDITS_MAX) {
        let at = choices.below(json.len() + 1);
        match choices.below(4) {
            0 => edit(&mut json, choices),
            1 => overwrite(&mut json, at, choices.pick(&TOKENS).as_bytes()),
            2 => drop(json.splice(at..at, choices.pick(&TOKENS).bytes())),
            _ => {
                let digits = json.iter().position(u8::is_ascii_digit);
                let number = choices.pick(&NUMBERS);
                if let Some(at) = digits {
                    json.splice(at..=at, number.bytes());
                }
            }
        }
    }
    json
}

fn object(choices: &mut Choices<'_>, levels: usize) -> Map<String, Value> {
    (0..choices.below(6))
        .map(|_| {
            let name = match choices.below(4) {
                0 => choices.text(12),
                _ => (*choices.pick(&NAMES)).to_owned(),
            };
            (name, value(choices, levels))
        })
        .collect()
}

fn value(choices: &mut Choices<'_>, levels: usize) -> Value {
    match choices.below(if levels == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => (choices.byte().is_multiple_of(2)).into(),
        2 => (choices.word() >> choices.below(64)).into(),
        3 => (choices.word().cast_signed() >> choices.below(64)).into(),
        4 => f64::from_bits(choices.word()).into(),
        5 => choices.text(24).into(),
        6 => (*choices.pick(&TEXTS)).into(),
        7 => (0..choices.below(6))
            .map(|_| value(choices, levels - 1))
            .collect(),
        _ => object(choices, levels - 1).into(),
    }
}

fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let open = sample(
            true,
            &json!({"type": "object", "additionalProperties": true}),
            json!({"by": 1, "ratio": [1.5, -2], "blob": null}),
        );
        let mut samples = vec![open];
        samples.extend(schemas().map(|(schema, example)| sample(false, &schema, example)));
        samples
    })
}

/// The shapes that a derived schema has.
fn schemas() -> [(Value, Value); 7] {
    let base64 = json!({"type": "string", "contentEncoding": "base64"});
    let integer = |format: &str| json!({"type": "integer", "format": format});
    [
        (
            arguments(&json!({"by": {"type": "integer", "format": "uint64", "minimum": 0}})),
            json!({"by": u64::MAX}),
        ),
        (
            arguments(&json!({
                "blob": base64, "text": {"type": "string"},
                "blobs": {"type": "array", "items": base64},
            })),
            json!({"blob": "AP8Q", "text": "AP8Q", "blobs": ["", "AA==", "/+8="]}),
        ),
        (
            arguments(&json!({
                "i8": integer("int8"), "u16": integer("uint16"), "i64": integer("int64"),
                "any": {"type": "integer"}, "ratio": {"type": "number", "format": "double"},
                "ratio_single": {"type": "number", "format": "float"},
            })),
            json!({
                "i8": -128, "u16": 65535, "i64": i64::MIN, "any": u64::MAX, "ratio": 3,
                "ratio_single": 0.1,
            }),
        ),
        (
            json!({
                "type": "object", "required": ["tree"],
                "properties": {"tree": {"$ref": "#/$defs/Tree"}},
                "$defs": {"Tree": {
                    "type": "object", "required": ["value"],
                    "properties": {
                        "value": integer("int64"), "blob": base64,
                        "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
                    },
                }},
            }),
            json!({"tree": {
                "value": 1,
                "children": [{"value": -2, "blob": "AA=="}, {"value": 3, "children": []}],
            }}),
        ),
        (
            arguments(&json!({"choices": {"type": "array", "items": {"anyOf": [
                {"type": "object", "required": ["tag", "blob"], "properties": {
                    "tag": {"const": "bytes"}, "blob": base64}},
                {"type": "object", "required": ["tag", "ratio"], "properties": {
                    "tag": {"const": "number"}, "ratio": {"type": "number"}}},
                {"type": "integer", "format": "uint16"},
                {"type": "string"},
                {"type": "null"},
            ]}}})),
            json!({"choices": [
                {"tag": "bytes", "blob": "AQ=="}, {"tag": "number", "ratio": 7}, 7, "AQ==", null,
            ]}),
        ),
        (
            arguments(&json!({
                "counts": {"type": "object", "additionalProperties": integer("uint64")},
                "nested": {"type": ["object", "null"], "additionalProperties": {
                    "type": "object", "additionalProperties": {"type": "array", "items": base64}}},
            })),
            json!({"counts": {"a": 1, "": 2}, "nested": {"a": {"b/c": ["AA=="]}}}),
        ),
        (
            arguments(&json!({"pair": {
                "type": "array", "minItems": 3, "maxItems": 3,
                "prefixItems": [{"type": "string"}, integer("int32"), base64],
            }})),
            json!({"pair": ["a", -1, "AA=="]}),
        ),
    ]
}

/// An object with these properties, all required.
fn arguments(properties: &Value) -> Value {
    let required: Vec<_> = properties
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn sample(open: bool, schema: &Value, example: Value) -> Sample {
    let method = MethodDescription {
        name: "method".to_owned(),
        doc: String::new(),
        query: false,
        arguments: schema.to_string(),
        result: "true".to_owned(),
        rejection: None,
    };
    Sample {
        schema: MethodSchema::compile(&method).expect("the schema is one that is taken"),
        example,
        open,
    }
}

const TOKENS: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "-",
    ".",
    "e",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "\"by\":",
    "\"AP8=\"",
    " ",
    "\u{e9}",
    "[[[[[[[[[[[[[[[[",
];
const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "-1",
    "1.0",
    "1e2",
    "1e400",
    "255",
    "65536",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "0.30000000000000004",
];
const NAMES: [&str; 13] = [
    "by", "ratio", "blob", "text", "i8", "any", "tree", "value", "children", "choices", "tag",
    "counts", "nested",
];
const TEXTS: [&str; 8] = ["", "AA==", "AP8Q", "AA=", "/+8=", "_-8=", "bytes", "number"];
/// How deep the objects are that are made from choices.
const LEVELS: usize = 5;
const EDITS_MAX: usize = 6;
/// Far more than an input becomes, so that nothing is refused for its size alone.
const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_fits_its_schema() {
        for sample in samples() {
            let json = sample.example.to_string();
            assert!(round_trip(&sample.schema, json.as_bytes()), "{json}");
        }
    }
}

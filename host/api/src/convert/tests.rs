use std::collections::BTreeMap;

use entia_protocol::{CallError, MethodDescription, Payload};
use serde_json::{Value, json};

use super::*;

mod arguments;
mod hostile;
mod results;
mod round_trip;

fn described(arguments: &Value) -> MethodDescription {
    MethodDescription {
        name: "increment".to_owned(),
        doc: String::new(),
        query: false,
        arguments: arguments.to_string(),
        result: "true".to_owned(),
        rejection: None,
    }
}

fn compiled(arguments: &Value) -> MethodSchema {
    MethodSchema::compile(&described(arguments)).unwrap()
}

/// The arguments schema of a method with these properties, all required.
fn method(properties: Value) -> MethodSchema {
    let required: Vec<_> = properties.as_object().unwrap().keys().collect();
    compiled(&json!({"type": "object", "properties": properties, "required": required}))
}

fn encoded(schema: &MethodSchema, json: &str) -> Vec<u8> {
    match schema.arguments_from_json(json.as_bytes(), 1 << 20) {
        Ok(payload) => payload.0,
        Err(error) => panic!("{json}: {error}"),
    }
}

/// The code and text of the refusal.
fn refused(schema: &MethodSchema, json: &str) -> (String, String) {
    match schema.arguments_from_json(json.as_bytes(), 1 << 20) {
        Ok(payload) => panic!("{json} became {:02x?}", payload.0),
        Err(error) => (error.code().to_owned(), error.to_string()),
    }
}

fn refused_schema(arguments: &Value) -> String {
    MethodSchema::compile(&described(arguments))
        .unwrap_err()
        .to_string()
}

fn json_of(bytes: &[u8]) -> Result<String, String> {
    match json_from_payload(&Payload(bytes.to_vec())) {
        Ok(json) => Ok(String::from_utf8(json).unwrap()),
        Err(CallError::BadResult { message }) => Err(message),
        Err(error) => panic!("{error:?}"),
    }
}

/// Named MessagePack of one entry.
fn named<T: serde::Serialize>(name: &str, value: T) -> Vec<u8> {
    rmp_serde::to_vec_named(&BTreeMap::from([(name, value)])).unwrap()
}

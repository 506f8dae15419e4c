//! JSON and MessagePack, as the platform converts them at its edges: bytes are base64, keys are text, numbers finite.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::payload::{decode, encode};

/// Encodes a JSON value; text becomes bytes where the schema says base64.
pub(crate) fn to_messagepack(value: &Value, schema: &Value) -> Result<Vec<u8>, String> {
    encode(&Typed::new(value, vec![schema], schema)).map_err(|error| error.to_string())
}

/// Decodes any MessagePack value that people can be shown.
pub(crate) fn from_messagepack(bytes: &[u8]) -> Result<Value, String> {
    let Json(value) = decode(bytes)?;
    Ok(value)
}

/// A JSON value and the schemas that it may have. An `Option` or an enum has several; there is no need to find out which
/// one holds, since only base64 is looked for.
struct Typed<'a> {
    value: &'a Value,
    schemas: Vec<&'a Value>,
    root: &'a Value,
}

impl<'a> Typed<'a> {
    fn new(value: &'a Value, schemas: Vec<&'a Value>, root: &'a Value) -> Self {
        let mut all = Vec::new();
        for schema in schemas {
            alternatives(schema, root, &mut all);
        }
        Self {
            value,
            schemas: all,
            root,
        }
    }

    fn item(&self, at: usize, value: &'a Value) -> Self {
        let schemas = self.schemas.iter().filter_map(|schema| {
            let fixed = schema.get("prefixItems").and_then(|items| items.get(at));
            fixed.or_else(|| schema.get("items"))
        });
        Self::new(value, schemas.collect(), self.root)
    }

    fn property(&self, name: &str, value: &'a Value) -> Self {
        let schemas = self.schemas.iter().filter_map(|schema| {
            let named = schema
                .get("properties")
                .and_then(|properties| properties.get(name));
            named.or_else(|| schema.get("additionalProperties"))
        });
        Self::new(value, schemas.collect(), self.root)
    }

    fn is_base64(&self) -> bool {
        self.schemas.iter().any(|schema| {
            schema
                .get("contentEncoding")
                .is_some_and(|encoding| encoding == "base64")
        })
    }
}

/// The schema, and all that it refers to or chooses from.
fn alternatives<'a>(schema: &'a Value, root: &'a Value, all: &mut Vec<&'a Value>) {
    all.push(schema);
    let definition = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    if let Some(definition) = definition {
        alternatives(definition, root, all);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        let choices = schema.get(choice).and_then(Value::as_array);
        for choice in choices.into_iter().flatten() {
            alternatives(choice, root, all);
        }
    }
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::String(text) if self.is_base64() => {
                let bytes = STANDARD.decode(text).map_err(|error| {
                    S::Error::custom(format!("`{text}` is not base64: {error}"))
                })?;
                serializer.serialize_bytes(&bytes)
            }
            Value::Array(values) => serializer.collect_seq(
                values
                    .iter()
                    .enumerate()
                    .map(|(at, value)| self.item(at, value)),
            ),
            Value::Object(fields) => serializer.collect_map(
                fields
                    .iter()
                    .map(|(name, value)| (name, self.property(name, value))),
            ),
            other => other.serialize(serializer),
        }
    }
}

struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a JSON number")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(STANDARD.encode(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Json(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((Json(name), Json(value))) = entries.next_entry()? {
            let Value::String(name) = name else {
                return Err(A::Error::custom(format!(
                    "a map's key is `{name}`: JSON has only text there"
                )));
            };
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::{JsonSchema, schema_for};
    use serde_json::json;

    use super::*;
    use crate::Bytes;

    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct File {
        name: String,
        parts: Vec<Bytes>,
        signature: Option<Bytes>,
        by_name: BTreeMap<String, Bytes>,
        pair: (String, Bytes),
        inner: Option<Box<File>>,
    }

    fn file(inner: Option<Box<File>>) -> File {
        let bytes = Bytes(vec![0, 255]);
        File {
            name: "AP8=".to_owned(),
            parts: vec![bytes.clone()],
            signature: Some(bytes.clone()),
            by_name: BTreeMap::from([("a".to_owned(), bytes.clone())]),
            pair: ("AP8=".to_owned(), bytes),
            inner,
        }
    }

    #[test]
    fn text_becomes_bytes_only_where_the_schema_says_so() {
        let file = file(Some(Box::new(file(None))));
        let value = from_messagepack(&encode(&file).unwrap()).unwrap();
        assert_eq!(value["signature"], "AP8=");
        let bytes = to_messagepack(&value, &schema_for!(File).into()).unwrap();
        assert_eq!(decode::<File>(&bytes).unwrap(), file);
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let not_finite = encode(&f64::NAN).unwrap();
        assert!(from_messagepack(&not_finite).unwrap_err().contains("NaN"));
        let number_keys = encode(&BTreeMap::from([(1, 2)])).unwrap();
        assert!(
            from_messagepack(&number_keys)
                .unwrap_err()
                .contains("key is `1`")
        );
        let bytes = schema_for!(Bytes).into();
        assert!(
            to_messagepack(&json!("?"), &bytes)
                .unwrap_err()
                .contains("not base64")
        );
    }

    #[test]
    fn integers_stay_exact() {
        for value in [json!(u64::MAX), json!(i64::MIN), json!(1.5)] {
            let bytes = to_messagepack(&value, &json!({})).unwrap();
            assert_eq!(from_messagepack(&bytes).unwrap(), value);
        }
    }
}

//! A value that fits a JSON Schema, for a call to start from.
//!
//! It follows what schemas of methods consist of: references, alternatives, bounds, formats. It is an example and not a
//! proof: a `pattern` is not solved, and the node says of a value that does not fit what is wrong with it.

use std::io;

use entia_api::body::{KindBody, MethodBody};
use serde::Serialize as _;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use crate::kinds::required;
use crate::output::printable;

/// A call that can be pasted into a shell. A command shows more than a query of an entity that does not exist yet.
///
/// `api` is the node's URL where `entia call` would not find it by itself.
pub(crate) fn call(kind: &KindBody, api: Option<&str>) -> Option<String> {
    let methods = || kind.methods.iter();
    let method = methods().find(|method| !method.query).or(methods().next());
    method.map(|method| call_of(kind, method, api))
}

/// The same for a certain method.
pub(crate) fn call_of(kind: &KindBody, method: &MethodBody, api: Option<&str>) -> String {
    let mut line = format!("entia call {}/mine {}", kind.name, printable(&method.name));
    let arguments = arguments(&method.arguments);
    if !arguments.is_empty() {
        // A map of JSON has its members by name, and here they are in the author's order.
        let mut members: Vec<_> = arguments.iter().collect();
        let order = required(&method.arguments);
        members.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
        let member = |(name, value): &(&String, &Value)| {
            let name = Value::from(name.as_str());
            format!("{name}: {}", spaced(value))
        };
        let members = members.iter().map(member).collect::<Vec<_>>().join(", ");
        line += &format!(" {}", quoted(&format!("{{{members}}}")));
    }
    if let Some(api) = api {
        line += &format!(" --api {api}");
    }
    line
}

/// Arguments that a method takes: those that it requires.
fn arguments(schema: &Value) -> Map<String, Value> {
    match (Sampler { root: schema }).value(schema, "text", 0) {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    }
}

/// Makes values from the parts of one schema, which refer to each other.
struct Sampler<'a> {
    root: &'a Value,
}

impl Sampler<'_> {
    /// `name` is what the value is called: a text has no better content.
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let found = reference.strip_prefix('#');
            let found = found.and_then(|pointer| self.root.pointer(pointer));
            return found.map_or(Value::Null, |schema| self.value(schema, name, depth + 1));
        }
        if let Some(given) = given(schema) {
            return given.clone();
        }
        let mut value = self.typed(schema, name, depth);
        for part in ["allOf", "anyOf", "oneOf"] {
            let parts = schema.get(part).and_then(Value::as_array);
            let parts = parts.into_iter().flatten();
            let taken = match part {
                "allOf" => parts.collect(),
                // None of a recursive type's alternatives is taken so deep that it could not end.
                _ => Vec::from_iter(alternative(parts, depth)),
            };
            for part in taken {
                value = merged(value, self.value(part, name, depth + 1));
            }
        }
        value
    }

    fn typed(&self, schema: &Value, name: &str, depth: usize) -> Value {
        match type_of(schema) {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, name, depth),
            Some("integer") => integer(schema),
            Some("number") => number(schema),
            Some("boolean") => Value::Bool(true),
            Some("string") => text(schema, name).into(),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema.get("required").and_then(Value::as_array);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        let member = |name: &str| {
            let member = schema.get("properties").and_then(|all| all.get(name));
            let member = member.unwrap_or(&Value::Null);
            (name.to_owned(), self.value(member, name, depth + 1))
        };
        Value::Object(names.map(member).collect::<Map<_, _>>())
    }

    fn array(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let mut items: Vec<_> = (first.into_iter().flatten())
            .map(|item| self.value(item, name, depth + 1))
            .collect();
        let bound = |name| schema.get(name).and_then(Value::as_u64);
        // One shows what an item is; where it may be left out, a recursive type ends here.
        let shown = if depth < DEPTH_SHOWN { 1 } else { 0 };
        let least = bound("minItems").unwrap_or(0).min(ITEMS_MAX);
        let most = bound("maxItems").unwrap_or(u64::MAX);
        if let Some(item) = schema.get("items").filter(|item| item.is_object()) {
            let wanted = if items.is_empty() { shown } else { 0 };
            let wanted = wanted.max(least).min(most);
            while (items.len() as u64) < wanted {
                items.push(self.value(item, name, depth + 1));
            }
        }
        Value::Array(items)
    }
}

/// What the schema itself says that the value may be.
fn given(schema: &Value) -> Option<&Value> {
    let first = |name| schema.get(name).and_then(Value::as_array)?.first();
    let one = schema.get("const").or_else(|| first("examples"));
    let default = || schema.get("default").filter(|value| !value.is_null());
    one.or_else(default).or_else(|| first("enum"))
}

/// The first alternative that is not null, or deep within the value one that is.
fn alternative<'a>(
    alternatives: impl Iterator<Item = &'a Value>,
    depth: usize,
) -> Option<&'a Value> {
    let (nulls, others): (Vec<_>, Vec<_>) =
        alternatives.partition(|schema| type_of(schema) == Some("null"));
    let (first, second) = if depth < DEPTH_SHOWN {
        (others, nulls)
    } else {
        (nulls, others)
    };
    first.first().or(second.first()).copied()
}

/// Objects have the members of both; of other values the later one counts.
fn merged(value: Value, other: Value) -> Value {
    match (value, other) {
        (Value::Object(mut members), Value::Object(more)) => {
            members.extend(more);
            Value::Object(members)
        }
        (value, Value::Null) => value,
        (_, other) => other,
    }
}

/// The type, of several the first that is not null.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            let other = names.iter().find(|name| **name != "null");
            other.or(names.first()).copied()
        }
        _ if schema.get("properties").is_some() => Some("object"),
        _ => None,
    }
}

/// One, or what is nearest to it within the bounds.
fn integer(schema: &Value) -> Value {
    let bound = |name| schema.get(name).and_then(whole);
    let exclusive = |name, step: i128| bound(name).map(|value| value + step);
    let least = bound("minimum").max(exclusive("exclusiveMinimum", 1));
    let most = [bound("maximum"), exclusive("exclusiveMaximum", -1)];
    let mut value = least.map_or(1, |least| least.max(1));
    if let Some(step) = bound("multipleOf").filter(|step| *step > 0) {
        value = (value + step - 1).div_euclid(step) * step;
    }
    if let Some(most) = most.into_iter().flatten().min() {
        value = value.min(most);
    }
    let unsigned = u64::try_from(value).map(Value::from);
    unsigned.unwrap_or_else(|_| i64::try_from(value).map_or(Value::Null, Value::from))
}

fn whole(value: &Value) -> Option<i128> {
    let signed = value.as_i64().map(i128::from);
    let exact = signed.or_else(|| value.as_u64().map(i128::from));
    // Bounds may be written as 0.0, and saturate where they are larger than any integer of ours.
    exact.or_else(|| value.as_f64().map(|value| value as i64 as i128))
}

fn number(schema: &Value) -> Value {
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|value| value + 0.5));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|value| value - 0.5));
    let value = least.map_or(1.5, |least| least.max(1.5));
    Value::from(most.map_or(value, |most| value.min(most)))
}

fn text(schema: &Value, name: &str) -> String {
    let word = |name| schema.get(name).and_then(Value::as_str);
    if word("contentEncoding") == Some("base64") {
        return "aGVsbG8=".to_owned();
    }
    if let Some((_, example)) = (FORMATS.iter()).find(|(format, _)| word("format") == Some(format))
    {
        return (*example).to_owned();
    }
    let bound = |name| schema.get(name).and_then(Value::as_u64);
    let least = usize::try_from(bound("minLength").unwrap_or(0).min(LENGTH_MAX)).unwrap_or(0);
    let most = bound("maxLength").map_or(usize::MAX, |most| most.try_into().unwrap_or(usize::MAX));
    let padding = std::iter::repeat('x');
    let length = name.chars().count().max(least).min(most);
    name.chars().chain(padding).take(length).collect()
}

/// JSON with a space after each colon and comma, as people write it.
fn spaced(value: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, Spaced);
    value
        .serialize(&mut serializer)
        .expect("a Vec takes any text");
    String::from_utf8(text).expect("JSON is text")
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

/// One word for a POSIX shell: within single quotes only they have a meaning.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// References and levels that are followed; what lies deeper is null.
const DEPTH_MAX: usize = 16;
/// Levels at which optional parts are shown.
const DEPTH_SHOWN: usize = 4;
const ITEMS_MAX: u64 = 8;
const LENGTH_MAX: u64 = 256;

const FORMATS: &[(&str, &str)] = &[
    ("date-time", "2026-01-31T12:00:00Z"),
    ("date", "2026-01-31"),
    ("time", "12:00:00Z"),
    ("duration", "PT1H"),
    ("email", "somebody@example.com"),
    ("hostname", "example.com"),
    ("ipv4", "192.0.2.1"),
    ("ip", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("uri", "https://example.com/"),
    ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
];

#[cfg(test)]
mod tests;

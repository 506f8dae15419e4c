//! From a JSON Schema that a component brought to one that the validator may be given.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::convert::shape::{Additional, Format, NodeId, Shape, Shapes, Types};
use crate::convert::{SCHEMA_BYTES_MAX, complaint, cost, parse};

/// Why a method's schema is refused. The component cannot be deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("method `{method}`: the schema of its {part}{}: {message}", at(place))]
pub struct SchemaError {
    /// The method.
    pub method: String,
    /// `arguments`, `result` or `rejection`.
    pub part: &'static str,
    /// The property, by the names on the way to it; empty for the whole.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// A schema of keywords that Entia knows, and its shapes.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) schema: Value,
    pub(super) shapes: Shapes,
}

impl SchemaError {
    pub(super) fn at_root(message: &str) -> Self {
        Self::at(&[], message)
    }

    fn at(place: &[String], message: &str) -> Self {
        Self {
            method: String::new(),
            part: "",
            place: place.join("."),
            message: message.to_owned(),
        }
    }
}

impl Checked {
    pub(super) fn new(text: &str) -> Result<Self, SchemaError> {
        if text.len() > SCHEMA_BYTES_MAX {
            let message = format!(
                "it has {} bytes; {SCHEMA_BYTES_MAX} are allowed",
                text.len()
            );
            return Err(SchemaError::at_root(&message));
        }
        let document = parse::value(text.as_bytes(), SCHEMA_DEPTH_MAX)
            .map_err(|error| SchemaError::at_root(&format!("it is not JSON: {error}")))?;
        let mut reader = Reader::default();
        let schema = reader.document(&document)?;
        let mut shapes = Shapes {
            nodes: reader.nodes,
            costly: false,
        };
        cost::check_schema(&mut shapes).map_err(|message| SchemaError::at_root(&message))?;
        Ok(Self { schema, shapes })
    }
}

/// Reads schemas recursively. Keywords that it does not know are left out: they are annotations, or `$id` and its like,
/// which would let a reference mean something else than it says.
#[derive(Default)]
struct Reader {
    nodes: Vec<Shape>,
    /// What `$ref` may name: the root and its definitions.
    named: BTreeMap<String, NodeId>,
    /// The names on the way to the schema being read.
    place: Vec<String>,
}

impl Reader {
    fn document(&mut self, document: &Value) -> Result<Value, SchemaError> {
        self.named.insert("#".to_owned(), self.nodes.len());
        self.nodes.push(Shape::default());
        let definitions = definitions(document);
        for (keyword, name, _) in &definitions {
            let pointer = name.replace('~', "~0").replace('/', "~1");
            let id = self.reserve()?;
            self.named.insert(format!("#/{keyword}/{pointer}"), id);
        }
        let mut schema = self.read(Shapes::ROOT, document)?;
        // Definitions took the ids after the root's, in their order.
        for (index, (keyword, name, definition)) in definitions.into_iter().enumerate() {
            self.place = vec![keyword.to_owned(), name.clone()];
            let definition = self.read(Shapes::ROOT + 1 + index, definition)?;
            if let Some(object) = schema.as_object_mut() {
                let all = object.entry(keyword).or_insert_with(|| Map::new().into());
                all[name.as_str()] = definition;
            }
        }
        Ok(schema)
    }

    /// Reads the schema into the node `id` and returns what of it the validator gets.
    fn read(&mut self, id: NodeId, schema: &Value) -> Result<Value, SchemaError> {
        let keywords = match schema {
            Value::Object(keywords) => keywords,
            Value::Bool(_) => return Ok(schema.clone()),
            _ => return Err(self.error("a schema is an object, true or false")),
        };
        let mut shape = Shape::default();
        let mut kept = Map::new();
        for (keyword, value) in keywords {
            if let Some(value) = self.keyword(&mut shape, keyword, value)? {
                kept.insert(keyword.clone(), value);
            }
        }
        self.nodes[id] = shape;
        Ok(Value::Object(kept))
    }

    fn keyword(
        &mut self,
        shape: &mut Shape,
        keyword: &str,
        value: &Value,
    ) -> Result<Option<Value>, SchemaError> {
        match keyword {
            "type" => shape.types = types(value),
            "required" => shape.required = texts(value).unwrap_or_default(),
            "const" => shape.fixed = Some(vec![value.clone()]),
            "enum" => shape.fixed = value.as_array().cloned(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf"
            | "minLength" | "maxLength" | "pattern" | "minItems" | "maxItems" | "uniqueItems"
            | "minContains" | "maxContains" | "minProperties" | "maxProperties"
            | "dependentRequired" => {}
            "format" => {
                shape.format = self.format(value)?;
                return Ok(None);
            }
            "contentEncoding" => {
                shape.bytes = value == "base64";
                return Ok(None);
            }
            "$ref" => shape.also.push(self.reference(value)?),
            "patternProperties" => {
                return Err(self.error(
                    "maps have keys of text, any text; patternProperties is what a map with numbers as keys becomes: use String keys, or a list of pairs",
                ));
            }
            "unevaluatedProperties" | "unevaluatedItems" | "$dynamicRef" | "$recursiveRef" => {
                return Err(self.error(&format!("{keyword} is not supported; leave it out")));
            }
            _ => return self.subschemas(shape, keyword, value),
        }
        Ok(Some(value.clone()))
    }

    fn subschemas(
        &mut self,
        shape: &mut Shape,
        keyword: &str,
        value: &Value,
    ) -> Result<Option<Value>, SchemaError> {
        let (ids, kept) = match keyword {
            "properties" | "dependentSchemas" => self.map(value)?,
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => self.list(keyword, value)?,
            "items" if value.is_array() => {
                return Err(self.error("a tuple's schemas are in prefixItems, not items"));
            }
            "not"
            | "if"
            | "then"
            | "else"
            | "items"
            | "additionalProperties"
            | "contains"
            | "propertyNames" => {
                self.place.push(format!("({keyword})"));
                let id = self.reserve()?;
                let kept = self.read(id, value)?;
                self.place.pop();
                (vec![(String::new(), id)], kept)
            }
            _ => return Ok(None),
        };
        let plain = || ids.iter().map(|(_, id)| *id);
        match keyword {
            "properties" => shape.properties = ids.into_iter().collect(),
            "prefixItems" => shape.prefix = plain().collect(),
            "items" => shape.items = plain().next(),
            "allOf" => shape.also.extend(plain()),
            "anyOf" | "oneOf" => shape.choices.push(plain().collect()),
            "contains" => shape.element_checks.extend(plain()),
            "additionalProperties" if value == &Value::Bool(false) => {
                shape.additional = Additional::Closed;
            }
            "additionalProperties" => {
                shape.additional = plain().next().map_or(Additional::Unsaid, Additional::Open);
            }
            "propertyNames" => {
                if plain().any(|id| !self.nodes[id].types.has("string")) {
                    return Err(self.error("maps have keys of text; use String keys"));
                }
                shape.element_checks.extend(plain());
            }
            _ => shape.checks.extend(plain()),
        }
        Ok(Some(kept))
    }

    fn map(&mut self, value: &Value) -> Result<(Vec<(String, NodeId)>, Value), SchemaError> {
        let Value::Object(schemas) = value else {
            return Err(self.error("properties are an object of schemas"));
        };
        let mut ids = Vec::new();
        let mut kept = Map::new();
        for (name, schema) in schemas {
            self.place.push(name.chars().take(NAME_CHARS_MAX).collect());
            let id = self.reserve()?;
            kept.insert(name.clone(), self.read(id, schema)?);
            ids.push((name.clone(), id));
            self.place.pop();
        }
        Ok((ids, Value::Object(kept)))
    }

    fn list(
        &mut self,
        keyword: &str,
        value: &Value,
    ) -> Result<(Vec<(String, NodeId)>, Value), SchemaError> {
        let Value::Array(schemas) = value else {
            return Err(self.error(&format!("{keyword} is a list of schemas")));
        };
        let mut ids = Vec::new();
        let mut kept = Vec::new();
        for (index, schema) in schemas.iter().enumerate() {
            self.place.push(format!("({keyword} {index})"));
            let id = self.reserve()?;
            kept.push(self.read(id, schema)?);
            ids.push((String::new(), id));
            self.place.pop();
        }
        Ok((ids, Value::Array(kept)))
    }

    fn reserve(&mut self) -> Result<NodeId, SchemaError> {
        if self.nodes.len() == NODES_MAX {
            return Err(self.error(&format!("it has more than {NODES_MAX} schemas in it")));
        }
        self.nodes.push(Shape::default());
        Ok(self.nodes.len() - 1)
    }

    fn reference(&self, value: &Value) -> Result<NodeId, SchemaError> {
        let target = value.as_str().unwrap_or_default();
        self.named.get(target).copied().ok_or_else(|| {
            let target = complaint::shortened(target);
            self.error(&format!(
                "$ref `{target}` is none of the schema's own #/$defs/NAME; nothing else is followed"
            ))
        })
    }

    fn format(&self, value: &Value) -> Result<Format, SchemaError> {
        let integer = |least: i128, most: i128| Ok(Format::Integer(least, most));
        match value.as_str().unwrap_or_default() {
            "int8" => integer(i8::MIN.into(), i8::MAX.into()),
            "int16" => integer(i16::MIN.into(), i16::MAX.into()),
            "int32" => integer(i32::MIN.into(), i32::MAX.into()),
            "int64" | "int" => integer(i64::MIN.into(), i64::MAX.into()),
            "uint8" => integer(0, u8::MAX.into()),
            "uint16" => integer(0, u16::MAX.into()),
            "uint32" => integer(0, u32::MAX.into()),
            "uint64" | "uint" => integer(0, u64::MAX.into()),
            "float" => Ok(Format::Float32),
            wide @ ("int128" | "uint128") => Err(self.error(&format!(
                "MessagePack has no {wide}; use 64 bits, or a String of digits"
            ))),
            _ => Ok(Format::Free),
        }
    }

    fn error(&self, message: &str) -> SchemaError {
        SchemaError::at(&self.place, message)
    }
}

fn definitions(document: &Value) -> Vec<(&'static str, &String, &Value)> {
    let named = |keyword: &'static str| {
        let definitions = document.get(keyword).and_then(Value::as_object);
        let definitions = definitions.into_iter().flatten();
        definitions.map(move |(name, schema)| (keyword, name, schema))
    };
    named("$defs").chain(named("definitions")).collect()
}

fn types(value: &Value) -> Types {
    match value {
        Value::String(one) => Types(Some(vec![one.clone()])),
        _ => Types(texts(value)),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts = value.as_array()?.iter();
    Some(texts.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn at(place: &str) -> String {
    if place.is_empty() {
        String::new()
    } else {
        format!(", at `{}`", complaint::shortened(place))
    }
}

/// The most schemas in a document. Recursion over them, such as dropping a chain, has to fit a thread's stack.
const NODES_MAX: usize = 2_000;
/// The deepest nesting of a schema's own JSON: a level of a value takes one or two. Below `serde_json`'s own 128.
const SCHEMA_DEPTH_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 80;

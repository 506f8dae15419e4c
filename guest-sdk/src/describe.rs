//! What a component says of itself: its kind, methods and their JSON Schemas.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Entity;
use crate::arguments::when_missing;

/// A kind of entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// 1 to 63 characters of `a-z`, `0-9` and `-`, beginning with a letter.
    pub name: String,
    /// For people.
    pub doc: String,
    /// The version of the state that the kind writes.
    pub schema_version: u32,
    /// The oldest version of the state that it reads.
    pub schema_version_oldest: u32,
    /// In the author's order.
    pub methods: Vec<Method>,
}

impl Kind {
    /// The description of an entity's type.
    pub fn of<E: Entity>() -> Self {
        Self {
            name: E::KIND.to_owned(),
            doc: E::DOC.to_owned(),
            schema_version: E::SCHEMA_VERSION,
            schema_version_oldest: E::SCHEMA_VERSION_OLDEST,
            methods: E::methods(),
        }
    }
}

/// A method of a kind. Schemas are JSON Schema 2020-12, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// As in the code.
    pub name: String,
    /// For people: the method's doc comment.
    pub doc: String,
    /// A query changes nothing.
    pub query: bool,
    /// An object with a property for each argument.
    pub arguments: String,
    /// Any value.
    pub result: String,
    /// The data of a rejection, if the method returns a `Result`.
    pub rejection: Option<String>,
}

/// Collects what the macro knows of a method.
pub struct MethodBuilder {
    method: Method,
    generator: SchemaGenerator,
    arguments: Schema,
}

impl MethodBuilder {
    /// A method without arguments that returns nothing.
    pub fn new(name: &str, doc: &str, query: bool) -> Self {
        let method = Method {
            name: name.to_owned(),
            doc: doc.to_owned(),
            query,
            arguments: String::new(),
            result: text(schema_of::<()>(settings().for_serialize())),
            rejection: None,
        };
        Self {
            method,
            generator: settings().for_deserialize().into_generator(),
            arguments: json_schema!({
                "type": "object",
                "properties": {},
                "required": [],
                "additionalProperties": false,
            }),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn argument<T: JsonSchema + DeserializeOwned>(mut self, name: &str) -> Self {
        let schema = self.generator.subschema_for::<T>();
        if let Some(Value::Object(properties)) = self.arguments.get_mut("properties") {
            properties.insert(name.to_owned(), schema.into());
        }
        if when_missing::<T>().is_none()
            && let Some(Value::Array(required)) = self.arguments.get_mut("required")
        {
            required.push(name.into());
        }
        self
    }

    /// What the method returns.
    #[must_use]
    pub fn result<T: JsonSchema + ?Sized>(mut self) -> Self {
        self.method.result = text(schema_of::<T>(settings().for_serialize()));
        self
    }

    /// What the method refuses with.
    #[must_use]
    pub fn rejection<E: JsonSchema>(mut self) -> Self {
        self.method.rejection = Some(text(schema_of::<E>(settings().for_serialize())));
        self
    }

    /// The whole method.
    pub fn build(mut self) -> Method {
        add_definitions(&mut self.arguments, &mut self.generator);
        self.method.arguments = text(self.arguments);
        self.method
    }
}

/// Schemas are self-contained wherever their type is not recursive, because the host puts them into other documents,
/// where a reference would point elsewhere.
fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    })
}

fn schema_of<T: JsonSchema + ?Sized>(settings: SchemaSettings) -> Schema {
    let mut generator = settings.into_generator();
    let mut schema = generator.subschema_for::<T>();
    add_definitions(&mut schema, &mut generator);
    schema
}

fn add_definitions(schema: &mut Schema, generator: &mut SchemaGenerator) {
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
}

fn text(schema: Schema) -> String {
    Value::from(schema).to_string()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::Bytes;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Tree {
        leaf: Bytes,
        children: Vec<Tree>,
    }

    fn parse(schema: &str) -> Value {
        serde_json::from_str(schema).unwrap()
    }

    #[test]
    fn arguments_are_a_closed_object_in_which_options_are_not_required() {
        let method = MethodBuilder::new("pay", "Pays.", false)
            .argument::<u64>("amount")
            .argument::<Option<String>>("note")
            .build();
        let arguments = parse(&method.arguments);
        assert_eq!(arguments["type"], "object");
        assert_eq!(arguments["additionalProperties"], false);
        assert_eq!(arguments["required"], json!(["amount"]));
        assert_eq!(arguments["properties"]["amount"]["type"], "integer");
        assert_eq!(
            arguments["properties"]["note"]["type"],
            json!(["string", "null"])
        );
    }

    #[test]
    fn a_method_that_returns_nothing_has_the_result_null_and_no_rejection() {
        let method = MethodBuilder::new("reset", "", false).build();
        assert_eq!(parse(&method.result)["type"], "null");
        assert_eq!(method.rejection, None);
    }

    #[test]
    fn every_reference_of_a_recursive_type_has_its_definition_at_the_root() {
        let method = MethodBuilder::new("grow", "", false)
            .argument::<Tree>("tree")
            .result::<Vec<Tree>>()
            .build();
        for schema in [&method.arguments, &method.result] {
            assert!(schema.contains("\"#/$defs/Tree\""), "{schema}");
            assert_eq!(
                parse(schema)["$defs"]["Tree"]["properties"]["leaf"]["contentEncoding"],
                "base64"
            );
        }
    }
}

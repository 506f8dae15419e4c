//! What differs between two versions of a kind, as those who use it see it.

use std::collections::BTreeSet;

use entia_protocol::{KindRecord, MethodDescription};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One difference between two versions of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeBody {
    /// What differs.
    #[serde(flatten)]
    pub what: Changed,
    /// Why callers that know the old version may fail; none: they go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaking: Option<String>,
}

/// What differs between two versions of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Changed {
    /// Other code.
    Component,
    /// A method that was not there.
    MethodAdded {
        /// Its name.
        method: String,
    },
    /// A method that is gone.
    MethodRemoved {
        /// Its name.
        method: String,
    },
    /// A command became a query, or a query a command.
    MethodForm {
        /// Its name.
        method: String,
        /// What it is now.
        query: bool,
    },
    /// An argument that was not there.
    ArgumentAdded {
        /// The method.
        method: String,
        /// The argument.
        argument: String,
        /// Whether it has to be given.
        required: bool,
    },
    /// An argument that is gone.
    ArgumentRemoved {
        /// The method.
        method: String,
        /// The argument.
        argument: String,
    },
    /// An argument's schema, or whether it has to be given.
    ArgumentChanged {
        /// The method.
        method: String,
        /// The argument.
        argument: String,
        /// Whether it has to be given now.
        required: bool,
    },
    /// A result's schema.
    ResultChanged {
        /// The method.
        method: String,
    },
    /// The schema of a rejection's data, or whether there is one.
    RejectionChanged {
        /// The method.
        method: String,
    },
    /// The versions of the state.
    Schema {
        /// The version that was written.
        from: u32,
        /// The version that is written now.
        to: u32,
        /// The oldest version that is read now.
        oldest: u32,
    },
    /// A limit.
    Limit {
        /// Its name.
        limit: String,
        /// What it was.
        from: u64,
        /// What it is.
        to: u64,
    },
    /// A setting. Values may be secrets and are never shown.
    Config {
        /// Its name.
        setting: String,
        /// What became of it.
        became: Became,
    },
}

/// What became of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// It was not there.
    Added,
    /// It has another value.
    Changed,
    /// It is gone.
    Removed,
}

impl ChangeBody {
    /// What differs from one version to the next: the component first, then methods in the order in which they are described.
    pub fn between(old: &KindRecord, new: &KindRecord) -> Vec<Self> {
        let mut changes = Changes(Vec::new());
        if old.component != new.component {
            changes.harmless(Changed::Component);
        }
        for method in &old.description.methods {
            match new.description.method(&method.name) {
                Some(now) => changes.method(method, now),
                None => {
                    let method = method.name.clone();
                    changes.breaking(
                        Changed::MethodRemoved { method },
                        "calls of it are answered unknown_method",
                    );
                }
            }
        }
        for method in &new.description.methods {
            if old.description.method(&method.name).is_none() {
                let method = method.name.clone();
                changes.harmless(Changed::MethodAdded { method });
            }
        }
        changes.schema(old, new);
        changes.limits(old, new);
        changes.config(old, new);
        changes.0
    }
}

/// Those found so far.
struct Changes(Vec<ChangeBody>);

impl Changes {
    fn harmless(&mut self, what: Changed) {
        self.0.push(ChangeBody {
            what,
            breaking: None,
        });
    }

    fn breaking(&mut self, what: Changed, why: &str) {
        self.0.push(ChangeBody {
            what,
            breaking: Some(why.to_owned()),
        });
    }

    fn method(&mut self, old: &MethodDescription, new: &MethodDescription) {
        let method = || new.name.clone();
        if old.query != new.query {
            let what = Changed::MethodForm {
                method: method(),
                query: new.query,
            };
            if new.query {
                self.harmless(what);
            } else {
                self.breaking(what, "a call that is repeated may take effect twice");
            }
        }
        self.arguments(old, new);
        let result = [&old.result, &new.result].map(|schema| json(schema));
        if bare(&result[0]) != bare(&result[1]) {
            self.breaking(
                Changed::ResultChanged { method: method() },
                "callers may not understand the result",
            );
        }
        let rejection = [&old.rejection, &new.rejection].map(|schema| schema.as_deref().map(json));
        if rejection[0].as_ref().map(bare) != rejection[1].as_ref().map(bare) {
            self.harmless(Changed::RejectionChanged { method: method() });
        }
    }

    fn arguments(&mut self, old: &MethodDescription, new: &MethodDescription) {
        let (old_schema, new_schema) = (json(&old.arguments), json(&new.arguments));
        let (olds, news) = (Arguments::of(&old_schema), Arguments::of(&new_schema));
        let method = || new.name.clone();
        for (argument, schema) in olds.properties.into_iter().flatten() {
            let Some(now) = news.properties.and_then(|news| news.get(argument)) else {
                let what = Changed::ArgumentRemoved {
                    method: method(),
                    argument: argument.clone(),
                };
                self.breaking(what, "calls that give it are refused");
                continue;
            };
            let required = news.required.contains(argument.as_str());
            let was_required = olds.required.contains(argument.as_str());
            // A schema may refer to definitions beside the arguments.
            let same = bare(schema) == bare(now)
                && (olds.definitions == news.definitions || !refers(schema));
            if same && required == was_required {
                continue;
            }
            let what = Changed::ArgumentChanged {
                method: method(),
                argument: argument.clone(),
                required,
            };
            match (same, required) {
                (false, _) => self.breaking(what, "values that fitted before may be refused"),
                (true, true) => self.breaking(what, "calls that leave it out are refused"),
                (true, false) => self.harmless(what),
            }
        }
        for argument in news.properties.into_iter().flatten().map(|(name, _)| name) {
            if olds
                .properties
                .is_some_and(|olds| olds.contains_key(argument))
            {
                continue;
            }
            let required = news.required.contains(argument.as_str());
            let what = Changed::ArgumentAdded {
                method: method(),
                argument: argument.clone(),
                required,
            };
            if required {
                self.breaking(what, "calls that leave it out are refused");
            } else {
                self.harmless(what);
            }
        }
    }

    /// What stored states think of it is for the dry run to say.
    fn schema(&mut self, old: &KindRecord, new: &KindRecord) {
        let versions = |record: &KindRecord| {
            (
                record.description.schema_version,
                record.description.schema_version_oldest,
            )
        };
        if versions(old) != versions(new) {
            self.harmless(Changed::Schema {
                from: old.description.schema_version,
                to: new.description.schema_version,
                oldest: new.description.schema_version_oldest,
            });
        }
    }

    fn limits(&mut self, old: &KindRecord, new: &KindRecord) {
        let pairs = old.limits.ranges().into_iter().zip(new.limits.ranges());
        for ((limit, from, ..), (_, to, ..)) in pairs.filter(|(old, new)| old.1 != new.1) {
            self.harmless(Changed::Limit {
                limit: limit.to_owned(),
                from,
                to,
            });
        }
    }

    fn config(&mut self, old: &KindRecord, new: &KindRecord) {
        let names: BTreeSet<_> = old.config.keys().chain(new.config.keys()).collect();
        for setting in names {
            let became = match (old.config.get(setting), new.config.get(setting)) {
                (None, _) => Became::Added,
                (_, None) => Became::Removed,
                (Some(old), Some(new)) if old != new => Became::Changed,
                _ => continue,
            };
            self.harmless(Changed::Config {
                setting: setting.clone(),
                became,
            });
        }
    }
}

/// What a method takes.
struct Arguments<'a> {
    properties: Option<&'a Map<String, Value>>,
    required: BTreeSet<&'a str>,
    definitions: Option<Value>,
}

impl<'a> Arguments<'a> {
    fn of(schema: &'a Value) -> Self {
        let required = schema.get("required").and_then(Value::as_array);
        Self {
            properties: schema.get("properties").and_then(Value::as_object),
            required: (required.into_iter().flatten())
                .filter_map(Value::as_str)
                .collect(),
            definitions: schema.get("$defs").map(|definitions| named(definitions)),
        }
    }
}

/// Schemas were checked at deploy; one that is not JSON all the same is compared as the text it is.
fn json(schema: &str) -> Value {
    serde_json::from_str(schema).unwrap_or_else(|_| Value::String(schema.to_owned()))
}

/// A schema without what is only for people.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter(|(name, _)| !FOR_PEOPLE.contains(&name.as_str()));
            let fields = fields.map(|(name, value)| {
                let value = if BY_NAME.contains(&name.as_str()) {
                    named(value)
                } else {
                    bare(value)
                };
                (name.clone(), value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(bare).collect()),
        other => other.clone(),
    }
}

/// Schemas by names that authors choose, `title` among them.
fn named(schemas: &Value) -> Value {
    match schemas {
        Value::Object(schemas) => {
            let schemas = schemas.iter();
            Value::Object(
                schemas
                    .map(|(name, schema)| (name.clone(), bare(schema)))
                    .collect(),
            )
        }
        other => bare(other),
    }
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.contains_key("$ref") || fields.values().any(refers),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Keywords of JSON Schema that refuse nothing.
const FOR_PEOPLE: [&str; 6] = [
    "title",
    "description",
    "default",
    "examples",
    "$comment",
    "$schema",
];
/// Keywords of JSON Schema whose value has schemas by names.
const BY_NAME: [&str; 4] = ["properties", "$defs", "definitions", "patternProperties"];

#[cfg(test)]
mod tests;

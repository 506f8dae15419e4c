//! `/openapi.json`: what the API takes and answers, with the methods of the kinds that are deployed.

mod guest;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::any;
use entia_api::body::{ErrorBody, MissedBody};
use entia_api::path::OPENAPI;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::respond::{Answered, allowed, json as json_response, no_query};
use super::{Api, Route, blocking};
use crate::catalog::KindVersion;

pub(super) fn routes() -> Vec<Route> {
    vec![Route {
        pattern: OPENAPI,
        handler: any(openapi),
        operations: vec![Operation::get(OPENAPI, "This description of the API").answers_any_json()],
    }]
}

async fn openapi(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
    no_query(&request)?;
    let document = blocking(move || {
        let kinds = api.node.catalog.all();
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.current()).collect();
        document(&api.operations, &kinds)
    });
    Ok(json_response(&document.await?))
}

/// What one HTTP method of one path does.
#[derive(Clone)]
pub(super) struct Operation {
    method: &'static str,
    path: String,
    summary: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// By content type. Several of one type: any of them.
    answers: Vec<(&'static str, Content)>,
    /// The answer to a request that is only accepted.
    accepted: Option<fn(&mut SchemaGenerator) -> Value>,
}

/// What a body is.
#[derive(Clone)]
enum Content {
    /// One of our own types, by its schema.
    Ours(fn(&mut SchemaGenerator) -> Value),
    /// Whatever this schema says.
    Schema(Value),
}

impl Operation {
    pub(super) fn get(path: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new("get", path.into(), summary.into())
    }

    pub(super) fn put(path: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new("put", path.into(), summary.into())
    }

    pub(super) fn post(path: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new("post", path.into(), summary.into())
    }

    pub(super) fn delete(path: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new("delete", path.into(), summary.into())
    }

    fn new(method: &'static str, path: String, summary: String) -> Self {
        let parameters = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| {
                let schema = json!({ "type": "string" });
                json!({ "name": name, "in": "path", "required": true, "schema": schema })
            })
            .collect();
        Self {
            method,
            path,
            summary,
            parameters,
            body: None,
            answers: Vec::new(),
            accepted: None,
        }
    }

    /// A parameter that may be given after the `?`.
    pub(super) fn query(self, name: &str, meaning: &str) -> Self {
        self.parameter("query", name, meaning)
    }

    /// A header that may be given.
    pub(super) fn header(self, name: &str, meaning: &str) -> Self {
        self.parameter("header", name, meaning)
    }

    fn parameter(mut self, place: &str, name: &str, meaning: &str) -> Self {
        let schema = json!({ "type": "string" });
        self.parameters
            .push(json!({ "name": name, "in": place, "description": meaning, "schema": schema }));
        self
    }

    /// A body of bytes.
    pub(super) fn takes(mut self, content_type: &str, meaning: &str) -> Self {
        self.body = Some(json!({
            "description": meaning, "required": true, "content": { content_type: {} },
        }));
        self
    }

    /// A body that may be left out, which is an object.
    pub(super) fn takes_json(self, meaning: &str) -> Self {
        self.takes_schema(meaning, json!({ "type": "object" }), false)
    }

    fn takes_schema(mut self, meaning: &str, schema: Value, required: bool) -> Self {
        self.body = Some(json!({
            "description": meaning,
            "required": required,
            "content": { JSON: { "schema": schema } },
        }));
        self
    }

    /// An answer that is one of our own types.
    pub(super) fn answers<T: JsonSchema>(mut self) -> Self {
        self.answers.push((JSON, Content::Ours(schema_of::<T>)));
        self
    }

    /// Or, if the request asks for it, a stream of such, each the data of a server-sent event.
    pub(super) fn or_streams<T: JsonSchema>(mut self) -> Self {
        self.answers
            .push((EVENT_STREAM, Content::Ours(stream_of::<T>)));
        self
    }

    /// The answer with status 202, to a request that is carried out later.
    pub(super) fn accepts_with<T: JsonSchema>(mut self) -> Self {
        self.accepted = Some(schema_of::<T>);
        self
    }

    /// An answer that is JSON.
    pub(super) fn answers_any_json(self) -> Self {
        self.answers_schema(json!({}))
    }

    fn answers_schema(mut self, schema: Value) -> Self {
        self.answers.push((JSON, Content::Schema(schema)));
        self
    }

    /// An answer that is text.
    pub(super) fn answers_text(mut self, content_type: &'static str) -> Self {
        let text = json!({ "type": "string" });
        self.answers.push((content_type, Content::Schema(text)));
        self
    }

    fn describe(&self, schemas: &mut SchemaGenerator) -> Value {
        let mut answers = Map::new();
        for (content_type, content) in &self.answers {
            let schema = match content {
                Content::Ours(schema) => schema(schemas),
                Content::Schema(schema) => schema.clone(),
            };
            let answer = answers
                .entry(*content_type)
                .or_insert_with(|| json!({ "schema": { "anyOf": [] } }));
            if let Some(any) = answer["schema"]["anyOf"].as_array_mut() {
                any.push(schema);
            }
        }
        let error = schema_of::<ErrorBody>(schemas);
        let mut described = json!({
            "summary": self.summary,
            "parameters": self.parameters,
            "responses": {
                "200": { "description": "Done.", "content": answers },
                "default": {
                    "description": "An error.", "content": { JSON: { "schema": error } },
                },
            },
        });
        if let Some(accepted) = self.accepted {
            described["responses"]["202"] = json!({
                "description": "Accepted; it will be carried out.",
                "content": { JSON: { "schema": accepted(schemas) } },
            });
        }
        if let Some(body) = &self.body {
            described["requestBody"] = body.clone();
        }
        described
    }
}

/// The whole description.
fn document(operations: &[Operation], kinds: &[Arc<KindVersion>]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut schemas = SchemaGenerator::new(settings);
    let (methods, guest_schemas) = guest::methods(kinds);
    let mut paths = Map::new();
    for operation in operations.iter().chain(&methods) {
        let path = paths
            .entry(operation.path.clone())
            .or_insert_with(|| json!({}));
        path[operation.method] = operation.describe(&mut schemas);
    }
    let mut schemas = schemas.take_definitions(true);
    schemas.extend(guest_schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Entia",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of a node, with the methods of the kinds that it runs.",
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn schema_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

/// OpenAPI 3.1 has no words for a stream's events, so that their schemas are only mentioned.
fn stream_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    // Both are wanted among the components.
    let _missed = schema_of::<MissedBody>(schemas);
    let _data = schema_of::<T>(schemas);
    let data = T::schema_name();
    let description = format!(
        "Server-sent events. Their data is a {data}; that of an event `missed` is a MissedBody."
    );
    json!({ "type": "string", "description": description })
}

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

#[cfg(test)]
mod tests;

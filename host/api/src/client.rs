//! The client of a node's HTTP API.
//!
//! It sits on hyper's own client because a key such as `..` has to arrive as it is: libraries with a URL type resolve dots
//! in paths, even percent-encoded ones.

mod error;
mod follow;
mod upload;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use entia_protocol::{EntityId, KindName};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

pub use error::ClientError;
pub use follow::{Follow, Followed};

use crate::body::{
    DeployOptions, DeployedBody, EntitiesBody, EntityBody, ErrorBody, EventBody, EventsBody,
    EventsQuery, HealthBody, KindBody, KindDeletedBody, KindsBody, ListQuery, LogLineBody,
    LogsBody, LogsQuery, PlanBody,
};
use crate::path;

/// Talks to one node.
///
/// Cloning is cheap and shares the connections.
#[derive(Debug, Clone)]
pub struct Client {
    /// Scheme and authority, without a slash at the end.
    base: String,
    http: legacy::Client<HttpConnector, Body>,
}

/// What a call may carry besides its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// Makes a repetition of the call recognisable: it takes effect once.
    pub idempotency_key: Option<String>,
    /// How long to wait for the answer.
    pub deadline_ms: Option<u64>,
}

impl Client {
    /// The longest response that is read, in bytes: the largest payload, as JSON at its longest.
    pub const RESPONSE_BYTES_MAX: usize = 512 << 20;

    /// A client of the node at a URL such as `http://127.0.0.1:7070`. It connects with its first request.
    pub fn new(base_url: &str) -> Result<Self, ClientError> {
        let bad = |message: &str| ClientError::BadUrl {
            url: base_url.to_owned(),
            message: message.to_owned(),
        };
        let uri: Uri = base_url
            .parse()
            .map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if uri.scheme_str() != Some("http") {
            return Err(bad("it does not begin with http://"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad("it goes on after the port"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Ok(Self {
            base: format!("http://{authority}"),
            http: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The node's URL.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Calls a method with arguments as a JSON object, and returns the result's JSON text as it came.
    pub async fn call(
        &self,
        entity: &EntityId,
        method: &str,
        arguments: impl Into<Bytes>,
        options: &CallOptions,
    ) -> Result<Bytes, ClientError> {
        let mut request = Request::post(self.uri(&path::method_path(entity, method), ""))
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(key) = &options.idempotency_key {
            request = request.header(path::IDEMPOTENCY_KEY, key);
        }
        if let Some(deadline_ms) = options.deadline_ms {
            request = request.header(path::DEADLINE_MS, deadline_ms);
        }
        let body = Full::new(arguments.into()).map_err(|never| match never {});
        let wait = options.deadline_ms.map_or(DEADLINE, Duration::from_millis);
        let wait = wait.saturating_add(GRACE).min(WAIT_MAX);
        self.exchange(request, body.boxed_unsync(), wait).await
    }

    /// Shows an entity.
    pub async fn inspect(&self, entity: &EntityId) -> Result<EntityBody, ClientError> {
        self.read(Method::GET, &path::entity_path(entity), "").await
    }

    /// A page of the entities.
    pub async fn entities(&self, query: &ListQuery) -> Result<EntitiesBody, ClientError> {
        self.read(Method::GET, path::ENTITIES, &query.to_query())
            .await
    }

    /// Forgets an entity and its state.
    pub async fn delete_entity(&self, entity: &EntityId) -> Result<(), ClientError> {
        let request = Request::delete(self.uri(&path::entity_path(entity), ""));
        self.exchange(request, empty(), DEADLINE + GRACE).await?;
        Ok(())
    }

    /// Ends an entity's quarantine and shows where it stands.
    pub async fn release(&self, entity: &EntityId) -> Result<EntityBody, ClientError> {
        self.read(Method::POST, &path::method_path(entity, path::RELEASE), "")
            .await
    }

    /// Uploads a component and makes it the kind. `progress` is told of each piece that was sent, in bytes.
    ///
    /// The node compiles the component before it answers, which takes seconds for a large one.
    pub async fn deploy(
        &self,
        kind: &KindName,
        component: tokio::fs::File,
        options: &DeployOptions,
        progress: impl FnMut(u64) + Send + Unpin + 'static,
    ) -> Result<DeployedBody, ClientError> {
        let options = DeployOptions {
            plan: false,
            ..options.clone()
        };
        self.upload(kind, component, &options, progress).await
    }

    /// Uploads a component and learns what [`Client::deploy`] would change. Nothing is.
    pub async fn plan(
        &self,
        kind: &KindName,
        component: tokio::fs::File,
        options: &DeployOptions,
        progress: impl FnMut(u64) + Send + Unpin + 'static,
    ) -> Result<PlanBody, ClientError> {
        let options = DeployOptions {
            plan: true,
            ..options.clone()
        };
        self.upload(kind, component, &options, progress).await
    }

    async fn upload<T: DeserializeOwned>(
        &self,
        kind: &KindName,
        component: tokio::fs::File,
        options: &DeployOptions,
        progress: impl FnMut(u64) + Send + Unpin + 'static,
    ) -> Result<T, ClientError> {
        let uri = self.uri(&path::kind_path(kind), &options.to_query());
        let upload = upload::Upload::new(component, progress).await;
        let upload = upload.map_err(|source| ClientError::Component { source })?;
        let request = Request::put(&uri).header(http::header::CONTENT_TYPE, "application/wasm");
        let response = self.exchange(request, upload.boxed_unsync(), DEPLOY_WAIT);
        decode(&uri, &response.await?)
    }

    /// Takes a kind back to its version before.
    pub async fn rollback(&self, kind: &KindName) -> Result<DeployedBody, ClientError> {
        let uri = self.uri(&path::rollback_path(kind), "");
        let answer = self.exchange(Request::post(&uri), empty(), DEPLOY_WAIT);
        decode(&uri, &answer.await?)
    }

    /// The deployed kinds.
    pub async fn kinds(&self) -> Result<KindsBody, ClientError> {
        self.read(Method::GET, path::KINDS, "").await
    }

    /// One kind, with its methods and their schemas.
    pub async fn kind(&self, kind: &KindName) -> Result<KindBody, ClientError> {
        self.read(Method::GET, &path::kind_path(kind), "").await
    }

    /// Removes a kind, and its entities with it if that is wanted; otherwise a kind that has some stays.
    pub async fn delete_kind(
        &self,
        kind: &KindName,
        with_entities: bool,
    ) -> Result<KindDeletedBody, ClientError> {
        let query = if with_entities {
            "with_entities=true"
        } else {
            ""
        };
        self.read(Method::DELETE, &path::kind_path(kind), query)
            .await
    }

    /// The last lines of entities' logs, or those after a cursor.
    pub async fn logs(&self, query: &LogsQuery) -> Result<LogsBody, ClientError> {
        let query = LogsQuery {
            follow: false,
            ..query.clone()
        };
        self.read(Method::GET, path::LOGS, &query.to_query()).await
    }

    /// The last lines of entities' logs, and those to come.
    pub async fn follow_logs(&self, query: &LogsQuery) -> Result<Follow<LogLineBody>, ClientError> {
        let query = LogsQuery {
            follow: true,
            ..query.clone()
        };
        self.follow(path::LOGS, &query.to_query()).await
    }

    /// The last things that happened on the node, or those after a cursor.
    pub async fn events(&self, query: &EventsQuery) -> Result<EventsBody, ClientError> {
        let query = EventsQuery {
            follow: false,
            ..query.clone()
        };
        self.read(Method::GET, path::EVENTS, &query.to_query())
            .await
    }

    /// The last things that happened on the node, and those to come.
    pub async fn follow_events(
        &self,
        query: &EventsQuery,
    ) -> Result<Follow<EventBody>, ClientError> {
        let query = EventsQuery {
            follow: true,
            ..query.clone()
        };
        self.follow(path::EVENTS, &query.to_query()).await
    }

    /// Whether the node lives.
    pub async fn health(&self) -> Result<HealthBody, ClientError> {
        self.read(Method::GET, path::HEALTH, "").await
    }

    fn uri(&self, path: &str, query: &str) -> String {
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{separator}{query}", self.base)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &str,
    ) -> Result<T, ClientError> {
        let uri = self.uri(path, query);
        let request = Request::builder().method(method).uri(&uri);
        let body = self.exchange(request, empty(), DEADLINE + GRACE).await?;
        decode(&uri, &body)
    }

    /// Begins to read an answer that goes on for ever.
    async fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
    ) -> Result<Follow<T>, ClientError> {
        let uri = self.uri(path, query);
        let sent = self.send(Request::get(&uri), empty());
        let (status, body) = within(&self.base, DEADLINE + GRACE, sent).await?;
        if status.is_success() {
            return Ok(Follow::new(uri, body));
        }
        let body = within(&self.base, GRACE, self.whole(body)).await?;
        Err(self.refused(status, &body))
    }

    /// Sends a request and reads its answer whole.
    async fn exchange(
        &self,
        request: http::request::Builder,
        body: Body,
        wait: Duration,
    ) -> Result<Bytes, ClientError> {
        let (status, body) = within(&self.base, wait, async {
            let (status, body) = self.send(request, body).await?;
            Ok((status, self.whole(body).await?))
        })
        .await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.refused(status, &body))
        }
    }

    /// Sends a request and reads the head of its answer.
    async fn send(
        &self,
        request: http::request::Builder,
        body: Body,
    ) -> Result<(StatusCode, Incoming), ClientError> {
        let request = request
            .body(body)
            .map_err(|error| ClientError::BadRequest {
                message: error.to_string(),
            })?;
        let response = self.http.request(request).await;
        let response = response.map_err(|error| self.unreachable(error))?;
        Ok((response.status(), response.into_body()))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let body = Limited::new(body, Self::RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.protocol(format!("the answer broke off: {error}")))?;
        Ok(body.to_bytes())
    }

    fn unreachable(&self, source: legacy::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base.clone(),
            source,
        }
    }

    fn protocol(&self, message: String) -> ClientError {
        ClientError::Protocol {
            url: self.base.clone(),
            message,
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => ClientError::Api {
                status,
                body: Box::new(body),
            },
            Err(_) => {
                let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
                self.protocol(format!("it answered {status}: {text}"))
            }
        }
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a node gives a call that names no deadline.
const DEADLINE: Duration = Duration::from_secs(10);
/// For the way there and back, so that it is the node that says what became of a late call.
const GRACE: Duration = Duration::from_secs(5);
const DEPLOY_WAIT: Duration = Duration::from_secs(600);
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Bounds the time that a node may take.
async fn within<T>(
    url: &str,
    wait: Duration,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let done = tokio::time::timeout(wait, work).await;
    done.map_err(|_elapsed| ClientError::Timeout {
        url: url.to_owned(),
        after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    })?
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn decode<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Protocol {
        url: url.to_owned(),
        message: format!("its answer cannot be read: {error}"),
    })
}

//! Serves the HTTP API: reads requests, asks the executor or the deployer, writes answers.

mod entities;
mod events;
mod follow;
mod health;
mod kinds;
mod logs;
mod metrics;
mod openapi;
mod respond;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderName;
use axum::response::Response;
use axum::routing::MethodRouter;
use entia_api::ApiError;
use entia_protocol::{CallError, Subject};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::Inner;
use openapi::Operation;
use respond::Answered;

/// A listening server.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What every handler gets.
#[derive(Clone)]
struct Api {
    node: Arc<Inner>,
    ready: Arc<AtomicBool>,
    /// Deployments under way, from the first byte of the component.
    deployments: Arc<Semaphore>,
    /// What the router's paths take, for those who ask.
    operations: Arc<[Operation]>,
    /// Ends the responses that go on for ever.
    stopped: watch::Receiver<bool>,
}

/// A path of the router, with what the API's description says of it: one list for both.
struct Route {
    /// As the router matches it.
    pattern: &'static str,
    handler: MethodRouter<Api>,
    operations: Vec<Operation>,
}

/// Components that are in memory at once, waiting to be compiled or being it.
const DEPLOYMENTS_MAX: usize = 2;

/// The longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a client may take for its request head.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    pub(crate) fn start(listener: TcpListener, node: Arc<Inner>, connections_max: usize) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let (stop, stopped) = watch::channel(false);
        let ready = Arc::new(AtomicBool::new(true));
        let api = Api {
            node,
            ready: Arc::clone(&ready),
            deployments: Arc::new(Semaphore::new(DEPLOYMENTS_MAX)),
            operations: Arc::new([]),
            stopped: stopped.clone(),
        };
        let task = tokio::spawn(serve(
            listener,
            router(api),
            ready,
            stopped,
            connections_max,
        ));
        Self {
            address,
            stop,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, and waits until those there have been answered, or for `patience`.
    pub(crate) async fn shut_down(mut self, patience: Duration) {
        self.stop.send_replace(true);
        if tokio::time::timeout(patience, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
            // Aborted or ended: either way it no longer holds the node.
            let _ = self.task.await;
        }
    }
}

/// All that is served.
fn routes() -> Vec<Route> {
    [
        entities::routes(),
        kinds::routes(),
        logs::routes(),
        events::routes(),
        metrics::routes(),
        openapi::routes(),
        health::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn router(mut api: Api) -> Router {
    let mut router = Router::new();
    let mut operations = Vec::new();
    for route in routes() {
        router = router.route(route.pattern, route.handler);
        operations.extend(route.operations);
    }
    api.operations = operations.into();
    let counted = axum::middleware::from_fn_with_state(api.clone(), count_responses);
    router
        .fallback(not_found)
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn(no_web_pages))
        .layer(counted)
        .layer(axum::middleware::from_fn(unread::read_to_the_end))
        .with_state(api)
}

async fn serve(
    listener: TcpListener,
    router: Router,
    ready: Arc<AtomicBool>,
    mut stopped: watch::Receiver<bool>,
    connections_max: usize,
) {
    let connections = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let permit = Arc::clone(&connections).acquire_owned();
        let accepted = tokio::select! {
            accepted = async { (permit.await, listener.accept().await) } => accepted,
            _ = stopped.changed() => break,
        };
        let (Ok(permit), accepted) = accepted else {
            break;
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = graceful.watch(connection(stream, router.clone()));
                tasks.spawn(async move {
                    // How a connection ends is the client's business.
                    let _ = connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely. Others may be freed while this yields.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    ready.store(false, Ordering::SeqCst);
    drop(listener);
    drop(router);
    graceful.shutdown().await;
    while tasks.join_next().await.is_some() {}
}

/// Until a failed accept is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn connection(
    stream: TcpStream,
    router: Router,
) -> hyper::server::conn::http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    // Answers are small and whole; waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

/// Reads a body of at most `bytes_max`. The caller bounds the time.
async fn body(body: Body, bytes_max: u64, subject: Subject) -> Result<Bytes, ApiError> {
    match read(body, bytes_max).await {
        Ok(Some(whole)) => Ok(whole),
        Ok(None) => Err(CallError::TooLarge { subject, bytes_max }.into()),
        Err(error) => Err(ApiError::BadJson {
            message: format!("it did not arrive whole: {error}"),
        }),
    }
}

/// A body's bytes, or none if there are more than `bytes_max`.
async fn read(mut body: Body, bytes_max: u64) -> Result<Option<Bytes>, axum::Error> {
    let mut first = Bytes::new();
    let mut more = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if (first.len() + more.len() + data.len()) as u64 > bytes_max {
            return Ok(None);
        }
        if first.is_empty() && more.is_empty() {
            first = data;
            continue;
        }
        if more.is_empty() {
            more.extend_from_slice(&std::mem::take(&mut first));
        }
        more.extend_from_slice(&data);
    }
    Ok(Some(if more.is_empty() { first } else { more.into() }))
}

/// A header's value as text.
fn header<'a>(request: &'a Request, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let name = HeaderName::from_static(name);
    let Some(value) = request.headers().get(&name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(ApiError::BadHeader {
            name: name.to_string(),
            message: "it is not printable ASCII".to_owned(),
        }),
    }
}

/// Refuses what a web page sends through somebody's browser: pages may write to this machine's ports, and here nobody is asked
/// who they are. Browsers put an `Origin` on all that could change something.
async fn no_web_pages(request: Request, next: axum::middleware::Next) -> Answered {
    if request.headers().contains_key(axum::http::header::ORIGIN) {
        return Err(ApiError::BadHeader {
            name: "origin".to_owned(),
            message: "requests from web pages are not served".to_owned(),
        }
        .into());
    }
    Ok(next.run(request).await)
}

async fn count_responses(
    State(api): State<Api>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let response = next.run(request).await;
    let counters = &api.node.observed.counters;
    counters.responded(response.status().as_u16());
    response
}

async fn not_found(request: Request) -> Answered {
    Err(ApiError::NotFound {
        path: request.uri().path().to_owned(),
    }
    .into())
}

/// Runs what may block for a moment away from the connections.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::Internal {
            message: format!("a request's work ended early: {error}"),
        })
}

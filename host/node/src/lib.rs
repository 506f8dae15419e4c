//! One node: it stores, runs and serves entities. It drives the parts and takes no decisions of its own.
//!
//! ```text
//!   http ──► catalog: which kind? ──► api::convert ──► executor ──► wasm
//!                                                          └──────► storage
//! ```

mod catalog;
mod config;
mod deploy;
mod executor;
mod http;
mod observe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entia_api::body::Event;
use entia_protocol::{CallError, EntityId, Envelope};
use entia_storage::{Store, StoreError, StoreOptions};
use entia_wasm::{Host, HostOptions};
use tokio::net::TcpListener;

use crate::catalog::{Catalog, Kind};
use crate::deploy::{Deployer, Target};
use crate::executor::Executor;
use crate::observe::{Observed, Snapshot};

pub use config::NodeConfig;
pub use deploy::RestoreError;
pub use executor::{Answer, Ticket};

/// A running node.
pub struct Node {
    inner: Arc<Inner>,
    http: http::Server,
    shutdown: Duration,
}

/// What requests work on.
struct Inner {
    store: Store,
    host: Arc<Host>,
    catalog: Arc<Catalog>,
    deployer: Deployer,
    executor: Executor,
    observed: Arc<Observed>,
    started: Instant,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// WebAssembly does not run here.
    #[error(transparent)]
    Host(#[from] entia_wasm::HostError),
    /// A deployed kind cannot be loaded.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The address cannot be listened on.
    #[error("cannot serve HTTP on {address}: {source}; choose another with --http")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No thread could be started.
    #[error("the workers do not start: {0}")]
    Threads(std::io::Error),
}

impl Node {
    /// Opens the data directory, loads the kinds, and serves.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let listener =
            TcpListener::bind(config.http)
                .await
                .map_err(|source| StartError::Listen {
                    address: config.http,
                    source,
                })?;
        let shutdown = config.shutdown;
        let connections_max = config.connections_max;
        let open = tokio::task::spawn_blocking(move || Inner::open(&config));
        let inner = Arc::new(open.await.expect("opening a node does not panic")?);
        let http = http::Server::start(listener, Arc::clone(&inner), connections_max);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        inner.observed.events.push(Event::NodeStarted { version });
        Ok(Self {
            inner,
            http,
            shutdown,
        })
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// Calls an entity from within the process, as the HTTP API does after reading a request.
    pub fn call(&self, envelope: Envelope, deadline: Instant) -> Result<Ticket, CallError> {
        let kind = self.inner.catalog.find(envelope.entity.kind())?;
        self.inner.executor.submit(&kind, envelope, deadline)
    }

    /// Takes no new requests, finishes those under way, writes what is only in memory, and closes the store.
    ///
    /// Returns how many calls were cut off because they took longer than the configured time.
    pub async fn shut_down(self) -> Result<usize, StoreError> {
        let patience = self.shutdown;
        self.inner.observed.events.push(Event::NodeStopping);
        self.http.shut_down(patience).await;
        let inner = self.inner;
        let close = move || {
            let cut_off = inner.executor.shut_down(patience);
            inner.store.close()?;
            // What was written last has no caller who would hear of its failure.
            inner.store.failure().map_or(Ok(cut_off), Err)
        };
        tokio::task::spawn_blocking(close)
            .await
            .expect("closing a node does not panic")
    }
}

impl Inner {
    fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let options = StoreOptions {
            accept_loss: config.accept_loss,
            ..StoreOptions::default()
        };
        let store = Store::open(&config.data_dir, options)?;
        let options = HostOptions {
            compiler: config.compiler.clone(),
            component_bytes_max: config.component_bytes_max,
            memory_bytes_max: config.memory_bytes_max,
        };
        let host = Arc::new(Host::new(&config.data_dir.join("artifacts"), options)?);
        let observed = Arc::new(Observed::default());
        let catalog = Arc::new(Catalog::new(Arc::clone(&observed)));
        deploy::restore(&store, &host, &catalog)?;
        let executor = Executor::start(
            store.clone(),
            Arc::clone(&host),
            Arc::clone(&catalog),
            Arc::clone(&observed),
            config.executor(),
        )
        .map_err(StartError::Threads)?;
        Ok(Self {
            store,
            host,
            catalog,
            deployer: Deployer::default(),
            executor,
            observed,
            started: Instant::now(),
        })
    }

    fn target(&self) -> Target<'_> {
        Target {
            store: &self.store,
            host: &self.host,
            catalog: &self.catalog,
            executor: &self.executor,
            observed: &self.observed,
        }
    }

    /// What the metrics look at.
    fn snapshot(&self) -> Snapshot {
        let store = self.store.stats();
        Snapshot {
            kinds: self.catalog.all().len(),
            entities_live: self.executor.live(),
            cells: self.executor.in_memory(),
            calls_pending: self.executor.pending(),
            store_sequence: store.sequence,
            store_groups: store.groups,
            store_failed: self.store.failure().is_some(),
            uptime: self.started.elapsed(),
        }
    }

    fn kind_of(&self, entity: &EntityId) -> Result<Arc<Kind>, CallError> {
        self.catalog.find(entity.kind())
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("http", &self.http())
            .finish_non_exhaustive()
    }
}

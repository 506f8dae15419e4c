//! Ours in process: a node, and callers that hand it envelopes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use entia_api::body::DeployOptions;
use entia_api::client::Client;
use entia_node::{Node, NodeConfig, Ticket};
use entia_protocol::Payload;
use entia_protocol::{Caller as CalledBy, CommandKey, Durability, EntityId, Envelope, KindName};
use entia_wasm::compile::Compiler;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::cores::Cores;
use crate::load::{Caller, ENTITIES};
use crate::places;

/// A node of this process, on the serving core, with the counter deployed.
pub(crate) struct InProcess {
    node: Arc<Node>,
    /// Of the node's HTTP server.
    runtime: Runtime,
    /// Removed with it.
    _data: TempDir,
}

/// What callers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// The command: afterwards the node takes a snapshot.
    Increment,
    /// The query.
    Value,
}

impl InProcess {
    pub(crate) fn start(cores: Cores, durability: Durability) -> Result<Self> {
        // Everything that the node starts inherits the core.
        cores.pin_server()?;
        let data = places::scratch()?;
        let compiler = Compiler::new(std::env::current_exe()?, vec!["compile-component".into()]);
        let config = NodeConfig {
            http: ([127, 0, 0, 1], 0).into(),
            workers: 1,
            ..NodeConfig::new(data.path().to_owned(), compiler)
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let node = runtime.block_on(Node::start(config))?;
        runtime.block_on(deploy(&format!("http://{}", node.http()), durability))?;
        Ok(Self {
            node: Arc::new(node),
            runtime,
            _data: data,
        })
    }

    /// So many callers, over all entities, or all over the first one.
    pub(crate) fn callers(
        &self,
        count: usize,
        method: Method,
        entities: usize,
    ) -> Result<Vec<NodeCaller>> {
        let entity = |number| Ok(EntityId::new(kind()?, &key(number))?);
        let entities: Arc<[_]> = (0..entities).map(entity).collect::<Result<_>>()?;
        let caller = NodeCaller {
            node: Arc::clone(&self.node),
            entities,
            method: method.name(),
            arguments: Payload(method.arguments()?),
            calls: 0,
        };
        Ok(vec![caller; count])
    }

    /// Calls one entity by its number, whichever number, and waits.
    pub(crate) fn call(&self, number: usize, method: Method) -> Result<()> {
        self.runtime
            .block_on(self.submit(number, method)?.answer())?;
        Ok(())
    }

    /// Increments all entities of a range once, some at a time.
    pub(crate) fn increment_all(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        const AT_ONCE: usize = 256;
        let numbers: Vec<_> = numbers.collect();
        self.runtime.block_on(async {
            for numbers in numbers.chunks(AT_ONCE) {
                let tickets: Vec<_> = numbers
                    .iter()
                    .map(|number| self.submit(*number, Method::Increment))
                    .collect::<Result<_>>()?;
                for ticket in tickets {
                    ticket.answer().await?;
                }
            }
            Ok(())
        })
    }

    /// Entities that have an instance.
    pub(crate) fn live(&self) -> Result<u64> {
        let client = Client::new(&format!("http://{}", self.node.http()))?;
        Ok(self.runtime.block_on(client.health())?.entities_live)
    }

    fn submit(&self, number: usize, method: Method) -> Result<Ticket> {
        let envelope = Envelope {
            entity: EntityId::new(kind()?, &format!("entity-{number}"))?,
            method: method.name().to_owned(),
            arguments: Payload(method.arguments()?),
            caller: CalledBy::Anonymous,
            key: CommandKey::Random((number as u128).to_le_bytes()),
            attempt: 1,
            deadline_left_ms: DEADLINE.as_millis() as u64,
            chain: Vec::new(),
        };
        Ok(self.node.call(envelope, Instant::now() + DEADLINE)?)
    }

    /// After the callers are gone.
    pub(crate) fn stop(self) -> Result<()> {
        let node = Arc::into_inner(self.node).context("a caller is still there")?;
        self.runtime.block_on(node.shut_down())?;
        Ok(())
    }
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Increment => "increment",
            Self::Value => "value",
        }
    }

    /// As MessagePack.
    pub(crate) fn arguments(self) -> Result<Vec<u8>> {
        #[derive(serde::Serialize)]
        struct By {
            by: u64,
        }
        #[derive(serde::Serialize)]
        struct Nothing {}
        let bytes = match self {
            Self::Increment => rmp_serde::to_vec_named(&By { by: 1 }),
            Self::Value => rmp_serde::to_vec_named(&Nothing {}),
        };
        Ok(bytes?)
    }
}

/// Calls the node as its HTTP server does once it has read a request.
#[derive(Clone)]
pub(crate) struct NodeCaller {
    node: Arc<Node>,
    entities: Arc<[EntityId]>,
    method: &'static str,
    arguments: Payload,
    calls: u128,
}

impl Caller for NodeCaller {
    async fn call(&mut self, entity: usize) -> Result<()> {
        self.calls += 1;
        let envelope = Envelope {
            entity: self.entities[entity % self.entities.len()].clone(),
            method: self.method.to_owned(),
            arguments: self.arguments.clone(),
            caller: CalledBy::Anonymous,
            key: CommandKey::Random(self.calls.to_le_bytes()),
            attempt: 1,
            deadline_left_ms: DEADLINE.as_millis() as u64,
            chain: Vec::new(),
        };
        let ticket = self.node.call(envelope, Instant::now() + DEADLINE)?;
        ticket.answer().await?;
        Ok(())
    }
}

/// Deploys the counter on a node.
pub(crate) async fn deploy(api: &str, durability: Durability) -> Result<()> {
    let path = places::counter()?;
    let component = tokio::fs::File::open(&path).await;
    let component = component.with_context(|| path.display().to_string())?;
    let options = DeployOptions {
        durability: Some(durability),
        // So that all callers find room in the mailbox of one entity.
        limits: [("mailbox_calls_max".to_owned(), 10_000)].into(),
        ..DeployOptions::default()
    };
    let client = Client::new(api)?;
    client.deploy(&kind()?, component, &options, |_| {}).await?;
    Ok(())
}

/// The key of one of the [`ENTITIES`].
pub(crate) fn key(number: usize) -> String {
    debug_assert!(number < ENTITIES);
    format!("entity-{number}")
}

fn kind() -> Result<KindName> {
    Ok(KindName::new("counter")?)
}

const DEADLINE: Duration = Duration::from_secs(10);

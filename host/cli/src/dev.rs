//! `entia dev`: the loop of an author.
//!
//! ```text
//!          ┌────────────────────────────── a source changes ◄── watch ◄─┐
//!          ▼                                                            │
//!   build (cargo) ──► deploy ──► a running node, which keeps the state ─┘
//!          │             │
//!          └─ does not ──┴─ is refused: said, and the version before still runs
//! ```
//! What happens is a closed list of [`Step`]s, one line each. Only what keeps the loop itself from running ends it.

mod changes;
mod log;
mod node;
mod step;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use entia_api::body::{DeployOptions, KindBody};
use entia_api::client::Client;
use entia_protocol::Durability;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{ApiFrom, Dev};
use crate::build::{self, Built, Cargo};
use crate::deploy;
pub(crate) use crate::dev::node::DATA_DIR;
use crate::dev::node::DevNode;
use crate::dev::step::Step;
use crate::dev::watch::Watch;
use crate::failure;
use crate::output::Output;
use crate::sample;

pub(crate) fn run(api: &str, from: ApiFrom, dev: &Dev, output: &Output) -> anyhow::Result<()> {
    log::show(*output)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(until_stopped(api, from, dev, *output));
    // A deployment that still compiles is not waited for: it is not on disk, so it never was.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn until_stopped(api: &str, from: ApiFrom, dev: &Dev, output: Output) -> anyhow::Result<()> {
    // Before the start, so that a signal during it is not lost.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    build::check(&dev.dir).await?;
    let node = DevNode::start(api, from, dev).await?;
    output.step(&node.serving());
    let ended = tokio::select! {
        ended = Author::new(dev, &node, output).work() => ended,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    let stopped = node.stop().await?;
    output.step(&stopped);
    ended
}

/// What the loop knows from one round to the next.
struct Author<'a> {
    dir: &'a Path,
    options: DeployOptions,
    client: Client,
    /// The node's URL, if a command has to name it to find the node.
    api: Option<&'a str>,
    data_dir: Option<PathBuf>,
    /// What the node runs at present.
    running: Option<KindBody>,
    /// Whether this loop has deployed anything yet.
    deployed: bool,
    output: Output,
}

impl<'a> Author<'a> {
    fn new(dev: &'a Dev, node: &'a DevNode, output: Output) -> Self {
        Self {
            dir: &dev.dir,
            options: DeployOptions {
                durability: dev.durable.then_some(Durability::Durable),
                ..DeployOptions::default()
            },
            client: node.client(),
            api: node.named(),
            data_dir: node.data_dir().map(Path::to_owned),
            running: None,
            deployed: false,
            output,
        }
    }

    async fn work(mut self) -> anyhow::Result<()> {
        let mut watch = Watch::new(self.dir, self.data_dir.as_deref())?;
        self.running = self.found().await;
        loop {
            if let Some(built) = self.build().await {
                watch.also(&built.packages)?;
                self.deploy(&built).await;
            }
            if !std::mem::replace(&mut self.deployed, true) {
                self.output.step(&Step::Watching);
            }
            let paths = watch.changed().await?;
            self.output.step(&Step::Changed { paths });
        }
    }

    /// The kind as an earlier run left it.
    async fn found(&self) -> Option<KindBody> {
        let kind = deploy::kind_of(&build::name(self.dir)?).ok()?;
        self.client.kind(&kind).await.ok()
    }

    async fn build(&self) -> Option<Built> {
        // The first build takes long, and what it does is worth seeing.
        let talk = if self.deployed {
            Cargo::Quiet
        } else {
            Cargo::Talks
        };
        let began = Instant::now();
        match build::build(self.dir, talk).await {
            Ok(built) => {
                let ms = ms_since(began);
                self.output.step(&Step::Built { ms });
                Some(built)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    async fn deploy(&mut self, built: &Built) {
        match self.try_deploy(built).await {
            Ok(step) => self.output.step(&step),
            Err(error) => self.failed(&error),
        }
    }

    async fn try_deploy(&mut self, built: &Built) -> anyhow::Result<Step> {
        let kind = deploy::kind_of(&built.name)?;
        let began = Instant::now();
        let deployed = deploy::upload(&self.client, &kind, &built.path, &self.options).await?;
        let ms = ms_since(began);
        let now = deployed.kind;
        let (kind, version, entities_live) = (now.name.clone(), now.version, now.entities_live);
        let before = self.running.replace(now.clone());
        if self.deployed && !deployed.changed {
            return Ok(Step::Same { kind, version });
        }
        let before = before.filter(|_| self.deployed);
        Ok(Step::Deployed {
            kind,
            version,
            ms,
            entities_live,
            changes: changes::between(before.as_ref(), &now),
            call: match &before {
                None => sample::call(&now, self.api),
                Some(before) => changes::added(before, &now)
                    .map(|method| sample::call_of(&now, method, self.api)),
            },
        })
    }

    fn failed(&self, error: &anyhow::Error) {
        self.output.step(&Step::Failed {
            error: failure::detail(error),
            still_runs: self.running.as_ref().map(|kind| kind.version),
        });
    }
}

fn ms_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

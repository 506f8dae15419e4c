//! A node under everything at once: all example entities, hostile ones, redeployments, kill -9. Afterwards nothing that was
//! answered may be missing, and nothing may have happened twice.
//!
//! ```text
//!   loads ──keyed commands──► node ◄── hostile calls
//!                              ▲ ▲
//!                 redeployments┘ └kill -9, start again
//!   then: every open command is repeated under its key; accounts, counters, chains and rooms have to add up
//! ```

mod check;
mod loads;
mod process;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Node, NodeOptions, guest};
use loads::Loads;
use process::Samples;
use world::World;

/// What a torture does, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Torture {
    /// How long the load runs.
    pub time: Duration,
    /// Between two kills.
    pub kill_every: Duration,
    /// Between two redeployments.
    pub redeploy_every: Duration,
}

impl Torture {
    /// The one of so many minutes: a redeployment every minute, a kill every five. A short one does both more often.
    pub fn of(time: Duration) -> Self {
        let at_least = |part: u32, most: u64| (time / part).min(Duration::from_secs(most));
        Self {
            time,
            kill_every: at_least(4, 300),
            redeploy_every: at_least(6, 60),
        }
    }

    /// Runs it with the node's data and its log in a directory, and returns what was done, for people.
    ///
    /// # Panics
    /// If anything was lost, doubled or grew without end; with what.
    pub async fn run(self, dir: &Path) -> String {
        let log = dir.join("log");
        let options = NodeOptions::new(&dir.join("data")).log_file(&log);
        let mut node = options.start();
        deploy_all(&node);
        let world = Arc::new(World::new(node.client()));
        let loads = Loads::start(&world).await;
        let began = Instant::now();
        let mut samples = Samples::default();
        let (mut kills, mut deployments) = (0, 0);
        let mut waiting_most = 0;
        let mut next_kill = began + self.kill_every;
        let mut next_deployment = began + self.redeploy_every;
        while began.elapsed() < self.time {
            let now = Instant::now();
            if now >= next_kill {
                node.kill();
                node = options.start();
                world.moved_to(node.client());
                kills += 1;
                next_kill = Instant::now() + self.kill_every;
            }
            if now >= next_deployment {
                deployments += 1;
                redeploy(&node, deployments);
                next_deployment = Instant::now() + self.redeploy_every;
            }
            samples.take(node.pid(), began.elapsed());
            waiting_most = waiting_most.max(loads::waiting_most(&world).await);
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
        let done = loads.finish(&world).await;
        let checked = done.check(&world, &node, &log).await;
        let flat = samples.check(self.time);
        assert!(node.stop().success(), "the node does not stop in order");
        format!(
            "{checked}; {kills} kills, {deployments} redeployments; at most {waiting_most} messages waited in a room; {flat}"
        )
    }
}

/// A look at the process; also how exactly times are kept.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// The kinds: a component's file and whether it is durable.
const KINDS: [(&str, bool); 7] = [
    ("account", true),
    ("counter", true),
    ("chat_room", true),
    ("chat_inbox", false),
    ("courier", true),
    ("caller", true),
    ("entia_hostile", false),
];

fn deploy_all(node: &Node) {
    for (component, durable) in KINDS {
        let durable: &[&str] = if durable { &["--durable"] } else { &[] };
        // The bound is on elapsed time, and the machine is busy.
        let flags = [durable, &["--limit", "cpu_ms_max=1000"]].concat();
        node.deploy(&guest(component), &flags);
    }
}

/// A new version of everything, by another limit that changes nothing else.
fn redeploy(node: &Node, number: u64) {
    let limit = format!("cpu_ms_max={}", 1_000 + number % 2);
    for (component, _) in KINDS {
        node.deploy(&guest(component), &["--limit", &limit]);
    }
}

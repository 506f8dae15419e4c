use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use entia_wasm::compile::Compiler;

use crate::executor::ExecutorOptions;

/// What a node needs to know to start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where it keeps everything. Locked while the node runs.
    pub data_dir: PathBuf,
    /// Where it serves HTTP. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Threads that run guests; more run for a while when guests are slow.
    pub workers: usize,
    /// Calls under way at once, from the mailbox to the answer.
    pub calls_max: usize,
    /// Entities in memory at once.
    pub activations_max: usize,
    /// Linear memory of all entities together, in bytes, apart from the first 2 MiB of each. Over three quarters of it, those
    /// idle longest are passivated; beyond it, entities are refused more with `overloaded`.
    pub memory_bytes_max: u64,
    /// How long an entity may be idle in memory before it is passivated.
    pub idle: Duration,
    /// The longest component, in bytes.
    pub component_bytes_max: u64,
    /// HTTP connections at once.
    pub connections_max: usize,
    /// How long a shutdown waits for the calls under way.
    pub shutdown: Duration,
    /// Start although the store is behind its watermark.
    pub accept_loss: bool,
    /// The program that compiles components.
    pub compiler: Compiler,
}

impl NodeConfig {
    /// The defaults, for a node that keeps its data in `data_dir` and compiles with `compiler`.
    pub fn new(data_dir: PathBuf, compiler: Compiler) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            data_dir,
            http: SocketAddr::from(([127, 0, 0, 1], 7070)),
            workers: cores,
            calls_max: 100_000,
            activations_max: 10_000,
            memory_bytes_max: half_of_memory(),
            idle: Duration::from_secs(600),
            component_bytes_max: 64 << 20,
            connections_max: 10_000,
            shutdown: Duration::from_secs(10),
            accept_loss: false,
            compiler,
        }
    }

    pub(crate) fn executor(&self) -> ExecutorOptions {
        ExecutorOptions {
            workers: self.workers,
            spare_workers: SPARE_WORKERS,
            calls_max: self.calls_max,
            activations_max: self.activations_max,
            memory_bytes_high: self.memory_bytes_max / 4 * 3,
            idle: self.idle,
        }
    }
}

/// Half of the machine's memory: the other half is for what entities have besides, the store and the system.
fn half_of_memory() -> u64 {
    let machine = rustix::system::sysinfo();
    machine.totalram as u64 * u64::from(machine.mem_unit) / 2
}

/// Threads that may take over from workers held by long turns.
const SPARE_WORKERS: usize = 8;

//! The world that the nodes live in: true time, and everything that happens in it.
//!
//! ```text
//!            ┌──────────── queue of Pending, by true time ◄───────────────┐
//!            ▼                                                            │
//!   fault? timer? message? disk? executor? log?                           │
//!            │ one Input to one node                                      │
//!            ▼                                                            │
//!   node.handle_* ──► actions ──► the checks look ──► carried out: net, disk, executor, log
//! ```
//! A node that is paused gets its inputs when it goes on; one that was killed never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use entia_protocol::cluster::{
    Boot, ClusterId, Home, Instant, Message, NodeAddress, NodeId, Peer, ProtocolRange,
};
use entia_protocol::{CallError, Payload};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::executor::Executor;
use crate::faults::{FaultKind, Restart, Wish};
use crate::log::Log;
use crate::net::Net;
use crate::node::{Event, Node, OutCall, Ticket};
use crate::observation::Observation;
use crate::plan::Plan;
use crate::queue::Queue;
use crate::seeded::{self, Rng};
use crate::trace::Trace;

mod control_log;
mod effects;
mod formed;
mod life;
mod operator;
mod step;
mod strike;

/// The world.
#[derive(Debug)]
pub struct World {
    /// What this run is.
    pub plan: Arc<Plan>,
    /// Nanoseconds since the run began.
    pub true_time: u64,
    /// All nodes that ever were.
    pub nodes: BTreeMap<NodeId, SimNode>,
    /// The control log.
    pub log: Log,
    /// The links.
    pub net: Net,
    /// Who handled the last input.
    pub stepped: Option<NodeId>,
    /// How many inputs were handled.
    pub steps: u64,
    /// What happened.
    pub trace: Trace,
    /// The faults that struck.
    pub strikes: Vec<Strike>,
    queue: Queue<Pending>,
    /// What the faults that are in force did, by their number.
    effects: BTreeMap<u32, effects::Effect>,
    next_fault: u32,
    /// Faults that strike at a step, the next one last.
    at_step: Vec<(u64, FaultKind)>,
    /// What an operator still wants.
    wishes: BTreeSet<Wish>,
    rng: Rng,
}

/// A node: a machine with a disk, a clock, and a process while it runs.
#[derive(Debug)]
pub struct SimNode {
    /// The process; nothing while there is none.
    pub node: Option<Node<Ticket>>,
    /// How the last process introduced itself.
    pub boot: Arc<Boot>,
    /// Its clocks.
    pub clock: Clock,
    /// Its disk.
    pub disk: Disk,
    /// Runs the process's entities.
    pub executor: Executor,
    /// Whether there is a process.
    pub alive: bool,
    /// Whether it is stopped.
    pub paused: bool,
    /// It will not come back: it left, or was refused.
    pub gone: bool,
    /// Counts its processes.
    pub life: u32,
    pauses: u32,
    backlog: VecDeque<Input>,
    /// The local instant for which a timer is set, and the true time of it.
    timer: Option<(Instant, u64)>,
    /// How far its own disk has the control log.
    restored: u64,
}

/// One input to one node.
#[derive(Debug)]
pub(crate) enum Input {
    /// A message.
    Message { from: Peer, message: Message },
    /// What the driver reports.
    Event(Event),
    /// A client's call.
    Call { call: OutCall, ticket: Ticket },
    /// A timer, and the true time for which it was set.
    Timer { due: u64 },
}

/// What will happen.
#[derive(Debug)]
enum Pending {
    /// A message arrives, at whatever process runs there then.
    Message {
        to: NodeId,
        from: Peer,
        message: Message,
    },
    /// Something happens to a process, if it still is the same.
    Input {
        node: NodeId,
        life: u32,
        input: Input,
    },
    /// An fsync is over.
    Disk { node: NodeId, life: u32 },
    /// A voter is handed an entry.
    Apply { node: NodeId, life: u32, index: u64 },
    /// A quorum may have what is pending.
    Commit { term: u64 },
    /// A barrier is decided.
    Barrier {
        node: NodeId,
        life: u32,
        id: u64,
        term: u64,
    },
    /// The log looks who leads, and who is behind.
    LogTick,
    /// A fault strikes.
    Strike(FaultKind),
    /// A fault ends, or turns.
    Turn(u32),
    /// A process starts.
    Start(NodeId),
    /// A process ends for good.
    Stop(NodeId),
    /// The operator looks what is not as it was wished.
    Operator,
    /// All faults end.
    Heal,
}

/// What of a step's actions is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CarriedOut {
    /// Nothing.
    Nothing,
    /// What is sent: no entity runs, nothing is written, nobody is answered.
    Sends,
    /// Everything.
    All,
}

/// A fault that struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// When, in true time.
    pub at: u64,
    /// What.
    pub kind: FaultKind,
    /// Whom.
    pub node: Option<NodeId>,
}

/// Who looks at what happens.
pub trait Watch {
    /// After each step. See [`Observation`]. What of the actions is to be carried out: not all, if the process is killed with them.
    fn after_step(&mut self, world: &World, seen: &Observation<'_>) -> CarriedOut;
    /// A client's call was answered.
    fn answered(
        &mut self,
        node: NodeId,
        ticket: Ticket,
        answer: &Arc<Result<Payload, CallError>>,
        true_time: u64,
    );
    /// A process was killed: nobody answers what it was asked.
    fn crashed(&mut self, node: NodeId);
}

/// The messages that wait for a paused process, at most.
const BACKLOG_MAX: usize = 4_000;
const MILLISECOND: u64 = 1_000_000;

impl World {
    /// The world at the beginning of a plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        let seed = plan.seed;
        let cluster = ClusterId(seeded::mixed(seed, 3));
        let log = Log::new(
            cluster,
            plan.log,
            plan.settings.mutant,
            seeded::rng(seed, 4),
        );
        let mut world = Self {
            true_time: 0,
            nodes: BTreeMap::new(),
            log,
            net: Net::new(plan.network, seeded::rng(seed, 5)),
            stepped: None,
            steps: 0,
            trace: Trace::hashed(),
            strikes: Vec::new(),
            queue: Queue::new(),
            effects: BTreeMap::new(),
            next_fault: 0,
            at_step: Vec::new(),
            wishes: BTreeSet::new(),
            rng: seeded::rng(seed, 6),
            plan,
        };
        world.begin();
        world
    }

    /// When the next thing happens.
    pub fn due(&self) -> Option<u64> {
        self.queue.due()
    }

    /// Does the next thing.
    pub fn advance(&mut self, watch: &mut dyn Watch) {
        let Some((due, what)) = self.queue.pop() else {
            return;
        };
        self.true_time = self.true_time.max(due);
        self.strike_at_step(watch);
        match what {
            Pending::Message { to, from, message } => {
                if self.net.open(from.node, to) {
                    if !self.effects.is_empty() {
                        self.remember(to, from, &message);
                    }
                    self.give(to, Input::Message { from, message }, watch);
                }
            }
            Pending::Input { node, life, input } => {
                if self.is_life(node, life) {
                    self.give(node, input, watch);
                }
            }
            Pending::Disk { node, life } => self.disk_finished(node, life, watch),
            Pending::Apply { node, life, index } => {
                if self.is_life(node, life) {
                    let at = usize::try_from(index - 1).expect("as many as fit into memory");
                    let entry = Arc::clone(&self.log.entries[at]);
                    self.give(node, Input::Event(Event::Applied(entry)), watch);
                }
            }
            Pending::Commit { term } => self.try_commit(term),
            Pending::Barrier {
                node,
                life,
                id,
                term,
            } => self.decide_barrier(node, life, (id, term)),
            Pending::LogTick => self.log_tick(),
            Pending::Strike(kind) => self.strike(kind, watch),
            Pending::Turn(fault) => self.turn(fault),
            Pending::Start(node) => self.start(node, watch),
            Pending::Stop(node) => self.stop(node, watch),
            Pending::Operator => self.operate(),
            Pending::Heal => self.heal(),
        }
    }

    /// Hands a client's call to a node, now. Its deadline is in true time: clients have no clock of the node's.
    pub fn call(&mut self, node: NodeId, mut call: OutCall, ticket: Ticket, watch: &mut dyn Watch) {
        match self.nodes.get(&node) {
            Some(there) if there.alive => {
                call.deadline = there.clock.instant(call.deadline.0);
                self.give(node, Input::Call { call, ticket }, watch);
            }
            // Nobody listens there: the client's connection is refused.
            _ => watch.crashed(node),
        }
    }

    /// Whether this process runs, and is not stopped.
    pub fn awake(&self, node: NodeId) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|there| there.alive && !there.paused)
    }

    /// The number of nodes that there ever were.
    fn next_node(&self) -> NodeId {
        NodeId(self.nodes.last_key_value().map_or(0, |(id, _)| id.0) + 1)
    }

    fn is_life(&self, node: NodeId, life: u32) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|there| there.alive && there.life == life)
    }

    /// Gives an input to a process now, or when it goes on.
    fn give(&mut self, id: NodeId, input: Input, watch: &mut dyn Watch) {
        let Some(there) = self.nodes.get_mut(&id) else {
            return;
        };
        if !there.alive {
            return;
        }
        if there.paused {
            there.wait(input);
            return;
        }
        self.step(id, input, watch);
    }

    fn disk_finished(&mut self, id: NodeId, life: u32, watch: &mut dyn Watch) {
        if !self.is_life(id, life) {
            return;
        }
        let Some(there) = self.nodes.get_mut(&id) else {
            return;
        };
        let (events, next) = there.disk.finish();
        if let Some(after) = next {
            let due = self.true_time + after;
            self.queue.push(due, Pending::Disk { node: id, life });
        }
        for event in events {
            // The process may die of what it is told.
            if self.is_life(id, life) {
                self.give(id, Input::Event(event), watch);
            }
        }
    }

    fn begin(&mut self) {
        for number in 1..=self.plan.nodes {
            self.make_node(NodeId(number));
        }
        if self.plan.formed {
            self.form();
        }
        self.begin_log();
        let apart = if self.plan.formed {
            0
        } else {
            100 * MILLISECOND
        };
        for number in 1..=self.plan.nodes {
            let due = apart * (number - 1);
            self.queue.push(due, Pending::Start(NodeId(number)));
        }
        let plan = Arc::clone(&self.plan);
        for fault in &plan.faults {
            self.plan_fault(fault);
        }
        self.at_step
            .sort_by_key(|(step, _)| std::cmp::Reverse(*step));
        self.queue.push(self.plan.faults_until(), Pending::Heal);
        self.queue.push(300 * MILLISECOND, Pending::Operator);
        if !self.plan.formed {
            self.wishes.insert(Wish::Redeploy(1));
        }
    }
}

impl SimNode {
    /// Who the process is, by what it has applied; incarnation 0 if there is none.
    pub fn home(&self) -> Home {
        match &self.node {
            Some(node) => node.home(),
            None => Home {
                node: self.boot.node,
                ..Home::default()
            },
        }
    }

    /// Keeps an input for a paused process. Only messages may be dropped.
    fn wait(&mut self, input: Input) {
        let full = self.backlog.len() >= BACKLOG_MAX;
        if !(full && matches!(input, Input::Message { .. })) {
            self.backlog.push_back(input);
        }
    }
}

/// How a node introduces itself.
fn boot(cluster: ClusterId, node: NodeId, zones: u64, seed: u64) -> Boot {
    let number = node.0;
    Boot {
        cluster,
        node,
        // A later process has a higher number.
        process: (seeded::mixed(seed, number) >> 8) + 1,
        machine: number * 1_000_000,
        directory: number,
        disk: number * 1_000,
        address: NodeAddress {
            data: format!("10.0.0.{number}:7100"),
            control: format!("10.0.0.{number}:7101"),
        },
        zone: format!("zone-{}", number % zones.max(1)),
        version: 1,
        protocol: ProtocolRange { min: 1, max: 1 },
    }
}

impl Restart {
    /// Whether another process can prove by its lock that this one is gone.
    fn proves(self) -> bool {
        matches!(
            self,
            Self::Process | Self::Supervised | Self::Upgraded | Self::Never
        )
    }
}

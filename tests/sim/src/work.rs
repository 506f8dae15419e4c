//! What clients do.
//!
//! ```text
//!   think ──► operation ──► attempt ──► answer ──► oracle ──► think
//!                  ▲            │ error, silence, crash of the node
//!                  └── pause ◄──┘ (the same key, through the same node or another one; one in some is abandoned)
//! ```
//! Clients begin nothing new after [`Plan::load_until`]. Then an auditor reads every entity until all that was promised is
//! there: messages that were sent, timers that were set.

mod answer;
mod audit;
mod choice;
mod operation;
mod promise;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use entia_protocol::cluster::{Instant, NodeId};
use entia_protocol::{CallError, Caller, CommandKey, Durability, EntityId, Envelope, Payload};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::executor::Command;
use crate::faults::{Fault, FaultKind};
use crate::node::{OutCall, Ticket};
use crate::oracle::{Oracle, Turn};
use crate::plan::{Plan, WorkPlan, nanos};
use crate::violation::Violation;

use audit::Audit;
use choice::Choices;
use operation::{Asker, Attempt, Operation, Standing};
use promise::Promise;

/// The clients.
#[derive(Debug)]
pub struct Workload {
    random: Pcg64Mcg,
    plan: WorkPlan,
    times: Times,
    choices: Choices,
    oracle: Oracle,
    operations: Vec<Operation>,
    /// By client, how many of its operations are open.
    clients: Vec<u32>,
    attempts: BTreeMap<Ticket, Attempt>,
    agenda: BTreeMap<(u64, u64), Job>,
    /// Counts jobs, tickets and calls.
    counter: u64,
    nodes: Nodes,
    promises: Vec<Promise>,
    /// Wall clocks go on as they are: timers fire when they should.
    timers_fire: bool,
    audit: Audit,
    waits: Vec<Gap>,
    ready: Vec<(NodeId, OutCall, Ticket)>,
}

/// How long somebody waited for an answer that came: from the first attempt on, errors and silence included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Who was asked.
    pub entity: EntityId,
    /// When, in true time.
    pub issued: u64,
    /// When it was answered.
    pub answered: u64,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    faults_until: u64,
    load_until: u64,
    /// What a client pauses on average.
    think: u64,
}

#[derive(Debug)]
struct Nodes {
    count: u64,
    /// Those that are gone, as far as clients know.
    down: BTreeSet<NodeId>,
    /// How often each crashed.
    crashes: BTreeMap<NodeId, u64>,
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Think(usize),
    Attempt(usize),
    Expire(Ticket),
    Audit,
}

const MS: u64 = 1_000_000;
/// The pauses of all clients in a run, about. A pause is followed by one call or by several.
const CALLS: u64 = 700;

impl Gap {
    /// How long, in nanoseconds.
    pub fn length(&self) -> u64 {
        self.answered - self.issued
    }
}

impl Workload {
    /// The clients of a plan.
    pub fn new(seed: u64, plan: &Plan) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut oracle = Oracle::default();
        let choices = Choices::new(plan);
        for (entity, durability) in choices.all() {
            oracle.announce(entity.clone(), durability);
        }
        if !plan.clocks_are_honest() {
            oracle.leases_lie();
        }
        let clients = vec![0; choices.clients(plan.work.clients)];
        let mut agenda = BTreeMap::new();
        for client in 0..clients.len() {
            let at = random.random_range(0..pace(plan, clients.len()));
            agenda.insert((at, client as u64), Job::Think(client));
        }
        let counter = clients.len() as u64 + 1;
        agenda.insert((plan.load_until(), counter), Job::Audit);
        Self {
            random,
            plan: plan.work,
            times: Times {
                faults_until: plan.faults_until(),
                load_until: plan.load_until(),
                think: pace(plan, clients.len()),
            },
            choices,
            oracle,
            operations: Vec::new(),
            clients,
            attempts: BTreeMap::new(),
            agenda,
            counter,
            nodes: Nodes {
                count: plan.nodes,
                down: BTreeSet::new(),
                crashes: BTreeMap::new(),
            },
            promises: Vec::new(),
            timers_fire: !jumps(plan),
            audit: Audit::default(),
            waits: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// When to come back.
    pub fn due(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Calls to hand to nodes. Their deadlines are in true time: the world knows what the node's clock shows then.
    pub fn step(&mut self, true_time: u64) -> Vec<(NodeId, OutCall, Ticket)> {
        while let Some(first) = self.agenda.first_entry() {
            if first.key().0 > true_time {
                break;
            }
            match first.remove() {
                Job::Think(client) => self.think(client, true_time),
                Job::Attempt(operation) => self.attempt(operation, true_time),
                Job::Expire(ticket) => self.expire(ticket, true_time),
                Job::Audit => self.audit(true_time),
            }
        }
        std::mem::take(&mut self.ready)
    }

    /// An answer.
    pub fn answered(
        &mut self,
        node: NodeId,
        ticket: Ticket,
        answer: &Arc<Result<Payload, CallError>>,
        true_time: u64,
    ) {
        self.nodes.down.remove(&node);
        let Some(attempt) = self.attempts.remove(&ticket) else {
            return;
        };
        match answer.as_ref() {
            Ok(payload) => self.succeeded(&attempt, payload, true_time),
            Err(error) => self.failed(&attempt, error, true_time),
        }
    }

    /// Calls of this node are not answered any more.
    pub fn node_crashed(&mut self, node: NodeId) {
        *self.nodes.crashes.entry(node).or_default() += 1;
        self.nodes.down.insert(node);
        let silent: Vec<Ticket> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.node == node)
            .map(|(&ticket, _)| ticket)
            .collect();
        for ticket in silent {
            // The connection breaks: the client notices at its next step.
            self.schedule(0, Job::Expire(ticket));
        }
    }

    /// Whether every call was answered, and everything that was promised is there.
    pub fn settled(&self) -> bool {
        self.audit.done
    }

    /// The first answer that was wrong.
    pub fn violation(&self) -> Option<&Violation> {
        self.oracle.violation()
    }

    /// What clients were told.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// The longest that somebody waited for an append or a read.
    pub fn longest_gap(&self) -> Option<&Gap> {
        self.waits.iter().max_by_key(|gap| gap.length())
    }

    /// How long each append and each read took that was answered.
    pub fn waits(&self) -> &[Gap] {
        &self.waits
    }

    /// How many operations were answered.
    pub fn answered_count(&self) -> usize {
        let answered = |operation: &&Operation| operation.standing == Standing::Answered;
        self.operations.iter().filter(answered).count()
    }

    fn think(&mut self, client: usize, now: u64) {
        if now >= self.times.load_until {
            return;
        }
        let burst = if self.random.random_range(0..6) == 0 {
            3
        } else {
            1
        };
        let (entity, command) = self
            .choices
            .choose(&self.plan, &mut self.random, &mut self.oracle);
        let node = self.node_for(client);
        self.begin(Asker::Client(client), entity.clone(), command, node, now);
        for _ in 1..burst {
            let serial = self.oracle.serial(&entity, true);
            let command = Command::Append { serial };
            self.begin(Asker::Client(client), entity.clone(), command, node, now);
        }
    }

    fn begin(&mut self, asker: Asker, entity: EntityId, command: Command, node: NodeId, now: u64) {
        if let Asker::Client(client) = asker {
            self.clients[client] += 1;
            self.promise(&entity, &command);
        }
        let number = self.operations.len();
        let key = CommandKey::Client(format!("k{number}"));
        self.operations.push(Operation {
            asker,
            entity,
            command,
            key,
            issued: now,
            attempts: 0,
            error: None,
            standing: Standing::Open,
        });
        self.ask(number, node, now);
    }

    /// What follows from the command if it takes effect. A timer is only promised by an answer.
    fn promise(&mut self, entity: &EntityId, command: &Command) {
        let durable = |entity| self.choices.durability(entity) == Some(Durability::Durable);
        match command {
            Command::Post {
                serial,
                other,
                theirs,
            } if durable(entity) && durable(other) => self.promises.push(Promise::Message {
                from: entity.clone(),
                own: *serial,
                to: other.clone(),
                theirs: *theirs,
            }),
            Command::Chain {
                serial,
                other,
                theirs,
            } if durable(entity) && durable(other) => self.promises.push(Promise::Nested {
                from: entity.clone(),
                own: *serial,
                to: other.clone(),
                theirs: *theirs,
            }),
            _ => {}
        }
    }

    fn attempt(&mut self, number: usize, now: u64) {
        if self.operations[number].standing != Standing::Open {
            return;
        }
        let client = match self.operations[number].asker {
            Asker::Client(client) => client,
            Asker::Auditor => self.random.random_range(0..=self.clients.len()),
        };
        let node = self.node_for(client);
        self.ask(number, node, now);
    }

    fn ask(&mut self, number: usize, node: NodeId, now: u64) {
        let ticket = self.count();
        let left = if self.random.random_range(0..12) == 0 {
            50 * MS
        } else {
            nanos(self.plan.deadline)
        };
        let crashes = self.nodes.crashes.get(&node).copied().unwrap_or(0);
        let operation = &mut self.operations[number];
        operation.attempts += 1;
        if operation.command == Command::Forget {
            self.oracle.deleting(&operation.entity);
        }
        let turn = match operation.asker {
            Asker::Client(client) if operation.attempts == 1 => Some(Turn {
                lane: (client as u64) << 40 | node.0 << 20 | crashes,
                number: number as u64,
            }),
            _ => None,
        };
        let envelope = Envelope {
            entity: operation.entity.clone(),
            method: operation.command.method().to_owned(),
            arguments: operation.command.payload(),
            caller: Caller::Anonymous,
            key: operation.key.clone(),
            attempt: operation.attempts,
            deadline_left_ms: left / MS,
            chain: Vec::new(),
        };
        let attempt = Attempt {
            operation: number,
            node,
            turn,
            expired: false,
        };
        self.attempts.insert(ticket, attempt);
        let call = OutCall {
            envelope: Arc::new(envelope),
            deadline: Instant(now + left),
        };
        self.ready.push((node, call, ticket));
        // A node that is there says itself when the deadline has passed; one that is not there refuses the connection.
        let patience = if self.nodes.down.contains(&node) {
            20 * MS
        } else {
            left + 500 * MS
        };
        self.schedule(now + patience, Job::Expire(ticket));
    }

    fn expire(&mut self, ticket: Ticket, now: u64) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else {
            return;
        };
        if !std::mem::replace(&mut attempt.expired, true) {
            let (number, node) = (attempt.operation, attempt.node);
            self.nodes.down.insert(node);
            self.again(number, now);
        }
    }

    /// Mostly the node that the client is at, if it is there.
    fn node_for(&mut self, client: usize) -> NodeId {
        let count = self.nodes.count.max(1);
        let home = NodeId(client as u64 % count + 1);
        if self.random.random_range(0..5) != 0 && !self.nodes.down.contains(&home) {
            return home;
        }
        let mut node = NodeId(self.random.random_range(1..=count));
        if self.random.random_range(0..4) == 0 {
            // Nobody says that a node is back.
            return node;
        }
        for _ in 0..count {
            if !self.nodes.down.contains(&node) {
                return node;
            }
            node = NodeId(node.0 % count + 1);
        }
        node
    }

    fn schedule(&mut self, at: u64, job: Job) {
        let number = self.count();
        self.agenda.insert((at, number), job);
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// What clients pause on average: as the plan says, or longer where that would be so many calls that a run takes long. What is rare
/// is found by many runs, not by many calls.
fn pace(plan: &Plan, clients: usize) -> u64 {
    let least = plan.load_until() * clients as u64 / CALLS;
    nanos(plan.work.think).max(least).max(1)
}

/// Whether the plan has a wall clock jump: a timer may then be a day late.
fn jumps(plan: &Plan) -> bool {
    let jump = |fault: &Fault| matches!(fault.kind, FaultKind::WallJump { .. });
    plan.faults.iter().any(jump)
}

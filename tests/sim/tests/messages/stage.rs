//! Plays a story to its end, and says what is left of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use entia_protocol::cluster::{Message, NodeId};
use entia_protocol::control::{Ownership, Status};
use entia_protocol::{CallError, EntityId, Payload};
use entia_sim::faults::{At, Fault, FaultKind};
use entia_sim::invariants::Invariants;
use entia_sim::node::{Action, Input, Ticket};
use entia_sim::observation::{Cause, Observation};
use entia_sim::plan::{Plan, SpacePlan, nanos};
use entia_sim::row::{self, Row, Twist};
use entia_sim::world::{Watch, World};

use crate::again::Again;
use crate::script::{self, Calls, List, Script};

/// What happens, besides what clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    /// At which milliseconds what happens.
    pub(crate) happens: &'static [(u64, FaultKind)],
    /// When such a message is sent first, this happens.
    pub(crate) when: Option<(&'static str, FaultKind)>,
    /// How much later than the leader a voter applies what is committed, at most, in milliseconds.
    pub(crate) lag_ms: u64,
    /// What clients do. Where nodes die, they keep to what is durable.
    pub(crate) calls: Calls,
}

/// What a story came to.
#[derive(Debug)]
pub(crate) struct Ending {
    /// What does not depend on when what happened.
    pub(crate) state: State,
    /// How often each message was handled.
    pub(crate) handled: BTreeMap<&'static str, u64>,
    /// Where a message that was handled twice at one instant changed more than the first time.
    pub(crate) again: Again,
    /// The first rule that was broken.
    pub(crate) violation: Option<String>,
}

/// What has to be the same, whatever happens to messages on their way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Every serial exactly once, in the order of its thread.
    pub(crate) lists: BTreeMap<EntityId, List>,
    /// Who is a member, and how.
    pub(crate) members: BTreeMap<NodeId, Status>,
    /// How many vote, and whether all of them are members.
    pub(crate) voters: (usize, bool),
    /// What is deployed: the name, the code, and the number of shards.
    pub(crate) spaces: BTreeMap<String, (String, u32)>,
    /// The shards that no live member serves under their epoch: those that move, and those that nobody owns, too.
    pub(crate) unserved: BTreeSet<String>,
    /// The shards that may have states in ledgers of others.
    pub(crate) unadopted: BTreeSet<String>,
    /// On how many disks each member's ledger is.
    pub(crate) ledgers: BTreeMap<NodeId, usize>,
    /// The workers that took a step lately.
    pub(crate) workers: BTreeSet<String>,
    /// The shards of which the coordinator believes that another number of entities is in memory than is.
    pub(crate) miscounted: BTreeSet<String>,
}

/// Who looks at a run.
struct Audience {
    script: Script,
    invariants: Invariants,
    handled: BTreeMap<&'static str, u64>,
    again: Again,
    when: Option<(&'static str, FaultKind)>,
    strikes: Vec<FaultKind>,
    violation: Option<String>,
    /// When each worker began a step last.
    steps: BTreeMap<EntityId, u64>,
    reads: BTreeMap<Ticket, EntityId>,
    lists: BTreeMap<EntityId, List>,
}

/// Messages are twisted, and workers misbehave, until then. Stories happen before it.
const TROUBLE: Duration = Duration::from_secs(9);
/// All copies have come, and who was downed has got shards again.
const QUIET: u64 = 16_000_000_000;
/// It is never quiet later.
const END: Duration = Duration::from_secs(40);
const LOOKS: u64 = 500_000_000;
const READS: Ticket = 1 << 40;

impl Story {
    /// Plays it, with one row's messages twisted.
    pub(crate) fn play(&self, twist: Option<(Row, Twist)>) -> Ending {
        let plan = self.plan(twist);
        let mut audience = Audience {
            script: Script::new(self.calls),
            invariants: Invariants::new(&plan),
            handled: BTreeMap::new(),
            again: Again::new(twist.is_some_and(|(_, twist)| twist == Twist::Doubled)),
            when: self.when,
            strikes: Vec::new(),
            violation: None,
            steps: BTreeMap::new(),
            reads: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        let mut world = World::new(Arc::new(plan));
        audience.run(&mut world, QUIET);
        let mut looks = QUIET;
        while audience.violation.is_none() && looks < nanos(END) {
            audience.read_all(&mut world);
            looks += LOOKS;
            audience.run(&mut world, looks);
            let state = audience.state(&world);
            if audience.script.done() && state.is_quiet(&audience.script.expected) {
                break;
            }
        }
        let state = audience.state(&world);
        if !audience.script.done() {
            let progress = audience.script.progress();
            let message = format!("clients are not done: {progress:?}");
            audience.violation.get_or_insert(message);
        }
        Ending {
            state,
            handled: audience.handled,
            again: audience.again,
            violation: audience.violation,
        }
    }

    fn plan(&self, twist: Option<(Row, Twist)>) -> Plan {
        let mut plan = Plan::calm(7);
        plan.duration = TROUBLE;
        plan.settle = END - TROUBLE;
        plan.work.clients = 0;
        plan.log.apply_lag = Duration::from_millis(self.lag_ms);
        let settings = Arc::make_mut(&mut plan.settings);
        // Entities go out of memory between two calls, and come back.
        settings.timing.idle = Duration::from_millis(400);
        settings.timing.readmit = Duration::from_secs(1);
        let happens = self.happens.iter().map(|&(ms, kind)| Fault {
            at: At::Time(ms * 1_000_000),
            kind,
        });
        plan.faults.extend(happens);
        if let Some((row, twist)) = twist {
            let kind = FaultKind::Twist { row, twist, lasts: TROUBLE };
            plan.faults.push(Fault { at: At::Time(0), kind });
        }
        plan
    }
}

impl State {
    /// Nothing is left to be done.
    fn is_quiet(&self, expected: &BTreeMap<EntityId, List>) -> bool {
        let up = |status: &Status| *status == Status::Up;
        let rests = [&self.unserved, &self.unadopted, &self.miscounted];
        self.lists == *expected
            && self.members.values().all(up)
            && rests.iter().all(|rest| rest.is_empty())
    }
}

impl Audience {
    fn run(&mut self, world: &mut World, until: u64) {
        while self.violation.is_none() {
            let world_due = world.due().unwrap_or(u64::MAX);
            let script_due = self.script.due().unwrap_or(u64::MAX);
            if world_due.min(script_due) > until {
                break;
            }
            // The world first: what arrives twice at one instant arrives with nothing in between.
            if world_due <= script_due {
                world.advance(self);
            } else {
                world.true_time = world.true_time.max(script_due);
                for (node, call, ticket) in self.script.calls(world.true_time) {
                    world.call(node, call, ticket, self);
                }
            }
            for kind in std::mem::take(&mut self.strikes) {
                world.strike(kind, self);
            }
        }
    }

    /// Asks every entity for everything.
    fn read_all(&mut self, world: &mut World) {
        let entities: Vec<_> = self.script.expected.keys().cloned().collect();
        for (ticket, entity) in (READS + self.reads.len() as u64..).zip(entities) {
            let call = script::read(&entity, world.true_time);
            self.reads.insert(ticket, entity);
            world.call(NodeId(1), call, ticket, self);
        }
    }

    fn state(&self, world: &World) -> State {
        let control = &world.log.state;
        let live = |id: &NodeId| {
            let member = control.members.get(id);
            member.is_some_and(|member| member.status != Status::Down)
        };
        let leader = world.log.leader.and_then(|id| world.nodes[&id].node.as_ref());
        let mut state = State {
            lists: self.lists.clone(),
            members: BTreeMap::new(),
            voters: (control.voters.len(), control.voters.iter().all(live)),
            spaces: BTreeMap::new(),
            unserved: BTreeSet::new(),
            unadopted: BTreeSet::new(),
            ledgers: BTreeMap::new(),
            workers: BTreeSet::new(),
            miscounted: BTreeSet::new(),
        };
        for (&id, member) in &control.members {
            state.members.insert(id, member.status);
            let ledger = member.ledger.and_then(|ledger| control.ledgers.get(&ledger));
            let disks = ledger.map_or(0, |ledger| ledger.replicas.len());
            state.ledgers.insert(id, disks);
        }
        for space in control.spaces.values() {
            let deployed = (space.component.to_string(), space.shards);
            state.spaces.insert(space.name.as_str().to_owned(), deployed);
        }
        for (id, shard) in control.shards.iter() {
            if !shard.sources.is_empty() {
                state.unadopted.insert(id.to_string());
            }
            let home = match shard.ownership {
                Ownership::Owned { home } if control.live(home).is_some() => home,
                _ => {
                    state.unserved.insert(id.to_string());
                    continue;
                }
            };
            let owner = world.nodes[&home.node].node.as_ref();
            let serving = owner.and_then(|owner| owner.host().serving(*id));
            if serving != Some(shard.epoch) {
                state.unserved.insert(id.to_string());
            }
            let activations = owner.and_then(|owner| {
                let mut shards = owner.host().activations();
                shards.find(|(other, _, _)| other == id)
            });
            let count = activations.map_or(0, |(_, _, count)| count as u64);
            let believed = leader.and_then(|leader| leader.coordinator().entities(*id));
            if believed.is_some_and(|believed| believed != count) {
                state.miscounted.insert(id.to_string());
            }
        }
        let lately = world.true_time - 3_000_000_000;
        let steps = self.steps.iter().filter(|(_, at)| **at > lately);
        state.workers = steps.map(|(worker, _)| worker.to_string()).collect();
        state
    }

    fn sees_actions(&mut self, seen: &Observation<'_>) {
        for action in seen.actions {
            match action {
                Action::Run { entity, input: Input::Step, .. } => {
                    self.steps.insert(entity.clone(), seen.true_time);
                }
                Action::Send { message, .. } => self.sees_sent(message),
                _ => {}
            }
        }
    }

    fn sees_sent(&mut self, message: &Message) {
        if let Some((name, kind)) = self.when
            && row::name(message) == name
        {
            self.when = None;
            self.strikes.push(kind);
        }
    }
}

impl Watch for Audience {
    fn after_step(&mut self, world: &World, seen: &Observation<'_>) -> bool {
        if let Cause::Message { message, .. } = seen.cause {
            *self.handled.entry(row::name(message)).or_default() += 1;
        }
        self.again.look(world, seen);
        self.sees_actions(seen);
        if self.violation.is_none() {
            let checked = self.invariants.after_step(world, seen);
            self.violation = checked.err().map(|violation| violation.to_string());
        }
        true
    }

    fn answered(
        &mut self,
        _node: NodeId,
        ticket: Ticket,
        answer: &Arc<Result<Payload, CallError>>,
        true_time: u64,
    ) {
        let Some(entity) = self.reads.get(&ticket) else {
            self.script.answered(ticket, answer, true_time);
            return;
        };
        if let Some(serials) = script::listing(answer) {
            let list = self.script.threads(&serials);
            self.lists.insert(entity.clone(), list);
        }
    }

    fn crashed(&mut self, _node: NodeId) {}
}

/// The names of the daemon set's workers.
pub(crate) fn workers(count: u32) -> BTreeSet<String> {
    (0..count)
        .map(|number| format!("{}/{number}", SpacePlan::WORKER))
        .collect()
}

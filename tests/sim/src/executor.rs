//! The executor of a virtual node: runs turns of virtual entities, each as long as it is drawn to last.
//!
//! ```text
//!   Activate, Run, Resume, Discard ──► handle ──► poll ──► (when, turn ended | turn calls)
//! ```
//! What a turn does is decided when it begins, and reported when it ends. A turn that was discarded meanwhile is reported all
//! the same: the node has to ignore it, as it has to where the report and the order cross each other in a real one.

mod command;
mod entity;
mod keys;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use entia_protocol::cluster::{NodeId, Record, TurnId};
use entia_protocol::{CallError, EntityId, Envelope, Payload};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::clock::Clock;
use crate::faults::Ailment;
use crate::node::{ExecutorAction, Input, NodeEvent, Outcome};
use crate::plan::{Plan, nanos};

pub use command::{Answer, Command, Place};
pub use entity::{Ending, Entity, Progress};
pub use keys::Keys;

/// Runs the entities of a node.
#[derive(Debug)]
pub struct Executor {
    node: NodeId,
    random: Pcg64Mcg,
    habits: Habits,
    keys: Keys,
    entities: BTreeMap<EntityId, Entity>,
    /// The turns that wait for a call, with the call that they execute.
    waiting: BTreeMap<TurnId, (EntityId, Arc<Envelope>)>,
    /// The entities that misbehave.
    ailments: BTreeMap<EntityId, Ailment>,
    events: VecDeque<(u64, NodeEvent)>,
}

/// How entities behave.
#[derive(Debug, Clone, Copy)]
struct Habits {
    /// The longest turn, in nanoseconds.
    turn_max: u64,
    /// Workers behave from then on, in true time.
    calm_from: u64,
}

impl Executor {
    /// An executor without entities, whose turns are short.
    pub fn new(node: NodeId, seed: u64) -> Self {
        Self {
            node,
            random: Pcg64Mcg::seed_from_u64(seed),
            habits: Habits {
                turn_max: 50_000_000,
                calm_from: u64::MAX,
            },
            keys: Keys::default(),
            entities: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ailments: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// One whose turns last as long as the plan says, whose workers behave after its faults, and that has its mutant.
    pub fn of_plan(node: NodeId, seed: u64, plan: &Plan) -> Self {
        Self {
            habits: Habits {
                turn_max: nanos(plan.work.turn_max),
                calm_from: if plan.work.moods {
                    plan.faults_until()
                } else {
                    0
                },
            },
            keys: Keys::new(plan.settings.mutant),
            ..Self::new(node, seed)
        }
    }

    /// Does what the node orders at `true_time`.
    pub fn handle(&mut self, action: ExecutorAction, true_time: u64) {
        match action {
            ExecutorAction::Activate { entity, record, .. } => {
                self.activate(entity, record.as_ref());
            }
            ExecutorAction::Run {
                turn,
                entity,
                input,
            } => self.run(turn, entity, input, true_time),
            ExecutorAction::Resume { turn, answer, .. } => self.resume(turn, &answer, true_time),
            ExecutorAction::Discard { entity, .. } => {
                self.entities.remove(&entity);
                self.waiting.retain(|_, (waits, _)| *waits != entity);
            }
        }
    }

    /// What will happen next, and when in true time.
    pub fn poll(&mut self) -> Option<(u64, NodeEvent)> {
        self.events.pop_front()
    }

    /// All entities are gone, and what they were doing.
    pub fn crash(&mut self) {
        self.entities.clear();
        self.waiting.clear();
        self.events.clear();
        self.keys.crash();
    }

    /// An entity misbehaves from now on.
    pub fn ails(&mut self, entity: EntityId, how: Ailment) {
        self.ailments.insert(entity, how);
    }

    /// It does no more.
    pub fn well(&mut self, entity: &EntityId) {
        self.ailments.remove(entity);
    }

    /// How many entities are in memory.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether no entity is in memory.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    fn activate(&mut self, id: EntityId, record: Option<&Record>) {
        let draw = self.random.random_range(1..u32::MAX);
        match Entity::restore(id.clone(), record, draw) {
            Some(entity) => drop(self.entities.insert(id, entity)),
            // Its first turn fails, and says so.
            None => drop(self.entities.remove(&id)),
        }
    }

    fn run(&mut self, turn: TurnId, id: EntityId, input: Input, true_time: u64) {
        let mut length = self.turn_length();
        match self.ailments.get(&id) {
            Some(Ailment::Hangs) => return,
            Some(Ailment::Traps) => {
                self.entities.remove(&id);
                self.end(turn, true_time + length, lost("handle", "ill".to_owned()));
                return;
            }
            Some(Ailment::Slow(time)) => length = nanos(*time),
            None => {}
        }
        let ends = true_time + length;
        let utc_ms = utc_ms(true_time);
        let Some(entity) = self.entities.get_mut(&id) else {
            let message = format!("{id} is not in memory of {}", self.node);
            self.end(turn, ends, lost("activate", message));
            return;
        };
        let ending = match &input {
            Input::Call(envelope) => match entity.call(envelope, utc_ms, &mut self.keys) {
                Progress::Ended(ending) => ending,
                Progress::Calls(nested) => {
                    self.waiting.insert(turn, (id, Arc::clone(envelope)));
                    let event = NodeEvent::TurnCalls {
                        turn,
                        number: 0,
                        envelope: nested,
                    };
                    self.events.push_back((true_time + length / 2, event));
                    return;
                }
                Progress::Trapped => {
                    self.entities.remove(&id);
                    self.end(turn, ends, lost("handle", "boom".to_owned()));
                    return;
                }
            },
            Input::Wake => entity.wake(utc_ms),
            Input::Delivered { key, answer } => entity.delivered(key, answer, utc_ms),
            Input::Step => {
                self.step(turn, id, (true_time, length));
                return;
            }
        };
        let outcome = entity.outcome(ending, utc_ms);
        self.end(turn, ends, outcome);
    }

    fn resume(&mut self, turn: TurnId, answer: &Result<Payload, CallError>, true_time: u64) {
        let ends = true_time + self.turn_length() / 2;
        let utc_ms = utc_ms(true_time);
        let Some((id, envelope)) = self.waiting.remove(&turn) else {
            return;
        };
        if let Some(entity) = self.entities.get_mut(&id) {
            let ending = entity.resume(&envelope, answer, utc_ms);
            let outcome = entity.outcome(ending, utc_ms);
            self.end(turn, ends, outcome);
        }
    }

    /// A worker's step: most are short, and some, before the plan's faults end, hang, are slow, or trap.
    fn step(&mut self, turn: TurnId, id: EntityId, (true_time, length): (u64, u64)) {
        let utc_ms = utc_ms(true_time);
        let draw = if true_time < self.habits.calm_from {
            self.random.random_range(0..200)
        } else {
            u32::MAX
        };
        let life = self.random.random_range(1..u64::MAX);
        let pause = Duration::from_millis(self.random.random_range(200..800));
        let ends = true_time
            + match draw {
                0..2 => return,
                _ if self.ailments.contains_key(&id) => length,
                2..6 => self.random.random_range(300_000_000..900_000_000),
                _ => self.random.random_range(100_000..5_000_000),
            };
        if (6..10).contains(&draw) {
            self.entities.remove(&id);
            self.end(turn, ends, lost("step", "a worker's bad day".to_owned()));
        } else if let Some(entity) = self.entities.get_mut(&id) {
            let ending = entity.step(life);
            let mut outcome = entity.outcome(ending, utc_ms);
            outcome.next_step = Some(pause);
            self.end(turn, ends, outcome);
        }
    }

    fn end(&mut self, turn: TurnId, ends: u64, outcome: Outcome) {
        let event = NodeEvent::TurnEnded { turn, outcome };
        self.events.push_back((ends, event));
    }

    /// Most turns are short; one in thirty is as long as the plan allows.
    fn turn_length(&mut self) -> u64 {
        let most = if self.random.random_range(0..30) == 0 {
            self.habits.turn_max
        } else {
            2_000_000
        };
        self.random.random_range(20_000..most.max(20_001))
    }
}

/// What a wall clock shows that is right.
fn utc_ms(true_time: u64) -> u64 {
    Clock::new(0, 0, 0).now(true_time).utc_ms
}

fn lost(during: &str, message: String) -> Outcome {
    Outcome {
        answer: Err(CallError::Trapped {
            during: during.to_owned(),
            message,
        }),
        record: None,
        sends: Vec::new(),
        next_step: None,
        lost: true,
    }
}

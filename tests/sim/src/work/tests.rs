//! The clients, the virtual entities and the oracle against a cluster of one, which can be made to break its word.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use entia_protocol::cluster::{Epoch, NodeId, Record, TurnId};
use entia_protocol::{CallError, CommandKey, EntityId, Envelope, Payload};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::clock::Clock;
use crate::executor::Executor;
use crate::node::{ExecutorAction, Input, NodeEvent, Outcome};

/// How the cluster breaks its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    /// Not at all; it loses answers and instances, as it may.
    None,
    /// Acknowledges what it does not store.
    LosesRecords,
    /// Forgets what ran.
    RunsTwice,
    /// Answers from what was stored a while ago.
    Stale,
    /// Takes the last call first.
    Reorders,
    /// Sends what it does not store.
    SendsEarly,
    /// Forgets a message that it has promised.
    LosesMessages,
    /// Never wakes anybody.
    Sleeps,
    /// Loses what is in memory.
    LosesMemory,
    /// Stops answering.
    Dead,
}

#[derive(Debug, Clone)]
enum Origin {
    Client(NodeId, Ticket),
    Turn(TurnId),
    Send(EntityId, CommandKey),
    Nobody,
}

struct Cluster {
    vice: Vice,
    random: Pcg64Mcg,
    executor: Executor,
    records: BTreeMap<EntityId, Record>,
    older: BTreeMap<EntityId, Record>,
    wakes: BTreeMap<EntityId, u64>,
    mail: BTreeMap<EntityId, VecDeque<(Input, Origin)>>,
    turns: BTreeMap<TurnId, (EntityId, Origin)>,
    busy: BTreeMap<EntityId, TurnId>,
    active: BTreeMap<EntityId, u64>,
    events: BTreeMap<(u64, u64), NodeEvent>,
    count: u64,
}

impl Cluster {
    fn new(plan: &Plan, vice: Vice) -> Self {
        Self {
            vice,
            random: Pcg64Mcg::seed_from_u64(plan.seed),
            executor: Executor::of_plan(NodeId(1), plan.seed, plan),
            records: BTreeMap::new(),
            older: BTreeMap::new(),
            wakes: BTreeMap::new(),
            mail: BTreeMap::new(),
            turns: BTreeMap::new(),
            busy: BTreeMap::new(),
            active: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_range(0..n) == 0
    }

    fn take(&mut self, envelope: Arc<Envelope>, origin: Origin, now: u64) {
        let entity = envelope.entity.clone();
        let waits_for_itself = envelope
            .chain
            .iter()
            .any(|other| self.busy.contains_key(other))
            && self.busy.contains_key(&entity);
        if waits_for_itself {
            // No search for circles here: whoever might wait for ever is told so.
            let chain = envelope.chain.clone();
            let answer = Arc::new(Err(CallError::Deadlock {
                chain,
                may_have_run: false,
            }));
            return self.pass_back(origin, answer, now);
        }
        self.give(entity, Input::Call(envelope), origin, now);
    }

    fn give(&mut self, entity: EntityId, input: Input, origin: Origin, now: u64) {
        let mail = self.mail.entry(entity.clone()).or_default();
        mail.push_back((input, origin));
        self.next_turn(entity, now);
    }

    fn next_turn(&mut self, entity: EntityId, now: u64) {
        if self.busy.contains_key(&entity) || self.vice == Vice::Dead {
            return;
        }
        let reorders = self.vice == Vice::Reorders;
        let Some(mail) = self.mail.get_mut(&entity) else {
            return;
        };
        let next = if reorders {
            mail.pop_back()
        } else {
            mail.pop_front()
        };
        let Some((input, origin)) = next else {
            return;
        };
        let stale = self.vice == Vice::Stale && self.one_in(10);
        if stale || !self.active.contains_key(&entity) {
            let from = if stale { &self.older } else { &self.records };
            let record = from.get(&entity).cloned();
            self.active.insert(entity.clone(), now);
            let activate = ExecutorAction::Activate {
                entity: entity.clone(),
                epoch: Epoch(1),
                record,
            };
            self.executor.handle(activate, now);
        }
        self.count += 1;
        let turn = TurnId(self.count);
        self.busy.insert(entity.clone(), turn);
        self.turns.insert(turn, (entity.clone(), origin));
        let run = ExecutorAction::Run {
            turn,
            entity,
            input,
        };
        self.executor.handle(run, now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((due, event)) = self.executor.poll() {
            self.count += 1;
            self.events.insert((due, self.count), event);
        }
    }

    fn forget(&mut self, entity: &EntityId) {
        self.active.remove(entity);
        let discard = ExecutorAction::Discard {
            entity: entity.clone(),
            epoch: Epoch(1),
        };
        self.executor.handle(discard, 0);
    }

    /// Returns an answer for a client.
    fn happens(&mut self, event: NodeEvent, now: u64) -> Option<(NodeId, Ticket, Answered)> {
        match event {
            NodeEvent::TurnCalls { turn, envelope, .. } => {
                self.take(envelope, Origin::Turn(turn), now);
                None
            }
            NodeEvent::TurnEnded { turn, outcome } => self.ended(turn, outcome, now),
            _ => None,
        }
    }

    fn ended(
        &mut self,
        turn: TurnId,
        outcome: Outcome,
        now: u64,
    ) -> Option<(NodeId, Ticket, Answered)> {
        let (entity, origin) = self.turns.remove(&turn)?;
        self.busy.remove(&entity);
        let loses = match self.vice {
            Vice::LosesRecords => self.one_in(20),
            Vice::SendsEarly => !outcome.sends.is_empty() && self.one_in(3),
            Vice::LosesMemory => entity.kind().as_str() == "memory" && self.one_in(50),
            _ => false,
        };
        let stored = outcome.record.is_some();
        if let Some(draft) = outcome.record.filter(|_| !loses) {
            let record = Record {
                version: 1,
                wake_ms: draft.wake_ms,
                deleted: draft.deleted,
                bytes: draft.bytes,
            };
            self.wakes.remove(&entity);
            if let Some(wake_ms) = draft.wake_ms {
                self.wakes.insert(entity.clone(), wake_ms);
            }
            if let Some(old) = self.records.insert(entity.clone(), record) {
                self.older.insert(entity.clone(), old);
            }
        }
        if loses && self.vice == Vice::LosesMemory {
            self.records.remove(&entity);
        }
        let forgets = self.vice == Vice::RunsTwice && stored && self.one_in(20);
        if outcome.lost || loses || forgets || self.one_in(40) {
            self.forget(&entity);
        }
        for envelope in outcome.sends {
            let sender = match &envelope.caller {
                Caller::Entity(sender) => sender.clone(),
                _ => entity.clone(),
            };
            let key = envelope.key.clone();
            if self.vice == Vice::LosesMessages {
                let answer = Arc::new(Ok(Payload::default()));
                self.give(
                    sender,
                    Input::Delivered { key, answer },
                    Origin::Nobody,
                    now,
                );
            } else {
                self.take(envelope, Origin::Send(sender, key), now);
            }
        }
        let answer = Arc::new(outcome.answer);
        let lost_on_the_way = loses && self.vice == Vice::SendsEarly || self.one_in(30);
        let told = match origin {
            Origin::Client(node, ticket) if !lost_on_the_way => Some((node, ticket, answer)),
            Origin::Client(node, ticket) => {
                let error = CallError::DeadlineExceeded { may_have_run: true };
                Some((node, ticket, Arc::new(Err(error))))
            }
            _ => {
                self.pass_back(origin, answer, now);
                None
            }
        };
        self.next_turn(entity, now);
        told
    }

    fn pass_back(&mut self, origin: Origin, answer: Answered, now: u64) {
        match origin {
            Origin::Turn(turn) => {
                let resume = ExecutorAction::Resume {
                    turn,
                    number: 0,
                    answer,
                };
                self.executor.handle(resume, now);
                self.drain();
            }
            Origin::Send(sender, key) => {
                self.give(
                    sender,
                    Input::Delivered { key, answer },
                    Origin::Nobody,
                    now,
                );
            }
            Origin::Client(..) | Origin::Nobody => {}
        }
    }

    fn wake(&mut self, now: u64) {
        let utc_ms = Clock::new(0, 0, 0).now(now).utc_ms;
        let due: Vec<_> = self
            .wakes
            .iter()
            .filter(|(entity, at)| **at <= utc_ms && !self.busy.contains_key(*entity))
            .map(|(entity, _)| entity.clone())
            .collect();
        if self.vice == Vice::Sleeps {
            return;
        }
        for entity in due {
            self.wakes.remove(&entity);
            self.give(entity, Input::Wake, Origin::Nobody, now);
        }
    }
}

type Answered = Arc<Result<Payload, CallError>>;

/// Runs the plan's clients against a cluster of one.
fn run(plan: &Plan, vice: Vice) -> Workload {
    let mut work = Workload::new(plan.seed, plan);
    let mut cluster = Cluster::new(plan, vice);
    loop {
        let tick = cluster.events.first_key_value().map(|(&(at, _), _)| at);
        let now = work.due().unwrap_or(u64::MAX).min(tick.unwrap_or(u64::MAX));
        if now > plan.ends() || work.settled() || work.violation().is_some() {
            return work;
        }
        if vice != Vice::RunsTwice {
            cluster.wake(now);
        }
        if tick == Some(now) {
            let (_, event) = cluster.events.pop_first().unwrap();
            if let Some((node, ticket, answer)) = cluster.happens(event, now) {
                work.answered(node, ticket, &answer, now);
            }
            continue;
        }
        for (node, call, ticket) in work.step(now) {
            let mut envelope = Envelope::clone(&call.envelope);
            if vice == Vice::RunsTwice {
                // Nothing tells a repetition from the first.
                envelope.key = CommandKey::Random([0; 16]);
            }
            cluster.take(Arc::new(envelope), Origin::Client(node, ticket), now);
        }
    }
}

fn verdicts(vice: Vice) -> Vec<Option<&'static str>> {
    let seeds = 1..=6;
    let runs = seeds.map(|seed| {
        let plan = Plan::calm(seed);
        run(&plan, vice)
            .verdict()
            .err()
            .map(|violation| violation.invariant)
    });
    runs.collect()
}

#[test]
fn an_honest_cluster_is_not_accused_and_everybody_is_answered() {
    for seed in 1..=6 {
        let work = run(&Plan::calm(seed), Vice::None);
        assert_eq!(work.verdict(), Ok(()), "seed {seed}");
        assert_eq!(work.oracle().losses(), &[]);
        assert!(work.settled() && work.answered_count() > 500);
        assert!(!work.promises.is_empty());
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let counts = |seed| {
        let work = run(&Plan::calm(seed), Vice::None);
        (work.counter, work.longest_gap().cloned())
    };
    assert_eq!(counts(7), counts(7));
    assert_ne!(counts(7), counts(8));
}

#[test]
fn a_cluster_that_breaks_its_word_is_accused() {
    let cases: [(Vice, &[&str]); 7] = [
        (Vice::LosesRecords, &["I6", "I8", "I15"]),
        (Vice::RunsTwice, &["I7"]),
        (Vice::Stale, &["I6", "I8"]),
        (Vice::Reorders, &["I8"]),
        (Vice::LosesMessages, &["I6"]),
        (Vice::Sleeps, &["I6"]),
        (Vice::Dead, &["I12"]),
    ];
    for (vice, expected) in cases {
        for verdict in verdicts(vice) {
            let verdict = verdict.unwrap_or("nothing");
            assert!(expected.contains(&verdict), "{vice:?}: {verdict}");
        }
    }
}

#[test]
fn a_message_without_its_sender_is_noticed_where_nobody_repeats_the_call() {
    let verdicts = verdicts(Vice::SendsEarly);
    assert!(verdicts.contains(&Some("I15")), "{verdicts:?}");
}

#[test]
fn what_was_lost_from_memory_is_told_with_its_time() {
    let work = run(&Plan::calm(3), Vice::LosesMemory);
    let losses = work.oracle().losses();
    assert!(!losses.is_empty());
    assert!(losses.iter().all(|loss| loss.since < loss.until));
    assert!(
        losses
            .iter()
            .all(|loss| loss.entity.kind().as_str() == "memory")
    );
}

#[test]
fn after_a_crash_clients_ask_other_nodes_under_the_same_key() {
    let plan = Plan::calm(1);
    let mut work = Workload::new(1, &plan);
    let mut asked = BTreeMap::new();
    for _ in 0..200 {
        let now = work.due().unwrap();
        for (node, call, _) in work.step(now) {
            let attempts: &mut Vec<_> = asked.entry(call.envelope.key.clone()).or_default();
            attempts.push((node, call.envelope.attempt, call.envelope.arguments.clone()));
            work.node_crashed(node);
        }
    }
    let repeated: Vec<_> = asked
        .values()
        .filter(|attempts| attempts.len() > 1)
        .collect();
    assert!(!repeated.is_empty());
    for attempts in repeated {
        assert!(attempts.windows(2).all(|pair| pair[0].2 == pair[1].2));
        assert!(attempts.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1));
    }
}

use std::sync::Arc;

use entia_protocol::cluster::{Epoch, Mutant, NodeId, Record, Settings, TurnId};
use entia_protocol::{CallError, Caller, CommandKey, EntityId, Envelope, Payload};

use super::*;
use crate::node::{Draft, ExecutorAction, Input, NodeEvent, Outcome};
use crate::plan::Plan;

fn id(text: &str) -> EntityId {
    text.parse().unwrap()
}

fn call(entity: &str, command: Command, key: &str) -> Arc<Envelope> {
    Arc::new(Envelope {
        entity: id(entity),
        method: command.method().to_owned(),
        arguments: command.payload(),
        caller: Caller::Anonymous,
        key: CommandKey::Client(key.to_owned()),
        attempt: 1,
        deadline_left_ms: 1_000,
        chain: Vec::new(),
    })
}

/// One entity, whose turns are run one by one.
struct Desk {
    executor: Executor,
    entity: EntityId,
    now: u64,
    turn: u64,
}

impl Desk {
    fn new(entity: &str) -> Self {
        let mut desk = Self {
            executor: Executor::new(NodeId(1), 7),
            entity: id(entity),
            now: 0,
            turn: 0,
        };
        desk.activate(None);
        desk
    }

    fn activate(&mut self, draft: Option<&Draft>) {
        let record = draft.map(|draft| Record {
            version: 1,
            wake_ms: draft.wake_ms,
            deleted: draft.deleted,
            bytes: draft.bytes.clone(),
        });
        let activate = ExecutorAction::Activate {
            entity: self.entity.clone(),
            epoch: Epoch(1),
            record,
        };
        self.executor.handle(activate, self.now);
    }

    fn event(&mut self, input: Input) -> Option<NodeEvent> {
        self.turn += 1;
        let run = ExecutorAction::Run {
            turn: TurnId(self.turn),
            entity: self.entity.clone(),
            input,
        };
        self.executor.handle(run, self.now);
        self.next()
    }

    fn next(&mut self) -> Option<NodeEvent> {
        let (due, event) = self.executor.poll()?;
        assert!(due >= self.now);
        self.now = due;
        Some(event)
    }

    fn run(&mut self, input: Input) -> Outcome {
        match self.event(input) {
            Some(NodeEvent::TurnEnded { outcome, .. }) => outcome,
            other => panic!("not an end: {other:?}"),
        }
    }

    fn call(&mut self, command: Command, key: &str) -> Outcome {
        let envelope = call("durable/a", command, key);
        self.run(Input::Call(envelope))
    }

    fn listing(&mut self) -> Vec<u64> {
        let outcome = self.call(Command::Read, "read");
        match Answer::of(outcome.answer.as_ref().unwrap()) {
            Some(Answer::Listing { serials, .. }) => serials,
            other => panic!("not a listing: {other:?}"),
        }
    }
}

fn append(serial: u64) -> Command {
    Command::Append { serial }
}

fn place(outcome: &Outcome) -> Place {
    match Answer::of(outcome.answer.as_ref().unwrap()) {
        Some(Answer::Appended { own, .. }) => own,
        other => panic!("not a place: {other:?}"),
    }
}

#[test]
fn an_append_says_where_it_went() {
    let mut desk = Desk::new("durable/a");
    desk.call(append(11), "k1");
    let second = place(&desk.call(append(12), "k2"));
    assert_eq!((second.position, second.previous), (2, 11));
    assert_eq!(
        second.life & 0xffff_ffff,
        11,
        "a list is named after its first serial"
    );
    assert_eq!(desk.listing(), [11, 12]);
}

#[test]
fn a_repetition_is_answered_again_and_runs_nothing_also_from_the_record() {
    let mut desk = Desk::new("durable/a");
    let first = desk.call(append(11), "k1");
    let last = desk.call(append(12), "k2");
    let again = desk.call(append(11), "k1");
    assert!(again.record.is_none());
    assert_eq!(again.answer, first.answer);
    desk.activate(last.record.as_ref());
    let restored = desk.call(append(11), "k1");
    assert_eq!(restored.answer, first.answer);
    assert_eq!(desk.listing(), [11, 12]);
    let reused = desk.call(append(13), "k1");
    assert!(matches!(reused.answer, Err(CallError::KeyReused { .. })));
}

#[test]
fn a_trap_leaves_nothing_behind() {
    let mut desk = Desk::new("durable/a");
    let kept = desk.call(append(11), "k1");
    let trapped = desk.call(Command::Boom { serial: 12 }, "k2");
    assert!(trapped.lost && trapped.record.is_none());
    desk.activate(kept.record.as_ref());
    assert_eq!(desk.listing(), [11]);
}

#[test]
fn what_is_deleted_is_gone_but_for_the_keys() {
    let mut desk = Desk::new("durable/a");
    desk.call(append(11), "k1");
    let deleted = desk.call(Command::Forget, "k2");
    let draft = deleted.record.unwrap();
    assert!(draft.deleted);
    desk.activate(Some(&draft));
    assert_eq!(desk.listing(), [0; 0]);
    assert_eq!(desk.call(Command::Forget, "k2").answer, deleted.answer);
    assert!(desk.call(append(11), "k1").record.is_none(), "ran before");
    let anew = desk.call(append(12), "k3");
    assert!(!anew.record.unwrap().deleted);
    assert_eq!(desk.listing(), [12]);
}

#[test]
fn a_timer_wakes_its_entity_and_fires_once() {
    let mut desk = Desk::new("durable/a");
    let remind = Command::Remind {
        serial: 11,
        after_ms: 500,
    };
    let draft = desk.call(remind, "k1").record.unwrap();
    assert!(draft.wake_ms.is_some());
    desk.activate(Some(&draft));
    let fired = desk.run(Input::Wake).record.unwrap();
    assert_eq!(fired.wake_ms, None);
    desk.run(Input::Wake);
    assert_eq!(desk.listing(), [11]);
}

#[test]
fn messages_leave_one_at_a_time_and_again_from_the_record() {
    let mut desk = Desk::new("durable/a");
    let post = |serial| Command::Post {
        serial,
        other: id("durable/b"),
        theirs: serial + 100,
    };
    let first = desk.call(post(11), "k1");
    assert_eq!(first.sends.len(), 1);
    let second = desk.call(post(12), "k2");
    assert!(second.sends.is_empty(), "behind the first");
    desk.activate(second.record.as_ref());
    let key = first.sends[0].key.clone();
    let woken = desk.run(Input::Wake);
    assert_eq!(woken.sends, first.sends);
    let refused = Input::Delivered {
        key: key.clone(),
        answer: Arc::new(Err(CallError::ShuttingDown)),
    };
    let refused = desk.run(refused);
    assert!(refused.sends.is_empty() && refused.record.unwrap().wake_ms.is_some());
    assert_eq!(desk.run(Input::Wake).sends, first.sends);
    let answer = Arc::new(Ok(Payload::default()));
    let delivered = desk.run(Input::Delivered { key, answer });
    assert_eq!(delivered.sends.len(), 1);
    assert_eq!(Command::of(&delivered.sends[0]), Some(append(112)));
}

#[test]
fn a_chain_waits_and_changes_nothing_where_it_fails() {
    let mut desk = Desk::new("durable/a");
    let chain = Command::Chain {
        serial: 11,
        other: id("durable/b"),
        theirs: 111,
    };
    let envelope = call("durable/a", chain, "k1");
    let mut keys = Vec::new();
    for answer in [
        Err(CallError::ShuttingDown),
        Ok(Answer::Appended {
            own: Place {
                life: 111,
                position: 1,
                previous: 0,
            },
            nested: None,
        }
        .payload()),
    ] {
        let Some(NodeEvent::TurnCalls {
            turn,
            number,
            envelope: nested,
        }) = desk.event(Input::Call(Arc::clone(&envelope)))
        else {
            panic!("it should call");
        };
        assert_eq!(nested.chain, [id("durable/a")]);
        keys.push(nested.key.clone());
        let fails = answer.is_err();
        let resume = ExecutorAction::Resume {
            turn,
            number,
            answer: Arc::new(answer),
        };
        desk.executor.handle(resume, desk.now);
        let Some(NodeEvent::TurnEnded { outcome, .. }) = desk.next() else {
            panic!("it should end");
        };
        assert_eq!(outcome.record.is_none(), fails);
    }
    assert_eq!(keys[0], keys[1], "another attempt, the same effect");
    assert_eq!(desk.listing(), [11]);
}

#[test]
fn keys_from_a_counter_come_again_after_a_restart() {
    let mut settings = Settings::lan();
    settings.mutant = Some(Mutant::CounterKeys);
    let plan = Plan {
        settings: Arc::new(settings),
        ..Plan::calm(1)
    };
    let mut desk = Desk::new("durable/a");
    let mut key_of = |key: &str, plan: &Plan| {
        desk.executor = Executor::of_plan(NodeId(1), 7, plan);
        desk.activate(None);
        let post = Command::Post {
            serial: 11,
            other: id("durable/b"),
            theirs: 12,
        };
        desk.call(post, key).sends[0].key.clone()
    };
    assert_eq!(key_of("k1", &plan), key_of("k2", &plan));
    let honest = Plan::calm(1);
    assert_ne!(key_of("k1", &honest), key_of("k2", &honest));
}

#[test]
fn workers_step_on_and_misbehave_only_before_the_end_of_the_faults() {
    let plan = Plan::calm(3);
    let mut desk = Desk::new("worker/0");
    desk.executor = Executor::of_plan(NodeId(1), 7, &plan);
    desk.activate(None);
    let mut odd = 0;
    for _ in 0..500 {
        match desk.event(Input::Step) {
            Some(NodeEvent::TurnEnded { outcome, .. }) if !outcome.lost => {
                assert!(outcome.next_step.is_some());
            }
            _ => {
                odd += 1;
                desk.activate(None);
            }
        }
    }
    assert!(odd > 0, "none hung or trapped");
    desk.now = plan.faults_until();
    desk.activate(None);
    for _ in 0..500 {
        assert!(!desk.run(Input::Step).lost);
    }
}

#[test]
fn what_is_discarded_is_not_resumed() {
    let mut desk = Desk::new("durable/a");
    let chain = Command::Chain {
        serial: 11,
        other: id("durable/b"),
        theirs: 111,
    };
    let event = desk.event(Input::Call(call("durable/a", chain, "k1")));
    let Some(NodeEvent::TurnCalls { turn, number, .. }) = event else {
        panic!("it should call");
    };
    let discard = ExecutorAction::Discard {
        entity: id("durable/a"),
        epoch: Epoch(1),
    };
    desk.executor.handle(discard, desk.now);
    let resume = ExecutorAction::Resume {
        turn,
        number,
        answer: Arc::new(Ok(Payload::default())),
    };
    desk.executor.handle(resume, desk.now);
    assert!(desk.next().is_none() && desk.executor.is_empty());
}

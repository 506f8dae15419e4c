//! One turn, from the mailbox to the outbox.
//!
//! ```text
//!   call ──► prepare ──► execute ──► end ──► commit ──► outbox ──► caller
//!   timer ─────┘            └─ waits for another entity: poll, when woken
//! ```

mod job;
mod prepare;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use entia_protocol::{CallError, Caller, CommandKey, Durability, Payload};
use entia_storage::{EntityCommit, StateChange};
use entia_wasm::Effects;

use super::Shared;
use super::activation::Activation;
use super::calls::TurnCalls;
use super::cell::{Cell, MessageAnswer, RETRY_AFTER_MS, Resume, Work};
use super::delivery::{Answer, Begun, Delivery, Reply};
use super::message;
use crate::catalog::{Kind, KindVersion};
use job::Command;
use prepare::{Prepared, admit, prepare, start};

pub(super) use job::Job;
pub(super) use prepare::unknown_method;

/// What work ends in: written and sent when others have been shown what became of the entity.
#[derive(Default)]
pub(super) struct Leaving {
    pub(super) commit: Option<EntityCommit>,
    pub(super) answer: Option<(Reply, Answer)>,
}

impl Leaving {
    pub(super) fn answer(reply: Reply, answer: Answer) -> Self {
        Self {
            commit: None,
            answer: Some((reply, answer)),
        }
    }
}

/// Does one piece of work of a cell's mailbox.
pub(super) fn run(shared: &Arc<Shared>, cell: &Arc<Cell>, activation: &mut Activation, work: Work) {
    let was_live = activation.is_live();
    let failure = cell.commit_failure(activation);
    let failed = failure.map(|message| CallError::StoreFailed {
        message,
        may_have_run: false,
    });
    let leaving = match (work, failed) {
        (Work::Call(kind, delivery), None) => call(shared, cell, activation, kind, *delivery),
        (Work::Call(_, delivery), Some(error)) => {
            delivery.refuse(error);
            Leaving::default()
        }
        (Work::Accept(kind, send, reply), None) => {
            message::accept(shared, cell, activation, &kind.current(), *send, reply)
        }
        (Work::Accept(_, _, reply), Some(error)) => Leaving::answer(reply, Err(error)),
        (Work::Wake(kind), None) => wake(shared, cell, activation, kind),
        (Work::Delivered(kind, answer), None) => {
            delivered(shared, cell, activation, &kind.current(), *answer);
            Leaving::default()
        }
        (Work::Wake(_) | Work::Delivered(..), Some(_)) => {
            shared.wake_again(&cell.id);
            Leaving::default()
        }
        (Work::Drain(reply), _) => Leaving::answer(reply, Ok(Payload::default())),
        (Work::Release(reply), _) => {
            activation.quarantine.end();
            activation.retry_now();
            Leaving::answer(reply, Ok(Payload::default()))
        }
        (Work::Forget(kind, reply), _) => forget(shared, cell, activation, &kind.current(), reply),
    };
    after(shared, cell, activation, was_live, leaving);
}

/// Polls the turn that waits. False: it still does.
pub(super) fn resume(shared: &Arc<Shared>, cell: &Arc<Cell>, activation: &mut Activation) -> bool {
    let Some(waiting) = activation.waiting() else {
        return true;
    };
    let waker = Waker::from(Arc::new(Resume {
        cell: Arc::clone(cell),
        queue: shared.queue.clone(),
    }));
    let polled = {
        // For the deadlines of calls.
        let _runtime = shared.runtime.enter();
        waiting.run.as_mut().poll(&mut Context::from_waker(&waker))
    };
    let Poll::Ready((instance, answer)) = polled else {
        return false;
    };
    shared.fibers.leave();
    cell.reset_waiting();
    let job = activation.end_waiting(instance);
    let leaving = end(shared, cell, activation, job, answer);
    after(shared, cell, activation, true, leaving);
    true
}

/// Commits what work other than turns changed, once a visit.
pub(super) fn flush(shared: &Shared, cell: &Arc<Cell>, activation: &mut Activation) {
    if let Some(commit) = activation.flush(&cell.id) {
        cell.commit(shared, commit, None);
    }
}

fn after(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    was_live: bool,
    leaving: Leaving,
) {
    shared.count_live(was_live, activation.is_live());
    // First: whoever gets the answer may look at the entity next.
    cell.show(&shared.observed, activation);
    match leaving {
        Leaving {
            commit: Some(commit),
            answer,
        } => cell.commit(shared, commit, answer),
        Leaving {
            commit: None,
            answer: Some((reply, answer)),
        } => cell.answer(reply, answer),
        Leaving {
            commit: None,
            answer: None,
        } => {}
    }
    schedule(shared, cell, activation);
}

/// Sees to it that the entity is woken when it has something to do by itself.
fn schedule(shared: &Arc<Shared>, cell: &Arc<Cell>, activation: &Activation) {
    let Some(loaded) = activation.loaded() else {
        return;
    };
    let Some(next_ms) = loaded.agenda.next_ms() else {
        return;
    };
    let now_ms = now_ms();
    let held_ms = activation
        .quarantine
        .refusal(Instant::now())
        .map_or(0, |held| now_ms + left_ms(held.until));
    let due_ms = next_ms.max(held_ms).max(activation.retry_at_ms());
    if due_ms <= now_ms {
        cell.wake_when_settled(shared);
    } else {
        // As it is on disk, or will be with the commits on their way.
        let index_ms = match loaded.durability {
            Durability::Durable => loaded.agenda.index_ms(),
            Durability::Memory if loaded.agenda.has_changes() => None,
            Durability::Memory => loaded.agenda.wake_on_disk(),
        };
        shared.wakes.at(due_ms, &cell.id, index_ms == Some(due_ms));
    }
}

fn call(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    kind: Arc<Kind>,
    delivery: Delivery,
) -> Leaving {
    let Some(begun) = delivery.begin() else {
        return Leaving::default();
    };
    let Begun {
        envelope,
        deadline,
        reply,
    } = begun;
    activation.calls += 1;
    let (began, version) = (Instant::now(), kind.current());
    match prepare(shared, cell, activation, &version, &envelope) {
        Ok(Prepared::Answered(answer)) => Leaving::answer(reply, answer),
        Ok(Prepared::Run { id, query, now_ms }) => {
            let job = Job {
                kind,
                version,
                command: Command::Call(envelope),
                id,
                query,
                message: reply.is_within(),
                began,
                now_ms,
                deadline,
                reply: Some(reply),
            };
            execute(shared, cell, activation, job)
        }
        Err(error) => Leaving::answer(reply, Err(error)),
    }
}

/// Lets messages leave, and fires the timer that is due longest.
fn wake(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    kind: Arc<Kind>,
) -> Leaving {
    let (began, now_ms) = (Instant::now(), now_ms());
    let version = kind.current();
    let durability = version.record.durability;
    if let Err(error) = activation.load(&shared.store, &cell.id, durability) {
        tracing::error!(entity = ?cell.id, "the entity was not woken: {error}");
        shared.wake_again(&cell.id);
        return Leaving::default();
    }
    message::depart(shared, cell, activation, now_ms);
    if admit(cell, activation).is_err() || now_ms < activation.retry_at_ms() {
        return Leaving::default();
    }
    let agenda = activation.loaded().map(|loaded| &loaded.agenda);
    let Some(timer) = agenda.and_then(|agenda| agenda.due_timer(now_ms)).cloned() else {
        return Leaving::default();
    };
    if start(shared, cell, activation, &version, now_ms).is_err() {
        activation.retry_later(now_ms);
        return Leaving::default();
    }
    let job = Job {
        kind,
        version,
        id: None,
        query: false,
        message: false,
        began,
        now_ms,
        deadline: Instant::now() + FIRE_DEADLINE,
        reply: None,
        command: Command::Fire {
            caller: Caller::Entity(cell.id.clone()),
            key: CommandKey::of_fire(&cell.id, &timer.key, timer.fire),
            timer,
        },
    };
    execute(shared, cell, activation, job)
}

/// How long a timer's turn waits for other entities.
const FIRE_DEADLINE: Duration = Duration::from_secs(10);

fn delivered(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    version: &KindVersion,
    answer: MessageAnswer,
) {
    let durability = version.record.durability;
    match activation.load(&shared.store, &cell.id, durability) {
        Ok(_loaded) => message::delivered(shared, cell, activation, answer),
        Err(error) => {
            tracing::error!(entity = ?cell.id, "a message will leave again: {error}");
            shared.wake_again(&cell.id);
        }
    }
}

/// Lets the guest run: to its end, or until it waits for another entity.
fn execute(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    job: Job,
) -> Leaving {
    if !job.version.component.waits() {
        let (instance, agenda) = activation.instance_and_agenda();
        let turn = job.turn(agenda.timers(), agenda.pending(), None);
        let answer = shared.host.handle(instance, &turn);
        return end(shared, cell, activation, job, answer);
    }
    if !shared.fibers.enter() {
        let error = CallError::Overloaded {
            queue: "the number of turns that wait for other entities".to_owned(),
            retry_after_ms: RETRY_AFTER_MS,
        };
        return refuse(activation, job, error);
    }
    let (_, agenda) = activation.instance_and_agenda();
    let (timers, pending) = (Arc::clone(agenda.timers()), agenda.pending());
    let calls = Arc::new(TurnCalls {
        shared: Arc::clone(shared),
        cell: Arc::clone(cell),
        query: job.query,
        chain: job.chain(),
    });
    let host = Arc::clone(&shared.host);
    cell.reset_waiting();
    activation.begin_waiting(job, |instance, job| {
        let turn = job.owned();
        Box::pin(turn.run(host, instance, timers, pending, calls))
    });
    // The worker polls it next.
    Leaving::default()
}

/// Ends a turn: what it did is committed and answered, or undone.
fn end(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    mut job: Job,
    answer: Answer,
) -> Leaving {
    let reply = job.reply.take();
    let timer = matches!(job.command, Command::Fire { .. });
    job.kind.counters.turned(job.began.elapsed());
    match ended(shared, cell, activation, &job, answer) {
        Ok((answer, commit)) => {
            activation.quarantine.end();
            activation.retry_now();
            if timer {
                shared.observed.counters.timers_fired.inc();
            }
            if let (None, Err(refusal)) = (&reply, &answer) {
                tracing::warn!(entity = ?cell.id, "a timer's turn was refused: {refusal}");
            }
            let answer = reply.map(|reply| (reply, answer));
            Leaving { commit, answer }
        }
        Err(error) => {
            job.reply = reply;
            refuse(activation, job, error)
        }
    }
}

/// Answers a turn that changed nothing. A timer stays due, and is tried again.
fn refuse(activation: &mut Activation, job: Job, error: CallError) -> Leaving {
    match job.reply {
        Some(reply) => Leaving::answer(reply, Err(error)),
        None => {
            activation.retry_later(job.now_ms);
            Leaving::default()
        }
    }
}

/// Takes over what a turn did. The outer error means that the turn was undone; the inner one is the guest's refusal.
fn ended(
    shared: &Shared,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    job: &Job,
    answer: Answer,
) -> Result<(Answer, Option<EntityCommit>), CallError> {
    let instance = activation.instance().expect("the turn ran in it");
    let failed = instance.failed();
    let effects = instance.take_effects();
    activation.log(&cell.id);
    let answer = match answer {
        Err(error) if failed => return Err(activation.fail(&cell.id, error, job.now_ms)),
        answer => answer,
    };
    if job.query {
        return Ok((answer, None));
    }
    let durability = job.version.record.durability;
    let changed = activation
        .save(&shared.host, durability, job.is_final(&effects))
        .map_err(|error| activation.fail(&cell.id, error, job.now_ms))?;
    let record = job.record(&answer);
    let forgotten = match &record {
        Some(record) => activation.remember(record.clone(), durability),
        None => Vec::new(),
    };
    let loaded = activation.loaded_mut().expect("it was loaded to run");
    apply(cell, job, effects, loaded);
    let effects = loaded.agenda.has_changes();
    if durability == Durability::Memory || !(changed || record.is_some() || effects) {
        return Ok((answer, None));
    }
    let mut commit = EntityCommit {
        state: match &loaded.state {
            Some(state) if changed => StateChange::Put(state.clone()),
            _ => StateChange::Keep,
        },
        remembered: record.into_iter().collect(),
        forgotten,
        ..EntityCommit::new(cell.id.clone())
    };
    loaded.agenda.take_changes(&mut commit);
    Ok((answer, Some(commit)))
}

/// Takes over a turn's effects, to be committed with its state.
fn apply(cell: &Cell, job: &Job, effects: Effects, loaded: &mut super::activation::Loaded) {
    if let Command::Fire { timer, .. } = &job.command {
        // Before what the turn did: it may have set the timer anew.
        loaded.agenda.fired(&timer.name, &timer.key, now_ms());
    }
    if !effects.is_empty() {
        let after = match loaded.durability {
            Durability::Durable => cell.commit_numbers().1,
            Durability::Memory => 0,
        };
        loaded.agenda.apply(&cell.id, effects, job.now_ms, after);
    }
    loaded.agenda_changed();
}

fn forget(
    shared: &Shared,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    version: &KindVersion,
    reply: Reply,
) -> Leaving {
    let durability = version.record.durability;
    let mut commit = EntityCommit::delete(cell.id.clone());
    // What cannot be read can be deleted all the same; its row in the index of entities to wake then stays, as a hint.
    if let Ok(loaded) = activation.load(&shared.store, &cell.id, durability) {
        commit.wake.before = loaded.agenda.wake_on_disk();
    }
    activation.forget(durability);
    // Whatever could not be written is not to be written any more.
    cell.take_unwritten();
    Leaving {
        commit: Some(commit),
        answer: Some((reply, Ok(Payload::default()))),
    }
}

fn left_ms(until: Instant) -> u64 {
    let left = until.saturating_duration_since(Instant::now());
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock, in milliseconds since 1970. It decides the age of idempotency records and messages and when timers are
/// due; all else that it is used for is shown to people.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! One call, from the mailbox to the outbox.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use entia_protocol::{
    CallError, Durability, Envelope, IdempotencyId, IdempotencyRecord, IdempotencyWindow, Lookup,
    MethodDescription,
};
use entia_storage::{EntityCommit, StateChange};
use entia_wasm::Turn;

use super::Shared;
use super::activation::Activation;
use super::cell::{Cell, Work};
use super::delivery::{Answer, Delivery, Reply};
use crate::catalog::{Kind, KindVersion};

/// Does one piece of work of a cell's mailbox.
pub(super) fn run(shared: &Shared, cell: &Arc<Cell>, activation: &mut Activation, work: Work) {
    let was_live = activation.is_live();
    let failure = cell.commit_failure(activation);
    match work {
        Work::Call(kind, delivery) => match failure {
            None => call(shared, cell, activation, &kind, *delivery),
            Some(message) => delivery.refuse(CallError::StoreFailed {
                message,
                may_have_run: false,
            }),
        },
        Work::Drain(reply) => cell.answer(reply, Ok(entia_protocol::Payload::default())),
        Work::Release(reply) => {
            activation.quarantine.end();
            // Whoever asked for it looks at the entity next.
            cell.show(&shared.observed, activation);
            cell.answer(reply, Ok(entia_protocol::Payload::default()));
        }
        Work::Forget(reply) => forget(shared, cell, activation, reply),
    }
    shared.count_live(was_live, activation.is_live());
    cell.show(&shared.observed, activation);
}

fn call(
    shared: &Shared,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    kind: &Kind,
    delivery: Delivery,
) {
    let Some((envelope, reply)) = delivery.begin() else {
        return;
    };
    activation.calls += 1;
    let _timed = kind.counters.time_turn();
    match turn(shared, cell, activation, &kind.current(), &envelope) {
        Ok((answer, Some(commit))) => cell.commit(shared, commit, reply, answer),
        Ok((answer, None)) => cell.answer(reply, answer),
        Err(error) => cell.answer(reply, Err(error)),
    }
}

/// Runs a call. An error means that it changed nothing.
fn turn(
    shared: &Shared,
    cell: &Cell,
    activation: &mut Activation,
    version: &KindVersion,
    envelope: &Envelope,
) -> Result<(Answer, Option<EntityCommit>), CallError> {
    let method = method(version, envelope)?;
    admit(cell, activation)?;
    let now_ms = now_ms();
    let loaded = activation.load(&shared.store, &cell.id, version.record.durability)?;
    let command = (!method.query && envelope.key.repeatable()).then(|| {
        let id = IdempotencyId {
            method: envelope.method.clone(),
            key: envelope.key.clone(),
        };
        (id, envelope.arguments.digest())
    });
    if let Some((id, arguments)) = &command {
        match loaded.window.lookup(id, arguments, now_ms) {
            Lookup::Replay(answer) => {
                return Ok((answer.clone().map_err(CallError::Rejected), None));
            }
            Lookup::Reused => return Err(IdempotencyWindow::reused(id)),
            Lookup::New => {}
        }
    }
    if let Err(error) = activation.start(&shared.host, &cell.id, version) {
        return Err(activation.fail(&cell.id, error, now_ms));
    }
    let answer = handle(shared, cell, activation, envelope, now_ms)?;
    if method.query {
        activation.quarantine.end();
        return Ok((answer, None));
    }
    let durability = version.record.durability;
    let changed = activation
        .save(&shared.host, durability)
        .map_err(|error| activation.fail(&cell.id, error, now_ms))?;
    activation.quarantine.end();
    let record = command.map(|(id, arguments)| IdempotencyRecord {
        id,
        arguments,
        answer: match &answer {
            Ok(payload) => Ok(payload.clone()),
            Err(CallError::Rejected(rejection)) => Err(rejection.clone()),
            Err(other) => unreachable!("a turn that ended well answers or refuses: {other}"),
        },
        at_ms: now_ms,
    });
    let forgotten = match &record {
        Some(record) => activation.remember(record.clone(), durability),
        None => Vec::new(),
    };
    if durability == Durability::Memory || !(changed || record.is_some()) {
        return Ok((answer, None));
    }
    let state = activation.loaded().and_then(|loaded| loaded.state.clone());
    let commit = EntityCommit {
        entity: cell.id.clone(),
        state: match state {
            Some(state) if changed => StateChange::Put(state),
            _ => StateChange::Keep,
        },
        remembered: record.into_iter().collect(),
        forgotten,
    };
    Ok((answer, Some(commit)))
}

/// Refuses an entity in quarantine.
fn admit(cell: &Cell, activation: &Activation) -> Result<(), CallError> {
    let now = Instant::now();
    match activation.quarantine.refusal(now) {
        None => Ok(()),
        Some(quarantined) => Err(CallError::Quarantined {
            entity: cell.id.clone(),
            reason: quarantined.reason,
            retry_after_ms: u64::try_from((quarantined.until - now).as_millis())
                .unwrap_or(u64::MAX),
        }),
    }
}

/// Lets the guest handle a call. The outer error means that the turn was undone; the inner one is the guest's refusal.
fn handle(
    shared: &Shared,
    cell: &Cell,
    activation: &mut Activation,
    envelope: &Envelope,
    now_ms: u64,
) -> Result<Answer, CallError> {
    let instance = activation.instance().expect("it was just started");
    let turn = Turn {
        caller: &envelope.caller,
        key: &envelope.key,
        attempt: envelope.attempt,
        deadline_left_ms: envelope.deadline_left_ms,
        method: &envelope.method,
        arguments: &envelope.arguments,
    };
    let answer = shared.host.handle(instance, &turn);
    let failed = instance.failed();
    activation.log(&cell.id);
    match answer {
        Err(error) if failed => Err(activation.fail(&cell.id, error, now_ms)),
        answer => Ok(answer),
    }
}

fn method<'a>(
    version: &'a KindVersion,
    envelope: &Envelope,
) -> Result<&'a MethodDescription, CallError> {
    let description = &version.record.description;
    description
        .method(&envelope.method)
        .ok_or_else(|| CallError::UnknownMethod {
            kind: version.record.name.clone(),
            method: envelope.method.clone(),
            known: description
                .methods
                .iter()
                .map(|method| method.name.clone())
                .collect(),
        })
}

fn forget(shared: &Shared, cell: &Arc<Cell>, activation: &mut Activation, reply: Reply) {
    activation.forget();
    // Whatever could not be written is not to be written any more.
    cell.take_unwritten();
    let commit = EntityCommit::delete(cell.id.clone());
    cell.commit(
        shared,
        commit,
        reply,
        Ok(entia_protocol::Payload::default()),
    );
}

/// The wall clock, in milliseconds since 1970. It decides the age of idempotency records; all else that
/// it is used for is shown to people.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

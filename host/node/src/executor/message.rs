//! Messages: taken over, delivered, given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entia_api::body::Event;
use entia_protocol::{CallError, Durability, Envelope, Payload, SendRecord};
use entia_storage::EntityCommit;

use super::Shared;
use super::activation::Activation;
use super::agenda::{Delivered, Departure};
use super::cell::{Cell, MessageAnswer, RETRY_AFTER_MS, Work};
use super::delivery::{Delivery, Reply};
use super::pending::NotNow;
use super::turn::Leaving;
use crate::catalog::KindVersion;

/// How long one delivery may take, from the target's mailbox to its answer.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);

/// Takes over a message that somebody gives to an entity for itself: it is answered when the message cannot be lost any more.
pub(super) fn accept(
    shared: &Shared,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    version: &KindVersion,
    send: SendRecord,
    reply: Reply,
) -> Leaving {
    let durability = version.record.durability;
    let loaded = match activation.load(&shared.store, &cell.id, durability) {
        Ok(loaded) => loaded,
        Err(error) => return Leaving::answer(reply, Err(error)),
    };
    let (pending, bytes) = loaded.agenda.pending();
    if pending >= SendRecord::PENDING_MAX
        || bytes + send.arguments.0.len() > SendRecord::PENDING_BYTES_MAX
    {
        let error = CallError::Overloaded {
            queue: format!("the messages that wait for {}", cell.id),
            retry_after_ms: RETRY_AFTER_MS,
        };
        return Leaving::answer(reply, Err(error));
    }
    let accepted = Ok(Payload::default());
    if durability == Durability::Memory {
        loaded.agenda.accept(send, 0);
        loaded.agenda_changed();
        return Leaving::answer(reply, accepted);
    }
    loaded.agenda.accept(send, cell.commit_numbers().1);
    let mut commit = EntityCommit::new(cell.id.clone());
    loaded.agenda.take_changes(&mut commit);
    Leaving {
        commit: Some(commit),
        answer: Some((reply, accepted)),
    }
}

/// Lets the messages leave whose time has come.
pub(super) fn depart(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    now_ms: u64,
) {
    let Some(loaded) = activation.loaded_mut() else {
        return;
    };
    for send in loaded.agenda.expire(now_ms) {
        dead(shared, cell, &send);
    }
    loaded.agenda_changed();
    let (settled, _) = cell.commit_numbers();
    for Departure { send, attempt } in loaded.agenda.depart(now_ms, settled) {
        let (number, key) = (send.number, send.key.clone());
        if let Err(error) = submit(shared, cell, send, attempt) {
            // In an answer's own time: the mailbox is the way back for all of them.
            let outcome = Err(error);
            let answer = MessageAnswer {
                number,
                key,
                outcome,
            };
            shared.delivered(&cell.id, answer);
        }
    }
}

/// Puts a message into its target's mailbox. The answer comes back into the sender's.
fn submit(
    shared: &Arc<Shared>,
    cell: &Cell,
    send: SendRecord,
    attempt: u32,
) -> Result<(), CallError> {
    let kind = shared.catalog.find(send.target.kind())?;
    let pending = shared.pending.begin().map_err(|not_now| match not_now {
        NotNow::Closed => CallError::ShuttingDown,
        NotNow::Full => super::overloaded(),
    })?;
    let deadline = Instant::now() + DELIVERY_DEADLINE;
    let envelope = Envelope {
        entity: send.target,
        method: send.method,
        arguments: send.arguments,
        caller: send.caller,
        key: send.key.clone(),
        attempt,
        deadline_left_ms: DELIVERY_DEADLINE.as_millis() as u64,
        chain: Vec::new(),
    };
    let reply = Reply::within(Some(pending), {
        let (shared, sender) = (Arc::clone(shared), cell.id.clone());
        move |answer| {
            let answer = MessageAnswer {
                number: send.number,
                key: send.key,
                outcome: answer.map(|_result| ()),
            };
            shared.delivered(&sender, answer);
        }
    });
    let calls_max = kind.current().record.limits.mailbox_calls_max;
    let entity = envelope.entity.clone();
    let delivery = Delivery::within(envelope, deadline, reply);
    let work = Work::Call(Arc::clone(&kind), Box::new(delivery));
    shared.push(Some(&kind), entity, work, calls_max)
}

/// Takes note of the answer to a message, and lets the next one to the same target leave.
pub(super) fn delivered(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    activation: &mut Activation,
    answer: MessageAnswer,
) {
    let now_ms = super::now_ms();
    let Some(loaded) = activation.loaded_mut() else {
        return;
    };
    let MessageAnswer {
        number,
        key,
        outcome,
    } = answer;
    let why = outcome.as_ref().err().map(ToString::to_string);
    let counters = &shared.observed.counters;
    match loaded.agenda.delivered(number, &key, outcome, now_ms) {
        Delivered::Unknown => {}
        Delivered::Done => counters.sends_delivered.inc(),
        Delivered::Again => {
            counters.sends_retried.inc();
            tracing::debug!(entity = ?cell.id, "a message is tried again: {}", why.unwrap_or_default());
        }
        Delivered::Dead(send) => dead(shared, cell, &send),
    }
    loaded.agenda_changed();
    depart(shared, cell, activation, now_ms);
}

/// Tells of a message that was given up.
fn dead(shared: &Shared, cell: &Cell, send: &SendRecord) {
    let Some(letter) = &send.dead else { return };
    shared.observed.counters.sends_dead.inc();
    shared.observed.events.push(Event::DeadLetter {
        entity: (&cell.id).into(),
        target: (&send.target).into(),
        method: send.method.clone(),
        code: letter.code.clone(),
        message: letter.message.clone(),
    });
    tracing::warn!(
        entity = ?cell.id,
        target_entity = ?send.target,
        method = %send.method,
        "a message is a dead letter: {}",
        letter.message
    );
}

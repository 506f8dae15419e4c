use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use entia_protocol::{
    CallError, Caller, CommandKey, Digest, EntityId, Envelope, IdempotencyId, IdempotencyRecord,
    Payload, TimerRecord,
};
use entia_wasm::{Calls, Effects, Host, Input, Instance, Turn};

use super::super::delivery::{Answer, Reply};
use super::left_ms;
use crate::catalog::{Kind, KindVersion};

/// A turn under way: what is needed to end it.
pub(in crate::executor) struct Job {
    pub(super) kind: Arc<Kind>,
    pub(super) version: Arc<KindVersion>,
    pub(super) command: Command,
    /// What makes a repetition recognisable; none for queries and commands that nobody can repeat.
    pub(super) id: Option<(IdempotencyId, Digest)>,
    pub(super) query: bool,
    /// A message: nobody reads its result.
    pub(super) message: bool,
    pub(super) began: Instant,
    pub(super) now_ms: u64,
    pub(super) deadline: Instant,
    /// Of a call; nobody waits for a timer.
    pub(super) reply: Option<Reply>,
}

/// What a turn executes.
#[derive(Clone)]
pub(super) enum Command {
    Call(Envelope),
    Fire {
        timer: TimerRecord,
        caller: Caller,
        key: CommandKey,
    },
}

impl Job {
    pub(super) fn turn<'a>(
        &'a self,
        timers: &'a Arc<BTreeMap<String, usize>>,
        pending: (usize, usize),
        calls: Option<&'a Arc<dyn Calls>>,
    ) -> Turn<'a> {
        self.command
            .turn(self.query, self.deadline, timers, pending, calls)
    }

    /// A copy of what the guest is handed, for a turn that waits.
    pub(super) fn owned(&self) -> OwnedTurn {
        OwnedTurn {
            command: self.command.clone(),
            query: self.query,
            deadline: self.deadline,
        }
    }

    /// Whether something outside the entity has happened with this turn that a later failure could not undo: an effect, or
    /// that a timer, a message or another entity's call is done with.
    pub(super) fn is_final(&self, effects: &Effects) -> bool {
        let from_within = match &self.command {
            Command::Fire { .. } => true,
            Command::Call(envelope) => self.message || matches!(envelope.caller, Caller::Entity(_)),
        };
        from_within || !effects.is_empty() || self.version.component.waits()
    }

    /// Who waits for the turn.
    pub(super) fn chain(&self) -> Vec<EntityId> {
        match &self.command {
            Command::Call(envelope) => envelope.chain.clone(),
            Command::Fire { .. } => Vec::new(),
        }
    }

    pub(super) fn record(&self, answer: &Answer) -> Option<IdempotencyRecord> {
        let (id, arguments) = self.id.clone()?;
        Some(IdempotencyRecord {
            id,
            arguments,
            answer: match answer {
                // Nobody reads it, and a long one would push other commands out of the entity's memory.
                Ok(_) if self.message => Ok(Payload::default()),
                Ok(payload) => Ok(payload.clone()),
                Err(CallError::Rejected(rejection)) => Err(rejection.clone()),
                Err(other) => unreachable!("a turn that ended well answers or refuses: {other}"),
            },
            at_ms: self.now_ms,
        })
    }
}

/// What a waiting turn hands to the guest, apart from its job, which ends it.
pub(super) struct OwnedTurn {
    pub(super) command: Command,
    pub(super) query: bool,
    pub(super) deadline: Instant,
}

impl OwnedTurn {
    pub(super) async fn run(
        self,
        host: Arc<Host>,
        mut instance: Instance,
        timers: Arc<BTreeMap<String, usize>>,
        pending: (usize, usize),
        calls: Arc<dyn Calls>,
    ) -> (Instance, Answer) {
        let turn = self
            .command
            .turn(self.query, self.deadline, &timers, pending, Some(&calls));
        let answer = host.handle_waiting(&mut instance, &turn).await;
        (instance, answer)
    }
}

impl Command {
    pub(super) fn turn<'a>(
        &'a self,
        query: bool,
        deadline: Instant,
        timers: &'a Arc<BTreeMap<String, usize>>,
        (sends_pending, sends_pending_bytes): (usize, usize),
        calls: Option<&'a Arc<dyn Calls>>,
    ) -> Turn<'a> {
        let (input, caller, key, attempt, deadline_left_ms) = match self {
            Self::Call(envelope) => (
                Input::Call {
                    method: &envelope.method,
                    arguments: &envelope.arguments,
                },
                &envelope.caller,
                &envelope.key,
                envelope.attempt,
                envelope.deadline_left_ms,
            ),
            Self::Fire { timer, caller, key } => (
                Input::Timer {
                    name: &timer.name,
                    fire: timer.fire,
                    payload: &timer.payload,
                },
                caller,
                key,
                1,
                left_ms(deadline),
            ),
        };
        Turn {
            input,
            caller,
            key,
            attempt,
            deadline_left_ms,
            deadline,
            query,
            timers,
            sends_pending,
            sends_pending_bytes,
            calls,
        }
    }
}

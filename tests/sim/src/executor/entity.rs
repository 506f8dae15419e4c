//! The virtual entity: a list of serials with everything that a real one has around its state.
//!
//! It has the real [`IdempotencyWindow`](entia_protocol::IdempotencyWindow), messages that are promised in the same record as
//! the state that promised them, and timers, all in [`Record::bytes`]. What a real guest does in wasm takes no time here: the
//! executor decides how long a turn lasts.

use std::collections::BTreeSet;
use std::sync::Arc;

use entia_protocol::cluster::Record;
use entia_protocol::{
    CallError, Caller, CommandKey, EntityId, Envelope, IdempotencyId, IdempotencyRecord,
    IdempotencyWindow, Lookup, Payload, Rejection,
};

use super::command::{Answer, Command, Place};
use super::keys::Keys;
use super::state::{Pending, State, Timer};
use crate::node::{Draft, Outcome};

/// An entity in memory.
#[derive(Debug)]
pub struct Entity {
    id: EntityId,
    state: State,
    /// The messages that are on their way: not stored, since another owner has to send them again.
    in_flight: BTreeSet<CommandKey>,
}

/// How far a turn got.
#[derive(Debug)]
pub enum Progress {
    /// To its end.
    Ended(Ending),
    /// To a call that it waits for.
    Calls(Arc<Envelope>),
    /// To a trap: the entity must not be used any more.
    Trapped,
}

/// How a turn ended.
#[derive(Debug)]
pub struct Ending {
    answer: Result<Payload, CallError>,
    changed: bool,
}

/// How long a message that is on its way is left alone, in milliseconds: what was in the memory of a node that died is not
/// coming back.
const PATIENCE_MS: u64 = 5_000;
/// How long a message that was refused is left alone, in milliseconds.
const RETRY_MS: u64 = 200;

impl Entity {
    /// Takes up what is stored; nothing if it cannot be read.
    pub fn restore(id: EntityId, record: Option<&Record>, draw: u32) -> Option<Self> {
        let mut state = match record {
            Some(record) => State::decode(&record.bytes.0)?,
            None => State::default(),
        };
        state.deleted = record.is_some_and(|record| record.deleted);
        state.draw = draw;
        Some(Self {
            id,
            state,
            in_flight: BTreeSet::new(),
        })
    }

    /// Runs a call. A command that ran before gives the same answer again.
    pub fn call(&mut self, envelope: &Envelope, utc_ms: u64, keys: &mut Keys) -> Progress {
        let Some(command) = Command::of(envelope) else {
            return Progress::Ended(Ending::failed(CallError::BadArguments {
                message: "this is no command".to_owned(),
            }));
        };
        if command == Command::Read {
            return Progress::Ended(Ending::unchanged(self.listing()));
        }
        let id = identity(envelope);
        match self
            .state
            .window
            .lookup(&id, &envelope.arguments.digest(), utc_ms)
        {
            Lookup::Replay(answer) => {
                return Progress::Ended(Ending {
                    answer: answer.clone().map_err(CallError::Rejected),
                    changed: false,
                });
            }
            Lookup::Reused => {
                return Progress::Ended(Ending::failed(IdempotencyWindow::reused(&id)));
            }
            Lookup::New => {}
        }
        self.execute(command, envelope, utc_ms, keys)
    }

    fn execute(
        &mut self,
        command: Command,
        envelope: &Envelope,
        utc_ms: u64,
        keys: &mut Keys,
    ) -> Progress {
        let ending = match command {
            Command::Append { serial } => self.commit(envelope, serial, None, utc_ms),
            Command::Chain { other, theirs, .. } => {
                let mut chain = envelope.chain.clone();
                chain.push(self.id.clone());
                let key = keys.derive(&self.id, envelope);
                let nested = self.append_elsewhere(other, theirs, key);
                return Progress::Calls(Arc::new(Envelope {
                    chain,
                    deadline_left_ms: envelope.deadline_left_ms,
                    ..nested
                }));
            }
            Command::Post {
                serial,
                other,
                theirs,
            } => {
                self.state.head.pending.push_back(Pending {
                    target: other,
                    key: keys.derive(&self.id, envelope),
                    serial: theirs,
                    retry_ms: utc_ms,
                });
                self.commit(envelope, serial, None, utc_ms)
            }
            Command::Remind { serial, after_ms } => {
                self.state.head.timers.push(Timer {
                    due_ms: utc_ms + after_ms,
                    serial,
                });
                self.remember(envelope, None, &Answer::Set, utc_ms)
            }
            Command::Forget => {
                let answer = Answer::Forgotten {
                    life: self.life(),
                    length: self.state.serials.len() as u64,
                };
                self.state.clear();
                self.in_flight.clear();
                self.remember(envelope, None, &answer, utc_ms)
            }
            Command::Boom { serial } => {
                self.state.push(Some(serial), None);
                return Progress::Trapped;
            }
            Command::Read => Ending::unchanged(self.listing()),
        };
        Progress::Ended(ending)
    }

    /// Ends a chain whose other entity has answered. Where that failed nothing changes here, and a repetition calls it again
    /// under the same key.
    pub fn resume(
        &mut self,
        envelope: &Envelope,
        answer: &Result<Payload, CallError>,
        utc_ms: u64,
    ) -> Ending {
        let nested = match answer {
            Ok(payload) => Answer::of(payload),
            Err(error) => {
                return Ending::failed(CallError::Rejected(Rejection {
                    code: error.code().to_owned(),
                    message: error.to_string(),
                    data: None,
                }));
            }
        };
        let (Some(Command::Chain { serial, .. }), Some(Answer::Appended { own, .. })) =
            (Command::of(envelope), nested)
        else {
            return Ending::failed(CallError::BadArguments {
                message: "this is no answer to a chain".to_owned(),
            });
        };
        self.commit(envelope, serial, Some(own), utc_ms)
    }

    /// Fires what is due. The node's clock may show another time than ours, so that what is due first is due in any case.
    pub fn wake(&mut self, utc_ms: u64) -> Ending {
        let first = self
            .state
            .head
            .timers
            .iter()
            .map(|timer| timer.due_ms)
            .min();
        let due = utc_ms.max(first.unwrap_or(0));
        let (fired, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.state.head.timers)
            .into_iter()
            .partition(|timer| timer.due_ms <= due);
        self.state.head.timers = left;
        for timer in fired {
            self.state.push(Some(timer.serial), None);
        }
        self.in_flight.clear();
        for pending in &mut self.state.head.pending {
            pending.retry_ms = utc_ms;
        }
        Ending {
            answer: Ok(Payload::default()),
            changed: true,
        }
    }

    /// Takes the answer to a message. One that failed is sent again later.
    pub fn delivered(
        &mut self,
        key: &CommandKey,
        answer: &Result<Payload, CallError>,
        utc_ms: u64,
    ) -> Ending {
        self.in_flight.remove(key);
        let pending = &mut self.state.head.pending;
        let place = pending.iter().position(|pending| pending.key == *key);
        if let Some(place) = place {
            match answer {
                Ok(_) => drop(pending.remove(place)),
                Err(_) => pending[place].retry_ms = utc_ms + RETRY_MS,
            }
        }
        Ending {
            answer: Ok(Payload::default()),
            changed: place.is_some(),
        }
    }

    /// A worker's step. `life` names its list if it is new.
    pub fn step(&mut self, life: u64) -> Ending {
        if self.state.serials.is_empty() {
            self.state.push(Some(life), None);
        }
        self.state.head.ticks += 1;
        Ending {
            answer: Ok(Payload::default()),
            changed: true,
        }
    }

    /// What the node has to do about a turn that ended. To each target one message is on its way at a time, so that they
    /// arrive in their order.
    pub fn outcome(&mut self, ending: Ending, utc_ms: u64) -> Outcome {
        let sends = self.sends(utc_ms);
        Outcome {
            answer: ending.answer,
            record: ending.changed.then(|| self.draft(utc_ms)),
            sends,
            next_step: None,
            lost: false,
        }
    }

    fn sends(&mut self, utc_ms: u64) -> Vec<Arc<Envelope>> {
        let mut envelopes = Vec::new();
        for pending in first_of_each(&self.state.head.pending) {
            if pending.retry_ms <= utc_ms && self.in_flight.insert(pending.key.clone()) {
                let key = pending.key.clone();
                let envelope = self.append_elsewhere(pending.target.clone(), pending.serial, key);
                envelopes.push(Arc::new(envelope));
            }
        }
        envelopes
    }

    fn draft(&self, utc_ms: u64) -> Draft {
        let head = &self.state.head;
        let timers = head.timers.iter().map(|timer| timer.due_ms);
        let sends = first_of_each(&head.pending).map(|pending| {
            if self.in_flight.contains(&pending.key) {
                utc_ms + PATIENCE_MS
            } else {
                pending.retry_ms
            }
        });
        Draft {
            wake_ms: timers.chain(sends).min(),
            deleted: self.state.deleted,
            bytes: self.state.encode(),
        }
    }

    fn append_elsewhere(&self, other: EntityId, serial: u64, key: CommandKey) -> Envelope {
        let command = Command::Append { serial };
        Envelope {
            entity: other,
            method: command.method().to_owned(),
            arguments: command.payload(),
            caller: Caller::Entity(self.id.clone()),
            key,
            attempt: 1,
            deadline_left_ms: PATIENCE_MS,
            chain: Vec::new(),
        }
    }

    fn commit(
        &mut self,
        envelope: &Envelope,
        serial: u64,
        nested: Option<Place>,
        utc_ms: u64,
    ) -> Ending {
        let serials = &self.state.serials;
        let own = Place {
            life: self.state.life(serial),
            position: serials.len() as u64 + 1,
            previous: serials.last().copied().unwrap_or(0),
        };
        let answer = Answer::Appended { own, nested };
        self.remember(envelope, Some(serial), &answer, utc_ms)
    }

    fn remember(
        &mut self,
        envelope: &Envelope,
        serial: Option<u64>,
        answer: &Answer,
        utc_ms: u64,
    ) -> Ending {
        let payload = answer.payload();
        let command = envelope.key.repeatable().then(|| IdempotencyRecord {
            id: identity(envelope),
            arguments: envelope.arguments.digest(),
            answer: Ok(payload.clone()),
            at_ms: utc_ms,
        });
        self.state.push(serial, command);
        Ending {
            answer: Ok(payload),
            changed: true,
        }
    }

    fn life(&self) -> u64 {
        if self.state.serials.is_empty() {
            return 0;
        }
        self.state.life(0)
    }

    fn listing(&self) -> Answer {
        Answer::Listing {
            life: self.life(),
            serials: self.state.serials.clone(),
            ticks: self.state.head.ticks,
        }
    }
}

impl Ending {
    fn failed(error: CallError) -> Self {
        Self {
            answer: Err(error),
            changed: false,
        }
    }

    fn unchanged(answer: Answer) -> Self {
        Self {
            answer: Ok(answer.payload()),
            changed: false,
        }
    }
}

/// The first message to each target.
fn first_of_each<'a>(
    pending: impl IntoIterator<Item = &'a Pending>,
) -> impl Iterator<Item = &'a Pending> {
    let mut seen = BTreeSet::new();
    pending
        .into_iter()
        .filter(move |pending| seen.insert(&pending.target))
}

fn identity(envelope: &Envelope) -> IdempotencyId {
    IdempotencyId {
        method: envelope.method.clone(),
        key: envelope.key.clone(),
    }
}

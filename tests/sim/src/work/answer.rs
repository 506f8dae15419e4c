//! What clients make of answers.

use entia_protocol::{CallError, Durability, EntityId, Payload};
use rand::Rng;

use super::operation::{Asker, Attempt, Standing};
use super::promise::Promise;
use super::{Gap, Job, MS, Workload};
use crate::executor::{Answer, Command};
use crate::oracle::Span;

impl Workload {
    pub(super) fn succeeded(&mut self, attempt: &Attempt, payload: &Payload, now: u64) {
        let operation = &mut self.operations[attempt.operation];
        let first = operation.standing != Standing::Answered;
        let was_open = operation.standing == Standing::Open;
        operation.standing = Standing::Answered;
        let span = Span {
            issued: operation.issued,
            answered: now,
        };
        let simple = matches!(operation.command, Command::Append { .. } | Command::Read);
        if first && simple {
            self.waits.push(Gap {
                entity: operation.entity.clone(),
                issued: span.issued,
                answered: now,
            });
        }
        self.judge(attempt, payload, span);
        if was_open {
            self.closed(attempt.operation, now);
        }
    }

    /// Gives an answer to the oracle.
    fn judge(&mut self, attempt: &Attempt, payload: &Payload, span: Span) {
        let operation = &self.operations[attempt.operation];
        let entity = &operation.entity;
        match (&operation.command, Answer::of(payload)) {
            (
                Command::Append { serial } | Command::Post { serial, .. },
                Some(Answer::Appended { own, nested: None }),
            ) => {
                self.oracle.appended(entity, *serial, &own, span);
                if let Some(turn) = attempt.turn.filter(|_| !attempt.expired) {
                    self.oracle.ordered(entity, turn, &own);
                }
            }
            (
                Command::Chain {
                    serial,
                    other,
                    theirs,
                },
                Some(Answer::Appended {
                    own,
                    nested: Some(nested),
                }),
            ) => {
                self.oracle.appended(other, *theirs, &nested, span);
                self.oracle.appended(entity, *serial, &own, span);
            }
            (Command::Read, Some(Answer::Listing { life, serials, .. })) => {
                self.oracle.listed(entity, life, &serials, span);
                if operation.asker == Asker::Auditor {
                    self.audit.unread.remove(entity);
                    self.audit.listings.insert(entity.clone(), serials);
                }
            }
            (Command::Remind { serial, .. }, Some(Answer::Set)) => {
                let durable = self.choices.durability(entity) == Some(Durability::Durable);
                if durable && self.timers_fire {
                    self.promises.push(Promise::Timer {
                        entity: entity.clone(),
                        serial: *serial,
                    });
                }
            }
            (Command::Forget, Some(Answer::Forgotten { life, length })) => {
                self.oracle.forgotten(entity, life, length, span);
            }
            (command, answer) => {
                let message = format!("{entity} answered {command:?} with {answer:?}");
                self.oracle.accuse("I13", message);
            }
        }
    }

    pub(super) fn failed(&mut self, attempt: &Attempt, error: &CallError, now: u64) {
        let operation = &mut self.operations[attempt.operation];
        if let CallError::KeyReused { .. } = error {
            let message = format!("{}: {error}, and only one call had it", operation.entity);
            self.oracle.accuse("I7", message);
        }
        if operation.standing != Standing::Open || attempt.expired {
            return;
        }
        operation.error = Some(error.code());
        if is_right(error, &operation.entity, &operation.command) {
            operation.standing = Standing::Answered;
            self.closed(attempt.operation, now);
        } else {
            self.again(attempt.operation, now);
        }
    }

    /// Asks again after a pause, or goes away. Nobody goes away once the faults are over: everything has to work then.
    pub(super) fn again(&mut self, number: usize, now: u64) {
        let operation = &mut self.operations[number];
        if operation.standing != Standing::Open {
            return;
        }
        if now < self.times.faults_until && self.random.random_range(0..12) == 0 {
            operation.standing = Standing::Abandoned;
            self.closed(number, now);
            return;
        }
        let doubled = (10 * MS) << operation.attempts.min(5);
        let pause = self.random.random_range(doubled / 2..doubled);
        self.schedule(now + pause, Job::Attempt(number));
    }

    fn closed(&mut self, number: usize, now: u64) {
        if let Asker::Client(client) = self.operations[number].asker {
            self.clients[client] -= 1;
            if self.clients[client] == 0 {
                let pause = self.random.random_range(0..2 * self.times.think);
                self.schedule(now + pause, Job::Think(client));
            }
        }
    }
}

/// Whether this error is all that can be expected.
fn is_right(error: &CallError, entity: &EntityId, command: &Command) -> bool {
    match command {
        Command::Boom { .. } => matches!(error, CallError::Trapped { .. }),
        // Whoever waits for itself waits for ever, and is told so.
        Command::Chain { other, .. } if other == entity => {
            matches!(error, CallError::Rejected(rejection) if rejection.code == "deadlock")
        }
        _ => false,
    }
}

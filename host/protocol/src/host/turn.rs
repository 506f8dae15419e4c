//! What the executor says of a turn.

use std::collections::VecDeque;
use std::sync::Arc;

use super::activation::{Job, Mail, Place, Stage, Turn};
use super::outputs::{Effect, Output};
use super::schedule::Append;
use super::{Action, Answer, Draft, Host, Origin, Outcome};
use crate::cluster::{Context, Mutant, Record, StopReason, StoredRecord, TurnId};
use crate::{CallError, CommandKey, EntityId, Envelope, journal};

impl Host {
    /// A turn has ended: what it changed is written, what it says waits for that.
    pub(super) fn turn_ended(&mut self, cx: &Context<'_>, id: TurnId, outcome: Outcome) {
        let Some(place) = self.turns.remove(&id) else {
            return;
        };
        let Some(turn) = self.end_turn(&place) else {
            return;
        };
        let failed = outcome.lost || outcome.answer.is_err();
        let record = outcome.record.filter(|_| !outcome.lost);
        let append = record.and_then(|draft| self.write(&place, draft));
        let mut effects = VecDeque::new();
        let step = matches!(turn.job, Job::Step);
        let woken = matches!(turn.job, Job::Wake);
        if let Job::Call(reply) = turn.job {
            let answer = Arc::new(outcome.answer);
            effects.push_back(Effect::Answer { reply, answer });
        }
        effects.extend(outcome.sends.into_iter().map(Effect::Send));
        if let Some(activation) = self.activation(&place) {
            activation.waking &= !woken;
            if append.is_some() || !effects.is_empty() {
                let wait = append.filter(|_| !cx.settings.lacks(Mutant::ReplyBeforeCommit));
                activation.outputs.push_back(Output::new(wait, effects));
            }
        }
        self.wake_again(cx, &place, woken);
        if outcome.lost {
            let instance = self.activation(&place).and_then(|a| a.instance.take());
            if instance.is_some() {
                self.stopped(cx, place.shard, StopReason::Crashed);
            }
        }
        if step || outcome.lost {
            self.step_ended(cx, place.shard, failed, outcome.next_step);
        }
        self.go_on(cx, &place);
        self.step(cx, place.shard);
    }

    /// Takes a turn that is over, however it went, out of its activation.
    fn end_turn(&mut self, place: &Place) -> Option<Turn> {
        let activation = self.activation(place)?;
        match std::mem::replace(&mut activation.stage, Stage::Idle) {
            Stage::Running(turn) => Some(turn),
            other => {
                activation.stage = other;
                None
            }
        }
    }

    /// Ends the turn that an entity is in, if it is in one, and drops its instance. The caller may not know how far it came.
    pub(super) fn interrupt(&mut self, cx: &Context<'_>, place: &Place) -> Option<()> {
        let turn = self.end_turn(place)?;
        self.turns.remove(&turn.id);
        let activation = self.activation(place)?;
        for output in &mut activation.outputs {
            output.forget_calls(turn.id);
        }
        match turn.job {
            Job::Call(reply) => {
                let answer = Arc::new(Err(CallError::Interrupted));
                let effects = VecDeque::from([Effect::Answer { reply, answer }]);
                activation.outputs.push_back(Output::new(None, effects));
            }
            Job::Wake => activation.waking = false,
            Job::Delivered | Job::Step => {}
        }
        self.discard(cx, place, StopReason::Crashed);
        Some(())
    }

    /// The number of the append, if the kind is durable.
    fn write(&mut self, place: &Place, draft: Draft) -> Option<u64> {
        let id = self.asked.next();
        let shard = self.shards.get_mut(&place.shard)?;
        let (epoch, durable) = (shard.epoch, shard.durable);
        let activation = shard.activations.get_mut(&place.entity)?;
        let before = activation.record.as_ref();
        let version = before.map_or(0, |stored| stored.record.version) + 1;
        let record = Arc::new(StoredRecord {
            entity: place.entity.clone(),
            epoch,
            record: Record {
                version,
                wake_ms: draft.wake_ms,
                deleted: draft.deleted,
                bytes: draft.bytes,
            },
        });
        activation.record = Some(record.clone());
        activation.dirty = !durable;
        self.transfers.changed(place, &record);
        if !durable {
            return None;
        }
        self.asked.appends.insert(id, Append::Turn(place.clone()));
        let append = journal::Request::Append {
            id,
            shard: place.shard,
            record,
        };
        self.actions.push_back(Action::Journal(append));
        Some(id)
    }

    /// A turn calls another entity: not before what it has seen is committed.
    pub(super) fn turn_calls(
        &mut self,
        cx: &Context<'_>,
        id: TurnId,
        number: u64,
        call: Arc<Envelope>,
    ) {
        let Some(place) = self.turns.get(&id).cloned() else {
            return;
        };
        let Some(activation) = self.activation(&place) else {
            return;
        };
        let Stage::Running(turn) = &mut activation.stage else {
            return;
        };
        turn.waits = Some((number, None));
        if let Some(error) = refused(cx, &call) {
            let origin = Origin::Turn { turn: id, number };
            return self.take_answer(cx, origin, Arc::new(Err(error)));
        }
        let effects = VecDeque::from([Effect::Call {
            turn: id,
            number,
            call,
        }]);
        activation.outputs.push_back(Output::new(None, effects));
        self.release(cx, &place);
    }

    pub(super) fn take_answer(&mut self, cx: &Context<'_>, origin: Origin, answer: Answer) {
        match origin {
            Origin::Turn { turn, number } => {
                let Some(place) = self.turns.get(&turn).cloned() else {
                    return;
                };
                if let Some(activation) = self.activation(&place)
                    && let Stage::Running(turn) = &mut activation.stage
                    && let Some((waits, given @ None)) = &mut turn.waits
                    && *waits == number
                {
                    *given = Some(answer);
                    self.go_on(cx, &place);
                }
            }
            Origin::Send { entity, epoch, key } => {
                let Some(id) = cx.control.shard_of(&entity) else {
                    return;
                };
                let shard = self.shards.get(&id);
                // Not older than what this node has owned ever since, and not while it moves: its next home delivers it again.
                if !shard.is_some_and(|shard| shard.since <= epoch && shard.phase.serving()) {
                    return;
                }
                self.delivered(cx, &Place { shard: id, entity }, key, answer);
            }
        }
    }

    /// Gives a turn the answer that it waits for, if it may have it now.
    pub(super) fn resume_turn(&mut self, cx: &Context<'_>, place: &Place) {
        let Some(activation) = self.activation(place) else {
            return;
        };
        let Stage::Running(turn) = &mut activation.stage else {
            return;
        };
        let id = turn.id;
        match turn.waits.take() {
            Some((number, Some(answer))) if cx.leased() => {
                self.actions.push_back(Action::Resume {
                    turn: id,
                    number,
                    answer,
                });
            }
            held @ Some((_, Some(_))) => {
                turn.waits = held;
                self.block(cx, place);
            }
            waits => turn.waits = waits,
        }
    }

    /// A message that an entity sent has an answer. Where there is no room, the entity delivers it again when it wakes.
    fn delivered(&mut self, cx: &Context<'_>, place: &Place, key: CommandKey, answer: Answer) {
        let full = self.activation(place).is_some_and(|activation| {
            activation.mailbox.len() >= 2 * cx.settings.bounds.mailbox_max
        });
        if !full {
            // Refused where there is no room for another entity: see above.
            let _ = self.mail(cx, place, Mail::Delivered { key, answer });
        }
    }
}

/// Why a turn's call is not made: it would wait for itself, or the chain is too long.
fn refused(cx: &Context<'_>, call: &Envelope) -> Option<CallError> {
    if let Some(first) = call.chain.iter().position(|entity| *entity == call.entity) {
        let mut chain: Vec<EntityId> = call.chain[first..].to_vec();
        chain.push(call.entity.clone());
        return Some(CallError::Deadlock {
            chain,
            may_have_run: false,
        });
    }
    let chain_max = cx.settings.bounds.chain_max;
    (call.chain.len() > chain_max).then_some(CallError::TooDeep { chain_max })
}

//! An entity in memory: from its first mail until it is settled and let go.
//!
//! ```text
//!   Loading ──found──► Idle ◄───────ended──────── Running ──calls──► Running, waits
//!                       │ └──── mail, leased ───────►▲ ◄───answer──────┘
//!                       └── no mail, no outputs: settled
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::inbound::ReplyTo;
use super::outputs::{Effect, Output};
use super::shard::Phase;
use super::{Action, Answer, Host, Input};
use crate::cluster::{Context, Epoch, Instant, Message, ShardId, StopReason, StoredRecord, TurnId};
use crate::{CallError, CommandKey, Digest, EntityId, Envelope, Unavailability, journal};

/// Where an activation is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    pub(super) entity: EntityId,
}

/// An entity in memory.
#[derive(Debug)]
pub(super) struct Activation {
    pub(super) stage: Stage,
    pub(super) mailbox: VecDeque<Mail>,
    /// What its turns have to say, in order.
    pub(super) outputs: VecDeque<Output>,
    /// The last record, committed or not.
    pub(super) record: Option<Arc<StoredRecord>>,
    /// The record is nowhere else: of a memory kind, since it was stashed.
    pub(super) dirty: bool,
    /// What the executor has of it.
    pub(super) instance: Option<Instance>,
    /// It has nothing to do and nothing to say; and where it is in the list of idle ones.
    pub(super) settled: Option<Option<Instant>>,
    /// A wake is in the mailbox, or runs.
    pub(super) waking: bool,
}

/// What the executor has of an entity.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) epoch: Epoch,
    pub(super) component: Digest,
}

/// How far an activation is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its record is looked for, by that question to the journal once it is asked.
    Loading(Option<u64>),
    /// No turn runs.
    Idle,
    /// One does.
    Running(Turn),
}

/// A turn that runs.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) id: TurnId,
    pub(super) job: Job,
    /// The call of its own that it waits for, and the answer that may not be given to it yet.
    pub(super) waits: Option<(u64, Option<Answer>)>,
}

/// What a turn is for.
#[derive(Debug)]
pub(super) enum Job {
    Call(ReplyTo),
    Wake,
    Delivered,
    Step,
}

/// What waits for an entity.
#[derive(Debug)]
pub(super) enum Mail {
    Call {
        reply: ReplyTo,
        envelope: Arc<Envelope>,
        deadline: Instant,
    },
    Wake,
    Delivered {
        key: CommandKey,
        answer: Answer,
    },
    Step,
}

impl Mail {
    fn split(self) -> (Job, Input) {
        match self {
            Self::Call {
                reply, envelope, ..
            } => (Job::Call(reply), Input::Call(envelope)),
            Self::Wake => (Job::Wake, Input::Wake),
            Self::Delivered { key, answer } => (Job::Delivered, Input::Delivered { key, answer }),
            Self::Step => (Job::Step, Input::Step),
        }
    }

    /// Whether somebody who waits for this may be what others of the shard wait for.
    pub(super) fn chained(&self) -> bool {
        matches!(self, Self::Call { envelope, .. } if !envelope.chain.is_empty())
    }
}

impl Activation {
    fn new() -> Self {
        Self {
            stage: Stage::Loading(None),
            mailbox: VecDeque::new(),
            outputs: VecDeque::new(),
            record: None,
            dirty: false,
            instance: None,
            settled: None,
            waking: false,
        }
    }

    pub(super) fn running(&self) -> Option<(TurnId, Option<u64>)> {
        match &self.stage {
            Stage::Running(turn) => {
                let waits = turn.waits.as_ref().map(|(number, _)| *number);
                Some((turn.id, waits))
            }
            Stage::Loading(_) | Stage::Idle => None,
        }
    }

    /// Whether a record of it is not committed yet.
    pub(super) fn writing(&self) -> bool {
        self.outputs.iter().any(Output::waits)
    }

    pub(super) fn quiet(&self) -> bool {
        matches!(self.stage, Stage::Idle) && self.mailbox.is_empty() && self.outputs.is_empty()
    }
}

impl Host {
    pub(super) fn activation(&mut self, place: &Place) -> Option<&mut Activation> {
        let shard = self.shards.get_mut(&place.shard)?;
        shard.activations.get_mut(&place.entity)
    }

    /// Puts something into an entity's mailbox, and the entity into memory if it is not there. Gives it back where there is no room.
    pub(super) fn mail(&mut self, cx: &Context<'_>, place: &Place, mail: Mail) -> Result<(), Mail> {
        let bounds = &cx.settings.bounds;
        let here = self.activation(place).is_some();
        // Workers always run: they neither wait for room nor take it from entities.
        let worker = self
            .shards
            .get(&place.shard)
            .is_some_and(|shard| shard.worker.is_some());
        let full = !worker && self.activations >= bounds.activations_max;
        if !here && full && !self.make_room(cx) {
            return Err(mail);
        }
        let Some(shard) = self.shards.get_mut(&place.shard) else {
            return Err(mail);
        };
        if !here {
            let entity = place.entity.clone();
            shard.activations.insert(entity, Activation::new());
            shard.unsettled += 1;
            self.activations += usize::from(!worker);
            self.schedule.loads.push_back(place.clone());
        }
        let Some(activation) = shard.activations.get_mut(&place.entity) else {
            return Err(mail);
        };
        if matches!(mail, Mail::Call { .. }) && activation.mailbox.len() >= bounds.mailbox_max {
            return Err(mail);
        }
        activation.waking |= matches!(mail, Mail::Wake);
        activation.mailbox.push_back(mail);
        if let Some(idle) = activation.settled.take() {
            shard.unsettled += 1;
            if let Some(at) = idle {
                self.schedule.idle.remove(&(at, place.clone()));
            }
        }
        self.load(cx);
        self.go_on(cx, place);
        Ok(())
    }

    /// Looks for records, not too many at a time: after a failover all entities want theirs at once.
    pub(super) fn load(&mut self, cx: &Context<'_>) {
        while self.asked.finds.len() < cx.settings.bounds.loading_max {
            let Some(place) = self.schedule.loads.pop_front() else {
                break;
            };
            let id = self.asked.next();
            let Some(activation) = self.activation(&place) else {
                continue;
            };
            if !matches!(activation.stage, Stage::Loading(None)) {
                continue;
            }
            activation.stage = Stage::Loading(Some(id));
            let find = journal::Request::Find {
                id,
                shard: place.shard,
                entity: place.entity.clone(),
            };
            self.asked.finds.insert(id, place);
            self.actions.push_back(Action::Journal(find));
        }
    }

    /// `None`: the record cannot be read now.
    pub(super) fn found(
        &mut self,
        cx: &Context<'_>,
        id: u64,
        result: Option<Option<StoredRecord>>,
    ) {
        let Some(place) = self.asked.finds.remove(&id) else {
            return;
        };
        if let Some(activation) = self.activation(&place)
            && matches!(activation.stage, Stage::Loading(Some(asked)) if asked == id)
        {
            activation.stage = Stage::Idle;
            match result {
                Some(record) => {
                    activation.record = record.map(Arc::new);
                    let waking = activation.waking;
                    let wake_ms = activation.record.as_ref().and_then(|r| r.record.wake_ms);
                    if !waking {
                        self.wakes.set(place.shard, &place.entity, wake_ms);
                    }
                    self.step_loaded(cx, &place);
                    self.go_on(cx, &place);
                }
                None => self.unreadable(cx, &place),
            }
        }
        self.load(cx);
    }

    /// Nobody who waits for it is served, and the next one looks again.
    fn unreadable(&mut self, cx: &Context<'_>, place: &Place) {
        let Some(activation) = self.activation(place) else {
            return;
        };
        let waking = activation.waking;
        for mail in std::mem::take(&mut activation.mailbox) {
            if let Mail::Call { reply, .. } = mail {
                let reason = Unavailability::StateUnavailable;
                let answer = Arc::new(Err(CallError::Unavailable { reason }));
                self.answer(cx, &reply, answer);
            }
        }
        if waking {
            self.wake_later(cx, place);
        }
        self.remove(cx, place, None);
        self.step_unreadable(cx, place.shard);
    }

    /// Lets go what an entity has to say, and starts its next turn, as far as both may be.
    pub(super) fn go_on(&mut self, cx: &Context<'_>, place: &Place) {
        self.release(cx, place);
        self.resume_turn(cx, place);
        self.start_turn(cx, place);
        self.settle(cx, place);
    }

    fn start_turn(&mut self, cx: &Context<'_>, place: &Place) {
        loop {
            let Some(shard) = self.shards.get_mut(&place.shard) else {
                return;
            };
            let dispatches = shard.phase.dispatches(cx.settings);
            let (component, ready) = (shard.component, shard.ready);
            let Some(activation) = shard.activations.get_mut(&place.entity) else {
                return;
            };
            let room = activation.outputs.len() < cx.settings.bounds.page_max;
            if !matches!(activation.stage, Stage::Idle) || !dispatches || !room {
                return;
            }
            if activation.mailbox.is_empty() {
                return;
            }
            if !cx.leased() || activation.instance.is_none() && !ready {
                return self.block(cx, place);
            }
            let Some(mail) = activation.mailbox.pop_front() else {
                return;
            };
            match mail {
                Mail::Call {
                    reply, deadline, ..
                } if deadline <= cx.now.instant => {
                    let may_have_run = false;
                    let error = CallError::DeadlineExceeded { may_have_run };
                    let answer = Arc::new(Err(error));
                    let effects = VecDeque::from([Effect::Answer { reply, answer }]);
                    activation.outputs.push_back(Output::new(None, effects));
                    self.release(cx, place);
                }
                mail => {
                    let old = activation.instance.as_ref();
                    let old = old.is_some_and(|instance| instance.component != component);
                    return self.run(cx, place, mail, old && ready);
                }
            }
        }
    }

    fn run(&mut self, cx: &Context<'_>, place: &Place, mail: Mail, renew: bool) {
        if renew {
            self.discard(cx, place, StopReason::Passivated);
        }
        self.ensure_instance(cx, place);
        self.turns_made += 1;
        let turn = TurnId(self.turns_made);
        let (job, input) = mail.split();
        let step = matches!(job, Job::Step);
        let Some(activation) = self.activation(place) else {
            return;
        };
        activation.stage = Stage::Running(Turn {
            id: turn,
            job,
            waits: None,
        });
        self.turns.insert(turn, place.clone());
        let entity = place.entity.clone();
        self.actions.push_back(Action::Run {
            turn,
            entity,
            input,
        });
        if step {
            self.step_begun(cx, place.shard);
        }
    }

    fn ensure_instance(&mut self, cx: &Context<'_>, place: &Place) {
        let Some(shard) = self.shards.get_mut(&place.shard) else {
            return;
        };
        let (epoch, component) = (shard.epoch, shard.component);
        let Some(activation) = shard.activations.get_mut(&place.entity) else {
            return;
        };
        if activation.instance.is_some() {
            return;
        }
        activation.instance = Some(Instance { epoch, component });
        shard.instances += 1;
        shard.reports += 1;
        let record = activation.record.as_ref();
        let record = record.map(|stored| stored.record.clone());
        let message = Message::EntityStarted {
            shard: place.shard,
            epoch,
            seq: shard.reports,
            live: shard.instances,
        };
        self.actions.push_back(Action::Activate {
            entity: place.entity.clone(),
            epoch,
            record,
        });
        self.report(cx, message);
    }

    /// Drops the executor's instance, if it has one.
    pub(super) fn discard(&mut self, cx: &Context<'_>, place: &Place, reason: StopReason) {
        let Some(instance) = self.activation(place).and_then(|a| a.instance.take()) else {
            return;
        };
        self.actions.push_back(Action::Discard {
            entity: place.entity.clone(),
            epoch: instance.epoch,
        });
        self.stopped(cx, place.shard, reason);
    }

    /// Tells the coordinator that an instance is gone.
    pub(super) fn stopped(&mut self, cx: &Context<'_>, id: ShardId, reason: StopReason) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        shard.instances = shard.instances.saturating_sub(1);
        shard.reports += 1;
        if cx.leased() {
            let message = Message::EntityStopped {
                shard: id,
                epoch: shard.epoch,
                seq: shard.reports,
                live: shard.instances,
                reason,
            };
            self.report(cx, message);
        }
    }

    /// Finds out whether an activation has nothing more to do and to say, and what follows from that.
    pub(super) fn settle(&mut self, cx: &Context<'_>, place: &Place) {
        let Some(shard) = self.shards.get_mut(&place.shard) else {
            return;
        };
        let worker = shard.worker.is_some();
        let phase = shard.phase;
        let Some(activation) = shard.activations.get_mut(&place.entity) else {
            return;
        };
        if activation.settled.is_some() || !activation.quiet() {
            return;
        }
        activation.settled = Some(None);
        shard.unsettled -= 1;
        match phase {
            Phase::Serving if !worker => self.idle(cx, place),
            Phase::Draining(_) => self.drained(cx, place.shard),
            Phase::Stopped => self.worker_settled(cx, place.shard),
            Phase::Serving | Phase::Acked(_) | Phase::Fenced => {}
        }
    }
}

//! What an entity has to say to the world: in order, after its records are committed, and while the lease is valid.

use std::collections::VecDeque;
use std::sync::Arc;

use super::activation::Place;
use super::inbound::ReplyTo;
use super::schedule::Append;
use super::{Action, Answer, Host, Origin};
use crate::cluster::{Context, TurnId};
use crate::{EntityId, Envelope};

/// What has to leave together, when the record is committed that it tells of. All before it, and their records, come first: so a
/// query that saw a state is answered after the state is safe.
#[derive(Debug)]
pub(super) struct Output {
    /// The append that is not committed yet.
    append: Option<u64>,
    effects: VecDeque<Effect>,
}

/// What leaves.
#[derive(Debug)]
pub(super) enum Effect {
    /// To a caller.
    Answer { reply: ReplyTo, answer: Answer },
    /// A message to another entity.
    Send(Arc<Envelope>),
    /// A call of a turn that waits for its answer.
    Call {
        turn: TurnId,
        number: u64,
        call: Arc<Envelope>,
    },
}

impl Output {
    pub(super) fn new(append: Option<u64>, effects: VecDeque<Effect>) -> Self {
        Self { append, effects }
    }

    /// A turn is over that made this call: it does not leave any more.
    pub(super) fn forget_calls(&mut self, of: TurnId) {
        self.effects
            .retain(|effect| !matches!(effect, Effect::Call { turn, .. } if *turn == of));
    }
}

impl Host {
    /// A record is as safe as it has to be.
    pub(super) fn committed(&mut self, cx: &Context<'_>, id: u64) {
        match self.asked.appends.remove(&id) {
            Some(Append::Turn(place)) => {
                let Some(activation) = self.activation(&place) else {
                    return;
                };
                let mut outputs = activation.outputs.iter_mut();
                if let Some(output) = outputs.find(|output| output.append == Some(id)) {
                    output.append = None;
                    self.go_on(cx, &place);
                }
            }
            Some(Append::Install(id)) => self.transfers.receiver.handle_installed(cx, id),
            None => {}
        }
    }

    /// Lets go what may leave.
    pub(super) fn release(&mut self, cx: &Context<'_>, place: &Place) {
        loop {
            let Some(activation) = self.activation(place) else {
                return;
            };
            let ready = activation.outputs.front();
            if ready.is_none_or(|output| output.append.is_some()) {
                return;
            }
            if !cx.leased() {
                return self.block(cx, place);
            }
            if let Some(output) = activation.outputs.pop_front() {
                for effect in output.effects {
                    self.let_go(cx, place, effect);
                }
            }
        }
    }

    fn let_go(&mut self, cx: &Context<'_>, place: &Place, effect: Effect) {
        match effect {
            Effect::Answer { reply, answer } => self.answer(cx, &reply, answer),
            Effect::Send(call) => {
                let Some(shard) = self.shards.get(&place.shard) else {
                    return;
                };
                let origin = Origin::Send {
                    entity: EntityId::clone(&place.entity),
                    epoch: shard.epoch,
                    key: call.key.clone(),
                };
                self.actions.push_back(Action::Route { call, origin });
            }
            Effect::Call { turn, number, call } => {
                let origin = Origin::Turn { turn, number };
                self.actions.push_back(Action::Route { call, origin });
            }
        }
    }
}

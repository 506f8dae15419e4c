//! A shard that moves away: it stops, and starts again where the move is off. See PROTOCOL section 3.

use std::collections::VecDeque;

use super::Host;
use super::activation::{Mail, Place, Stage};
use super::schedule::Timer;
use super::shard::Phase;
use crate::cluster::{
    Context, Epoch, HandoffId, Home, Instant, Message, Mutant, Peer, ShardId, TransferId,
};

/// A move, by the control log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    pub(super) handoff: HandoffId,
    pub(super) transfer: TransferId,
    pub(super) stamp: Epoch,
    pub(super) to: Home,
    /// Until when turns that run may go on.
    pub(super) until: Instant,
}

impl Host {
    /// Calls from outside go to the next home from now on. Those within a chain still run: others of the shard may wait for them.
    pub(super) fn begin_drain(&mut self, cx: &Context<'_>, id: ShardId, moving: Moving) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        shard.phase = Phase::Draining(moving);
        if let Some(worker) = &mut shard.worker {
            worker.disarm(&mut self.schedule, id);
        }
        self.schedule.started.remove(&id);
        self.drain_later(cx, id, moving);
        for place in self.places(id) {
            self.leave_idle(&place);
            self.refuse_mail(cx, &place, Mail::chained);
            let loading = self.activation(&place).is_some_and(|activation| {
                matches!(activation.stage, Stage::Loading(_)) && activation.mailbox.is_empty()
            });
            if loading {
                self.remove(cx, &place, None);
            } else {
                self.go_on(cx, &place);
            }
        }
        self.drained(cx, id);
    }

    /// Takes out of a mailbox what is not to run here, and tells who waits for it.
    fn refuse_mail(&mut self, cx: &Context<'_>, place: &Place, keep: impl Fn(&Mail) -> bool) {
        let Some(activation) = self.activation(place) else {
            return;
        };
        let mut woken = false;
        let (kept, gone): (VecDeque<_>, VecDeque<_>) =
            activation.mailbox.drain(..).partition(|mail| keep(mail));
        activation.mailbox = kept;
        for mail in gone {
            match mail {
                Mail::Call { reply, .. } => self.moved(cx, reply),
                Mail::Wake => woken = true,
                // The next home delivers the message again; a worker's step is due there.
                Mail::Delivered { .. } | Mail::Step => {}
            }
        }
        if woken {
            let Some(shard) = self.shards.get_mut(&place.shard) else {
                return;
            };
            shard.parked.push((place.entity.clone(), cx.now.utc_ms));
            if let Some(activation) = shard.activations.get_mut(&place.entity) {
                activation.waking = false;
            }
        }
    }

    /// Turns that run have their time; a worker's only while there is a lease: then its step may begin elsewhere.
    fn drain_later(&mut self, cx: &Context<'_>, id: ShardId, moving: Moving) {
        let shard = self.shards.get(&id);
        let at = if cx.leased() && shard.is_some_and(|shard| shard.worker.is_some()) {
            moving.until.min(cx.lease_until)
        } else {
            moving.until
        };
        self.schedule.timers.insert((at, Timer::Drain(id)));
    }

    /// The turns that still run have had their time.
    pub(super) fn drain_passed(&mut self, cx: &Context<'_>, id: ShardId, at: Instant) {
        let Some(shard) = self.shards.get(&id) else {
            return;
        };
        let Phase::Draining(moving) = shard.phase else {
            return;
        };
        let early = at < moving.until;
        if early && (shard.worker.is_none() || cx.leased()) {
            return self.drain_later(cx, id, moving);
        }
        self.stop_turns(cx, id);
        self.drained(cx, id);
    }

    /// Ends what runs, and sends away what waits.
    pub(super) fn stop_turns(&mut self, cx: &Context<'_>, id: ShardId) {
        for place in self.places(id) {
            self.refuse_mail(cx, &place, |_| false);
            self.interrupt(cx, &place);
            let loading = |stage: &Stage| matches!(stage, Stage::Loading(_));
            if self.activation(&place).is_some_and(|a| loading(&a.stage)) {
                self.remove(cx, &place, None);
            } else {
                self.go_on(cx, &place);
            }
        }
    }

    /// If nothing runs and nothing has to be said or committed, the shard stops: the rest of it can be shipped.
    pub(super) fn drained(&mut self, cx: &Context<'_>, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let Phase::Draining(moving) = shard.phase else {
            return;
        };
        if shard.unsettled > 0 {
            return;
        }
        shard.phase = Phase::Acked(moving);
        self.move_held(cx, id);
        let message = Message::HandoffAcked {
            handoff: moving.handoff,
            shards: vec![id],
        };
        self.report(cx, message);
        self.ship_rest(cx, id, moving);
    }

    /// The coordinator orders a handoff again: the acknowledgement was lost, or it is another coordinator.
    pub(super) fn acknowledge_again(&mut self, cx: &Context<'_>, from: Peer, handoff: HandoffId) {
        if cx.settings.lacks(Mutant::NoReAck) {
            return;
        }
        let acked = self.shards.iter().filter(
            |(_, shard)| matches!(shard.phase, Phase::Acked(moving) if moving.handoff == handoff),
        );
        let shards: Vec<_> = acked.map(|(&id, _)| id).collect();
        if !shards.is_empty() {
            self.send(from.node, Message::HandoffAcked { handoff, shards });
        }
    }

    /// The move is off: all that is here is as it was, and what it writes from now on has the new epoch.
    pub(super) fn resume(&mut self, cx: &Context<'_>, id: ShardId, epoch: Epoch) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        shard.epoch = epoch;
        shard.reports = 0;
        if matches!(shard.phase, Phase::Stopped | Phase::Fenced) {
            return;
        }
        shard.phase = Phase::Serving;
        let parked = std::mem::take(&mut shard.parked);
        self.transfers.forget_shipment(id);
        self.schedule.started.insert(id);
        for (entity, wake_ms) in parked {
            self.wakes.set(id, &entity, Some(wake_ms));
        }
        for place in self.places(id) {
            self.leave_idle(&place);
            if let Some(activation) = self.activation(&place)
                && activation.settled.take().is_some()
                && let Some(shard) = self.shards.get_mut(&id)
            {
                shard.unsettled += 1;
            }
            self.go_on(cx, &place);
        }
        self.rearm_worker(cx, id);
        self.fire_wakes(cx);
    }

    /// The entities of a shard that are in memory.
    pub(super) fn places(&self, id: ShardId) -> Vec<Place> {
        let shard = self.shards.get(&id);
        let entities = shard.into_iter().flat_map(|shard| shard.activations.keys());
        let place = |entity: &crate::EntityId| Place {
            shard: id,
            entity: entity.clone(),
        };
        entities.map(place).collect()
    }
}

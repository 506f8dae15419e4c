//! Entities leave memory: those that nobody calls, and the least recently used where others need the room.

use super::activation::Place;
use super::{Action, Host};
use crate::cluster::{Context, StopReason};
use crate::journal;

impl Host {
    /// An activation has settled: from now on it is idle, or it is gone at once if it was deleted.
    pub(super) fn idle(&mut self, cx: &Context<'_>, place: &Place) {
        let Some(activation) = self.activation(place) else {
            return;
        };
        let record = activation.record.as_ref();
        let deleted = record.is_some_and(|stored| stored.record.deleted);
        if deleted && activation.instance.is_some() {
            return self.remove(cx, place, Some(StopReason::Deleted));
        }
        let at = cx.now.instant + cx.settings.timing.idle;
        activation.settled = Some(Some(at));
        self.schedule.idle.insert((at, place.clone()));
    }

    /// Whatever it does now, it is not idle.
    pub(super) fn leave_idle(&mut self, place: &Place) {
        if let Some(activation) = self.activation(place)
            && let Some(Some(at)) = activation.settled
        {
            activation.settled = Some(None);
            self.schedule.idle.remove(&(at, place.clone()));
        }
    }

    /// Lets those go that have been idle for too long.
    pub(super) fn passivate_idle(&mut self, cx: &Context<'_>) {
        while let Some((at, place)) = self.schedule.idle.first() {
            if *at > cx.now.instant {
                return;
            }
            if !cx.leased() {
                self.schedule.frozen = true;
                return;
            }
            let place = place.clone();
            self.remove(cx, &place, Some(StopReason::Passivated));
        }
    }

    /// Lets the least recently used one go, if there is one that has nothing to do.
    pub(super) fn make_room(&mut self, cx: &Context<'_>) -> bool {
        let Some((_, place)) = self.schedule.idle.first().cloned() else {
            return false;
        };
        self.remove(cx, &place, Some(StopReason::Passivated));
        true
    }

    /// Takes an activation out of memory. What is nowhere else is stashed.
    pub(super) fn remove(&mut self, cx: &Context<'_>, place: &Place, reason: Option<StopReason>) {
        self.leave_idle(place);
        self.discard(cx, place, reason.unwrap_or(StopReason::Passivated));
        let Some(shard) = self.shards.get_mut(&place.shard) else {
            return;
        };
        let Some(activation) = shard.activations.remove(&place.entity) else {
            return;
        };
        shard.unsettled -= usize::from(activation.settled.is_none());
        self.activations -= usize::from(shard.worker.is_none());
        if let Some(record) = activation.record.filter(|_| activation.dirty) {
            let shard = place.shard;
            let stash = journal::Request::Stash { shard, record };
            self.actions.push_back(Action::Journal(stash));
        }
        self.drained(cx, place.shard);
    }
}

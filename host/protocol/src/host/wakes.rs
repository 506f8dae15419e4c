//! Entities that want to be woken, whether they are in memory or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Host;
use super::activation::{Mail, Place};
use crate::EntityId;
use crate::cluster::{Context, Instant, Now, ShardId};

/// When which entity wants to be woken, by the wall clock.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    by_time: BTreeSet<(u64, Place)>,
    /// The same, so that one is found by its entity and all by their shard.
    by_shard: BTreeMap<ShardId, BTreeMap<EntityId, u64>>,
}

impl Wakes {
    pub(super) fn set(&mut self, shard: ShardId, entity: &EntityId, wake_ms: Option<u64>) {
        let known = self.by_shard.get(&shard).and_then(|all| all.get(entity));
        if known.copied() == wake_ms {
            return;
        }
        let place = Place {
            shard,
            entity: entity.clone(),
        };
        if let Some(&before) = known {
            self.by_time.remove(&(before, place.clone()));
        }
        let all = self.by_shard.entry(shard).or_default();
        match wake_ms {
            Some(at) => {
                all.insert(entity.clone(), at);
                self.by_time.insert((at, place));
            }
            None => {
                all.remove(entity);
                if all.is_empty() {
                    self.by_shard.remove(&shard);
                }
            }
        }
    }

    /// Takes out one that is due.
    fn pop(&mut self, now_ms: u64) -> Option<(u64, Place)> {
        let (at, place) = self.by_time.first()?;
        if *at > now_ms {
            return None;
        }
        let (at, place) = (*at, place.clone());
        self.set(place.shard, &place.entity, None);
        Some((at, place))
    }

    pub(super) fn forget(&mut self, shard: ShardId) {
        for (entity, at) in self.by_shard.remove(&shard).unwrap_or_default() {
            self.by_time.remove(&(at, Place { shard, entity }));
        }
    }

    /// When the first is due if the wall clock goes on as it does.
    pub(super) fn next(&self, now: Now) -> Option<Instant> {
        let (at, _) = self.by_time.first()?;
        Some(now.instant + Duration::from_millis(at.saturating_sub(now.utc_ms)))
    }

    pub(super) fn check_invariants(&self) {
        let all: usize = self.by_shard.values().map(BTreeMap::len).sum();
        assert_eq!(self.by_time.len(), all, "the two lists of wakes disagree");
    }
}

impl Host {
    /// Wakes those that are due.
    pub(super) fn fire_wakes(&mut self, cx: &Context<'_>) {
        if !cx.leased() {
            let due = self.wakes.next(cx.now);
            self.schedule.frozen |= due.is_some_and(|at| at <= cx.now.instant);
            return;
        }
        while let Some((at, place)) = self.wakes.pop(cx.now.utc_ms) {
            let Some(shard) = self.shards.get_mut(&place.shard) else {
                continue;
            };
            if !shard.phase.serving() {
                shard.parked.push((place.entity, at));
                continue;
            }
            let activation = shard.activations.get(&place.entity);
            let waking = activation.is_some_and(|activation| activation.waking);
            if !waking && self.mail(cx, &place, Mail::Wake).is_err() {
                self.wake_later(cx, &place);
            }
        }
    }

    /// After a turn: when the entity wants to be woken next. One that was woken and wants it at once again has to wait a little: what
    /// it wants could not be done now.
    pub(super) fn wake_again(&mut self, cx: &Context<'_>, place: &Place, woken: bool) {
        let Some(activation) = self.activation(place) else {
            return;
        };
        if activation.waking {
            return;
        }
        let record = activation.record.as_ref();
        let wake_ms = record.and_then(|stored| stored.record.wake_ms);
        let soonest = if woken {
            cx.now.utc_ms + pause_ms(cx)
        } else {
            0
        };
        let wake_ms = wake_ms.map(|at| at.max(soonest));
        self.wakes.set(place.shard, &place.entity, wake_ms);
        self.fire_wakes(cx);
    }

    pub(super) fn wake_later(&mut self, cx: &Context<'_>, place: &Place) {
        let at = cx.now.utc_ms + pause_ms(cx);
        self.wakes.set(place.shard, &place.entity, Some(at));
    }

    /// Wakes of entities that came with their shard, or were found on the disk. One that is in memory knows better.
    pub(super) fn learn_wakes(
        &mut self,
        cx: &Context<'_>,
        shard: ShardId,
        wakes: Vec<(EntityId, u64)>,
    ) {
        let Some(here) = self.shards.get(&shard) else {
            return;
        };
        for (entity, wake_ms) in wakes {
            if !here.activations.contains_key(&entity) {
                self.wakes.set(shard, &entity, Some(wake_ms));
            }
        }
        self.fire_wakes(cx);
    }
}

fn pause_ms(cx: &Context<'_>) -> u64 {
    u64::try_from(cx.settings.timing.resend.as_millis()).unwrap_or(u64::MAX)
}

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adoption::{absence, is_absence, restamped};
use super::outbox::Reading;
use super::takeover::{Fetched, Purpose};
use super::writer::Commit;
use super::{Action, Journal, Query, Unavailable};
use crate::cluster::{Context, Instant, Mutant, Page, ShardId, StoredRecord};
use crate::{Durability, EntityId};

/// The search for one entity's latest record.
///
/// ```text
///           own ledger: an append on its way ───────────────────────────────► Pending ─committed─► found
///   Own ──► own ledger: a record of this ownership, or no sources ──────────────────────────────► found
///    └────► Fetching from all sources ─► the newest of all, or that there is none, is appended ─► Pending
/// ```
#[derive(Debug)]
pub(super) struct Lookup {
    ids: Vec<u64>,
    began: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Own {
        token: u64,
    },
    Fetching {
        fetch: u64,
        own: Option<StoredRecord>,
    },
    Pending {
        newest: Option<Arc<StoredRecord>>,
    },
}

impl Journal {
    pub(super) fn find(&mut self, cx: &Context<'_>, id: u64, (shard, entity): (ShardId, EntityId)) {
        let Some(holding) = self.holdings.get(&shard) else {
            return self.found(id, Err(Unavailable::NotOwned));
        };
        if holding.durability == Durability::Memory {
            let stashed = self.stash.get(&(shard, entity.clone()));
            if let Some((_, record)) = stashed.filter(|(_, r)| r.epoch >= holding.since) {
                let record = StoredRecord::clone(record);
                return self.found(id, Ok(Some(record)));
            }
        } else if self.writer.is_fenced() {
            return self.found(id, Err(Unavailable::Fenced));
        }
        if let Some(lookup) = self.lookups.get_mut(&(shard, entity.clone())) {
            lookup.ids.push(id);
            return;
        }
        if self.lookups.len() >= cx.settings.bounds.activations_max {
            return self.found(id, Err(Unavailable::Busy));
        }
        let lookup = Lookup {
            ids: vec![id],
            began: cx.now.instant,
            stage: Stage::Pending { newest: None },
        };
        self.lookups.insert((shard, entity.clone()), lookup);
        self.search(cx, (shard, entity));
    }

    /// Begins, or begins again, at the own ledger.
    fn search(&mut self, cx: &Context<'_>, key: (ShardId, EntityId)) {
        let Some(holding) = self.holdings.get(&key.0) else {
            return;
        };
        if self.writer.has(key.0, &key.1) {
            return self.set_stage(&key, Stage::Pending { newest: None });
        }
        let durable = holding.durability == Durability::Durable;
        if durable && self.writer.ledger().is_none() {
            return self.search_sources(cx, key, None);
        }
        let query = Query::Entity {
            ledger: self.writer.ledger().filter(|_| durable),
            shard: key.0,
            entity: key.1.clone(),
            since: holding.since,
        };
        let why = Reading::Lookup {
            shard: key.0,
            entity: key.1.clone(),
        };
        let token = self.outbox.read(why, query);
        self.set_stage(&key, Stage::Own { token });
    }

    /// The own disk answers.
    pub(super) fn handle_own(
        &mut self,
        cx: &Context<'_>,
        token: u64,
        key: (ShardId, EntityId),
        records: Vec<StoredRecord>,
    ) {
        let Some(holding) = self.holdings.get(&key.0) else {
            return;
        };
        let lookup = self.lookups.get(&key);
        if !lookup.is_some_and(|l| matches!(l.stage, Stage::Own { token: t } if t == token)) {
            return;
        }
        let counts = |r: &StoredRecord| r.entity == key.1 && r.epoch >= holding.since;
        let mut own = records
            .into_iter()
            .filter(counts)
            .max_by_key(StoredRecord::age);
        if holding.durability == Durability::Memory {
            let stashed = self
                .stash
                .get(&key)
                .map(|(_, record)| StoredRecord::clone(record));
            own = own
                .into_iter()
                .chain(stashed.filter(counts))
                .max_by_key(StoredRecord::age);
        }
        let decided = own.as_ref().is_some_and(|own| own.epoch >= holding.epoch);
        if decided || holding.sources.is_empty() {
            self.answer(&key, own);
        } else {
            self.search_sources(cx, key, own);
        }
    }

    fn search_sources(
        &mut self,
        cx: &Context<'_>,
        key: (ShardId, EntityId),
        own: Option<StoredRecord>,
    ) {
        let Some(holding) = self.holdings.get(&key.0) else {
            return;
        };
        if holding.sources.is_empty() {
            return self.answer(&key, own);
        }
        let sources = holding.sources.clone();
        if let Some(ledger) = self.takeover.unavailable(cx, &sources) {
            return self.fail(&key, Unavailable::Disks { ledger });
        }
        let purpose = Purpose::Lookup(key.0, key.1.clone());
        let page = Page::Entity(key.1.clone());
        let fetch = self
            .takeover
            .fetch(cx, &mut self.outbox, purpose, (&sources, page));
        self.set_stage(&key, Stage::Fetching { fetch, own });
    }

    /// All sources have answered. What they have, or that they have nothing, is the owner's own before anybody uses it.
    pub(super) fn handle_fetched(
        &mut self,
        cx: &Context<'_>,
        key: (ShardId, EntityId),
        mut fetched: Fetched,
    ) {
        let Some(lookup) = self.lookups.get_mut(&key) else {
            return;
        };
        let pending = Stage::Pending { newest: None };
        let Stage::Fetching { own, .. } = std::mem::replace(&mut lookup.stage, pending) else {
            return;
        };
        let theirs = fetched.records.remove(&key.1);
        if let Some(own) = own
            && theirs
                .as_ref()
                .is_none_or(|theirs| theirs.age() <= own.age())
        {
            return self.answer(&key, Some(own));
        }
        let Some(holding) = self.holdings.get(&key.0) else {
            return;
        };
        let record = match theirs {
            Some(theirs) => restamped(theirs, holding.epoch),
            None => StoredRecord {
                entity: key.1.clone(),
                epoch: holding.epoch,
                record: absence(),
            },
        };
        if cx.settings.lacks(Mutant::UseBeforeAdoption) {
            self.answer(&key, Some(record.clone()));
        }
        self.append(cx, None, key.0, Arc::new(record));
    }

    /// An append of this entity is on its way: whatever was read before is old.
    pub(super) fn overtake(&mut self, key: &(ShardId, EntityId)) {
        let Some(lookup) = self.lookups.get(key) else {
            return;
        };
        if !matches!(lookup.stage, Stage::Pending { .. }) {
            self.set_stage(key, Stage::Pending { newest: None });
        }
    }

    /// An append is committed. The lookup ends with the last one on its way.
    pub(super) fn handle_committed(&mut self, cx: &Context<'_>, commit: &Commit) {
        let key = (commit.shard, commit.record.entity.clone());
        let Some(lookup) = self.lookups.get_mut(&key) else {
            return;
        };
        let Stage::Pending { newest } = &mut lookup.stage else {
            return;
        };
        if newest
            .as_ref()
            .is_none_or(|newest| newest.age() < commit.record.age())
        {
            *newest = Some(commit.record.clone());
        }
        if self.writer.has(key.0, &key.1) {
            return;
        }
        let newest = newest.clone();
        let Some(holding) = self.holdings.get(&key.0) else {
            return;
        };
        let decides = |r: &Arc<StoredRecord>| {
            r.epoch >= holding.epoch || holding.sources.is_empty() && r.epoch >= holding.since
        };
        match newest.filter(decides) {
            Some(newest) => self.answer(&key, Some(StoredRecord::clone(&newest))),
            None => self.search(cx, key),
        }
    }

    /// The shard's ownership or sources, or the own ledger, are others now.
    pub(super) fn search_again(&mut self, cx: &Context<'_>, shard: ShardId) {
        for key in self.lookups_of(shard) {
            self.search(cx, key);
        }
    }

    pub(super) fn fail_lookups(&mut self, shard: ShardId, reason: Unavailable) {
        for key in self.lookups_of(shard) {
            self.fail(&key, reason);
        }
    }

    /// Answers those that have taken longer than a phase. The sweep goes on trying.
    pub(super) fn fail_late(&mut self, cx: &Context<'_>) {
        let before = cx.now.instant - cx.settings.timing.phase;
        let late = self
            .lookups
            .iter()
            .filter(|(_, lookup)| lookup.began <= before);
        let late: Vec<(ShardId, EntityId)> = late.map(|(key, _)| key.clone()).collect();
        for key in late {
            let sources = self.holdings.get(&key.0).map(|h| h.sources.clone());
            let stuck = sources.and_then(|s| {
                self.takeover
                    .unavailable(cx, &s)
                    .or(Some(s.first()?.ledger))
            });
            let reason = stuck
                .or(self.writer.ledger())
                .map_or(Unavailable::NoLedger, |ledger| Unavailable::Disks {
                    ledger,
                });
            self.fail(&key, reason);
        }
    }

    fn lookups_of(&self, shard: ShardId) -> Vec<(ShardId, EntityId)> {
        let keys = self.lookups.keys();
        keys.filter(|key| key.0 == shard).cloned().collect()
    }

    fn set_stage(&mut self, key: &(ShardId, EntityId), stage: Stage) {
        if let Some(lookup) = self.lookups.get_mut(key) {
            if let Stage::Fetching { fetch, .. } = lookup.stage {
                self.takeover.cancel(fetch);
            }
            lookup.stage = stage;
        }
    }

    fn fail(&mut self, key: &(ShardId, EntityId), reason: Unavailable) {
        self.end(key, Err(reason));
    }

    fn answer(&mut self, key: &(ShardId, EntityId), record: Option<StoredRecord>) {
        self.end(key, Ok(record.filter(|record| !is_absence(&record.record))));
    }

    fn end(
        &mut self,
        key: &(ShardId, EntityId),
        result: Result<Option<StoredRecord>, Unavailable>,
    ) {
        let Some(lookup) = self.lookups.remove(key) else {
            return;
        };
        if let Stage::Fetching { fetch, .. } = lookup.stage {
            self.takeover.cancel(fetch);
        }
        for id in lookup.ids {
            self.found(id, result.clone());
        }
    }

    fn found(&mut self, id: u64, result: Result<Option<StoredRecord>, Unavailable>) {
        self.outbox.push(Action::Found { id, result });
    }
}

/// The lookups on their way, by entity.
pub(super) type Lookups = BTreeMap<(ShardId, EntityId), Lookup>;

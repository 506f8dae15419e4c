use std::collections::{BTreeMap, BTreeSet};

use super::super::super::{Query, Write};
use crate::EntityId;
use crate::cluster::{LedgerId, ShardId, StoredRecord};

#[derive(Default, Clone)]
pub(in super::super) struct Disk {
    pub(in super::super) records: BTreeMap<(Option<LedgerId>, ShardId, EntityId), StoredRecord>,
    pub(in super::super) sealed: BTreeSet<LedgerId>,
}

impl Disk {
    pub(in super::super) fn write(&mut self, write: Write) {
        match write {
            Write::Record {
                ledger,
                shard,
                record,
            } => self.keep(Some(ledger), shard, &record),
            Write::Stash { shard, record } => self.keep(None, shard, &record),
            Write::Seal { ledger } => {
                self.sealed.insert(ledger);
            }
            Write::DropLedger { ledger } => {
                self.sealed.remove(&ledger);
                self.records.retain(|key, _| key.0 != Some(ledger));
            }
            Write::Forget {
                shard,
                ledger,
                before,
            } => self
                .records
                .retain(|key, record| key.0 != ledger || key.1 != shard || record.epoch >= before),
        }
    }

    fn keep(&mut self, ledger: Option<LedgerId>, shard: ShardId, record: &StoredRecord) {
        let key = (ledger, shard, record.entity.clone());
        let before = self.records.entry(key).or_insert_with(|| record.clone());
        if before.age() < record.age() {
            *before = record.clone();
        } else if before.age() == record.age() {
            assert_eq!(before, record, "two records of one age");
        }
    }

    pub(in super::super) fn read(&self, query: &Query) -> (Vec<StoredRecord>, bool) {
        let (ledger, shard, since) = match query {
            Query::Entity {
                ledger,
                shard,
                since,
                ..
            }
            | Query::Page {
                ledger,
                shard,
                since,
                ..
            } => (*ledger, *shard, *since),
        };
        let all = self
            .records
            .iter()
            .filter(|(key, record)| key.0 == ledger && key.1 == shard && record.epoch >= since);
        let wanted = all.filter(|(key, _)| match query {
            Query::Entity { entity, .. } => key.2 == *entity,
            Query::Page { after, .. } => after.as_ref().is_none_or(|after| key.2 > *after),
        });
        let mut records: Vec<_> = wanted.map(|(_, record)| record.clone()).collect();
        let limit = match query {
            Query::Entity { .. } => 1,
            Query::Page { limit, .. } => *limit,
        };
        let more = records.len() > limit;
        records.truncate(limit);
        (records, more)
    }
}

use super::adoption::is_absence;
use super::outbox::Reading;
use super::{Action, Journal, Query};
use crate::cluster::{Context, Epoch, ShardId, StoredRecord};
use crate::control::Ownership;
use crate::{Durability, EntityId};

/// A page of what is in the own ledger, or the stash, of a shard. It waits until everything is in there.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) shard: ShardId,
    after: Option<EntityId>,
    since: Epoch,
    durability: Durability,
    /// The read that is under way.
    token: Option<u64>,
    limit: usize,
}

impl Journal {
    pub(super) fn scan(
        &mut self,
        cx: &Context<'_>,
        id: u64,
        shard: ShardId,
        after: Option<EntityId>,
    ) {
        let held = self.holdings.get(&shard);
        let incoming = incoming(cx, shard);
        let since = held.map(|holding| holding.since).or(incoming);
        let durability = cx.control.spaces.get(&shard.space).map(|s| s.durability);
        let (Some(since), Some(durability)) = (since, durability) else {
            return;
        };
        let scan = Scan {
            shard,
            after,
            since,
            durability,
            token: None,
            limit: cx.settings.bounds.page_max,
        };
        let waits = held.is_some_and(|holding| !holding.is_adopted());
        self.scans.insert(id, scan);
        if !waits {
            self.begin_scan(id);
        }
    }

    fn begin_scan(&mut self, id: u64) {
        let own = self.writer.ledger();
        let Some(scan) = self.scans.get_mut(&id) else {
            return;
        };
        let durable = scan.durability == Durability::Durable;
        if durable && own.is_none() {
            self.scans.remove(&id);
            let records = Vec::new();
            let more = false;
            return self.outbox.push(Action::Scanned { id, records, more });
        }
        let query = Query::Page {
            ledger: own.filter(|_| durable),
            shard: scan.shard,
            after: scan.after.clone(),
            since: scan.since,
            limit: scan.limit,
        };
        scan.token = Some(self.outbox.read(Reading::Scan { id }, query));
    }

    /// Everything of this shard is in the own ledger now.
    pub(super) fn resume_scans(&mut self, shard: ShardId) {
        let waiting = self
            .scans
            .iter()
            .filter(|(_, scan)| scan.shard == shard && scan.token.is_none());
        let waiting: Vec<u64> = waiting.map(|(&id, _)| id).collect();
        for id in waiting {
            self.begin_scan(id);
        }
    }

    /// The own ledger is another one: what is read of the old one is not the whole.
    pub(super) fn restart_scans(&mut self, shard: ShardId) {
        for scan in self.scans.values_mut().filter(|scan| scan.shard == shard) {
            scan.token = None;
        }
    }

    pub(super) fn handle_scanned(
        &mut self,
        (id, token): (u64, u64),
        mut records: Vec<StoredRecord>,
        more: bool,
    ) {
        let Some(scan) = self
            .scans
            .get_mut(&id)
            .filter(|scan| scan.token == Some(token))
        else {
            return;
        };
        let last = records.last().map(|record| record.entity.clone());
        records.retain(|record| !is_absence(&record.record));
        if records.is_empty() && more && last.is_some() {
            scan.after = last;
            return self.begin_scan(id);
        }
        self.scans.remove(&id);
        self.outbox.push(Action::Scanned { id, records, more });
    }
}

/// The stamp of what is installed here of a shard that is on its way to this node.
fn incoming(cx: &Context<'_>, shard: ShardId) -> Option<Epoch> {
    match cx.control.shards.get(&shard)?.ownership {
        Ownership::Handoff { stamp, to, .. } if to == cx.me.home() => Some(stamp),
        _ => None,
    }
}

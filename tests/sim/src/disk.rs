//! A node's disk. What is written is there after the next fsync: those that come while one runs wait for the following one. A
//! crash leaves what was synced, and any number of the writes behind it, in order.
//!
//! ```text
//!   write ──► waiting ──(fsync begins)──► running ──(fsync ends)──► stored, Persisted
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use entia_protocol::cluster::{Blob, Epoch, LedgerId, ShardId, StoredRecord};
use entia_protocol::{Digest, EntityId};

use crate::node::{Event, Query, Write};
use crate::plan::DiskPlan;
use crate::seeded::{self, Rng};

/// The records of one place, by shard and entity.
pub type Records = BTreeMap<(ShardId, EntityId), Arc<StoredRecord>>;

/// The disk of a node.
#[derive(Debug)]
pub struct Disk {
    /// The ledgers of which this is a replica.
    pub ledgers: BTreeMap<LedgerId, StoredLedger>,
    /// What memory kinds left here. Gone after a crash.
    pub stash: Records,
    /// The components.
    pub components: BTreeMap<Digest, Blob>,
    running: Vec<Job>,
    waiting: Vec<Job>,
    busy: bool,
    plan: DiskPlan,
    /// How long an fsync takes instead, by the number of the fault.
    slow: BTreeMap<u32, u64>,
    rng: Rng,
}

/// What a disk has of a ledger.
#[derive(Debug, Default, Clone)]
pub struct StoredLedger {
    /// Nothing may follow.
    pub sealed: bool,
    /// Its records.
    pub records: Records,
}

#[derive(Debug)]
enum Job {
    Write(u64, Write),
    Read(u64, Query),
}

impl Disk {
    /// An empty disk.
    pub fn new(plan: DiskPlan, rng: Rng) -> Self {
        Self {
            ledgers: BTreeMap::new(),
            stash: BTreeMap::new(),
            components: BTreeMap::new(),
            running: Vec::new(),
            waiting: Vec::new(),
            busy: false,
            plan,
            slow: BTreeMap::new(),
            rng,
        }
    }

    /// Takes a write. If the disk was idle: how long until [`Disk::finish`].
    pub fn write(&mut self, token: u64, write: Write) -> Option<u64> {
        self.take(Job::Write(token, write))
    }

    /// Takes a read, which sees all writes before it. As [`Disk::write`].
    pub fn read(&mut self, token: u64, query: Query) -> Option<u64> {
        self.take(Job::Read(token, query))
    }

    /// An fsync is over: what the node is told, and how long until the next one is, if there is more.
    pub fn finish(&mut self) -> (Vec<Event>, Option<u64>) {
        let done = std::mem::take(&mut self.running);
        let mut events = Vec::with_capacity(done.len());
        for job in done {
            events.push(match job {
                Job::Write(token, write) => {
                    self.store(write);
                    Event::Persisted { token }
                }
                Job::Read(token, query) => {
                    let (records, more) = self.find(&query);
                    Event::Read {
                        token,
                        records,
                        more,
                    }
                }
            });
        }
        self.busy = false;
        (events, self.begin())
    }

    /// Power is lost. Writes that were not synced may be there or not; none without those before it.
    pub fn crash(&mut self) {
        let mut jobs = std::mem::take(&mut self.running);
        jobs.append(&mut self.waiting);
        let kept = seeded::within(&mut self.rng, 0, jobs.len() as u64) as usize;
        for job in jobs.into_iter().take(kept) {
            if let Job::Write(_, write) = job {
                self.store(write);
            }
        }
        self.stash.clear();
        self.busy = false;
    }

    /// Another disk, empty.
    pub fn wipe(&mut self) {
        self.crash();
        self.ledgers.clear();
        self.components.clear();
    }

    /// The ledgers that are sealed here.
    pub fn sealed(&self) -> BTreeSet<LedgerId> {
        self.ledgers
            .iter()
            .filter(|(_, ledger)| ledger.sealed)
            .map(|(&id, _)| id)
            .collect()
    }

    /// How long an fsync takes that begins now.
    pub fn sync_time(&mut self) -> u64 {
        let mut time = seeded::between(&mut self.rng, self.plan.sync_min, self.plan.sync_max);
        if seeded::one_in(&mut self.rng, self.plan.stall_one_in) {
            time += seeded::between(&mut self.rng, self.plan.sync_max, self.plan.stall);
        }
        time.max(self.slow.values().copied().max().unwrap_or(0))
    }

    /// Each fsync takes that long from now on.
    pub fn begin_slow(&mut self, fault: u32, time: u64) {
        self.slow.insert(fault, time);
    }

    /// No more.
    pub fn end_slow(&mut self, fault: u32) {
        self.slow.remove(&fault);
    }

    fn take(&mut self, job: Job) -> Option<u64> {
        self.waiting.push(job);
        if self.busy { None } else { self.begin() }
    }

    fn begin(&mut self) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        self.busy = true;
        std::mem::swap(&mut self.running, &mut self.waiting);
        Some(self.sync_time())
    }

    fn store(&mut self, write: Write) {
        match write {
            Write::Record {
                ledger,
                shard,
                record,
            } => keep_newest(
                &mut self.ledgers.entry(ledger).or_default().records,
                shard,
                record,
            ),
            Write::Seal { ledger } => self.ledgers.entry(ledger).or_default().sealed = true,
            Write::Stash { shard, record } => keep_newest(&mut self.stash, shard, record),
            Write::DropLedger { ledger } => {
                self.ledgers.remove(&ledger);
            }
            Write::Forget {
                shard,
                ledger,
                before,
            } => {
                if let Some(records) = self.records_mut(ledger) {
                    records.retain(|(of, _), record| *of != shard || record.epoch >= before);
                }
            }
        }
    }

    fn find(&self, query: &Query) -> (Vec<StoredRecord>, bool) {
        match query {
            Query::Entity {
                ledger,
                shard,
                entity,
                since,
            } => {
                let found = self
                    .records(*ledger)
                    .and_then(|records| records.get(&(*shard, entity.clone())))
                    .filter(|record| record.epoch >= *since);
                (
                    found.map(|record| (**record).clone()).into_iter().collect(),
                    false,
                )
            }
            Query::Page {
                ledger,
                shard,
                after,
                since,
                limit,
            } => self.page(*ledger, *shard, after.as_ref(), (*since, *limit)),
        }
    }

    fn page(
        &self,
        ledger: Option<LedgerId>,
        shard: ShardId,
        after: Option<&EntityId>,
        (since, limit): (Epoch, usize),
    ) -> (Vec<StoredRecord>, bool) {
        let Some(records) = self.records(ledger) else {
            return (Vec::new(), false);
        };
        let from = match after {
            Some(entity) => Bound::Excluded((shard, entity.clone())),
            None => Bound::Included((shard, lowest())),
        };
        let mut of_shard = records
            .range((from, Bound::Unbounded))
            .take_while(|((of, _), _)| *of == shard)
            .map(|(_, record)| record)
            .filter(|record| record.epoch >= since);
        let page = of_shard
            .by_ref()
            .take(limit)
            .map(|record| (**record).clone())
            .collect();
        (page, of_shard.next().is_some())
    }

    fn records(&self, ledger: Option<LedgerId>) -> Option<&Records> {
        match ledger {
            Some(ledger) => self.ledgers.get(&ledger).map(|ledger| &ledger.records),
            None => Some(&self.stash),
        }
    }

    fn records_mut(&mut self, ledger: Option<LedgerId>) -> Option<&mut Records> {
        match ledger {
            Some(ledger) => self.ledgers.get_mut(&ledger).map(|it| &mut it.records),
            None => Some(&mut self.stash),
        }
    }
}

fn keep_newest(records: &mut Records, shard: ShardId, record: Arc<StoredRecord>) {
    let entity = record.entity.clone();
    let kept = records
        .entry((shard, entity))
        .or_insert_with(|| Arc::clone(&record));
    if record.age() > kept.age() {
        *kept = record;
    }
}

/// The entity before all others: of a kind and with a key that are as short as they can be.
fn lowest() -> EntityId {
    "a/\0".parse().expect("a kind and a key")
}

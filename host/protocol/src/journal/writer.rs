use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::outbox::{Outbox, Persisting};
use super::{Action, Write};
use crate::EntityId;
use crate::cluster::{
    Context, Epoch, Home, Instant, LedgerId, Message, NodeId, ShardId, StoredRecord,
};
use crate::control::Ledger;

/// The ledger that this life of this node writes, and what is not yet on enough disks.
///
/// ```text
///   append ─► pending ──own disk──┐
///                │                ├─► at append_quorum, own included: Commit
///                └──► replicas ───┘
///                        └─► refused: the life is over, nothing commits any more
/// ```
///
/// Who calls bounds what is pending: the host has at most a few uncommitted turns per activation, a sweep one page.
#[derive(Debug, Default)]
pub(super) struct Writer {
    ledger: Option<Open>,
    fenced: bool,
    last: u64,
    pending: BTreeMap<u64, Pending>,
    by_shard: BTreeMap<ShardId, Outstanding>,
}

#[derive(Debug)]
struct Open {
    id: LedgerId,
    others: Vec<NodeId>,
    quorum: usize,
}

#[derive(Debug)]
struct Pending {
    /// The host's number; none of an adoption.
    id: Option<u64>,
    shard: ShardId,
    record: Arc<StoredRecord>,
    own: bool,
    acks: BTreeSet<NodeId>,
    sent: Instant,
}

/// The pending appends of one shard.
#[derive(Debug, Default)]
struct Outstanding {
    seqs: BTreeSet<u64>,
    entities: BTreeMap<EntityId, BTreeSet<u64>>,
}

/// An append that is on enough disks.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: Option<u64>,
    pub(super) ledger: LedgerId,
    pub(super) shard: ShardId,
    pub(super) record: Arc<StoredRecord>,
}

impl Writer {
    /// The ledger that is written.
    pub(super) fn ledger(&self) -> Option<LedgerId> {
        self.ledger.as_ref().map(|open| open.id)
    }

    /// Whether a successor has sealed it.
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether an append of this entity is on its way.
    pub(super) fn has(&self, shard: ShardId, entity: &EntityId) -> bool {
        self.by_shard
            .get(&shard)
            .is_some_and(|outstanding| outstanding.entities.contains_key(entity))
    }

    /// The newest appends of this shard that are on their way and count, by entity.
    pub(super) fn ages(&self, shard: ShardId, since: Epoch) -> BTreeMap<EntityId, (Epoch, u64)> {
        let Some(outstanding) = self.by_shard.get(&shard) else {
            return BTreeMap::new();
        };
        let age = |seq: &u64| self.pending[seq].record.age();
        let counts = |age: &(Epoch, u64)| age.0 >= since;
        let newest = outstanding.entities.iter().filter_map(|(entity, seqs)| {
            let newest = seqs.iter().map(age).filter(counts).max()?;
            Some((entity.clone(), newest))
        });
        newest.collect()
    }

    /// A number above those of all appends so far.
    pub(super) fn barrier(&self) -> u64 {
        self.last + 1
    }

    /// Whether all appends of this shard below the barrier are committed.
    pub(super) fn is_clear(&self, shard: ShardId, barrier: u64) -> bool {
        let first = self
            .by_shard
            .get(&shard)
            .and_then(|outstanding| outstanding.seqs.first());
        first.is_none_or(|&first| first >= barrier)
    }

    /// Takes a record. Without a ledger it waits for one; behind a fence it is dropped.
    pub(super) fn append(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        id: Option<u64>,
        (shard, record): (ShardId, Arc<StoredRecord>),
    ) {
        if self.fenced {
            return;
        }
        self.last += 1;
        let seq = self.last;
        let outstanding = self.by_shard.entry(shard).or_default();
        outstanding.seqs.insert(seq);
        let entity = record.entity.clone();
        outstanding.entities.entry(entity).or_default().insert(seq);
        let pending = Pending {
            id,
            shard,
            record,
            own: false,
            acks: BTreeSet::new(),
            sent: cx.now.instant,
        };
        self.pending.insert(seq, pending);
        self.transmit(seq, out);
    }

    /// The control log has opened this ledger for this life: what is not committed starts anew there.
    pub(super) fn open(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        (id, ledger): (LedgerId, &Ledger),
    ) {
        let others = ledger.replicas.iter().map(|replica| replica.node);
        self.ledger = Some(Open {
            id,
            others: others.filter(|&node| node != cx.me.node).collect(),
            quorum: ledger.append_quorum(),
        });
        self.last = 0;
        self.fenced = false;
        self.by_shard.clear();
        for (_, old) in std::mem::take(&mut self.pending) {
            self.append(cx, out, old.id, (old.shard, old.record));
        }
    }

    /// This life is over: nothing of it commits any more.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// A successor has sealed the ledger somewhere. What is pending stays so: it may or may not be found.
    pub(super) fn fence(&mut self, out: &mut Outbox, closed: Option<LedgerId>) {
        let Some(ledger) = closed.filter(|_| self.ledger() == closed && !self.fenced) else {
            return;
        };
        self.fenced = true;
        out.push(Action::Fenced { ledger });
    }

    /// The own copy is on disk.
    pub(super) fn handle_persisted(&mut self, ledger: LedgerId, seq: u64) -> Vec<Commit> {
        if self.ledger() == Some(ledger)
            && let Some(pending) = self.pending.get_mut(&seq)
        {
            pending.own = true;
            return self.commit(seq);
        }
        Vec::new()
    }

    /// A replica's copy is on its disk.
    pub(super) fn handle_appended(
        &mut self,
        from: Home,
        ledger: LedgerId,
        seq: u64,
    ) -> Vec<Commit> {
        let open = self.ledger.as_ref().filter(|open| open.id == ledger);
        if open.is_some_and(|open| open.others.contains(&from.node))
            && let Some(pending) = self.pending.get_mut(&seq)
        {
            pending.acks.insert(from.node);
            return self.commit(seq);
        }
        Vec::new()
    }

    /// A replica has sealed the ledger.
    pub(super) fn handle_refused(&mut self, out: &mut Outbox, from: Home, ledger: LedgerId) {
        let known = self
            .ledger
            .as_ref()
            .is_some_and(|open| open.others.contains(&from.node));
        if known {
            self.fence(out, Some(ledger));
        }
    }

    /// Sends again what waits for longest, a page at most.
    pub(super) fn resend(&mut self, cx: &Context<'_>, out: &mut Outbox) {
        let Some(open) = self.ledger.as_ref().filter(|_| !self.fenced) else {
            return;
        };
        let before = cx.now.instant - cx.settings.timing.resend;
        let late = self.pending.iter_mut().filter(|(_, p)| p.sent <= before);
        for (&seq, pending) in late.take(cx.settings.bounds.page_max) {
            pending.sent = cx.now.instant;
            for &to in open.others.iter().filter(|to| !pending.acks.contains(to)) {
                out.send(to, append_message(open.id, seq, pending));
            }
        }
    }

    fn transmit(&self, seq: u64, out: &mut Outbox) {
        let Some(open) = &self.ledger else {
            return;
        };
        let pending = &self.pending[&seq];
        let write = Write::Record {
            ledger: open.id,
            shard: pending.shard,
            record: pending.record.clone(),
        };
        out.persist(
            Persisting::Own {
                ledger: open.id,
                seq,
            },
            write,
        );
        for &to in &open.others {
            out.send(to, append_message(open.id, seq, pending));
        }
    }

    /// A record that is on enough disks commits the older ones of its entity, too: it contains them, and the disks keep nothing
    /// older beside it. So what is pending is always newer than what is committed, also when it starts anew in another ledger.
    fn commit(&mut self, seq: u64) -> Vec<Commit> {
        let Some(open) = self.ledger.as_ref().filter(|_| !self.fenced) else {
            return Vec::new();
        };
        let (ledger, quorum) = (open.id, open.quorum);
        let Some(pending) = self.pending.get(&seq) else {
            return Vec::new();
        };
        if !pending.own || pending.acks.len() + 1 < quorum {
            return Vec::new();
        }
        let (shard, entity, age) = (
            pending.shard,
            pending.record.entity.clone(),
            pending.record.age(),
        );
        let seqs = self
            .by_shard
            .get(&shard)
            .and_then(|o| o.entities.get(&entity));
        let older = seqs.into_iter().flatten().copied();
        let older: Vec<u64> = older
            .filter(|seq| self.pending[seq].record.age() <= age)
            .collect();
        let mut commits = Vec::new();
        for seq in older {
            self.forget(shard, &entity, seq);
            let pending = self.pending.remove(&seq);
            commits.extend(pending.map(|pending| Commit {
                id: pending.id,
                ledger,
                shard,
                record: pending.record,
            }));
        }
        commits
    }

    fn forget(&mut self, shard: ShardId, entity: &EntityId, seq: u64) {
        let Some(outstanding) = self.by_shard.get_mut(&shard) else {
            return;
        };
        outstanding.seqs.remove(&seq);
        if let Some(seqs) = outstanding.entities.get_mut(entity) {
            seqs.remove(&seq);
            if seqs.is_empty() {
                outstanding.entities.remove(entity);
            }
        }
        if outstanding.seqs.is_empty() {
            self.by_shard.remove(&shard);
        }
    }

    pub(super) fn check_invariants(&self) {
        let indexed: usize = self.by_shard.values().map(|o| o.seqs.len()).sum();
        assert_eq!(indexed, self.pending.len(), "an append is indexed once");
        for (shard, outstanding) in &self.by_shard {
            let entities: usize = outstanding.entities.values().map(BTreeSet::len).sum();
            assert_eq!(
                entities,
                outstanding.seqs.len(),
                "of {shard}, by entity, too"
            );
        }
        let Some(open) = &self.ledger else { return };
        for (seq, pending) in &self.pending {
            assert!(
                self.fenced || !pending.own || pending.acks.len() + 1 < open.quorum,
                "{seq} is on enough disks and not committed"
            );
        }
    }
}

fn append_message(ledger: LedgerId, seq: u64, pending: &Pending) -> Message {
    Message::Append {
        ledger,
        seq,
        shard: pending.shard,
        record: pending.record.clone(),
    }
}

use std::collections::{BTreeMap, BTreeSet};

use super::outbox::Outbox;
use crate::EntityId;
use crate::cluster::{
    Context, Instant, LedgerId, Message, NodeId, Page, Peer, ShardId, StoredRecord,
};
use crate::control::{Ledger, Source};

/// Sealing the ledgers that this node's shards have as sources, and reading them once enough of their disks are sealed.
///
/// ```text
///   shard has a source ─► Seal to all replicas, again and again ─► Sealed by disks that cover every append
///   fetch (entity, page) ──────────────waits──────────────────────► FetchState ─► State from disks that cover ─► Fetched
/// ```
#[derive(Debug, Default)]
pub(super) struct Takeover {
    seals: BTreeMap<LedgerId, Sealing>,
    fetches: BTreeMap<u64, Fetch>,
    last: u64,
}

#[derive(Debug)]
struct Sealing {
    /// The shards that have it as a source.
    users: BTreeSet<ShardId>,
    sealed: BTreeSet<NodeId>,
    /// Who says that it has no copy that counts.
    refused: BTreeSet<NodeId>,
    began: Instant,
}

/// A question to all sources of a shard.
#[derive(Debug)]
struct Fetch {
    purpose: Purpose,
    shard: ShardId,
    page: Page,
    parts: Vec<Part>,
    began: Instant,
}

/// The question to one source.
#[derive(Debug)]
struct Part {
    source: Source,
    asked: BTreeSet<NodeId>,
    answers: BTreeMap<NodeId, Answer>,
}

#[derive(Debug)]
struct Answer {
    records: Vec<StoredRecord>,
    more: bool,
}

/// What a fetch is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Lookup(ShardId, EntityId),
    Sweep(ShardId),
}

/// What the sources of a shard have: the newest of each entity, complete up to a bound.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) records: BTreeMap<EntityId, StoredRecord>,
    /// The last entity up to which this is complete; none if it is to the end.
    pub(super) bound: Option<EntityId>,
}

impl Takeover {
    pub(super) fn is_idle(&self) -> bool {
        self.seals.is_empty() && self.fetches.is_empty()
    }

    /// Another life begins. Its questions have other numbers: an answer to one of an earlier life, also of an earlier process, must not
    /// be taken for an answer to one of these.
    pub(super) fn restart(&mut self, cx: &Context<'_>) {
        *self = Self {
            last: cx.me.incarnation.0 << 32,
            ..Self::default()
        };
    }

    /// The shard has these sources, and no other.
    pub(super) fn want(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        shard: ShardId,
        sources: &[Source],
    ) {
        self.seals.retain(|id, sealing| {
            if !sources.iter().any(|source| source.ledger == *id) {
                sealing.users.remove(&shard);
            }
            !sealing.users.is_empty()
        });
        for source in sources {
            let sealing = self.seals.entry(source.ledger).or_insert_with(|| {
                ask_to_seal(cx, out, source.ledger, &BTreeSet::new());
                Sealing {
                    users: BTreeSet::new(),
                    sealed: BTreeSet::new(),
                    refused: BTreeSet::new(),
                    began: cx.now.instant,
                }
            });
            sealing.users.insert(shard);
        }
    }

    /// Whether all of these are sealed on so many disks that they can be read.
    pub(super) fn is_covered(&self, cx: &Context<'_>, sources: &[Source]) -> bool {
        sources.iter().all(|source| {
            let sealing = self.seals.get(&source.ledger);
            let ledger = cx.control.ledgers.get(&source.ledger);
            sealing
                .zip(ledger)
                .is_some_and(|(s, ledger)| covers(ledger, &s.sealed))
        })
    }

    /// The first of these that could not be sealed for so long that it is not worth waiting for.
    pub(super) fn unavailable(&self, cx: &Context<'_>, sources: &[Source]) -> Option<LedgerId> {
        let before = cx.now.instant - cx.settings.timing.phase;
        let hopeless = sources.iter().find(|source| {
            let Some(sealing) = self.seals.get(&source.ledger) else {
                return true;
            };
            let Some(ledger) = cx.control.ledgers.get(&source.ledger) else {
                return true;
            };
            let nodes = ledger.replicas.iter().map(|replica| replica.node);
            let left: BTreeSet<NodeId> = nodes.filter(|n| !sealing.refused.contains(n)).collect();
            !covers(ledger, &sealing.sealed) && (sealing.began <= before || !covers(ledger, &left))
        });
        hopeless.map(|source| source.ledger)
    }

    /// Asks all sources of a shard. Ends with [`Takeover::handle_state`], or when it is cancelled.
    pub(super) fn fetch(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        purpose: Purpose,
        (sources, page): (&[Source], Page),
    ) -> u64 {
        self.last += 1;
        let shard = match purpose {
            Purpose::Lookup(shard, _) | Purpose::Sweep(shard) => shard,
        };
        let part = |&source| Part {
            source,
            asked: BTreeSet::new(),
            answers: BTreeMap::new(),
        };
        let mut fetch = Fetch {
            purpose,
            shard,
            page,
            parts: sources.iter().map(part).collect(),
            began: cx.now.instant,
        };
        for index in 0..fetch.parts.len() {
            self.ask(cx, out, (self.last, &mut fetch), index, false);
        }
        self.fetches.insert(self.last, fetch);
        self.last
    }

    pub(super) fn cancel(&mut self, fetch: u64) {
        self.fetches.remove(&fetch);
    }

    /// Who waits for a fetch that has taken longer than a phase.
    pub(super) fn late(&self, cx: &Context<'_>) -> Vec<(u64, Purpose)> {
        let before = cx.now.instant - cx.settings.timing.phase;
        let late = self
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.began <= before);
        late.map(|(&id, fetch)| (id, fetch.purpose.clone()))
            .collect()
    }

    /// A disk is sealed. Returns the shards whose source is now readable and was not before.
    pub(super) fn handle_sealed(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        from: Peer,
        ledger: LedgerId,
    ) -> Vec<ShardId> {
        let Some(known) = cx.control.ledgers.get(&ledger) else {
            return Vec::new();
        };
        let Some(sealing) = self.seals.get_mut(&ledger) else {
            return Vec::new();
        };
        if !known
            .replicas
            .iter()
            .any(|replica| replica.node == from.node)
        {
            return Vec::new();
        }
        sealing.refused.remove(&from.node);
        let before = covers(known, &sealing.sealed);
        if !sealing.sealed.insert(from.node) || before || !covers(known, &sealing.sealed) {
            return Vec::new();
        }
        let users = sealing.users.iter().copied().collect();
        let mut fetches = std::mem::take(&mut self.fetches);
        for (&id, fetch) in &mut fetches {
            for index in 0..fetch.parts.len() {
                if fetch.parts[index].source.ledger == ledger {
                    self.ask(cx, out, (id, fetch), index, false);
                }
            }
        }
        self.fetches = fetches;
        users
    }

    pub(super) fn handle_refused(&mut self, cx: &Context<'_>, from: Peer, ledger: LedgerId) {
        let known = cx.control.ledgers.get(&ledger);
        let replica = known.is_some_and(|l| l.replicas.iter().any(|r| r.node == from.node));
        if let Some(sealing) = self.seals.get_mut(&ledger).filter(|_| replica)
            && !sealing.sealed.contains(&from.node)
        {
            sealing.refused.insert(from.node);
        }
    }

    /// A disk answers. Returns what the fetch was for and what it found, when every source is read from disks that cover it.
    pub(super) fn handle_state(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        (query, ledger): (u64, LedgerId),
        (records, more): (&[StoredRecord], bool),
    ) -> Option<(Purpose, Fetched)> {
        let fetch = self.fetches.get_mut(&query)?;
        let mut parts = fetch.parts.iter_mut();
        let part = parts.find(|part| part.source.ledger == ledger)?;
        let sound = part.asked.contains(&from.node)
            && is_sound(&fetch.page, part.source, records, more)
            && records.len() <= cx.settings.bounds.page_max;
        if !sound {
            return None;
        }
        let answer = Answer {
            records: records.to_vec(),
            more,
        };
        part.answers.insert(from.node, answer);
        let complete = fetch.parts.iter().all(|part| {
            let nodes = part.answers.keys().copied().collect();
            let ledger = cx.control.ledgers.get(&part.source.ledger);
            ledger.is_some_and(|ledger| covers(ledger, &nodes))
        });
        if !complete {
            return None;
        }
        let fetch = self.fetches.remove(&query)?;
        Some((fetch.purpose, union(fetch.parts)))
    }

    /// Asks again: for seals that are missing, and all sealed disks that have not answered.
    pub(super) fn resend(&mut self, cx: &Context<'_>, out: &mut Outbox) {
        for (&id, sealing) in &self.seals {
            let known = cx.control.ledgers.get(&id);
            let readable = known.is_some_and(|ledger| covers(ledger, &sealing.sealed));
            if !readable || !self.fetches.is_empty() {
                ask_to_seal(cx, out, id, &sealing.sealed);
            }
        }
        let mut fetches = std::mem::take(&mut self.fetches);
        for (&id, fetch) in fetches.iter_mut().take(cx.settings.bounds.page_max) {
            for index in 0..fetch.parts.len() {
                self.ask(cx, out, (id, fetch), index, true);
            }
        }
        self.fetches = fetches;
    }

    /// Asks as few disks as cover the source, or, if these do not answer, all that are sealed.
    fn ask(
        &self,
        cx: &Context<'_>,
        out: &mut Outbox,
        (id, fetch): (u64, &mut Fetch),
        index: usize,
        all: bool,
    ) {
        let part = &mut fetch.parts[index];
        let Some(ledger) = cx.control.ledgers.get(&part.source.ledger) else {
            return;
        };
        let sealed = self.seals.get(&part.source.ledger).map(|s| &s.sealed);
        let Some(sealed) = sealed.filter(|sealed| covers(ledger, sealed)) else {
            return;
        };
        let asked: Vec<NodeId> = if all {
            sealed.iter().copied().collect()
        } else if sealed.contains(&ledger.home.node) {
            vec![ledger.home.node]
        } else {
            sealed.iter().copied().take(ledger.read_quorum()).collect()
        };
        for to in asked {
            if part.answers.contains_key(&to) {
                continue;
            }
            part.asked.insert(to);
            let question = Message::FetchState {
                query: id,
                ledger: part.source.ledger,
                shard: fetch.shard,
                since: part.source.since,
                page: fetch.page.clone(),
            };
            out.send(to, question);
        }
    }

    pub(super) fn check_invariants(&self) {
        for (id, sealing) in &self.seals {
            assert!(!sealing.users.is_empty(), "nobody needs {id}");
            assert!(
                sealing.sealed.is_disjoint(&sealing.refused),
                "{id}: sealed or refused"
            );
        }
    }
}

/// Whether these disks, each sealed, have every record of the ledger that was ever acknowledged.
///
/// An append is acknowledged by `append_quorum` disks, the home's always among them. So either the home's alone, or so many others that
/// no append can have done without all of them.
pub(super) fn covers(ledger: &Ledger, nodes: &BTreeSet<NodeId>) -> bool {
    let mut replicas = ledger.replicas.iter().map(|replica| replica.node);
    nodes.contains(&ledger.home.node)
        || replicas
            .by_ref()
            .filter(|node| nodes.contains(node))
            .count()
            >= ledger.read_quorum()
}

fn ask_to_seal(cx: &Context<'_>, out: &mut Outbox, id: LedgerId, sealed: &BTreeSet<NodeId>) {
    let Some(ledger) = cx.control.ledgers.get(&id) else {
        return;
    };
    for replica in ledger.replicas.iter().filter(|r| !sealed.contains(&r.node)) {
        out.send(replica.node, Message::Seal { ledger: id });
    }
}

/// Whether an answer can be one to this question.
fn is_sound(page: &Page, source: Source, records: &[StoredRecord], more: bool) -> bool {
    let counted = records.iter().all(|record| record.epoch >= source.since);
    let asked = match page {
        Page::Entity(entity) => {
            records.len() <= 1 && records.iter().all(|record| record.entity == *entity)
        }
        Page::After(after) => {
            let first = records.first().map(|record| &record.entity);
            records
                .windows(2)
                .all(|pair| pair[0].entity < pair[1].entity)
                && first.is_none_or(|first| after.as_ref().is_none_or(|after| first > after))
                && (!more || !records.is_empty())
        }
    };
    counted && asked
}

/// The newest of each entity in all answers, cut at the first place where one of them says that it has more.
fn union(parts: Vec<Part>) -> Fetched {
    let mut fetched = Fetched::default();
    for answer in parts
        .into_iter()
        .flat_map(|part| part.answers.into_values())
    {
        if let Some(last) = answer.records.last().filter(|_| answer.more) {
            fetched.limit(last.entity.clone());
        }
        for record in answer.records {
            fetched.add(record);
        }
    }
    fetched
}

impl Fetched {
    /// Adds a record where none of the entity is newer.
    pub(super) fn add(&mut self, record: StoredRecord) {
        let newest = self.records.get(&record.entity);
        if newest.is_none_or(|newest| newest.age() < record.age()) {
            self.records.insert(record.entity.clone(), record);
        }
    }

    /// This is complete up to here only.
    pub(super) fn limit(&mut self, last: EntityId) {
        if self.bound.as_ref().is_none_or(|bound| last < *bound) {
            self.bound = Some(last);
        }
    }
}

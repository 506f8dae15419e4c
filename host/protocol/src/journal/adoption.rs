use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::outbox::Reading;
use super::takeover::{Fetched, Purpose};
use super::{Action, Journal, Query, Unavailable};
use crate::cluster::{
    Blob, Context, Epoch, Message, Mutant, NodeId, Page, Record, ShardId, StoredRecord,
};
use crate::control::{Ownership, Source};
use crate::{Durability, EntityId};

/// A shard that this node owns, and how far its states are from being all in the own ledger.
///
/// ```text
///   Blocked ─sources sealed─► Ready ─a slot is free─► Fetching a page ─► Reading own page ─► Adopting: appended, not committed
///      ▲                        ▲                        │ no answer          ▲                  │
///      │ sources changed        └────────────────────────┘                    └──── next page ───┤ last page
///      └───────────────────────────────────────────────────────────────────────────── Done ◄─────┘ tell the coordinator
/// ```
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) durability: Durability,
    pub(super) epoch: Epoch,
    pub(super) since: Epoch,
    pub(super) sources: Vec<Source>,
    /// The host was told of every entity that wants to be woken.
    woken: bool,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// A source is not sealed on enough disks.
    Blocked,
    /// In the queue; everything up to this entity is adopted.
    Ready(Option<EntityId>),
    Fetching {
        after: Option<EntityId>,
        fetch: u64,
    },
    Reading {
        token: u64,
        fetched: Fetched,
        /// What was appended since the own ledger was asked: its answer may lack it.
        touched: BTreeMap<EntityId, (Epoch, u64)>,
    },
    /// Everything below the barrier has to be committed before the next page, or the end.
    Adopting {
        next: Option<EntityId>,
        barrier: u64,
    },
    /// All is in the own ledger. The sources, if any are left, are told to the coordinator.
    Done,
}

/// The sweeps of all shards.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// In turn. A shard that is not ready any more is passed over when its turn comes.
    ready: VecDeque<ShardId>,
    active: BTreeSet<ShardId>,
    /// Done, and the control log does not know yet.
    telling: BTreeSet<ShardId>,
}

/// How many shards are swept at the same time, a page each.
const SWEEPS_MAX: usize = 8;

impl Sweeps {
    pub(super) fn forget(&mut self, shard: ShardId) {
        self.active.remove(&shard);
        self.telling.remove(&shard);
    }
}

impl Holding {
    /// What the control log says of a shard that this life of this node owns.
    pub(super) fn of(cx: &Context<'_>, id: ShardId) -> Option<Self> {
        let shard = cx.control.shards.get(&id)?;
        let home = match shard.ownership {
            Ownership::Unassigned => return None,
            Ownership::Owned { home } => home,
            Ownership::Handoff { from, .. } => from,
        };
        let durability = cx.control.spaces.get(&id.space)?.durability;
        if home != cx.me.home() || cx.control.live(home).is_none() {
            return None;
        }
        Some(Self {
            durability,
            epoch: shard.epoch,
            since: shard.since,
            sources: match durability {
                Durability::Durable => shard.sources.clone(),
                Durability::Memory => Vec::new(),
            },
            woken: false,
            progress: Progress::Blocked,
        })
    }

    /// Whether every state of the shard is in the own ledger, on enough disks.
    pub(super) fn is_adopted(&self) -> bool {
        self.sources.is_empty() || matches!(self.progress, Progress::Done)
    }

    /// An append of this shard is on its way. One that does not count, such as of an aborted handoff, settles nothing.
    pub(super) fn touch(&mut self, record: &StoredRecord) {
        if let Progress::Reading { touched, .. } = &mut self.progress
            && record.epoch >= self.since
        {
            let age = touched.entry(record.entity.clone()).or_insert(record.age());
            *age = record.age().max(*age);
        }
    }
}

impl Journal {
    /// Follows the control log in what it says of one shard.
    pub(super) fn refresh(&mut self, cx: &Context<'_>, shard: ShardId, own_changed: bool) {
        let Some(mut wanted) = Holding::of(cx, shard) else {
            if self.holdings.remove(&shard).is_some() {
                self.sweeps.forget(shard);
                self.takeover.want(cx, &mut self.outbox, shard, &[]);
                self.fail_lookups(shard, Unavailable::NotOwned);
                self.scans.retain(|_, scan| scan.shard != shard);
            }
            return;
        };
        if let Some(held) = self.holdings.get_mut(&shard) {
            let same = held.epoch == wanted.epoch && held.since == wanted.since;
            if same && held.sources == wanted.sources && !own_changed {
                return;
            }
            let fewer = wanted
                .sources
                .iter()
                .all(|source| held.sources.contains(source));
            if same && fewer && !own_changed && matches!(held.progress, Progress::Done) {
                held.sources = wanted.sources;
                let sources = held.sources.clone();
                if sources.is_empty() {
                    self.sweeps.telling.remove(&shard);
                }
                self.takeover.want(cx, &mut self.outbox, shard, &sources);
                return;
            }
            wanted.woken = held.woken && held.since == wanted.since;
        }
        self.begin_sweep(cx, shard, wanted);
        self.search_again(cx, shard);
        self.advance(cx);
    }

    fn begin_sweep(&mut self, cx: &Context<'_>, shard: ShardId, mut holding: Holding) {
        self.cancel_page(shard);
        self.restart_scans(shard);
        self.sweeps.forget(shard);
        self.takeover
            .want(cx, &mut self.outbox, shard, &holding.sources);
        // Nothing can be in the own ledger that counts.
        let fresh = holding.since == holding.epoch;
        if holding.sources.is_empty() && (holding.woken || fresh) {
            holding.woken = true;
            holding.progress = Progress::Done;
            self.holdings.insert(shard, holding);
            return self.resume_scans(shard);
        }
        self.holdings.insert(shard, holding);
        self.unblock(cx, shard);
    }

    fn cancel_page(&mut self, shard: ShardId) {
        if let Some(Progress::Fetching { fetch, .. }) =
            self.holdings.get(&shard).map(|h| &h.progress)
        {
            self.takeover.cancel(*fetch);
        }
    }

    /// The sources of this shard may all be sealed now.
    pub(super) fn unblock(&mut self, cx: &Context<'_>, shard: ShardId) {
        let Some(holding) = self.holdings.get_mut(&shard) else {
            return;
        };
        let blocked = matches!(holding.progress, Progress::Blocked);
        if !blocked || !self.takeover.is_covered(cx, &holding.sources) {
            return;
        }
        if cx.settings.lacks(Mutant::ForgetSources) && !holding.sources.is_empty() {
            return self.finish_sweep(cx, shard);
        }
        holding.progress = Progress::Ready(None);
        self.sweeps.ready.push_back(shard);
    }

    /// Begins pages while there is room.
    pub(super) fn advance(&mut self, cx: &Context<'_>) {
        while self.sweeps.active.len() < SWEEPS_MAX {
            let Some(shard) = self.sweeps.ready.pop_front() else {
                return;
            };
            let Some(holding) = self.holdings.get_mut(&shard) else {
                continue;
            };
            if let Progress::Ready(after) = &mut holding.progress {
                let after = after.take();
                self.sweeps.active.insert(shard);
                self.begin_page(cx, shard, after);
            }
        }
    }

    fn begin_page(&mut self, cx: &Context<'_>, shard: ShardId, after: Option<EntityId>) {
        let Some(holding) = self.holdings.get_mut(&shard) else {
            return;
        };
        if holding.sources.is_empty() {
            return self.read_own_page(cx, shard, after, Fetched::default());
        }
        let page = Page::After(after.clone());
        let asked = (holding.sources.as_slice(), page);
        let fetch = self
            .takeover
            .fetch(cx, &mut self.outbox, Purpose::Sweep(shard), asked);
        holding.progress = Progress::Fetching { after, fetch };
    }

    pub(super) fn handle_page(&mut self, cx: &Context<'_>, shard: ShardId, fetched: Fetched) {
        let progress = self.holdings.get_mut(&shard).map(|h| &mut h.progress);
        if let Some(Progress::Fetching { after, .. }) = progress {
            let after = after.take();
            self.read_own_page(cx, shard, after, fetched);
        }
    }

    fn read_own_page(
        &mut self,
        cx: &Context<'_>,
        shard: ShardId,
        after: Option<EntityId>,
        fetched: Fetched,
    ) {
        let Some(holding) = self.holdings.get_mut(&shard) else {
            return;
        };
        let ledger = match holding.durability {
            Durability::Durable => self.writer.ledger(),
            Durability::Memory => None,
        };
        let touched = self.writer.ages(shard, holding.since);
        if ledger.is_none() && holding.durability == Durability::Durable {
            return self.adopt_page(cx, shard, fetched, &touched);
        }
        let query = Query::Page {
            ledger,
            shard,
            after,
            since: holding.since,
            limit: cx.settings.bounds.page_max,
        };
        let token = self.outbox.read(Reading::Sweep { shard }, query);
        holding.progress = Progress::Reading {
            token,
            fetched,
            touched,
        };
    }

    /// The own disk answers: now it is known what the own ledger lacks.
    pub(super) fn handle_own_page(
        &mut self,
        cx: &Context<'_>,
        (token, shard): (u64, ShardId),
        records: Vec<StoredRecord>,
        more: bool,
    ) {
        let Some(holding) = self.holdings.get_mut(&shard) else {
            return;
        };
        if !matches!(holding.progress, Progress::Reading { token: t, .. } if t == token) {
            return;
        }
        let progress = std::mem::replace(&mut holding.progress, Progress::Blocked);
        let Progress::Reading {
            mut fetched,
            mut touched,
            ..
        } = progress
        else {
            return;
        };
        if let Some(last) = records.last().filter(|_| more) {
            fetched.limit(last.entity.clone());
        }
        let mut wakes = Vec::new();
        for own in records.into_iter().filter(|own| own.epoch >= holding.since) {
            let age = touched.entry(own.entity.clone()).or_insert(own.age());
            *age = own.age().max(*age);
            let theirs = fetched.records.get(&own.entity).map(StoredRecord::age);
            if is_settled(own.age(), theirs, holding.epoch) {
                fetched.records.remove(&own.entity);
                let within = fetched
                    .bound
                    .as_ref()
                    .is_none_or(|bound| own.entity <= *bound);
                wakes.extend(wake(&own).filter(|_| within));
            }
        }
        self.swept(shard, wakes);
        self.adopt_page(cx, shard, fetched, &touched);
    }

    /// Appends what the own ledger does not have, or has only older.
    fn adopt_page(
        &mut self,
        cx: &Context<'_>,
        shard: ShardId,
        fetched: Fetched,
        touched: &BTreeMap<EntityId, (Epoch, u64)>,
    ) {
        let Some(epoch) = self.holdings.get(&shard).map(|holding| holding.epoch) else {
            return;
        };
        let bound = fetched.bound;
        let mut wakes = Vec::new();
        for (entity, theirs) in fetched.records {
            if bound.as_ref().is_some_and(|bound| entity > *bound) {
                break;
            }
            let settled = touched.get(&entity);
            if settled.is_some_and(|&own| is_settled(own, Some(theirs.age()), epoch)) {
                continue;
            }
            wakes.extend(wake(&theirs));
            self.append(cx, None, shard, Arc::new(restamped(theirs, epoch)));
        }
        self.swept(shard, wakes);
        let barrier = self.writer.barrier();
        if let Some(holding) = self.holdings.get_mut(&shard) {
            holding.progress = Progress::Adopting {
                next: bound,
                barrier,
            };
        }
        self.handle_clear(cx, shard);
    }

    fn swept(&mut self, shard: ShardId, records: Vec<(EntityId, u64)>) {
        let woken = self
            .holdings
            .get(&shard)
            .is_none_or(|holding| holding.woken);
        if !woken && !records.is_empty() {
            self.outbox.push(Action::Swept { shard, records });
        }
    }

    /// Appends of this shard were committed, or there are none.
    pub(super) fn handle_clear(&mut self, cx: &Context<'_>, shard: ShardId) {
        let Some(holding) = self.holdings.get_mut(&shard) else {
            return;
        };
        let Progress::Adopting { next, barrier } = &mut holding.progress else {
            return;
        };
        if holding.durability == Durability::Durable && !self.writer.is_clear(shard, *barrier) {
            return;
        }
        match next.take() {
            None => self.finish_sweep(cx, shard),
            after => {
                // Behind the others: no shard's sweep keeps another's from beginning.
                self.sweeps.active.remove(&shard);
                holding.progress = Progress::Ready(after);
                self.sweeps.ready.push_back(shard);
            }
        }
        self.advance(cx);
    }

    fn finish_sweep(&mut self, cx: &Context<'_>, shard: ShardId) {
        self.sweeps.active.remove(&shard);
        let Some(holding) = self.holdings.get_mut(&shard) else {
            return;
        };
        holding.progress = Progress::Done;
        holding.woken = true;
        if !holding.sources.is_empty() {
            self.sweeps.telling.insert(shard);
            self.tell(cx, shard);
        }
        self.resume_scans(shard);
    }

    fn tell(&mut self, cx: &Context<'_>, shard: ShardId) {
        let Some(holding) = self.holdings.get(&shard) else {
            return;
        };
        let coordinator: NodeId = cx.control.coordinator.node;
        for source in &holding.sources {
            let adopted = Message::Adopted {
                shard,
                epoch: holding.epoch,
                source: source.ledger,
            };
            self.outbox.send(coordinator, adopted);
        }
    }

    /// Tells the coordinator again, and lets sweeps that get no answers wait behind others.
    pub(super) fn resend_sweeps(&mut self, cx: &Context<'_>) {
        let telling = self.sweeps.telling.iter().copied();
        let telling: Vec<ShardId> = telling.take(cx.settings.bounds.page_max).collect();
        for shard in telling {
            self.tell(cx, shard);
        }
        for (fetch, purpose) in self.takeover.late(cx) {
            let Purpose::Sweep(shard) = purpose else {
                continue;
            };
            self.takeover.cancel(fetch);
            self.sweeps.active.remove(&shard);
            if let Some(holding) = self.holdings.get_mut(&shard)
                && let Progress::Fetching { after, .. } = &mut holding.progress
            {
                holding.progress = Progress::Ready(after.take());
                self.sweeps.ready.push_back(shard);
            }
        }
        self.advance(cx);
    }

    pub(super) fn check_sweeps(&self) {
        assert!(
            self.sweeps.active.len() <= SWEEPS_MAX,
            "sweeps have a bound"
        );
        for shard in &self.sweeps.active {
            let progress = self.holdings.get(shard).map(|holding| &holding.progress);
            let active = matches!(
                progress,
                Some(
                    Progress::Fetching { .. }
                        | Progress::Reading { .. }
                        | Progress::Adopting { .. }
                )
            );
            assert!(active, "{shard} is not swept and has a slot");
        }
        for shard in &self.sweeps.telling {
            let holding = self.holdings.get(shard);
            let done = holding.is_some_and(|h| h.is_adopted() && !h.sources.is_empty());
            assert!(done, "{shard} has nothing to tell");
        }
    }
}

/// Whether a record in the own ledger leaves nothing to adopt: it is of this ownership, so that it came from the newest, or it is itself
/// not older.
fn is_settled(own: (Epoch, u64), theirs: Option<(Epoch, u64)>, epoch: Epoch) -> bool {
    own.0 >= epoch || theirs.is_none_or(|theirs| own >= theirs)
}

/// The record as its new owner's: newer than whatever may still turn up in the ledgers before.
pub(super) fn restamped(record: StoredRecord, epoch: Epoch) -> StoredRecord {
    StoredRecord { epoch, ..record }
}

fn wake(record: &StoredRecord) -> Option<(EntityId, u64)> {
    let wake_ms = record.record.wake_ms.filter(|_| !record.record.deleted)?;
    Some((record.entity.clone(), wake_ms))
}

/// That there is nothing, as a record: older than the first that the owner writes. Without it, a record that was never acknowledged could
/// be adopted after somebody has been told that there is none.
pub(super) fn absence() -> Record {
    Record {
        version: 0,
        wake_ms: None,
        deleted: true,
        bytes: Blob::default(),
    }
}

pub(super) fn is_absence(record: &Record) -> bool {
    record.version == 0 && record.deleted
}

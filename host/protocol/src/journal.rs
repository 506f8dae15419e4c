//! The journal: the latest states of durable entities, each on two disks before anybody hears of it, and found again by whoever owns
//! the entity next. See PROTOCOL section 10.
//!
//! ```text
//!        host                                                     control log
//!   Append │ ▲ Committed   Find │ ▲ Found            shard: since, sources │ ▲ Adopted
//!          ▼ │                  ▼ │                                        ▼ │
//!   ┌─ writer ────────┐  ┌─ lookup ─────────┐ misses  ┌─ adoption (sweep) ────┐
//!   │ own ledger      │◄─┤ own, then sources├───┐ ┌───┤ page by page          │
//!   └──┬──────────────┘  └──────────────────┘   ▼ ▼   └───────────────────────┘
//!      │ Append                           ┌─ takeover ──────┐
//!      ▼                                  │ seal, then read │
//!   ┌─ replica (of all ledgers that have this disk) ──◄── Seal, FetchState ─┐
//!   └──────────────────────────────── disk ─────────────────────────────────┘
//! ```
//!
//! # Why an acknowledged record is always found
//!
//! A ledger has one writer, the life of a node that opened it, and a fixed set of disks. A record's age is (stamp, version), the stamp
//! being the epoch under which it was written. Nothing here reads a clock to be safe.
//!
//! 1. *Append.* A record is acknowledged when the home's own disk and enough others, `append_quorum` in all, have synced it. A later
//!    record of an entity contains the earlier ones, so that its commit is theirs, too.
//! 2. *Seal, then read.* A successor reads only disks that have synced a seal, and only when they cover the ledger: the home's own disk,
//!    or `read_quorum` of any. Each such set meets every set of disks that can acknowledge. At the disk where they meet,
//!    the copy was acknowledged before the seal, so that the read after it sees the copy; or the seal was first, and the copy is not
//!    acknowledged, not even if it was being written. So what is read has every acknowledged record, and the old home, even
//!    one that was downed wrongly and runs on with a wrong clock, acknowledges nothing that is not found.
//! 3. *Adoption.* What is read is not used. It is appended to the successor's own ledger with the successor's epoch, and used
//!    when that is committed; also that there is nothing is appended, as a tombstone of version 0. From then on it is newer than whatever
//!    may still turn up in the older ledgers: a record that was on a minority of disks and never acknowledged can be the newest there
//!    for one reader and absent for another (it is a choice that is made once, when it is adopted), but never undo what was used.
//! 4. *Chains* (A dies, B adopts half of A's states, B dies). A's ledger stays a source until the control log has B's `Adopted`, and B sends
//!    that only after every state is committed in B's ledger, which in turn is a source of B's successor. Who reads takes the newest
//!    of an entity from *all* sources at once, never source by source: after B restamps, stamps tell the order of A's and B's.
//! 5. *One lineage.* Within one epoch, no two records of an entity have one version and different content: a lookup, a sweep and the
//!    host write the same entity one after the other. An append on its way is waited for by lookups; a sweep skips what
//!    was appended since it asked its own disk.
//! 6. *Own ledger.* A record in the own ledger counts from the stamp `since` on: what an aborted handoff installed, or an earlier ownership
//!    left, is below. If the shard has sources, one of the current epoch is the newest, by 3 and 5; an older one (it was
//!    installed, or written before an aborted handoff) is only a candidate beside those of the sources.
//! 7. *Another own ledger* (its replicas had to change). What is not committed is appended to the new one; by 1 it is newer than all that
//!    is committed in the old one. The old one is a source like any other. A takeover that is under way starts anew with all sources, and
//!    with the old own ledger among them it finds what it has adopted already.
//! 8. *Handoff.* What the target installs is stamped with the handoff, which is above all stamps of the source. `Committed` names the
//!    ledger, because `Complete` names the oldest that has a part of it: that one and those after it are the new owner's sources.
//! 9. *A disk that is lost* is not a replica any more, whatever its node says: the control state knows each life's disk, and a node acts as
//!    a replica only in a life that it sees there.
//!
//! Fewer disks than cover a ledger: nobody guesses. The lookup is answered [`Unavailable`], and the takeover goes on trying.

mod adoption;
mod lookup;
mod outbox;
mod replica;
mod scan;
mod stash;
mod takeover;
#[cfg(test)]
mod tests;
mod words;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::EntityId;
use crate::cluster::{Context, Home, Instant, LedgerId, Message, Peer, ShardId, StoredRecord};
use crate::control::{Command, Entry};

use adoption::{Holding, Sweeps};
use lookup::Lookups;
use outbox::{Outbox, Persisting, Reading};
use replica::{Question, Replica};
use scan::Scan;
use takeover::{Purpose, Takeover};
pub use words::{Action, Query, Request, Restored, Unavailable, Write};
use writer::{Commit, Writer};

/// The journal of one node: as a writer, as a replica of others', and as their successor.
///
/// In: [`Journal::handle_request`] from the host, [`Journal::handle_message`] from peers, [`Journal::handle_applied`] and
/// [`Journal::handle_state`] from the control log, [`Journal::handle_persisted`] and [`Journal::handle_read`] from the disk.
/// Out: [`Journal::poll_action`], [`Journal::poll_timeout`].
///
/// The disk does what it is asked in order: a read sees every write that was reported as persisted before it was asked for.
#[derive(Debug)]
pub struct Journal {
    /// The life that all this belongs to, the replica's part apart.
    me: Home,
    outbox: Outbox,
    writer: Writer,
    replica: Replica,
    takeover: Takeover,
    holdings: BTreeMap<ShardId, Holding>,
    sweeps: Sweeps,
    lookups: Lookups,
    scans: BTreeMap<u64, Scan>,
    /// What is being stashed, with the write's token.
    stash: BTreeMap<(ShardId, EntityId), (u64, Arc<StoredRecord>)>,
    tick: Option<Instant>,
}

impl Journal {
    /// A journal over a disk. [`Journal::handle_state`] comes next, if a control state was restored.
    pub fn new(restored: Restored) -> Self {
        Self {
            me: Home::default(),
            outbox: Outbox::default(),
            writer: Writer::default(),
            replica: Replica::new(restored.sealed),
            takeover: Takeover::default(),
            holdings: BTreeMap::new(),
            sweeps: Sweeps::default(),
            lookups: Lookups::new(),
            scans: BTreeMap::new(),
            stash: BTreeMap::new(),
            tick: None,
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.poll()
    }

    /// When [`Journal::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tick
    }

    /// The ledger that this node writes.
    pub fn ledger(&self) -> Option<LedgerId> {
        self.writer.ledger()
    }

    /// Whether every state of a shard that this node owns is in its own ledger.
    pub fn is_adopted(&self, shard: ShardId) -> bool {
        self.holdings.get(&shard).is_some_and(Holding::is_adopted)
    }

    /// Appends that are not committed.
    pub fn pending(&self) -> usize {
        self.writer.len()
    }

    /// The host, or a transfer, asks.
    pub fn handle_request(&mut self, cx: &Context<'_>, request: Request) {
        self.follow(cx);
        match request {
            Request::Append { id, shard, record } => self.append(cx, Some(id), shard, record),
            Request::Stash { shard, record } => self.stash(shard, record),
            Request::Forget { shard, before } => self.forget(cx, shard, before),
            Request::Find { id, shard, entity } => self.find(cx, id, (shard, entity)),
            Request::Scan { id, shard, after } => self.scan(cx, id, shard, after),
        }
        self.arm(cx);
    }

    /// A peer says something.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        self.follow(cx);
        match message {
            Message::Append {
                ledger,
                seq,
                shard,
                record,
            } => {
                let (at, what) = ((*ledger, *seq), (*shard, record));
                let out = &mut self.outbox;
                self.replica.handle_append(cx, out, from, at, what);
            }
            Message::Appended { ledger, seq } => {
                let commits = self.writer.handle_appended(from, *ledger, *seq);
                self.handle_commits(cx, commits);
            }
            Message::AppendRefused { ledger, .. } => {
                self.writer.handle_refused(&mut self.outbox, from, *ledger);
            }
            Message::Seal { ledger } => {
                let closed = self
                    .replica
                    .handle_seal(cx, &mut self.outbox, from, *ledger);
                self.writer.fence(&mut self.outbox, closed);
            }
            Message::Sealed { ledger } => {
                let out = &mut self.outbox;
                for shard in self.takeover.handle_sealed(cx, out, from, *ledger) {
                    self.unblock(cx, shard);
                }
                self.advance(cx);
            }
            Message::SealRefused { ledger } => self.takeover.handle_refused(cx, from, *ledger),
            Message::FetchState {
                query,
                ledger,
                shard,
                since,
                page,
            } => {
                let question = Question {
                    query: *query,
                    ledger: *ledger,
                    shard: *shard,
                    since: *since,
                    page,
                };
                self.replica
                    .handle_fetch(cx, &mut self.outbox, from, &question);
            }
            Message::State {
                query,
                ledger,
                records,
                more,
            } => self.handle_state_of(cx, from, (*query, *ledger), (records, *more)),
            _ => {}
        }
        self.arm(cx);
    }

    /// An entry of the control log was applied.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        if self.follow(cx) {
            return;
        }
        match &entry.command {
            Command::Assign { shards } => {
                for assignment in shards {
                    self.refresh(cx, assignment.shard, false);
                }
            }
            Command::CompleteHandoff { shards, .. } => {
                for &(shard, _) in shards {
                    self.refresh(cx, shard, false);
                }
                self.replica.retain(cx, &mut self.outbox);
            }
            Command::AbortHandoff { shards, .. } => {
                for &shard in shards {
                    self.refresh(cx, shard, false);
                }
                self.replica.retain(cx, &mut self.outbox);
            }
            Command::Adopted { shard, .. } => {
                self.refresh(cx, *shard, false);
                self.replica.retain(cx, &mut self.outbox);
            }
            Command::OpenLedger { home, .. } if *home != cx.me.home() => {
                let id = LedgerId(entry.index.0);
                if let Some(ledger) = cx.control.ledgers.get(&id) {
                    self.replica.handle_opened(cx, id, ledger);
                }
                self.replica.retain(cx, &mut self.outbox);
            }
            Command::OpenLedger { .. }
            | Command::Join { .. }
            | Command::Down { .. }
            | Command::Remove { .. }
            | Command::Retire { .. }
            | Command::Drop { .. } => self.look_at_everything(cx),
            Command::Coordinate
            | Command::Up { .. }
            | Command::Leave { .. }
            | Command::Voters { .. }
            | Command::DeployKind { .. }
            | Command::Scale { .. }
            | Command::BeginHandoff { .. } => {}
        }
        self.arm(cx);
    }

    /// The control state is another one, by more than an entry.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        if !self.follow(cx) {
            self.look_at_everything(cx);
        }
        self.arm(cx);
    }

    /// A write is on disk.
    pub fn handle_persisted(&mut self, cx: &Context<'_>, token: u64) {
        self.follow(cx);
        match self.outbox.persisted(token) {
            Some(Persisting::Own { ledger, seq }) => {
                let commits = self.writer.handle_persisted(ledger, seq);
                self.handle_commits(cx, commits);
            }
            Some(Persisting::Copy { from, ledger, seq }) => {
                let out = &mut self.outbox;
                self.replica.handle_copied(cx, out, from, (ledger, seq));
            }
            Some(Persisting::Seal { ledger }) => {
                self.replica.handle_sealed(&mut self.outbox, ledger);
            }
            Some(Persisting::Stash { shard, entity }) => {
                let key = (shard, entity);
                if self
                    .stash
                    .get(&key)
                    .is_some_and(|&(latest, _)| latest == token)
                {
                    self.stash.remove(&key);
                }
            }
            Some(Persisting::Nothing) | None => {}
        }
        self.arm(cx);
    }

    /// The disk answers.
    pub fn handle_read(
        &mut self,
        cx: &Context<'_>,
        token: u64,
        records: Vec<StoredRecord>,
        more: bool,
    ) {
        self.follow(cx);
        match self.outbox.done(token) {
            Some(Reading::Answer { to, query, ledger }) => {
                let out = &mut self.outbox;
                self.replica
                    .handle_read(out, (to, query, ledger), records, more);
            }
            Some(Reading::Lookup { shard, entity }) => {
                self.handle_own(cx, token, (shard, entity), records);
            }
            Some(Reading::Sweep { shard }) => {
                self.handle_own_page(cx, (token, shard), records, more);
            }
            Some(Reading::Scan { id }) => self.handle_scanned((id, token), records, more),
            None => {}
        }
        self.arm(cx);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        self.follow(cx);
        if self.tick.is_some_and(|tick| tick <= cx.now.instant) {
            self.tick = None;
            self.writer.resend(cx, &mut self.outbox);
            self.takeover.resend(cx, &mut self.outbox);
            self.resend_sweeps(cx);
            self.fail_late(cx);
        }
        self.arm(cx);
    }

    /// Panics if the journal is in a state that it must not be in.
    pub fn check_invariants(&self) {
        self.writer.check_invariants();
        self.replica.check_invariants();
        self.takeover.check_invariants();
        self.check_sweeps();
    }

    /// Begins anew if this is another life. What this node keeps as a replica stays.
    fn follow(&mut self, cx: &Context<'_>) -> bool {
        if self.me == cx.me.home() {
            return false;
        }
        self.me = cx.me.home();
        self.writer.close();
        self.takeover.restart(cx);
        self.holdings.clear();
        self.sweeps = Sweeps::default();
        self.lookups.clear();
        self.scans.clear();
        self.look_at_everything(cx);
        self.arm(cx);
        true
    }

    fn look_at_everything(&mut self, cx: &Context<'_>) {
        self.replica.retain(cx, &mut self.outbox);
        for (&id, ledger) in &cx.control.ledgers {
            self.replica.handle_opened(cx, id, ledger);
        }
        let changed = self.follow_ledger(cx);
        let held = self.holdings.keys().copied();
        let owned = cx.control.shards.owned_by(self.me);
        let shards: BTreeSet<ShardId> = held.chain(owned).collect();
        for shard in shards {
            self.refresh(cx, shard, changed);
        }
    }

    /// Writes the ledger that the control log has opened for this life, and none when the life is over.
    fn follow_ledger(&mut self, cx: &Context<'_>) -> bool {
        let open = cx.control.live(self.me).and_then(|member| member.ledger);
        let open = open.and_then(|id| Some((id, cx.control.ledgers.get(&id)?)));
        match (self.writer.ledger(), open) {
            (Some(old), None) => self.writer.fence(&mut self.outbox, Some(old)),
            (old, Some((id, ledger))) if old != Some(id) => {
                self.writer.open(cx, &mut self.outbox, (id, ledger));
                if self.replica.is_closed(id) {
                    self.writer.fence(&mut self.outbox, Some(id));
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// Every append goes through here: others that look at the entity have to know.
    fn append(
        &mut self,
        cx: &Context<'_>,
        id: Option<u64>,
        shard: ShardId,
        record: Arc<StoredRecord>,
    ) {
        if let Some(holding) = self.holdings.get_mut(&shard) {
            holding.touch(&record);
        }
        self.overtake(&(shard, record.entity.clone()));
        self.writer
            .append(cx, &mut self.outbox, id, (shard, record));
    }

    fn handle_commits(&mut self, cx: &Context<'_>, commits: Vec<Commit>) {
        for commit in commits {
            if let Some(id) = commit.id {
                let ledger = commit.ledger;
                self.outbox.push(Action::Committed { id, ledger });
            }
            self.handle_committed(cx, &commit);
            self.handle_clear(cx, commit.shard);
        }
    }

    fn handle_state_of(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        question: (u64, LedgerId),
        answer: (&[StoredRecord], bool),
    ) {
        match self.takeover.handle_state(cx, from, question, answer) {
            Some((Purpose::Lookup(shard, entity), fetched)) => {
                self.handle_fetched(cx, (shard, entity), fetched);
            }
            Some((Purpose::Sweep(shard), fetched)) => self.handle_page(cx, shard, fetched),
            None => {}
        }
    }

    fn arm(&mut self, cx: &Context<'_>) {
        let idle = self.writer.is_idle() && self.takeover.is_idle() && self.lookups.is_empty();
        if idle {
            self.tick = None;
        } else if self.tick.is_none() {
            self.tick = Some(cx.now.instant + cx.settings.timing.resend);
        }
    }
}

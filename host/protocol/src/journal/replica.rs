use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::outbox::{Outbox, Persisting, Reading};
use super::{Query, Write};
use crate::cluster::{
    Context, Epoch, Home, LedgerId, Message, Mutant, Page, Peer, ShardId, StoredRecord,
};
use crate::control::Ledger;

/// What this node keeps for ledgers, its own included: the disk's side of appends, seals and reads.
///
/// ```text
///   open ──Seal of an owner that has the ledger as a source──► sealing ──on disk──► sealed ──► reads
///    │ appends persisted, acked                                  │ nothing acked any more, also not what is being written
/// ```
///
/// A node acts as a replica only in a life whose Join is applied here: only then does the control state say which disk it has.
#[derive(Debug, Default)]
pub(super) struct Replica {
    /// Ledgers that may have something on this disk, so that it can be dropped when they are gone.
    copies: BTreeSet<LedgerId>,
    seals: BTreeMap<LedgerId, Seal>,
    appends: BTreeMap<LedgerId, Appends>,
    /// Questions that the disk works on.
    reads: BTreeSet<(Peer, u64, LedgerId)>,
}

#[derive(Debug)]
enum Seal {
    /// On its way to the disk; who asked.
    Sealing(BTreeSet<Peer>),
    Sealed,
}

/// What is known of the appends of one ledger, to acknowledge a duplicate without a write. Forgotten in a crash, which costs a
/// write and nothing else.
#[derive(Debug, Default)]
struct Appends {
    writing: BTreeSet<u64>,
    written: BTreeSet<u64>,
}

/// A question of a successor.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) query: u64,
    pub(super) ledger: LedgerId,
    pub(super) shard: ShardId,
    pub(super) since: Epoch,
    pub(super) page: &'a Page,
}

impl Replica {
    pub(super) fn new(sealed: BTreeSet<LedgerId>) -> Self {
        Self {
            copies: sealed.clone(),
            seals: sealed.into_iter().map(|id| (id, Seal::Sealed)).collect(),
            ..Self::default()
        }
    }

    /// Whether nothing is taken for this ledger here any more.
    pub(super) fn is_closed(&self, ledger: LedgerId) -> bool {
        self.seals.contains_key(&ledger)
    }

    pub(super) fn handle_append(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        from: Peer,
        (ledger, seq): (LedgerId, u64),
        (shard, record): (ShardId, &Arc<StoredRecord>),
    ) {
        let known = cx.control.ledgers.get(&ledger);
        let ours = known.is_some_and(|known| known.home == from && keeps(cx, known));
        if !ours || from == cx.me.home() {
            return;
        }
        if self.is_closed(ledger) {
            out.send(from.node, Message::AppendRefused { ledger, seq });
            return;
        }
        let appends = self.appends.entry(ledger).or_default();
        if appends.written.contains(&seq) {
            out.send(from.node, Message::Appended { ledger, seq });
        } else if appends.writing.len() < cx.settings.bounds.in_flight_max
            && appends.writing.insert(seq)
        {
            let record = record.clone();
            let write = Write::Record {
                ledger,
                shard,
                record,
            };
            out.persist(Persisting::Copy { from, ledger, seq }, write);
        }
    }

    /// A copy is on disk. It counts only if no seal was asked for meanwhile: who sealed may have read already.
    pub(super) fn handle_copied(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        from: Peer,
        (ledger, seq): (LedgerId, u64),
    ) {
        let Some(appends) = self.appends.get_mut(&ledger) else {
            return;
        };
        appends.writing.remove(&seq);
        if self.seals.contains_key(&ledger) {
            return;
        }
        appends.written.insert(seq);
        if appends.written.len() > cx.settings.bounds.in_flight_max {
            appends.written.pop_first();
        }
        out.send(from.node, Message::Appended { ledger, seq });
    }

    /// Returns the ledger, if it is closed by this.
    pub(super) fn handle_seal(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        from: Peer,
        ledger: LedgerId,
    ) -> Option<LedgerId> {
        let known = cx.control.ledgers.get(&ledger)?;
        if !is_member(cx, cx.me.home()) {
            return None;
        }
        if !keeps(cx, known) {
            out.send(from.node, Message::SealRefused { ledger });
            return None;
        }
        match self.seals.get_mut(&ledger) {
            Some(Seal::Sealed) => out.send(from.node, Message::Sealed { ledger }),
            Some(Seal::Sealing(asked)) => {
                asked.insert(from);
            }
            None if !may_seal(cx, from, ledger) => {}
            None if cx.settings.lacks(Mutant::NoSeal) => {
                out.send(from.node, Message::Sealed { ledger });
            }
            None => {
                self.seals.insert(ledger, Seal::Sealing([from].into()));
                self.copies.insert(ledger);
                self.appends.remove(&ledger);
                out.persist(Persisting::Seal { ledger }, Write::Seal { ledger });
                return Some(ledger);
            }
        }
        None
    }

    pub(super) fn handle_sealed(&mut self, out: &mut Outbox, ledger: LedgerId) {
        let Some(seal) = self.seals.get_mut(&ledger) else {
            return;
        };
        if let Seal::Sealing(asked) = std::mem::replace(seal, Seal::Sealed) {
            for from in asked {
                out.send(from.node, Message::Sealed { ledger });
            }
        }
    }

    /// Only what is sealed is read: what else is asked for is asked again.
    pub(super) fn handle_fetch(
        &mut self,
        cx: &Context<'_>,
        out: &mut Outbox,
        from: Peer,
        question: &Question<'_>,
    ) {
        let ledger = question.ledger;
        let sealed = matches!(self.seals.get(&ledger), Some(Seal::Sealed))
            || cx.settings.lacks(Mutant::NoSeal);
        let known = cx.control.ledgers.get(&ledger);
        let answers = sealed && is_member(cx, from) && known.is_some_and(|known| keeps(cx, known));
        let room = self.reads.len() < cx.settings.bounds.activations_max;
        if !answers || !room || !self.reads.insert((from, question.query, ledger)) {
            return;
        }
        let (shard, since) = (question.shard, question.since);
        let query = match question.page {
            Page::Entity(entity) => Query::Entity {
                ledger: Some(ledger),
                shard,
                entity: entity.clone(),
                since,
            },
            Page::After(after) => Query::Page {
                ledger: Some(ledger),
                shard,
                after: after.clone(),
                since,
                limit: cx.settings.bounds.page_max,
            },
        };
        let query_number = question.query;
        let why = Reading::Answer {
            to: from,
            query: query_number,
            ledger,
        };
        out.read(why, query);
    }

    pub(super) fn handle_read(
        &mut self,
        out: &mut Outbox,
        (to, query, ledger): (Peer, u64, LedgerId),
        records: Vec<StoredRecord>,
        more: bool,
    ) {
        if self.reads.remove(&(to, query, ledger)) {
            let state = Message::State {
                query,
                ledger,
                records,
                more,
            };
            out.send(to.node, state);
        }
    }

    /// Drops the ledgers that the control log has forgotten. One that it does not know yet is kept.
    pub(super) fn retain(&mut self, cx: &Context<'_>, out: &mut Outbox) {
        let gone =
            |id: &LedgerId| id.0 <= cx.control.applied.0 && !cx.control.ledgers.contains_key(id);
        let dropped: Vec<LedgerId> = self.copies.iter().copied().filter(gone).collect();
        for ledger in dropped {
            self.copies.remove(&ledger);
            self.seals.remove(&ledger);
            self.appends.remove(&ledger);
            out.persist(Persisting::Nothing, Write::DropLedger { ledger });
        }
    }

    /// A ledger that this node may have a part of.
    pub(super) fn handle_opened(&mut self, cx: &Context<'_>, id: LedgerId, ledger: &Ledger) {
        if ledger
            .replicas
            .iter()
            .any(|replica| replica.node == cx.me.node)
        {
            self.copies.insert(id);
        }
    }

    pub(super) fn check_invariants(&self) {
        for ledger in self.appends.keys() {
            assert!(
                !self.seals.contains_key(ledger),
                "{ledger} is sealed and written"
            );
        }
    }
}

/// Whether the control state knows this life, over or not.
fn is_member(cx: &Context<'_>, home: Home) -> bool {
    let member = cx.control.members.get(&home.node);
    member.is_some_and(|member| member.incarnation == home.incarnation)
}

/// Whether the disk of this life of this node is one of the ledger's.
fn keeps(cx: &Context<'_>, ledger: &Ledger) -> bool {
    let member = cx.control.members.get(&cx.me.node);
    let member = member.filter(|member| member.incarnation == cx.me.incarnation);
    member.is_some_and(|member| {
        let disk = member.boot.disk;
        let mut replicas = ledger.replicas.iter();
        replicas.any(|replica| replica.node == cx.me.node && replica.disk == disk)
    })
}

/// Only an owner that has to adopt from a ledger may close it. Asked once per ledger: a sealed one answers without.
fn may_seal(cx: &Context<'_>, from: Peer, ledger: LedgerId) -> bool {
    let owns = |shard| {
        cx.control
            .home_of(shard)
            .is_some_and(|(home, _)| home == from)
    };
    cx.control.live(from).is_some() && cx.control.shards.sourced_from(ledger).any(owns)
}

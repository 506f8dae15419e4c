//! What regions report of their own accord: how many entities are in memory, and which sources they have adopted.

use std::collections::{BTreeMap, VecDeque};

use super::{Action, orders::Orders};
use crate::cluster::{Context, Epoch, Instant, LedgerId, Message, Peer, ShardId, Term};
use crate::control::{Command, Entry, Ownership};

/// What was reported.
#[derive(Debug)]
pub(super) struct Reports {
    live: BTreeMap<ShardId, Live>,
    /// Adoptions that were proposed, so that a report that is sent again is not proposed again at once.
    adopted: BTreeMap<(ShardId, LedgerId), Epoch>,
    /// In the order in which `adopted` may forget them.
    forget: VecDeque<(Instant, ShardId, LedgerId)>,
    orders: Orders,
}

/// How many entities of a shard are in memory, by the newest report.
#[derive(Debug)]
struct Live {
    epoch: Epoch,
    seq: u64,
    count: u64,
}

impl Reports {
    pub(super) fn new(term: Term) -> Self {
        Self {
            live: BTreeMap::new(),
            adopted: BTreeMap::new(),
            forget: VecDeque::new(),
            orders: Orders::new(term),
        }
    }

    pub(super) fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match *message {
            Message::EntityStarted {
                shard,
                epoch,
                seq,
                live,
            }
            | Message::EntityStopped {
                shard,
                epoch,
                seq,
                live,
                ..
            } => self.count(cx, from, shard, (epoch, seq, live)),
            Message::Adopted {
                shard,
                epoch,
                source,
            } => self.adopt(cx, from, shard, (epoch, source)),
            _ => {}
        }
    }

    pub(super) fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match &entry.command {
            Command::Adopted { shard, source, .. } => {
                self.adopted.remove(&(*shard, *source));
            }
            Command::Retire { .. } | Command::Drop { .. } | Command::Down { .. } => {
                self.live.retain(|shard, live| {
                    let home = cx.control.home_of(*shard);
                    home.is_some_and(|(_, epoch)| epoch == live.epoch)
                });
            }
            Command::CompleteHandoff { shards, .. } => {
                for (shard, _) in shards {
                    self.live.remove(shard);
                }
            }
            _ => {}
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }

    /// How many entities of this shard are in memory, if its owner has said.
    pub(super) fn live(&self, shard: ShardId) -> Option<u64> {
        self.live.get(&shard).map(|live| live.count)
    }

    fn count(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        shard: ShardId,
        (epoch, seq, count): (Epoch, u64, u64),
    ) {
        if cx.control.home_of(shard) != Some((from, epoch)) {
            return;
        }
        let known = self.live.get(&shard);
        if known.is_none_or(|live| (live.epoch, live.seq) < (epoch, seq)) {
            self.live.insert(shard, Live { epoch, seq, count });
        }
    }

    fn adopt(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        shard: ShardId,
        (epoch, source): (Epoch, LedgerId),
    ) {
        while let Some(&(at, shard, source)) = self.forget.front()
            && at <= cx.now.instant
        {
            self.forget.pop_front();
            self.adopted.remove(&(shard, source));
        }
        let Some(record) = cx.control.shards.get(&shard) else {
            return;
        };
        let owned = match record.ownership {
            Ownership::Owned { home } => home == from,
            Ownership::Handoff { from: home, .. } => home == from,
            Ownership::Unassigned => false,
        };
        let listed = record.sources.iter().any(|each| each.ledger == source);
        if !owned || !listed || record.epoch != epoch {
            return;
        }
        if self.adopted.insert((shard, source), epoch) == Some(epoch) {
            return;
        }
        let at = cx.now.instant + cx.settings.timing.resend;
        self.forget.push_back((at, shard, source));
        self.orders.propose(Command::Adopted {
            shard,
            epoch,
            source,
        });
    }
}

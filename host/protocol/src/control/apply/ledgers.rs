//! Which ledgers there are.

use super::Step;
use crate::cluster::{Epoch, Home, LedgerId, ShardId};
use crate::control::{Ledger, Ownership, Replica, Source};

impl Step<'_> {
    /// The old ledger is a source of everything durable that its home owns: it adopts from itself as a successor would.
    pub(super) fn open_ledger(
        &mut self,
        home: Home,
        after: Option<LedgerId>,
        replicas: &[Replica],
    ) {
        let Some(member) = self.state.live(home) else {
            return;
        };
        let disk = member.boot.disk;
        if member.ledger != after || !keeps(replicas, home, disk) {
            return;
        }
        let id = LedgerId(self.index.0);
        let replicas = replicas.to_vec();
        self.state.ledgers.insert(id, Ledger { home, replicas });
        self.changes.ledgers.push(id);
        if let Some(member) = self.state.members.get_mut(&home.node) {
            member.ledger = Some(id);
            self.changes.members.push(home.node);
        }
        if let Some(ledger) = after {
            let owned: Vec<_> = self.state.shards.owned_by(home).collect();
            for shard in owned {
                if !self.durable(shard) {
                    continue;
                }
                self.change(shard, |shard| {
                    let since = shard.since;
                    shard.sources.push(Source { ledger, since });
                });
            }
            self.loose = true;
        }
    }

    /// Only the owner that adopted may say so, and only while it lives: what another one copied lies where nobody looks.
    pub(super) fn adopted(&mut self, shard: ShardId, epoch: Epoch, source: LedgerId) {
        let Some(found) = self.state.shards.get(&shard) else {
            return;
        };
        let (Ownership::Owned { home } | Ownership::Handoff { from: home, .. }) = found.ownership
        else {
            return;
        };
        let adopter = found.epoch == epoch && self.state.live(home).is_some();
        if !adopter || found.sources.iter().all(|one| one.ledger != source) {
            return;
        }
        self.change(shard, |shard| {
            shard.sources.retain(|one| one.ledger != source);
        });
        self.loose = self.state.shards.sourced_from(source).next().is_none();
    }

    /// Forgets the ledgers that nobody writes or needs. Those of a handoff's target are needed: it may have installed what it
    /// got in one that it does not write any more.
    pub(super) fn drop_loose_ledgers(&mut self) {
        let state = &*self.state;
        let loose = |(&id, ledger): (&LedgerId, &Ledger)| {
            let member = state.live(ledger.home);
            let written = member.is_some_and(|member| member.ledger == Some(id));
            let needed = state.shards.sourced_from(id).next().is_some()
                || state.shards.incoming(ledger.home).next().is_some();
            (!written && !needed).then_some(id)
        };
        let loose: Vec<_> = state.ledgers.iter().filter_map(loose).collect();
        for id in &loose {
            self.state.ledgers.remove(id);
        }
        self.changes.ledgers.extend(loose);
    }
}

/// Whether these can keep a ledger of this home: its own disk is one of them, and no two are on one node.
fn keeps(replicas: &[Replica], home: Home, disk: u64) -> bool {
    let own = Replica {
        node: home.node,
        disk,
    };
    let distinct = replicas.iter().enumerate().all(|(place, one)| {
        let before = &replicas[..place];
        before.iter().all(|other| other.node != one.node)
    });
    replicas.len() <= Ledger::REPLICAS && replicas.contains(&own) && distinct
}

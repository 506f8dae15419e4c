//! Who owns a shard.

use super::Step;
use crate::cluster::{Epoch, HandoffId, Home, LedgerId, Mutant, ShardId, TransferId};
use crate::control::{Assignment, Ownership, Shard, Source, Status};

impl Step<'_> {
    /// The sources stay: what the new owner has to adopt is what the old ones left.
    pub(super) fn assign(&mut self, assignment: &Assignment) {
        let &Assignment { shard, after, home } = assignment;
        let Some(found) = self.state.shards.get(&shard) else {
            return;
        };
        let free = found.ownership == Ownership::Unassigned && found.epoch == after;
        if !free || !self.may_own(shard, home) {
            return;
        }
        let epoch = Epoch(self.index.0);
        self.change(shard, |shard| {
            shard.epoch = epoch;
            shard.since = epoch;
            shard.ownership = Ownership::Owned { home };
        });
    }

    pub(super) fn begin_handoff(
        &mut self,
        (transfer, stamp): (TransferId, Epoch),
        from: Home,
        to: Home,
        shards: &[(ShardId, Epoch)],
    ) {
        let handoff = HandoffId(self.index.0);
        for &(shard, epoch) in shards {
            let Some(found) = self.state.shards.get(&shard) else {
                continue;
            };
            let owned = found.ownership == Ownership::Owned { home: from };
            // What the owner has not adopted yet cannot be shipped.
            let whole = found.sources.is_empty();
            // A stamp from the past would let stale records count, and one from the future would hide the next owner's.
            let fresh = stamp >= found.epoch && stamp.0 < self.index.0;
            if owned
                && fresh
                && found.epoch == epoch
                && whole
                && from != to
                && self.may_own(shard, to)
            {
                self.change(shard, |shard| {
                    shard.ownership = Ownership::Handoff {
                        handoff,
                        transfer,
                        stamp,
                        from,
                        to,
                    };
                });
            }
        }
    }

    /// From here on the target's ledgers have everything: what it installed carries the transfer's stamp.
    ///
    /// `oldest` is the first ledger that the target wrote of it. Where its ledger changed since, the rest may be in any of the
    /// later ones.
    pub(super) fn complete_handoff(
        &mut self,
        handoff: HandoffId,
        shard: ShardId,
        oldest: Option<LedgerId>,
    ) {
        let Some((to, since)) = self.handoff_of(shard, handoff) else {
            return;
        };
        let Some(current) = self.state.live(to).map(|member| member.ledger) else {
            return;
        };
        let sources = if self.durable(shard) {
            let Some(oldest) = oldest.filter(|ledger| self.writes(to, *ledger)) else {
                return;
            };
            let later = self.state.ledgers.range(oldest..);
            later
                .filter(|(id, ledger)| ledger.home == to && Some(**id) != current)
                .map(|(&ledger, _)| Source { ledger, since })
                .collect()
        } else {
            Vec::new()
        };
        let epoch = Epoch(self.index.0);
        self.change(shard, |shard| {
            *shard = Shard {
                epoch,
                since,
                sources,
                ownership: Ownership::Owned { home: to },
            };
        });
        self.loose = true;
    }

    pub(super) fn abort_handoff(&mut self, handoff: HandoffId, shard: ShardId) {
        if self.handoff_of(shard, handoff).is_some() {
            self.give_back(shard);
        }
    }

    /// The handoff of a shard is off: it is the source's again, under a new epoch, or nobody's if the source is dead.
    pub(super) fn give_back(&mut self, shard: ShardId) {
        let Some(Ownership::Handoff { from, .. }) = self.ownership(shard) else {
            return;
        };
        let epoch = Epoch(self.index.0);
        let lives = self.state.live(from).is_some();
        let same = self.mutant == Some(Mutant::SameEpochOnRevert);
        self.change(shard, |shard| {
            if !lives {
                shard.ownership = Ownership::Unassigned;
                return;
            }
            shard.ownership = Ownership::Owned { home: from };
            if !same {
                shard.epoch = epoch;
            }
        });
        self.loose = true;
    }

    /// The owner's life is over. A handoff goes on: the target may have everything. Its ledger is a source at once also then,
    /// because the member that names it may be replaced before the handoff is decided.
    pub(super) fn lose_owner(&mut self, shard: ShardId, ledger: Option<LedgerId>) {
        let ledger = ledger.filter(|_| self.durable(shard));
        self.change(shard, |shard| {
            if let Some(ledger) = ledger {
                let since = shard.since;
                shard.sources.push(Source { ledger, since });
            }
            if matches!(shard.ownership, Ownership::Owned { .. }) {
                shard.ownership = Ownership::Unassigned;
            }
        });
    }

    fn may_own(&self, shard: ShardId, home: Home) -> bool {
        let Some(member) = self.state.live(home) else {
            return false;
        };
        member.status == Status::Up && (member.ledger.is_some() || !self.durable(shard))
    }

    fn ownership(&self, shard: ShardId) -> Option<Ownership> {
        self.state.shards.get(&shard).map(|shard| shard.ownership)
    }

    fn handoff_of(&self, shard: ShardId, id: HandoffId) -> Option<(Home, Epoch)> {
        match self.ownership(shard)? {
            Ownership::Handoff {
                handoff, stamp, to, ..
            } if handoff == id => Some((to, stamp)),
            _ => None,
        }
    }

    fn writes(&self, home: Home, ledger: LedgerId) -> bool {
        let ledger = self.state.ledgers.get(&ledger);
        ledger.is_some_and(|ledger| ledger.home == home)
    }
}

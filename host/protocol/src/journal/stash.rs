use std::sync::Arc;

use super::outbox::Persisting;
use super::{Journal, Write};
use crate::cluster::{Context, Epoch, ShardId, StoredRecord};
use crate::control::Ownership;

impl Journal {
    /// Keeps a state of a memory kind here. Until it is on disk it is found in memory.
    pub(super) fn stash(&mut self, shard: ShardId, record: Arc<StoredRecord>) {
        let entity = record.entity.clone();
        let why = Persisting::Stash {
            shard,
            entity: entity.clone(),
        };
        let write = Write::Stash {
            shard,
            record: record.clone(),
        };
        let token = self.outbox.persist(why, write);
        self.stash.insert((shard, entity), (token, record));
    }

    /// Only what the control state does not count: see [`Request::Forget`].
    pub(super) fn forget(&mut self, cx: &Context<'_>, shard: ShardId, before: Epoch) {
        let own = self.writer.ledger();
        let mut before = before;
        if let Some(state) = cx.control.shards.get(&shard) {
            let counted = match state.ownership {
                Ownership::Unassigned => None,
                Ownership::Owned { home } => Some(state.since).filter(|_| home == self.me),
                Ownership::Handoff { from, .. } if from == self.me => Some(state.since),
                Ownership::Handoff { to, stamp, .. } => Some(stamp).filter(|_| to == self.me),
            };
            let sources = state.sources.iter();
            let read = sources
                .filter(|source| Some(source.ledger) == own)
                .map(|source| source.since);
            before = read.chain(counted).fold(before, Epoch::min);
        }
        for ledger in own.map(Some).into_iter().chain([None]) {
            let write = Write::Forget {
                shard,
                ledger,
                before,
            };
            self.outbox.persist(Persisting::Nothing, write);
        }
    }
}

//! I13: the digest restored is the digest taken; a partial transfer is never visible.

use std::collections::{BTreeMap, BTreeSet};

use entia_protocol::Digest;
use entia_protocol::cluster::{Chunk, HandoffId, ShardId, TransferId};
use entia_protocol::control::Ownership;

use super::{Checked, View};

/// What sources have said that they ship.
#[derive(Debug, Default)]
pub(crate) struct Digests(BTreeMap<(TransferId, ShardId), BTreeSet<Digest>>);

impl Digests {
    /// A chunk leaves its source.
    pub(super) fn shipped(&mut self, chunk: &Chunk) {
        if let Some((_, digest)) = chunk.end {
            let key = (chunk.transfer, chunk.shard);
            self.0.entry(key).or_default().insert(digest);
        }
    }

    /// A target says that it has all of a shard.
    pub(super) fn installed(
        &mut self,
        view: &View<'_>,
        handoff: HandoffId,
        shard: ShardId,
        digest: Digest,
    ) -> Checked {
        let there = view.node.control().shards.get(&shard);
        let Some(Ownership::Handoff {
            handoff: running,
            transfer,
            ..
        }) = there.map(|shard| shard.ownership)
        else {
            return Ok(());
        };
        let taken = self.0.get(&(transfer, shard));
        if running == handoff && taken.is_none_or(|taken| !taken.contains(&digest)) {
            let message = format!("has installed {digest:?} of {shard}; taken were {taken:?}");
            return Err(view.violation("I13", message));
        }
        Ok(())
    }
}

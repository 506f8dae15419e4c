//! I10: after HandoffAcked the source dispatches nothing new; buffered calls are forwarded or refused, never lost.
//!
//! That no call is lost is seen by the clients, each of which has an answer at the end.

use std::collections::BTreeMap;

use entia_protocol::cluster::{HandoffId, NodeId, ShardId};
use entia_protocol::control::Ownership;

use super::{Checked, Dispatch, View};

/// What each node has acknowledged and not yet seen the end of.
#[derive(Debug, Default)]
pub(crate) struct Acked(BTreeMap<(NodeId, ShardId), HandoffId>);

impl Acked {
    /// A node says that it dispatches nothing of these any more.
    pub(super) fn acknowledged(&mut self, view: &View<'_>, handoff: HandoffId, shards: &[ShardId]) {
        for &shard in shards {
            self.0.insert((view.seen.node, shard), handoff);
        }
    }

    /// A turn begins.
    pub(super) fn dispatched(&mut self, view: &View<'_>, dispatch: &Dispatch<'_>) -> Checked {
        let key = (view.seen.node, dispatch.shard);
        let Some(acked) = self.0.get(&key) else {
            return Ok(());
        };
        let shard = view.node.control().shards.get(&dispatch.shard);
        match shard.map(|shard| shard.ownership) {
            Some(Ownership::Handoff { handoff, .. }) if handoff == *acked => {
                let message = format!("runs {} after it acknowledged {handoff}", dispatch.entity);
                Err(view.violation("I10", message))
            }
            _ => {
                self.0.remove(&key);
                Ok(())
            }
        }
    }

    /// The process is gone.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.0.retain(|(of, _), _| *of != node);
    }
}

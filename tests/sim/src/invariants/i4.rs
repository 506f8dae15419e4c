//! I4: control state is identical at equal index on all nodes (hash chained).

use std::collections::BTreeMap;

use entia_protocol::cluster::{Index, NodeId};

use super::{Checked, View};

/// The hash at each index that any node has reached, and how far each node is.
#[derive(Debug, Default)]
pub(crate) struct Hashes {
    hashes: BTreeMap<Index, u64>,
    applied: BTreeMap<NodeId, (Index, u64)>,
}

impl Hashes {
    /// A node has stepped.
    pub(super) fn stepped(&mut self, view: &View<'_>) -> Checked {
        let control = view.node.control();
        let now = (control.applied, control.hash);
        let last = self.applied.insert(view.seen.node, now);
        if last == Some(now) {
            return Ok(());
        }
        if let Some(last) = last.filter(|last| now.0 < last.0) {
            let message = format!("went back from {} to {}", last.0, now.0);
            return Err(view.violation("I4", message));
        }
        let hash = *self.hashes.entry(now.0).or_insert(now.1);
        if hash != now.1 {
            let message = format!("has {:016x} at {}, others have {hash:016x}", now.1, now.0);
            return Err(view.violation("I4", message));
        }
        Ok(())
    }

    /// The node's process is another one.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.applied.remove(&node);
    }
}

//! I1: per shard, dispatch epochs never decrease in true time; one (node, incarnation) per epoch.

use std::collections::BTreeMap;

use entia_protocol::cluster::{Epoch, Home, ShardId};

use super::{Checked, Dispatch, View};

/// The last dispatch of each shard.
#[derive(Debug, Default)]
pub(crate) struct Epochs(BTreeMap<ShardId, (Epoch, Home)>);

impl Epochs {
    /// A turn begins.
    pub(super) fn dispatched(&mut self, view: &View<'_>, dispatch: &Dispatch<'_>) -> Checked {
        let Dispatch {
            entity,
            shard,
            epoch,
            ..
        } = dispatch;
        let owner = view.node.control().home_of(*shard);
        if owner.is_none_or(|(home, _)| home != view.home) {
            return Err(view.violation(
                "I1",
                format!(
                    "runs {entity} of {shard}, whose owner is {owner:?} by what it has applied"
                ),
            ));
        }
        let last = self.0.entry(*shard).or_insert((*epoch, view.home));
        if last.0 > *epoch || last.0 == *epoch && last.1 != view.home {
            return Err(view.violation(
                "I1",
                format!(
                    "runs {entity} of {shard} under {epoch} after {} did under {}",
                    last.1, last.0
                ),
            ));
        }
        *last = (*epoch, view.home);
        Ok(())
    }
}

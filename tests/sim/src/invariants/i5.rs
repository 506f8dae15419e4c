//! I5: a shard is in exactly one state; epochs strictly increase, never reused.
//!
//! The first half is a type. For the second: whoever may dispatch a shard after an entry, and might not before it, has that
//! entry's index as its epoch, and nobody's epoch ever goes back.

use std::collections::BTreeMap;

use entia_protocol::cluster::{Epoch, ShardId};
use entia_protocol::control::{Changes, Command, ControlState, Entry, Ownership};

use super::{Checked, named};
use crate::violation::Violation;

/// How each shard was before the next entry.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<ShardId, (Epoch, Ownership)>);

impl Owners {
    /// An entry is committed; `control` is what it made.
    pub(super) fn decided(
        &mut self,
        control: &ControlState,
        entry: &Entry,
        changes: &Changes,
    ) -> Checked {
        for &id in &changes.shards {
            let Some(shard) = control.shards.get(&id) else {
                self.0.remove(&id);
                continue;
            };
            let now = (shard.epoch, shard.ownership);
            let before = self.0.insert(id, now);
            let epoch_before = before.map_or(Epoch(0), |(epoch, _)| epoch);
            let wrong = |what: &str| {
                let message = format!(
                    "{id} {what}: {before:?} to {now:?}; {}",
                    named(entry, changes)
                );
                Err(Violation::new("I5", message))
            };
            if now.0 < epoch_before {
                return wrong("has an older epoch");
            }
            if now.0 != epoch_before && now.0.0 != entry.index.0 {
                return wrong("has an epoch that is not the entry's");
            }
            let given = matches!(now.1, Ownership::Owned { .. })
                && before.map(|(_, ownership)| ownership) != Some(now.1);
            // Begin leaves the epoch alone: the source goes on under it.
            let begins = matches!(entry.command, Command::BeginHandoff { .. });
            if given && !begins && now.0 == epoch_before {
                return wrong("has a new owner under an old epoch");
            }
        }
        Ok(())
    }
}

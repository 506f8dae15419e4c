//! I6: an acknowledged command is in the state that the next owner uses: durable kinds always, memory kinds across planned
//! handoffs.
//!
//! The oracle sees every loss. Here is judged which were allowed: a list in memory is lost only where its shard was assigned
//! anew, which a handoff is not.

use std::collections::BTreeMap;

use entia_protocol::cluster::ShardId;
use entia_protocol::control::{Changes, Command, ControlState, Entry};

use super::Checked;
use crate::oracle::Oracle;
use crate::violation::Violation;

/// When each shard was assigned, in true time.
#[derive(Debug, Default)]
pub(crate) struct Assigned(BTreeMap<ShardId, Vec<u64>>);

impl Assigned {
    /// An entry is committed.
    pub(super) fn decided(
        &mut self,
        true_time: u64,
        control: &ControlState,
        entry: &Entry,
        changes: &Changes,
    ) {
        if let Command::Assign { .. } = entry.command {
            for &shard in &changes.shards {
                debug_assert!(control.shards.get(&shard).is_some(), "assigned and gone");
                self.0.entry(shard).or_default().push(true_time);
            }
        }
    }

    /// Judges what the oracle saw.
    pub(super) fn at_end(&self, control: &ControlState, oracle: &Oracle) -> Checked {
        for loss in oracle.losses() {
            let Some(shard) = control.shard_of(&loss.entity) else {
                continue;
            };
            let times = self.0.get(&shard).map(Vec::as_slice).unwrap_or_default();
            let allowed = |time: &u64| loss.since <= *time && *time <= loss.until;
            if !times.iter().any(allowed) {
                let message = format!("{loss:?}, and {shard} was assigned only at {times:?}");
                return Err(Violation::new("I6", message));
            }
        }
        Ok(())
    }
}

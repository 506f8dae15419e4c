//! I12: after faults stop, all shards and workers serve within the bound, no handoff is left over, buffers drain.
//!
//! That shards serve is seen by the auditor, who reads every entity: see [`crate::work`].

use std::collections::BTreeMap;

use entia_protocol::cluster::ShardId;
use entia_protocol::control::{Changes, ControlState, Ownership, Status};

use super::Checked;
use crate::plan::nanos;
use crate::violation::Violation;
use crate::world::World;

/// The shards that nobody serves, and since when in true time.
#[derive(Debug, Default)]
pub(crate) struct Rest(BTreeMap<ShardId, u64>);

impl Rest {
    /// An entry is committed.
    pub(super) fn decided(&mut self, true_time: u64, control: &ControlState, changes: &Changes) {
        for shard in &changes.shards {
            match control.shards.get(shard).map(|shard| shard.ownership) {
                None | Some(Ownership::Owned { .. }) => {
                    self.0.remove(shard);
                }
                Some(Ownership::Unassigned | Ownership::Handoff { .. }) => {
                    self.0.entry(*shard).or_insert(true_time);
                }
            }
        }
    }

    /// Nothing is left over.
    pub(super) fn at_end(&self, world: &World, control: &ControlState) -> Checked {
        let healed = world.plan.faults_until();
        let bound = nanos(world.plan.settings.timing.phase) + 1_000_000_000;
        for (shard, since) in &self.0 {
            if world.true_time.saturating_sub(healed.max(*since)) > bound {
                let message = format!(
                    "{shard} has had no owner since {since}: {:?}",
                    control.shards.get(shard)
                );
                return Err(Violation::new("I12", message));
            }
        }
        for (&id, there) in &world.nodes {
            let member = control.members.get(&id);
            let fine = there.gone
                || !there.alive
                || member.is_some_and(|member| {
                    member.home() == there.home() && member.status != Status::Down
                });
            if !fine {
                let member = member.map(|member| (member.home(), member.status, member.since));
                let message = format!("{} runs, and is no member: {member:?}", there.home());
                return Err(Violation::new("I12", message));
            }
            let behind = there.node.as_ref().map(|node| node.control().applied);
            let bound = control.applied.0.saturating_sub(256);
            if !there.gone && behind.is_some_and(|applied| applied.0 < bound) {
                let message = format!("{id} is at {behind:?}, the log at {}", control.applied);
                return Err(Violation::new("I12", message));
            }
        }
        Ok(())
    }
}

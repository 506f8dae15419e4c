//! I11: exactly N worker indices; at most one live worker per index at any true time; after heal exactly one.
//!
//! A worker is live from the moment that its step begins until it has ended, was discarded, or its process is gone. A stopped
//! process runs nothing: what it does when it goes on is judged by its lease.

use std::collections::BTreeMap;

use entia_protocol::EntityId;
use entia_protocol::cluster::{NodeId, ShardId};
use entia_protocol::control::{ControlState, Role};

use super::{Checked, Dispatch, View};
use crate::node::Input;
use crate::violation::Violation;
use crate::world::World;

/// What steps, and what stepped last.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    live: BTreeMap<ShardId, BTreeMap<NodeId, EntityId>>,
    /// Who began the last step, and when in true time.
    last: BTreeMap<ShardId, (NodeId, u64)>,
}

/// A worker that has not begun a step for that long at the end does not run.
const SILENCE: u64 = 4_000_000_000;

impl Workers {
    /// A turn begins.
    pub(super) fn dispatched(
        &mut self,
        view: &View<'_>,
        dispatch: &Dispatch<'_>,
        honest: bool,
    ) -> Checked {
        if *dispatch.input != Input::Step {
            return Ok(());
        }
        let (shard, node) = (dispatch.shard, view.seen.node);
        let live = self.live.entry(shard).or_default();
        let mut others = live.keys().filter(|other| **other != node);
        if let Some(other) = others.find(|other| honest && view.world.awake(**other)) {
            let message = format!("steps {} while it runs on {other}", dispatch.entity);
            return Err(view.violation("I11", message));
        }
        live.insert(node, dispatch.entity.clone());
        self.last.insert(shard, (node, view.seen.true_time));
        Ok(())
    }

    /// A step has ended, or was discarded.
    pub(super) fn ended(&mut self, node: NodeId, entity: &EntityId) {
        for live in self.live.values_mut() {
            if live.get(&node) == Some(entity) {
                live.remove(&node);
            }
        }
    }

    /// The process is gone.
    pub(super) fn forget(&mut self, node: NodeId) {
        for live in self.live.values_mut() {
            live.remove(&node);
        }
    }

    /// Every worker runs. Where is I1's business: it may have moved just now.
    pub(super) fn at_end(&self, world: &World, control: &ControlState) -> Checked {
        for (&id, space) in &control.spaces {
            if space.role == Role::Kind {
                continue;
            }
            for number in 0..space.shards {
                let shard = ShardId { space: id, number };
                let last = self.last.get(&shard);
                let runs = last.is_some_and(|&(_, at)| at + SILENCE > world.true_time);
                if !runs {
                    let owner = control.home_of(shard);
                    let message = format!(
                        "worker {number} of {} does not run: {owner:?} owns it, the last step was {last:?}",
                        space.name
                    );
                    return Err(Violation::new("I11", message));
                }
            }
        }
        Ok(())
    }
}

//! I9: a message handled twice, late or reordered changes nothing more.
//!
//! That two runs, one with every message tripled, come to the same state is a property of runs: [`crate::run`]. Here is what
//! one step shows: a grant that came before extends no lease, and an entry that is applied already is not applied again.

use std::collections::{BTreeMap, VecDeque};

use entia_protocol::cluster::{Grant, Index, Instant, Message, NodeId};

use super::{Checked, View};
use crate::observation::Cause;

/// What each node had before, and the last grants that it got.
#[derive(Debug, Default)]
pub(crate) struct Repeats(BTreeMap<NodeId, Before>);

#[derive(Debug, Default)]
struct Before {
    lease_until: Instant,
    applied: Index,
    grants: VecDeque<Grant>,
}

const GRANTS: usize = 32;

impl Repeats {
    /// A node has stepped.
    pub(super) fn stepped(&mut self, view: &View<'_>) -> Checked {
        let before = self.0.entry(view.seen.node).or_default();
        let applied = view.node.control().applied;
        let until = view.node.lease_until();
        match view.seen.cause {
            Cause::Message {
                message: Message::Grant(grant),
                ..
            } => {
                if before.grants.contains(grant) {
                    if until > before.lease_until {
                        let message = format!("{grant:?}, again, extends a lease to {until:?}");
                        return Err(view.violation("I9", message));
                    }
                } else {
                    if before.grants.len() == GRANTS {
                        before.grants.pop_front();
                    }
                    before.grants.push_back(*grant);
                }
            }
            Cause::Applied(entry) if entry.index <= before.applied && applied != before.applied => {
                let message = format!("{} again led to {applied}", entry.index);
                return Err(view.violation("I9", message));
            }
            _ => {}
        }
        before.lease_until = until;
        before.applied = applied;
        Ok(())
    }

    /// The node's process is another one.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}

//! I3: one coordinator per term; no command of term T applies after T+1's first entry.

use std::collections::BTreeMap;

use entia_protocol::cluster::{NodeId, Term};
use entia_protocol::control::{Changes, Entry};

use super::{Checked, named};
use crate::violation::Violation;

/// Who coordinated when.
#[derive(Debug, Default)]
pub(crate) struct Coordinators(BTreeMap<u64, NodeId>);

impl Coordinators {
    /// A node proposes something.
    pub(super) fn proposed(&mut self, node: NodeId, term: Term) -> Checked {
        let coordinator = *self.0.entry(term.number).or_insert(node);
        if coordinator != node || term.node != node {
            let message = format!("{node} proposes as {term}, which is {coordinator}");
            return Err(Violation::new("I3", message));
        }
        Ok(())
    }

    /// An entry is committed; `before` is the coordinator that ruled before it.
    pub(super) fn decided(&mut self, before: Term, entry: &Entry, changes: &Changes) -> Checked {
        if entry.term < before && !changes.is_empty() {
            let message = format!(
                "{} counts after {before}; {}",
                entry.term,
                named(entry, changes)
            );
            return Err(Violation::new("I3", message));
        }
        Ok(())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_has_one_coordinator() {
        let term = |number, node| Term {
            number,
            node: NodeId(node),
        };
        let mut coordinators = Coordinators::default();
        assert_eq!(coordinators.proposed(NodeId(1), term(1, 1)), Ok(()));
        assert_eq!(coordinators.proposed(NodeId(2), term(2, 2)), Ok(()));
        assert_eq!(coordinators.proposed(NodeId(1), term(1, 1)), Ok(()));
        assert!(coordinators.proposed(NodeId(3), term(2, 3)).is_err());
        assert!(coordinators.proposed(NodeId(1), term(3, 2)).is_err());
    }
}

//! I16: at most one voter change in flight; a downed incarnation is never granted again.

use std::collections::BTreeSet;

use entia_protocol::cluster::{Grant, Home, NodeId, Term};
use entia_protocol::control::{Changes, Command, Entry};

use super::{Checked, View, named};
use crate::violation::Violation;

/// Whom each coordinator wants to declare down.
#[derive(Debug, Default)]
pub(crate) struct Downed(BTreeSet<(Term, Home)>);

impl Downed {
    /// A coordinator proposes something.
    pub(super) fn proposed(&mut self, term: Term, command: &Command) {
        if let Command::Down { member } = command {
            self.0.insert((term, *member));
        }
    }

    /// A coordinator lets a lease run on.
    pub(super) fn granted(&self, view: &View<'_>, to: NodeId, grant: &Grant) -> Checked {
        let home = Home {
            node: to,
            incarnation: grant.incarnation,
        };
        let live = view.node.control().live(home).is_some();
        if !live || self.0.contains(&(grant.term, home)) {
            let message = format!("grants {home}, which is down or about to be");
            return Err(view.violation("I16", message));
        }
        Ok(())
    }

    /// An entry is committed: of the voters, one at a time.
    pub(super) fn decided(&self, entry: &Entry, changes: &Changes) -> Checked {
        let Command::Voters { from, to } = &entry.command else {
            return Ok(());
        };
        let from: BTreeSet<_> = from.iter().collect();
        let to: BTreeSet<_> = to.iter().collect();
        if changes.voters && from.symmetric_difference(&to).count() != 1 {
            let message = format!("voters {from:?} to {to:?}; {}", named(entry, changes));
            return Err(Violation::new("I16", message));
        }
        Ok(())
    }
}

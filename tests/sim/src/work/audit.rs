//! The end: everything is read until all that was promised is there.

use std::collections::BTreeSet;

use entia_protocol::EntityId;

use super::operation::{Asker, Operation, Standing};
use super::promise::{self, Listings};
use super::{Job, MS, Workload};
use crate::executor::Command;
use crate::violation::Violation;

/// What is known at the end.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// What was read last of each entity.
    pub(super) listings: Listings,
    /// What is asked for and not answered.
    pub(super) unread: BTreeSet<EntityId>,
    /// All is as it should be.
    pub(super) done: bool,
}

impl Workload {
    /// What is wrong at the end, if anything is.
    pub fn verdict(&self) -> Result<(), Violation> {
        if let Some(violation) = self.oracle.violation() {
            return Err(violation.clone());
        }
        if self.audit.done {
            return promise::in_order(&self.promises, &self.audit.listings);
        }
        let is_open = |operation: &&Operation| operation.standing == Standing::Open;
        let open: Vec<_> = self.operations.iter().filter(is_open).collect();
        if !open.is_empty() {
            let some: Vec<_> = open.iter().take(4).map(|open| open.words()).collect();
            let message = format!("{} calls are not answered: {}", open.len(), some.join("; "));
            return Err(Violation::new("I12", message));
        }
        match promise::unkept(&self.promises, &self.audit.listings).first() {
            Some(promise) => Err(promise::broken(promise, &self.audit.listings)),
            None => Err(Violation::new(
                "I12",
                "there was no time to read everything",
            )),
        }
    }

    /// Reads what was not read, or what was not complete when it was.
    pub(super) fn audit(&mut self, now: u64) {
        let open = |operation: &Operation| operation.standing == Standing::Open;
        if !self.operations.iter().any(open) {
            if self.audit.listings.is_empty() {
                self.oracle.leases_hold();
                self.audit.unread = self
                    .choices
                    .all()
                    .map(|(entity, _)| entity.clone())
                    .collect();
            } else {
                let unkept = promise::unkept(&self.promises, &self.audit.listings);
                let parties = unkept.iter().flat_map(|promise| promise.parties());
                self.audit.unread = parties.cloned().collect();
            }
            if self.audit.unread.is_empty() {
                self.audit.done = true;
                return;
            }
            for entity in self.audit.unread.clone() {
                let node = self.node_for(self.clients.len());
                self.begin(Asker::Auditor, entity, Command::Read, node, now);
            }
        }
        self.schedule(now + 200 * MS, Job::Audit);
    }
}

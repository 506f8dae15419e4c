//! I15: no effect leaves before its commit; no durable ack before fsync.
//!
//! A replica says `Appended` and `Sealed` of what is on its disk. A turn that has just ended, and whose record is only now on its
//! way to the disk, has no answer yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use entia_protocol::cluster::{Epoch, LedgerId, Message, NodeId, StoredRecord};
use entia_protocol::{CallError, EntityId, Payload};

use super::{Checked, View};
use crate::executor::Answer;
use crate::node::{Action, Write};
use crate::observation::Cause;

/// What is on disks, and what is on its way there.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    disks: BTreeMap<NodeId, Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    number: Option<u64>,
    writing: BTreeMap<u64, Writing>,
    records: BTreeMap<(LedgerId, EntityId), (Epoch, u64)>,
    sealed: BTreeSet<LedgerId>,
    /// What was to be appended, by ledger and sequence.
    appends: BTreeMap<(LedgerId, u64), Arc<StoredRecord>>,
}

#[derive(Debug)]
enum Writing {
    Record(LedgerId, Arc<StoredRecord>),
    Seal(LedgerId),
}

/// The appends that are remembered per disk.
const APPENDS: usize = 2_000;

impl Commits {
    /// A message came in.
    pub(super) fn came_in(&mut self, node: NodeId, message: &Message) {
        if let Message::Append {
            ledger,
            seq,
            record,
            ..
        } = message
        {
            let disk = self.disks.entry(node).or_default();
            if disk.appends.len() >= APPENDS {
                disk.appends.pop_first();
            }
            disk.appends.insert((*ledger, *seq), Arc::clone(record));
        }
    }

    /// A write begins.
    pub(super) fn persists(&mut self, node: NodeId, token: u64, write: &Write) {
        let writing = match write {
            Write::Record { ledger, record, .. } => Writing::Record(*ledger, Arc::clone(record)),
            Write::Seal { ledger } => Writing::Seal(*ledger),
            Write::Stash { .. } | Write::DropLedger { .. } | Write::Forget { .. } => return,
        };
        let disk = self.disks.entry(node).or_default();
        disk.writing.insert(token, writing);
    }

    /// A write is on the disk.
    pub(super) fn persisted(&mut self, node: NodeId, token: u64) {
        let disk = self.disks.entry(node).or_default();
        if let Some(writing) = disk.writing.remove(&token) {
            disk.wrote(writing);
        }
    }

    /// A replica acknowledges a record.
    pub(super) fn acknowledged(&self, view: &View<'_>, ledger: LedgerId, seq: u64) -> Checked {
        let disk = self.disks.get(&view.seen.node);
        let Some((disk, record)) =
            disk.and_then(|disk| Some((disk, disk.appends.get(&(ledger, seq))?)))
        else {
            return Ok(());
        };
        let newest = disk.records.get(&(ledger, record.entity.clone()));
        if newest.is_none_or(|newest| *newest < record.age()) {
            let message = format!(
                "acknowledges {:?} of {} in {ledger}; on its disk is {newest:?}",
                record.age(),
                record.entity
            );
            return Err(view.violation("I15", message));
        }
        Ok(())
    }

    /// A replica says that a ledger is sealed.
    pub(super) fn sealed(&self, view: &View<'_>, ledger: LedgerId) -> Checked {
        let disk = self.disks.get(&view.seen.node);
        if disk.is_none_or(|disk| !disk.sealed.contains(&ledger)) {
            let message = format!("says that {ledger} is sealed, and it is not on its disk");
            return Err(view.violation("I15", message));
        }
        Ok(())
    }

    /// A node has stepped: a turn that ended with a record is not answered in the same step.
    pub(super) fn stepped(&self, view: &View<'_>) -> Checked {
        let Cause::TurnEnded(_) = view.seen.cause else {
            return Ok(());
        };
        let writes = view.seen.actions.iter().any(|action| {
            matches!(
                action,
                Action::Persist {
                    write: Write::Record { .. },
                    ..
                }
            )
        });
        let told = view.seen.actions.iter().any(|action| match action {
            Action::Answer { answer, .. } => tells(answer),
            Action::Send {
                message: Message::Reply(reply),
                ..
            } => tells(&reply.answer),
            _ => false,
        });
        if writes && told {
            return Err(view.violation("I15", "answers before the record is on a disk"));
        }
        Ok(())
    }

    /// The node's process is another one; perhaps also its disk.
    pub(super) fn forget(&mut self, node: NodeId, number: Option<u64>) {
        let disk = self.disks.entry(node).or_default();
        // What was on its way may be there or not.
        for writing in std::mem::take(&mut disk.writing).into_values() {
            disk.wrote(writing);
        }
        disk.appends.clear();
        if disk.number != number && disk.number.is_some() {
            *disk = Disk::default();
        }
        disk.number = number;
    }
}

impl Disk {
    fn wrote(&mut self, writing: Writing) {
        match writing {
            Writing::Record(ledger, record) => {
                let age = record.age();
                let newest = self.records.entry((ledger, record.entity.clone()));
                let newest = newest.or_insert(age);
                *newest = age.max(*newest);
            }
            Writing::Seal(ledger) => drop(self.sealed.insert(ledger)),
        }
    }
}

/// Whether an answer tells of a change.
fn tells(answer: &Result<Payload, CallError>) -> bool {
    let answer = answer.as_ref().ok().and_then(Answer::of);
    matches!(answer, Some(Answer::Appended { .. }))
}

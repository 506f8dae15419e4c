//! What must be true of the history that clients saw.
//!
//! Every append answers with its place: the list's name (its first serial), the position, and the serial before it. From that
//! alone follows for each entity:
//!
//! ```text
//!   two serials at one position                          an acknowledged append was lost, or there were two owners   I6
//!   one serial at two positions of a list                it took effect twice                                        I7
//!   an answer without what was answered before the       a stale read, or an append to a stale list                  I8
//!     question was asked
//!   a caller's second call in front of its first         reordered                                                   I8
//!   a serial of a turn that trapped                      an effect without its commit                                I15
//!   a new list though nobody deleted the old one         all was lost                                                I6
//! ```
//! A kind in memory may lose a list where its shard was assigned anew: [`Oracle::losses`] says when that has to have been.

mod history;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use entia_protocol::{Durability, EntityId};

use crate::executor::Place;
use crate::violation::Violation;

use history::History;

/// Everything that clients were told.
#[derive(Debug, Default)]
pub struct Oracle {
    entities: BTreeMap<EntityId, History>,
    /// By serial minus 1: whose it is, and whether anybody may see it.
    serials: Vec<Meaning>,
    losses: Vec<Loss>,
    /// Clocks run more wrong than the protocol assumes.
    leases_lie: bool,
    violation: Option<Violation>,
}

/// When a client asked, and when it was answered, in true time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first time that it asked.
    pub issued: u64,
    /// When it was answered.
    pub answered: u64,
}

/// A call among all those that a caller made through one node's life: they run in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The caller, the node, and the node's life in one number.
    pub lane: u64,
    /// Counts the lane's calls.
    pub number: u64,
}

/// A list of a kind in memory that was lost, so that its shard must have been assigned anew in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Whose.
    pub entity: EntityId,
    /// The list was there at this time or later.
    pub since: u64,
    /// And not there at this time.
    pub until: u64,
}

#[derive(Debug, Clone)]
struct Meaning {
    entity: EntityId,
    visible: bool,
}

impl Oracle {
    /// A new serial for `entity`. One that is not `visible` is appended by a turn that traps.
    pub fn serial(&mut self, entity: &EntityId, visible: bool) -> u64 {
        self.serials.push(Meaning {
            entity: entity.clone(),
            visible,
        });
        self.serials.len() as u64
    }

    /// An entity that may be asked. Nothing is known of one that is not announced.
    pub fn announce(&mut self, entity: EntityId, durability: Durability) {
        self.entities.insert(entity, History::new(durability));
    }

    /// Leases cannot be believed in this run: kinds in memory may have two owners, and answers may be stale, until
    /// [`Oracle::leases_hold`]. What is durable is neither lost nor forked all the same.
    pub fn leases_lie(&mut self) {
        self.leases_lie = true;
    }

    /// From now on every answer has to be right. It is asked after all faults.
    pub fn leases_hold(&mut self) {
        if std::mem::replace(&mut self.leases_lie, false) {
            self.entities.retain(|_, history| !history.tainted());
        }
    }

    /// Somebody is about to delete it: from now on that may have happened, once more.
    pub fn deleting(&mut self, entity: &EntityId) {
        if let Some(history) = self.entities.get_mut(entity) {
            history.deleting();
        }
    }

    /// An append was answered.
    pub fn appended(&mut self, entity: &EntityId, serial: u64, place: &Place, span: Span) {
        self.check(entity, |history, losses| {
            history.appended(serial, place, span, losses)
        });
        self.check_meaning(entity, &[place.previous, serial]);
    }

    /// Everything was listed.
    pub fn listed(&mut self, entity: &EntityId, life: u64, serials: &[u64], span: Span) {
        self.check(entity, |history, losses| {
            history.listed(life, serials, span, losses)
        });
        self.check_meaning(entity, serials);
    }

    /// A deletion was answered.
    pub fn forgotten(&mut self, entity: &EntityId, life: u64, length: u64, span: Span) {
        self.check(entity, |history, _| history.forgotten(life, length, span));
    }

    /// An append that was neither repeated nor refused went there. Called after [`Oracle::appended`].
    pub fn ordered(&mut self, entity: &EntityId, turn: Turn, place: &Place) {
        self.check(entity, |history, _| history.ordered(turn, place));
    }

    /// Something else is wrong with an answer.
    pub fn accuse(&mut self, invariant: &'static str, message: String) {
        self.violation
            .get_or_insert_with(|| Violation::new(invariant, message));
    }

    /// The first rule that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The lists of kinds in memory that were lost.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    fn check(
        &mut self,
        entity: &EntityId,
        rule: impl FnOnce(&mut History, &mut Vec<Gap>) -> Result<(), Broken>,
    ) {
        let Some(history) = self.entities.get_mut(entity) else {
            return;
        };
        let mut gaps = Vec::new();
        let result = rule(history, &mut gaps);
        self.losses
            .extend(gaps.into_iter().map(|(since, until)| Loss {
                entity: entity.clone(),
                since,
                until,
            }));
        let Err((invariant, message)) = result else {
            return;
        };
        if self.leases_lie && history.forgives(invariant) {
            return;
        }
        self.accuse(invariant, format!("{entity}: {message}"));
    }

    fn check_meaning(&mut self, entity: &EntityId, serials: &[u64]) {
        for &serial in serials.iter().filter(|&&serial| serial != 0) {
            let place = usize::try_from(serial - 1).unwrap_or(usize::MAX);
            match self.serials.get(place) {
                Some(meaning) if meaning.entity != *entity => {
                    let message = format!("{entity} has {serial}, which is {}'s", meaning.entity);
                    self.accuse("I13", message);
                }
                Some(meaning) if !meaning.visible => {
                    let message = format!("{entity} has {serial}, whose turn trapped");
                    self.accuse("I15", message);
                }
                Some(_) => {}
                None => {
                    self.accuse("I13", format!("{entity} has {serial}, which nobody sent"));
                }
            }
        }
    }
}

/// Which rule, and what was seen.
type Broken = (&'static str, String);
/// Between when and when a list was lost.
type Gap = (u64, u64);

//! When to ask for what follows in the control log, and whom.
//!
//! Who votes gets the log from Raft, everybody else a `MetaDelta` of each entry from the coordinator. Neither is certain: so
//! each message that names an index is compared with what is applied here, and who hears nothing at all asks, too.

use std::time::Duration;

use crate::cluster::{Context, Index, Instant, NodeId};

#[derive(Debug)]
pub(super) struct Pull {
    /// The highest index that somebody named, and who.
    wanted: Option<(Index, NodeId)>,
    /// When to ask: there is always an instant, which moves with everything that is heard.
    due: Instant,
    /// When was asked last.
    last: Option<Instant>,
    /// How often was asked in vain.
    attempt: usize,
}

/// An index that nobody could show for so many questions was never committed: it is forgotten.
const ATTEMPTS_MAX: usize = 32;

impl Pull {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            wanted: None,
            due: now,
            last: None,
            attempt: 0,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.due)
    }

    /// Somebody has committed up to `index`. It may be on its way to this node.
    pub(super) fn heard(&mut self, cx: &Context<'_>, from: NodeId, index: Index) {
        let now = cx.now.instant;
        if index <= cx.control.applied {
            // The sender has nothing that is not here: whoever it is, it is not behind.
            if index == cx.control.applied && self.wanted.is_none() {
                self.due = now + patience(cx);
            }
            return;
        }
        let delay = if votes(cx) {
            cx.settings.timing.announce
        } else {
            cx.settings.timing.barrier
        };
        self.want(from, index, now + delay);
    }

    /// Something is missing here that will not come by itself.
    pub(super) fn gap(&mut self, cx: &Context<'_>, from: NodeId, index: Index) {
        let now = cx.now.instant;
        if index > cx.control.applied {
            self.want(from, index, now);
        }
        let spaced = self.last.map(|last| last + cx.settings.timing.barrier);
        let soon = spaced.map_or(now, |spaced| spaced.max(now));
        self.due = self.due.min(soon);
    }

    /// Something was applied.
    pub(super) fn fed(&mut self, cx: &Context<'_>) {
        self.attempt = 0;
        if self
            .wanted
            .is_some_and(|(wanted, _)| wanted > cx.control.applied)
        {
            // An answer is a part of what is missing: the next one is asked for as soon as what is on its way can be here.
            let soon = cx.now.instant + cx.settings.timing.barrier / 4;
            self.due = self.due.min(soon);
            return;
        }
        self.wanted = None;
        self.due = cx.now.instant + patience(cx);
    }

    /// Whom to ask now. Every second time it is the next of the `others`: who named an index may be gone.
    pub(super) fn next(
        &mut self,
        cx: &Context<'_>,
        others: impl FnOnce() -> Vec<NodeId>,
    ) -> Option<NodeId> {
        let now = cx.now.instant;
        self.due = now + cx.settings.timing.announce;
        self.last = Some(now);
        let attempt = self.attempt;
        self.attempt = attempt.wrapping_add(1);
        if attempt >= ATTEMPTS_MAX {
            self.wanted = None;
        }
        let coordinator =
            (cx.control.coordinator.number != 0).then_some(cx.control.coordinator.node);
        let first = self.wanted.map(|(_, from)| from).or(coordinator);
        if let Some(first) = first.filter(|&node| node != cx.me.node && attempt.is_multiple_of(2)) {
            return Some(first);
        }
        let others = others();
        let place = (attempt / 2).checked_rem(others.len())?;
        others.get(place).copied()
    }

    fn want(&mut self, from: NodeId, index: Index, due: Instant) {
        if self.wanted.is_none_or(|(wanted, _)| wanted < index) {
            if self.wanted.is_none() {
                self.due = self.due.min(due);
            }
            self.wanted = Some((index, from));
        }
    }
}

/// How long a node believes that nothing happens, when it hears nothing.
fn patience(cx: &Context<'_>) -> Duration {
    let announce = cx.settings.timing.announce;
    // A voter may have been told by nobody that it votes no more.
    if votes(cx) { announce * 4 } else { announce }
}

fn votes(cx: &Context<'_>) -> bool {
    cx.control.voters.contains(&cx.me.node)
}

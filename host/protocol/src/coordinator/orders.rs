//! What a part of the coordinator wants done, until it is polled.

use std::collections::VecDeque;

use super::Action;
use crate::cluster::{Message, NodeId, Term};
use crate::control::Command;

/// The orders of one part, in the name of one term.
#[derive(Debug)]
pub(super) struct Orders {
    /// The coordinator's fencing number.
    pub(super) term: Term,
    actions: VecDeque<Action>,
}

impl Orders {
    /// None yet.
    pub(super) fn new(term: Term) -> Self {
        Self {
            term,
            actions: VecDeque::new(),
        }
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push_back(Action::Send { to, message });
    }

    pub(super) fn propose(&mut self, command: Command) {
        self.actions.push_back(Action::Propose(command));
    }

    /// The oldest.
    pub(super) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

//! Stand-in: the real one is helper B's.
use super::Action;
use crate::cluster::{Context, Instant};
use crate::control::{Command, Entry, Replica};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Ledgers {
    actions: VecDeque<Action>,
}

impl Ledgers {
    pub(super) fn new() -> Self {
        Self {
            actions: VecDeque::new(),
        }
    }
    pub(super) fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        if let Command::Up { member } = entry.command
            && let Some(found) = cx.control.live(member)
            && found.ledger.is_none()
        {
            let replicas = vec![Replica {
                node: member.node,
                disk: found.boot.disk,
            }];
            self.actions.push_back(Action::Propose(Command::OpenLedger {
                home: member,
                after: None,
                replicas,
            }));
        }
    }
    pub(super) fn handle_state(&mut self, _: &Context<'_>) {}
    pub(super) fn handle_timeout(&mut self, _: &Context<'_>) {}
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

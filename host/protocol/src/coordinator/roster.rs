//! Stand-in: the real one is helper B's.
use super::{Action, orders::Orders};
use crate::cluster::{Context, Home, Index, Instant, Message, Peer, Term};
use crate::control::{Command, Entry, Status};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Roster {
    heard: BTreeMap<Home, Instant>,
    elected: Instant,
    orders: Orders,
    tick: Instant,
}

impl Roster {
    pub(super) fn new(cx: &Context<'_>, term: Term) -> Self {
        Self {
            heard: BTreeMap::new(),
            elected: cx.now.instant,
            orders: Orders::new(term),
            tick: cx.now.instant,
        }
    }
    pub(super) fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        match message {
            Message::Renew(_) if cx.control.live(from).is_some() => {
                self.heard.insert(from, cx.now.instant);
            }
            Message::Join(boot) => self.orders.propose(Command::Join {
                boot: boot.clone(),
                after: cx.control.members.get(&boot.node).map(|m| m.home()),
            }),
            _ => {}
        }
    }
    pub(super) fn handle_barrier(&mut self, _: &Context<'_>, _: u64, _: Option<Index>) {}
    pub(super) fn handle_applied(&mut self, _: &Context<'_>, _: &Entry) {}
    pub(super) fn handle_state(&mut self, _: &Context<'_>) {}
    pub(super) fn handle_timeout(&mut self, cx: &Context<'_>) {
        if cx.now.instant < self.tick {
            return;
        }
        self.tick = cx.now.instant + cx.settings.timing.renew;
        for member in cx.control.members.values() {
            let home = member.home();
            let last = self.heard.get(&home).copied().unwrap_or(self.elected);
            let member_is = member.status;
            if member_is == Status::Joining && self.heard(home) {
                self.orders.propose(Command::Up { member: home });
            }
            if member_is != Status::Down
                && cx.now.instant > last + cx.settings.timing.longest(cx.settings.timing.lease)
            {
                self.orders.propose(Command::Down { member: home });
            }
        }
    }
    pub(super) fn handle_exited(&mut self, _: &Context<'_>, home: Home) {
        self.orders.propose(Command::Down { member: home });
    }
    pub(super) fn handle_late(&mut self, _: &Context<'_>) {}
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.tick)
    }
    pub(super) fn placeable(&self, cx: &Context<'_>, home: Home) -> bool {
        self.heard(home)
            && !self.suspect(cx, home)
            && cx
                .control
                .live(home)
                .is_some_and(|m| m.status == Status::Up)
    }
    pub(super) fn suspect(&self, cx: &Context<'_>, home: Home) -> bool {
        let last = self.heard.get(&home).copied().unwrap_or(self.elected);
        cx.now.instant.since(last) > cx.settings.timing.suspect
    }
    pub(super) fn heard(&self, home: Home) -> bool {
        self.heard.contains_key(&home)
    }
    pub(super) fn steady(&self, cx: &Context<'_>) -> bool {
        let mut live = cx
            .control
            .members
            .values()
            .filter(|m| m.status != Status::Down);
        live.all(|m| self.placeable(cx, m.home()))
    }
}

//! Which components are on this node, and where the missing ones come from.
//!
//! ```text
//!   control state names a digest that is not here ──► ComponentQuery to the coordinator, then to the other members in turn
//!   Component with those bytes ──► Store (the driver) ──► handle_stored
//! ```
//!
//! Who has it does not matter: the digest is the proof.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::Digest;
use crate::cluster::{Blob, Context, Instant, Message, NodeId, Peer};
use crate::control::{Command, Entry, Status};

/// What the components want done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this.
    Send {
        /// To which node.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Read a component and send it: [`Message::Component`].
    Read {
        /// To which node.
        to: NodeId,
        /// Which.
        digest: Digest,
    },
    /// Keep a component, and say so with [`Components::handle_stored`].
    Store {
        /// Its digest, which is checked.
        digest: Digest,
        /// The component.
        bytes: Blob,
    },
}

/// Which components are on this node.
#[derive(Debug, Default)]
pub struct Components {
    stored: BTreeSet<Digest>,
    /// Those that the control state names and that are not here.
    missing: BTreeMap<Digest, Search>,
    timers: BTreeSet<(Instant, Digest)>,
    /// When a component was last read for a node: one that asks again at once gets it once.
    served: BTreeMap<(NodeId, Digest), Instant>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Search {
    /// Whom was asked last.
    asked: Option<NodeId>,
    /// When somebody else is asked.
    next: Instant,
    /// The bytes are on their way to the disk.
    storing: bool,
}

impl Components {
    /// These are on the disk.
    pub fn new(stored: BTreeSet<Digest>) -> Self {
        Self {
            stored,
            ..Self::default()
        }
    }

    /// Whether a component is here.
    pub fn has(&self, digest: &Digest) -> bool {
        self.stored.contains(digest)
    }

    /// How many are missing.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// A component is on the disk: one that was fetched, or that somebody deploys here.
    pub fn handle_stored(&mut self, digest: Digest) {
        self.stored.insert(digest);
        self.found(&digest);
    }

    /// Takes questions for components, and components.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        if cx.control.live(from).is_none() {
            return;
        }
        match message {
            Message::ComponentQuery { digest } => self.serve(cx, from.node, *digest),
            Message::Component { digest, bytes } => self.take(cx, digest, bytes),
            _ => {}
        }
    }

    /// Takes note of an entry that is applied.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        if matches!(
            entry.command,
            Command::DeployKind { .. } | Command::Scale { .. } | Command::Drop { .. }
        ) {
            self.handle_state(cx);
        }
    }

    /// Looks at what the control state names.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        let spaces = cx.control.spaces.values();
        let wanted: BTreeSet<_> = spaces.map(|space| space.component).collect();
        let vain = self
            .missing
            .keys()
            .filter(|digest| !wanted.contains(*digest));
        for digest in vain.copied().collect::<Vec<_>>() {
            self.found(&digest);
        }
        for digest in wanted {
            if !self.stored.contains(&digest) && !self.missing.contains_key(&digest) {
                let search = Search {
                    asked: None,
                    next: cx.now.instant,
                    storing: false,
                };
                self.timers.insert((search.next, digest));
                self.missing.insert(digest, search);
            }
        }
        self.served
            .retain(|(node, _), _| cx.control.members.contains_key(node));
    }

    /// Asks for what is missing.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let (_, digest) = self.timers.pop_first().expect("it was just looked at");
            let search = self.missing.get_mut(&digest);
            let search = search.expect("a timer goes with what is missing");
            search.storing = false;
            search.asked = whom(cx, search.asked);
            search.next = now + cx.settings.timing.resend * 2;
            self.timers.insert((search.next, digest));
            if let Some(to) = search.asked {
                let message = Message::ComponentQuery { digest };
                self.actions.push_back(Action::Send { to, message });
            }
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Components::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Panics where the components contradict themselves.
    pub fn check_invariants(&self) {
        assert_eq!(self.missing.len(), self.timers.len(), "a timer of nothing");
        for (digest, search) in &self.missing {
            assert!(!self.has(digest), "{digest:?} is here and missing");
            assert!(
                self.timers.contains(&(search.next, *digest)),
                "nobody looks for {digest:?}"
            );
        }
    }

    fn serve(&mut self, cx: &Context<'_>, to: NodeId, digest: Digest) {
        if !self.has(&digest) {
            return;
        }
        let now = cx.now.instant;
        let last = self.served.get(&(to, digest));
        if last.is_some_and(|&last| now < last + cx.settings.timing.resend) {
            return;
        }
        self.served.insert((to, digest), now);
        self.actions.push_back(Action::Read { to, digest });
    }

    fn take(&mut self, cx: &Context<'_>, digest: &Digest, bytes: &Blob) {
        let Some(search) = self.missing.get_mut(digest) else {
            return;
        };
        if search.storing || Digest::of(&bytes.0) != *digest {
            return;
        }
        search.storing = true;
        // Should the disk never say that it has it, then it is fetched once more.
        self.timers.remove(&(search.next, *digest));
        search.next = cx.now.instant + cx.settings.timing.phase;
        self.timers.insert((search.next, *digest));
        self.actions.push_back(Action::Store {
            digest: *digest,
            bytes: bytes.clone(),
        });
    }

    fn found(&mut self, digest: &Digest) {
        if let Some(search) = self.missing.remove(digest) {
            self.timers.remove(&(search.next, *digest));
        }
    }
}

/// Whom to ask after `asked`: the coordinator first, then all others who may have it, and again from the beginning.
fn whom(cx: &Context<'_>, asked: Option<NodeId>) -> Option<NodeId> {
    let may = |node: NodeId| {
        let member = cx.control.members.get(&node);
        node != cx.me.node && member.is_some_and(|member| member.status != Status::Down)
    };
    let coordinator = cx.control.coordinator.node;
    let after = match asked {
        None if may(coordinator) => return Some(coordinator),
        None => Bound::Unbounded,
        Some(asked) if asked == coordinator => Bound::Unbounded,
        Some(asked) => Bound::Excluded(asked),
    };
    let others = cx.control.members.range((after, Bound::Unbounded));
    let mut others = others.map(|(&node, _)| node);
    let next = others.find(|&node| node != coordinator && may(node));
    next.or_else(|| may(coordinator).then_some(coordinator))
}

#[cfg(test)]
mod tests;

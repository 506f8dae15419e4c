//! One node: all machines together, and who tells whom.
//!
//! ```text
//!   handle_call ─► router ─ Call ─► host (here, or a peer's) ─► executor
//!                  ▲  Reply, Moved ◄─┘  │ append, find
//!                  │ nested calls, sends ▼
//!                  └──────────────── host ◄─► journal ─► disk, replicas
//!   control log ─► control ─► everybody;   coordinator (on the leader) ─► propose, orders
//! ```
//!
//! The node decides nothing. It applies entries, gives every input to the machine whose it is, carries what one machine wants
//! of another, and hands the rest out as [`Action`]s. What a machine sends to its own node comes back to it as a message, in
//! order, before the input is done.

mod action;
mod route;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{
    Boot, Context, Home, Identity, Incarnation, Instant, Message, Now, Peer, Settings,
};
use crate::components::Components;
use crate::control::{ControlState, Entry};
use crate::coordinator::Coordinator;
use crate::host::{Host, Origin};
use crate::journal::{self, Journal};
use crate::lease::Holder;
use crate::membership::Membership;
use crate::router::{OutCall, Router};
use crate::waits::Waits;

pub use action::{Action, Event, Restored, Start};

/// A node's decisions. `R` is whatever the driver answers a call with.
#[derive(Debug)]
pub struct Node<R> {
    settings: Arc<Settings>,
    boot: Arc<Boot>,
    now: Now,
    me: Identity,
    control: ControlState,
    /// The last entries, for peers that are a little behind.
    recent: VecDeque<Arc<Entry>>,
    lease: Holder,
    membership: Membership,
    coordinator: Coordinator,
    router: Router<Asker<R>>,
    waits: Waits,
    host: Host,
    journal: Journal,
    components: Components,
    /// What this node said to itself.
    looped: VecDeque<Message>,
    actions: VecDeque<Action<R>>,
}

/// Who made a call.
#[derive(Debug)]
enum Asker<R> {
    /// Somebody at the edge.
    Edge(R),
    /// An entity here.
    Entity(Origin),
}

/// What the machines may look at, while they are borrowed one by one.
macro_rules! context {
    ($node:ident) => {
        Context {
            now: $node.now,
            control: &$node.control,
            settings: &$node.settings,
            me: $node.me,
            lease_until: $node.lease.until(),
        }
    };
}
use context;

impl<R> Node<R> {
    /// A process that has just started.
    pub fn new(start: Start, now: Now) -> Self {
        let Start {
            boot,
            seeds,
            settings,
            restored,
        } = start;
        let control = restored
            .control
            .map_or_else(|| ControlState::new(boot.cluster), Arc::unwrap_or_clone);
        let mut node = Self {
            me: Identity {
                node: boot.node,
                incarnation: Incarnation(0),
            },
            now,
            control,
            recent: VecDeque::new(),
            lease: Holder::new(now.instant),
            membership: Membership::new(boot.clone(), seeds, now.instant),
            coordinator: Coordinator::new(),
            router: Router::new(),
            waits: Waits::new(),
            host: Host::new(restored.components.clone()),
            journal: Journal::new(journal::Restored {
                sealed: restored.sealed,
            }),
            components: Components::new(restored.components),
            looped: VecDeque::new(),
            actions: VecDeque::new(),
            settings,
            boot,
        };
        node.jump();
        node.settle();
        node
    }

    /// Takes a call from the edge of this node.
    pub fn handle_call(&mut self, call: OutCall, reply: R, now: Now) {
        self.now = now;
        let cx = context!(self);
        self.router.handle_call(&cx, call, Asker::Edge(reply));
        self.settle();
    }

    /// Takes a message from an authenticated peer.
    pub fn handle_message(&mut self, from: Peer, message: &Message, now: Now) {
        self.now = now;
        self.deliver(from, message);
        self.settle();
    }

    /// Takes what happened around this node.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        self.now = now;
        self.happened(event);
        self.settle();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let late = self
            .poll_timeout()
            .map_or(Duration::ZERO, |due| now.instant.since(due));
        self.now = now;
        if late > self.settings.timing.lease / 4 {
            // Who was not running cannot say what was granted or lost meanwhile.
            let cx = context!(self);
            self.lease.handle_late(&cx);
        }
        let cx = context!(self);
        self.lease.handle_timeout(&cx);
        self.membership.handle_timeout(&cx);
        self.coordinator.handle_timeout(&cx);
        self.router.handle_timeout(&cx);
        self.waits.handle_timeout(&cx);
        self.host.handle_timeout(&cx);
        self.journal.handle_timeout(&cx);
        self.components.handle_timeout(&cx);
        self.settle();
    }

    /// What is to be done, in order.
    pub fn poll_action(&mut self) -> Option<Action<R>> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [
            self.lease.poll_timeout(),
            self.membership.poll_timeout(),
            self.coordinator.poll_timeout(),
            self.router.poll_timeout(),
            self.waits.poll_timeout(),
            self.host.poll_timeout(),
            self.journal.poll_timeout(),
            self.components.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// Who this node is; incarnation 0 while it is no member.
    pub fn home(&self) -> Home {
        self.me.home()
    }

    /// What this node knows to be decided.
    pub fn control(&self) -> &ControlState {
        &self.control
    }

    /// Until when it may dispatch and answer, by its own clock.
    pub fn lease_until(&self) -> Instant {
        self.lease.until()
    }

    /// The shards that live here.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// How many calls from here have no answer.
    pub fn calls(&self) -> usize {
        self.router.pending()
    }

    /// What it decides as the coordinator, if it is the one.
    pub fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// The states on this node's disk.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Panics where something cannot be. Looks at everything there is: the simulator calls it after some of the inputs, all of them where
    /// a test is about one story, because it costs a hundred times what an input does.
    pub fn check_invariants(&self) {
        let cx = context!(self);
        self.control.check_invariants();
        self.lease.check_invariants();
        self.membership.check_invariants();
        self.coordinator.check_invariants(&cx);
        self.router.check_invariants(&cx);
        self.waits.check_invariants();
        self.host.check_invariants();
        self.journal.check_invariants();
        self.components.check_invariants();
    }
}

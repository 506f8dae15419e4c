//! Who waits for whom, and the circles in it, over all nodes.
//!
//! An entity that calls another one and waits for the answer runs nothing else meanwhile. Where such waits close a circle,
//! nobody in it gets an answer. Each node knows the waits of the entities that run there; a probe follows them:
//!
//! ```text
//!   node 1: a waits for b ──WaitProbe[a, b]──► node 2: b waits for c ──WaitProbe[a, b, c]──► node 3: c waits for a
//!      ▲                                                                                        │
//!      └──────────────────────── WaitCircle[a, b, c, a] ────────────────────────────────────────┘
//! ```
//!
//! One wait of a circle has to fail, and only one: that of the entity whose id is the greatest. So a probe is not sent on from an
//! entity that is greater than the one that asks. What a probe saw may be over when it comes back, as when an answer is on its
//! way: a circle counts only if it is seen again, by a probe that was sent after the first had come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::EntityId;
use crate::cluster::{Context, Home, Instant, Message, NodeId, Peer};

/// What the waits want done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this.
    Send {
        /// To which node; it may be this one.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// This wait never ends by itself: fail its call with [`crate::CallError::Deadlock`].
    Circle {
        /// Who waits.
        entity: EntityId,
        /// The number of the call.
        number: u64,
        /// The circle: the entity first, and last again.
        chain: Vec<EntityId>,
    },
}

/// Who waits for whom among the entities that run on this node.
#[derive(Debug, Default)]
pub struct Waits {
    of: BTreeMap<EntityId, Wait>,
    timers: BTreeSet<(Instant, EntityId)>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Wait {
    /// Of the entity's call.
    number: u64,
    target: EntityId,
    /// When to look for a circle.
    probe_at: Instant,
    /// A circle that was seen, and from when on it counts if it is seen again.
    seen: Option<(Vec<EntityId>, Instant)>,
}

impl Waits {
    /// Nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// `entity` waits for `target`, by its call with that number. It waits for one at a time.
    pub fn begin(&mut self, cx: &Context<'_>, entity: EntityId, number: u64, target: EntityId) {
        self.forget(&entity);
        if entity == target {
            let chain = vec![entity.clone(), target];
            self.actions.push_back(Action::Circle {
                entity,
                number,
                chain,
            });
            return;
        }
        // Most waits are over long before, and nobody has to be asked about them.
        let probe_at = cx.now.instant + cx.settings.timing.resend;
        self.timers.insert((probe_at, entity.clone()));
        let wait = Wait {
            number,
            target,
            probe_at,
            seen: None,
        };
        self.of.insert(entity, wait);
    }

    /// `entity` does not wait for that call any more.
    pub fn end(&mut self, entity: &EntityId, number: u64) {
        if self.of.get(entity).is_some_and(|w| w.number == number) {
            self.forget(entity);
        }
    }

    /// Takes what concerns waits.
    pub fn handle_message(&mut self, cx: &Context<'_>, from: Peer, message: &Message) {
        if cx.control.live(from).is_none() {
            return;
        }
        match message {
            Message::WaitProbe {
                origin,
                home,
                chain,
                hop,
            } => {
                let sound = chain.len() >= 2
                    && chain.first() == Some(&origin.0)
                    && cx.control.live(*home).is_some();
                if sound {
                    let probe = Probe {
                        origin: origin.clone(),
                        home: *home,
                        chain: chain.clone(),
                        hop: *hop,
                    };
                    self.follow(cx, probe);
                }
            }
            Message::WaitCircle { origin, chain } => self.circle(cx, origin, chain),
            _ => {}
        }
    }

    /// Looks for circles among those who have waited for a while.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let (_, entity) = self.timers.pop_first().expect("it was just looked at");
            let wait = self.of.get_mut(&entity);
            let wait = wait.expect("a timer goes with its wait");
            wait.probe_at = now + PAUSE;
            self.timers.insert((wait.probe_at, entity.clone()));
            let probe = Probe {
                origin: (entity.clone(), wait.number),
                home: cx.me.home(),
                chain: vec![entity, wait.target.clone()],
                hop: 0,
            };
            self.pass_on(cx, probe);
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Waits::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many entities of this node wait.
    pub fn waiting(&self) -> usize {
        self.of.len()
    }

    /// Panics where the waits contradict themselves.
    pub fn check_invariants(&self) {
        assert_eq!(self.of.len(), self.timers.len(), "a timer of nothing");
        for (entity, wait) in &self.of {
            let timer = (wait.probe_at, entity.clone());
            assert!(self.timers.contains(&timer), "{entity} has no timer");
            assert_ne!(*entity, wait.target, "an entity waits for itself");
        }
    }

    /// The last of the chain is asked, and if it waits, then for whom.
    fn follow(&mut self, cx: &Context<'_>, mut probe: Probe) {
        let last = probe.chain.last().expect("a chain has an origin");
        let Some(wait) = self.of.get(last) else {
            return;
        };
        let next = wait.target.clone();
        let closed = next == probe.origin.0;
        // A circle without the origin is found by those who are in it.
        if !closed && probe.chain.contains(&next) {
            return;
        }
        probe.chain.push(next);
        if closed {
            let to = probe.home.node;
            let message = Message::WaitCircle {
                origin: probe.origin,
                chain: probe.chain,
            };
            self.actions.push_back(Action::Send { to, message });
        } else {
            probe.hop = probe.hop.saturating_add(1);
            self.pass_on(cx, probe);
        }
    }

    /// Asks the last of the chain, where it lives.
    fn pass_on(&mut self, cx: &Context<'_>, probe: Probe) {
        let last = probe.chain.last().expect("a chain has an origin");
        let bound = cx.settings.bounds.chain_max;
        let hops = usize::try_from(probe.hop).unwrap_or(usize::MAX);
        if *last > probe.origin.0 || probe.chain.len() > bound || hops >= bound {
            return;
        }
        let shard = cx.control.shard_of(last);
        let Some((home, _)) = shard.and_then(|shard| cx.control.home_of(shard)) else {
            return;
        };
        let message = Message::WaitProbe {
            origin: probe.origin,
            home: probe.home,
            chain: probe.chain,
            hop: probe.hop,
        };
        let to = home.node;
        self.actions.push_back(Action::Send { to, message });
    }

    fn circle(&mut self, cx: &Context<'_>, origin: &(EntityId, u64), chain: &[EntityId]) {
        let (entity, number) = origin;
        let sound = chain.len() <= cx.settings.bounds.chain_max + 1
            && chain.first() == Some(entity)
            && chain.last() == Some(entity);
        let wait = self.of.get_mut(entity);
        let Some(wait) = wait.filter(|w| sound && w.number == *number) else {
            return;
        };
        if chain.get(1) != Some(&wait.target) {
            return;
        }
        let now = cx.now.instant;
        match &wait.seen {
            Some((seen, counts_at)) if seen == chain => {
                if now < *counts_at {
                    return;
                }
                self.forget(entity);
                self.actions.push_back(Action::Circle {
                    entity: entity.clone(),
                    number: *number,
                    chain: chain.to_vec(),
                });
            }
            _ => {
                let again = now + cx.settings.timing.resend;
                wait.seen = Some((chain.to_vec(), again));
                let before = std::mem::replace(&mut wait.probe_at, again);
                self.timers.remove(&(before, entity.clone()));
                self.timers.insert((again, entity.clone()));
            }
        }
    }

    fn forget(&mut self, entity: &EntityId) {
        if let Some(wait) = self.of.remove(entity) {
            self.timers.remove(&(wait.probe_at, entity.clone()));
        }
    }
}

/// A probe on its way.
struct Probe {
    origin: (EntityId, u64),
    home: Home,
    chain: Vec<EntityId>,
    hop: u32,
}

/// How often a wait that lasts is looked at.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

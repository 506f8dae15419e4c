//! What has to happen sometimes: a suite in which it never does proves nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use entia_protocol::cluster::{HandoffId, Home, Message, NodeId, TransferId};
use entia_protocol::control::{Command, Entry};

use crate::node::{Action, Input, Ticket};
use crate::observation::{Cause, Observation};
use crate::world::World;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By name.
    pub counts: BTreeMap<&'static str, u64>,
    /// The handoffs that run.
    handoffs: BTreeMap<HandoffId, Moving>,
    /// The transfers of which nothing is committed, with their source.
    precopies: BTreeMap<TransferId, NodeId>,
    /// Who had a lease at its last step, and as whom.
    leased: BTreeMap<NodeId, (Home, bool)>,
    /// The entries that were looked at.
    entries: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Moving {
    from: Home,
    to: Home,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begun,
    Acked,
    Installed,
}

impl Counters {
    /// What has to happen in a suite of many seeds.
    pub const SOMETIMES: [&'static str; 26] = [
        "a coordinator took over while leases ran",
        "a coordinator was killed with a handoff begun",
        "a coordinator was killed with a handoff acknowledged",
        "a coordinator was killed with a handoff installed",
        "a source was killed with a handoff begun",
        "a source was killed with a handoff acknowledged",
        "a source was killed with a handoff installed",
        "a target was killed with a handoff begun",
        "a target was killed with a handoff acknowledged",
        "a target was killed with a handoff installed",
        "a node was killed in a precopy",
        "a handoff was completed",
        "a handoff was aborted",
        "a live node was declared down",
        "a dead node was declared down",
        "a lease ran out",
        "a node went on with its lease after it ran out",
        "a call was moved",
        "a ledger was sealed",
        "a writer was fenced",
        "a source was adopted",
        "voters changed",
        "a worker stepped",
        "a timer or message woke an entity",
        "a nested call ran",
        "an entity came back from its record",
    ];

    /// Looks at one step.
    pub fn observe(&mut self, world: &World, seen: &Observation<'_>) {
        while let Some(entry) = world.log.entries.get(self.entries) {
            self.entries += 1;
            self.decided(world, entry);
        }
        match seen.cause {
            Cause::Crashed { home } => self.crashed(world, home),
            Cause::State(_) => self.count("a voter was handed a whole state"),
            Cause::Deposed => self.count("a coordinator was replaced while it lived"),
            Cause::Barrier { index: None, .. } => self.count("a barrier failed"),
            _ => {}
        }
        self.lease(world, seen);
        for action in seen.actions {
            self.acts(action);
        }
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// What should have happened and has not.
    pub fn missing(&self) -> Vec<&'static str> {
        let never = |name: &&str| !self.counts.contains_key(name);
        Self::SOMETIMES.into_iter().filter(never).collect()
    }

    fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    fn decided(&mut self, world: &World, entry: &Entry) {
        match &entry.command {
            Command::Coordinate if self.leased.values().any(|(_, leased)| *leased) => {
                self.count("a coordinator took over while leases ran");
            }
            Command::Down { member } => {
                let there = world.nodes.get(&member.node);
                let lives = there.is_some_and(|there| there.alive && there.home() == *member);
                self.count(if lives {
                    "a live node was declared down"
                } else {
                    "a dead node was declared down"
                });
            }
            Command::BeginHandoff {
                from, to, transfer, ..
            } => {
                self.precopies.remove(transfer);
                let moving = Moving {
                    from: *from,
                    to: *to,
                    phase: Phase::Begun,
                };
                self.handoffs.insert(HandoffId(entry.index.0), moving);
            }
            Command::CompleteHandoff { handoff, .. } => {
                self.handoffs.remove(handoff);
                self.count("a handoff was completed");
            }
            Command::AbortHandoff { handoff, .. } => {
                self.handoffs.remove(handoff);
                self.count("a handoff was aborted");
            }
            Command::Voters { .. } => self.count("voters changed"),
            Command::OpenLedger { .. } => self.count("a ledger was opened"),
            Command::Adopted { .. } => self.count("a source was adopted"),
            Command::Retire { .. } => self.count("workers were retired"),
            _ => {}
        }
    }

    fn crashed(&mut self, world: &World, home: Home) {
        self.leased.remove(&home.node);
        self.count("a node was killed");
        if self.precopies.values().any(|source| *source == home.node) {
            self.count("a node was killed in a precopy");
        }
        self.precopies.retain(|_, source| *source != home.node);
        let coordinates = world.log.state.coordinator.node == home.node;
        for moving in self.handoffs.values().cloned().collect::<Vec<_>>() {
            let phase = moving.phase as usize;
            if coordinates {
                self.count(Self::SOMETIMES[1 + phase]);
            }
            if moving.from == home {
                self.count(Self::SOMETIMES[4 + phase]);
            }
            if moving.to == home {
                self.count(Self::SOMETIMES[7 + phase]);
            }
        }
    }

    fn lease(&mut self, world: &World, seen: &Observation<'_>) {
        let there = world.nodes.get(&seen.node);
        let Some(node) = there.and_then(|there| there.node.as_ref()) else {
            return;
        };
        let now = (node.home(), seen.now.instant < node.lease_until());
        let Some(before) = self.leased.insert(seen.node, now) else {
            return;
        };
        if before.0 == now.0 && before.1 != now.1 {
            self.count(if now.1 {
                "a node went on with its lease after it ran out"
            } else {
                "a lease ran out"
            });
        }
    }

    fn acts(&mut self, action: &Action<Ticket>) {
        match action {
            Action::Activate {
                record: Some(_), ..
            } => self.count("an entity came back from its record"),
            Action::Run { input, .. } => match input {
                Input::Step => self.count("a worker stepped"),
                Input::Wake => self.count("a timer or message woke an entity"),
                Input::Call(envelope) if !envelope.chain.is_empty() => {
                    self.count("a nested call ran");
                }
                Input::Call(envelope) if envelope.attempt > 1 => {
                    self.count("a repeated call ran");
                }
                Input::Delivered { answer, .. } if answer.is_err() => {
                    self.count("a message was refused");
                }
                Input::Call(_) | Input::Delivered { .. } => {}
            },
            Action::Answer { answer, .. } => {
                if let Err(error) = answer.as_ref() {
                    self.count(error.code());
                }
            }
            Action::Refused(_) => self.count("a node was refused"),
            Action::Left => self.count("a node left"),
            Action::Send { to, message, .. } => self.sends(*to, message),
            _ => {}
        }
    }

    fn sends(&mut self, to: NodeId, message: &Message) {
        match message {
            Message::Precopy(order) => {
                self.precopies.insert(order.transfer, to);
            }
            Message::HandoffAborted { transfer, .. } => {
                self.precopies.remove(transfer);
            }
            Message::HandoffAcked { handoff, .. } => self.advance(*handoff, Phase::Acked),
            Message::Installed { handoff, .. } => self.advance(*handoff, Phase::Installed),
            Message::NotInstalled { .. } => self.count("a target had not installed"),
            Message::Moved { .. } => self.count("a call was moved"),
            Message::Sealed { .. } => self.count("a ledger was sealed"),
            Message::SealRefused { .. } => self.count("a seal was refused"),
            Message::AppendRefused { .. } => self.count("a writer was fenced"),
            Message::StartRefused { .. } => self.count("a stale start was refused"),
            Message::WaitCircle { .. } => self.count("a circle of waits was found"),
            Message::Downed { .. } => self.count("a node was told that it is down"),
            Message::MetaState(_) => self.count("a node was sent a whole state"),
            Message::WorkerState(_) => self.count("a worker's state was reported"),
            _ => {}
        }
    }

    fn advance(&mut self, handoff: HandoffId, phase: Phase) {
        if let Some(moving) = self.handoffs.get_mut(&handoff) {
            moving.phase = phase;
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counts {
            writeln!(f, "{count:>10}  {name}")?;
        }
        Ok(())
    }
}

//! What a fault does while it is in force, so that it can be taken back.

use entia_protocol::cluster::{Message, NodeId, Peer};
use entia_protocol::{EntityId, KindName};

use super::{MILLISECOND, Pending, World};
use crate::faults::{Ailment, FaultKind, Patient, Who};
use crate::plan::{SpacePlan, nanos};
use crate::seeded;

/// The messages that an echo repeats, at most.
const HEARD_MAX: usize = 3_000;

/// What is taken back when a fault ends.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// The links that it cuts.
    pub(super) cuts: Vec<(NodeId, NodeId)>,
    /// The node that it pauses.
    pub(super) pauses: Option<NodeId>,
    /// The node whose disk it makes slow.
    pub(super) slows: Option<NodeId>,
    /// The entities that misbehave, and where.
    pub(super) ails: Vec<(NodeId, EntityId)>,
    /// The node that hears again what it heard.
    pub(super) echoes: Option<NodeId>,
    /// What it heard.
    pub(super) heard: Vec<(Peer, Message)>,
    /// It is one that goes in turns: whether its turn is on, how long a turn is, and when it is over.
    pub(super) turns: Option<Turns>,
}

/// A fault that goes in turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns {
    on: bool,
    period: u64,
    ends: u64,
}

impl World {
    /// Puts a fault that lasts in force.
    pub(super) fn begin_effect(&mut self, kind: FaultKind) {
        let Some(lasts) = kind.lasts().map(nanos) else {
            return;
        };
        let fault = self.next_fault;
        self.next_fault += 1;
        let mut effect = self.effect_of(fault, kind);
        effect.turns = kind.period().map(|period| Turns {
            on: true,
            period: nanos(period),
            ends: self.true_time + lasts,
        });
        self.switch_on(&effect);
        let first = effect.turns.map_or(lasts, |turns| turns.period);
        self.effects.insert(fault, effect);
        self.queue
            .push(self.true_time + first, Pending::Turn(fault));
    }

    /// A fault ends, or the next turn of it begins.
    pub(super) fn turn(&mut self, fault: u32) {
        let Some(mut effect) = self.effects.remove(&fault) else {
            return;
        };
        let Some(turns) = &mut effect.turns else {
            self.switch_off(fault, &effect);
            self.echo(effect);
            return;
        };
        let was_on = turns.on;
        turns.on = !was_on;
        let next = self.true_time + turns.period;
        let over = self.true_time >= turns.ends;
        if was_on {
            self.switch_off(fault, &effect);
        } else if !over {
            self.switch_on(&effect);
        }
        if !over {
            self.effects.insert(fault, effect);
            self.queue.push(next, Pending::Turn(fault));
        }
    }

    /// Everything that is in force ends now.
    pub(super) fn end_all_effects(&mut self) {
        for (fault, effect) in std::mem::take(&mut self.effects) {
            if effect.turns.is_none_or(|turns| turns.on) {
                self.switch_off(fault, &effect);
            }
        }
    }

    /// Remembers what a node hears, while a fault wants it.
    pub(super) fn remember(&mut self, to: NodeId, from: Peer, message: &Message) {
        for effect in self.effects.values_mut() {
            if effect.echoes == Some(to) && effect.heard.len() < HEARD_MAX {
                effect.heard.push((from, message.clone()));
            }
        }
    }

    /// What was heard is heard again, in any order, within a second.
    fn echo(&mut self, effect: Effect) {
        let Some(id) = effect.echoes else {
            return;
        };
        for (from, message) in effect.heard {
            let after = seeded::within(&mut self.rng, 0, 1_000 * MILLISECOND);
            self.arrive(after, id, from, message);
        }
    }

    fn effect_of(&mut self, fault: u32, kind: FaultKind) -> Effect {
        let mut effect = Effect::default();
        match kind {
            FaultKind::Pause { who, .. } | FaultKind::Stutter { who, .. } => {
                effect.pauses = self.who(who);
            }
            FaultKind::Cut { from, to, .. } => {
                if let (Some(from), Some(to)) = (self.who(from), self.who(to)) {
                    effect.cuts.push((from, to));
                }
            }
            FaultKind::Mute { who, .. } => effect.cuts = self.around(who, true, false),
            FaultKind::Deafen { who, .. } => effect.cuts = self.around(who, false, true),
            FaultKind::Isolate { who, .. } | FaultKind::Flap { who, .. } => {
                effect.cuts = self.around(who, true, true);
            }
            FaultKind::Split { side, bridge, .. } => effect.cuts = self.split(side, bridge),
            FaultKind::Ailment {
                patient, how, who, ..
            } => effect.ails = self.ail(patient, how, who),
            FaultKind::Echo { who, .. } => effect.echoes = self.who(who),
            FaultKind::Weather { network, .. } => self.net.begin_weather(fault, network),
            FaultKind::Twist { row, twist, .. } => self.net.begin_twist(fault, row, twist),
            FaultKind::LogWeather { log, .. } => self.log.begin_weather(fault, log),
            FaultKind::SlowDisk { who, sync, .. } => {
                effect.slows = self.who(who);
                if let Some(there) = effect.slows.and_then(|id| self.nodes.get_mut(&id)) {
                    there.disk.begin_slow(fault, nanos(sync));
                }
            }
            _ => {}
        }
        effect
    }

    /// An entity misbehaves from now on: there, or everywhere.
    fn ail(&mut self, patient: Patient, how: Ailment, who: Option<Who>) -> Vec<(NodeId, EntityId)> {
        let (kind, number) = match patient {
            Patient::Worker(number) => (SpacePlan::WORKER, number),
            Patient::Entity(number) => (SpacePlan::DURABLE, number),
        };
        let kind = KindName::new(kind).expect("plans name kinds well");
        let entity = EntityId::new(kind, &number.to_string()).expect("a short key");
        let only = who.map(|who| self.who(who));
        let mut ails = Vec::new();
        for (&id, there) in &mut self.nodes {
            if only.is_none_or(|only| only == Some(id)) {
                there.executor.ails(entity.clone(), how);
                ails.push((id, entity.clone()));
            }
        }
        ails
    }

    fn switch_on(&mut self, effect: &Effect) {
        for &(from, to) in &effect.cuts {
            self.net.cut(from, to);
        }
        if let Some(id) = effect.pauses {
            self.pause(id);
        }
    }

    fn switch_off(&mut self, fault: u32, effect: &Effect) {
        for &(from, to) in &effect.cuts {
            self.net.mend(from, to);
        }
        if let Some(id) = effect.pauses {
            self.resume(id);
        }
        if let Some(there) = effect.slows.and_then(|id| self.nodes.get_mut(&id)) {
            there.disk.end_slow(fault);
        }
        for (id, entity) in &effect.ails {
            if let Some(there) = self.nodes.get_mut(id) {
                there.executor.well(entity);
            }
        }
        self.net.end_weather(fault);
        self.net.end_twist(fault);
        self.log.end_weather(fault);
    }

    /// The links between a node and all others: those from it, those to it.
    fn around(&self, who: Who, from: bool, to: bool) -> Vec<(NodeId, NodeId)> {
        let Some(id) = self.who(who) else {
            return Vec::new();
        };
        let others = self.nodes.keys().copied().filter(|&other| other != id);
        others
            .flat_map(|other| [from.then_some((id, other)), to.then_some((other, id))])
            .flatten()
            .collect()
    }

    fn split(&self, side: u64, bridge: Option<Who>) -> Vec<(NodeId, NodeId)> {
        let bridge = bridge.and_then(|who| self.who(who));
        let on_side = |id: NodeId| side >> ((id.0 - 1) % 64) & 1 == 1;
        let ids = || {
            let ids = self.nodes.keys().copied();
            ids.filter(|&id| Some(id) != bridge)
        };
        ids()
            .flat_map(|from| ids().map(move |to| (from, to)))
            .filter(|&(from, to)| on_side(from) != on_side(to))
            .collect()
    }
}

//! The links between nodes: delay, loss, duplicates, and cuts in one direction each.

use std::collections::BTreeMap;

use entia_protocol::cluster::{Message, NodeId};

use crate::plan::{NetworkPlan, nanos};
use crate::row::{Row, Twist};
use crate::seeded::{self, Rng};

/// All links.
#[derive(Debug)]
pub struct Net {
    fair: NetworkPlan,
    /// What is in force instead, by the number of the fault; the latest counts.
    weather: BTreeMap<u32, NetworkPlan>,
    /// What messages of some rows suffer, by the number of the fault.
    twists: BTreeMap<u32, (Row, Twist)>,
    /// How many faults cut a link, from one node to another.
    cuts: BTreeMap<(NodeId, NodeId), u32>,
    rng: Rng,
}

/// What becomes of a message: when its copies arrive, after how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does not.
    Lost,
    /// Once.
    Once(u64),
    /// Twice at the same instant.
    Twice(u64),
    /// Three times.
    Again([u64; 3]),
}

impl Net {
    /// All links are open.
    pub fn new(fair: NetworkPlan, rng: Rng) -> Self {
        Self {
            fair,
            weather: BTreeMap::new(),
            twists: BTreeMap::new(),
            cuts: BTreeMap::new(),
            rng,
        }
    }

    /// Decides what becomes of a message that is sent now.
    pub fn fate(&mut self, from: NodeId, to: NodeId) -> Fate {
        let now = self.current();
        if !self.open(from, to) || seeded::chance(&mut self.rng, now.loss_ppm) {
            return Fate::Lost;
        }
        let delay = self.delay();
        if seeded::chance(&mut self.rng, now.again_ppm) {
            let later = delay + self.delay();
            // The last one when nobody thinks of it any more.
            let last = seeded::within(&mut self.rng, 0, 2_000_000_000);
            return Fate::Again([delay, later, last]);
        }
        Fate::Once(delay)
    }

    /// What becomes of a message whose row suffers something of its own.
    pub fn twisted(&mut self, fate: Fate, message: &Message) -> Fate {
        // Rows are looked up only where a fault wants it: this is done for each message.
        if self.twists.is_empty() {
            return fate;
        }
        let row = Row::of(message);
        let mut twists = self.twists.values();
        let twist = twists.find(|(of, _)| *of == row).map(|(_, twist)| *twist);
        match (fate, twist) {
            (Fate::Once(delay), Some(Twist::Doubled)) => Fate::Twice(delay),
            (Fate::Once(delay), Some(Twist::Tripled(within))) => {
                let later = delay + self.delay();
                let last = seeded::within(&mut self.rng, 0, nanos(within));
                Fate::Again([delay, later, last.max(delay)])
            }
            (Fate::Once(delay), Some(Twist::Delayed(by))) => Fate::Once(delay + nanos(by)),
            (Fate::Once(delay), Some(Twist::Shuffled(within))) => {
                Fate::Once(delay + seeded::within(&mut self.rng, 0, nanos(within)))
            }
            (fate, _) => fate,
        }
    }

    /// How long a message takes.
    pub fn delay(&mut self) -> u64 {
        let now = self.current();
        let delay = seeded::between(&mut self.rng, now.delay_min, now.delay_max);
        if seeded::one_in(&mut self.rng, now.slow_one_in) {
            return delay + seeded::between(&mut self.rng, now.delay_max, now.slow);
        }
        delay
    }

    /// Whether messages get from one node to another.
    pub fn open(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.is_empty() || !self.cuts.contains_key(&(from, to))
    }

    /// Cuts a link.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        if from != to {
            *self.cuts.entry((from, to)).or_default() += 1;
        }
    }

    /// Takes back one cut of a link.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        if let Some(count) = self.cuts.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.cuts.remove(&(from, to));
            }
        }
    }

    /// Other delays and losses from now on.
    pub fn begin_weather(&mut self, fault: u32, plan: NetworkPlan) {
        self.weather.insert(fault, plan);
    }

    /// No more.
    pub fn end_weather(&mut self, fault: u32) {
        self.weather.remove(&fault);
    }

    /// Messages of this row suffer this from now on.
    pub fn begin_twist(&mut self, fault: u32, row: Row, twist: Twist) {
        self.twists.insert(fault, (row, twist));
    }

    /// No more.
    pub fn end_twist(&mut self, fault: u32) {
        self.twists.remove(&fault);
    }

    fn current(&self) -> NetworkPlan {
        self.weather
            .last_key_value()
            .map_or(self.fair, |(_, plan)| *plan)
    }
}

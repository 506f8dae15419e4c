//! What has to happen sometimes.

use std::collections::BTreeMap;

use crate::observation::Observation;
use crate::world::World;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Looks at one step.
    pub fn observe(&mut self, _world: &World, _seen: &Observation<'_>) {}

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

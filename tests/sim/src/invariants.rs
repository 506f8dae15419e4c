//! What always holds.

use crate::observation::Observation;
use crate::violation::Violation;
use crate::work::Workload;
use crate::world::World;

/// All checks.
#[derive(Debug, Default)]
pub struct Invariants;

impl Invariants {
    /// Nothing has been seen.
    pub fn new() -> Self {
        Self
    }

    /// Looks at one step.
    pub fn after_step(&mut self, _world: &World, _seen: &Observation<'_>) -> Result<(), Violation> {
        Ok(())
    }

    /// Looks at the end.
    pub fn at_end(&mut self, _world: &World, _work: &Workload) -> Result<(), Violation> {
        Ok(())
    }
}

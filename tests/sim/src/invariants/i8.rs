//! I8: per (caller, entity) order; no reply from an epoch lower than one seen.
//!
//! The oracle sees calls and messages out of order, and stale answers. Here is what they rest on: an entity has one turn at a
//! time.

use std::collections::BTreeMap;

use entia_protocol::EntityId;
use entia_protocol::cluster::{NodeId, TurnId};

use super::Checked;
use crate::violation::Violation;

/// What runs where.
#[derive(Debug, Default)]
pub(crate) struct Turns(BTreeMap<NodeId, Running>);

#[derive(Debug, Default)]
struct Running {
    instances: BTreeMap<EntityId, Option<TurnId>>,
    turns: BTreeMap<TurnId, EntityId>,
}

impl Turns {
    /// An entity is taken into memory. Whatever it ran before is void.
    pub(super) fn activated(&mut self, node: NodeId, entity: &EntityId) {
        self.discarded(node, entity);
        let running = self.0.entry(node).or_default();
        running.instances.insert(entity.clone(), None);
    }

    /// A turn begins.
    pub(super) fn began(&mut self, node: NodeId, turn: TurnId, entity: &EntityId) -> Checked {
        let running = self.0.entry(node).or_default();
        let Some(instance) = running.instances.get_mut(entity) else {
            let message = format!("{node} runs {entity}, which is not in its memory");
            return Err(Violation::new("I8", message));
        };
        if let Some(other) = instance {
            let message = format!("{node} runs {turn} of {entity} while {other} runs");
            return Err(Violation::new("I8", message));
        }
        *instance = Some(turn);
        running.turns.insert(turn, entity.clone());
        Ok(())
    }

    /// A turn has ended. Returns whose it was, if it still counted.
    pub(super) fn ended(&mut self, node: NodeId, turn: TurnId) -> Option<EntityId> {
        let running = self.0.get_mut(&node)?;
        let entity = running.turns.remove(&turn)?;
        if let Some(instance) = running.instances.get_mut(&entity) {
            *instance = None;
        }
        Some(entity)
    }

    /// An entity is not in memory any more.
    pub(super) fn discarded(&mut self, node: NodeId, entity: &EntityId) {
        if let Some(running) = self.0.get_mut(&node)
            && let Some(Some(turn)) = running.instances.remove(entity)
        {
            running.turns.remove(&turn);
        }
    }

    /// The process is gone.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_has_one_turn_at_a_time() {
        let node = NodeId(1);
        let entity: EntityId = "durable/0".parse().unwrap();
        let mut turns = Turns::default();
        assert!(turns.began(node, TurnId(1), &entity).is_err());
        turns.activated(node, &entity);
        assert_eq!(turns.began(node, TurnId(1), &entity), Ok(()));
        assert!(turns.began(node, TurnId(2), &entity).is_err());
        assert_eq!(turns.ended(node, TurnId(1)), Some(entity.clone()));
        assert!(turns.began(node, TurnId(3), &entity).is_ok());
        turns.discarded(node, &entity);
        assert_eq!(turns.ended(node, TurnId(3)), None);
    }
}

//! Which entities there are, and what is asked of them.

use std::collections::BTreeMap;

use entia_protocol::{Durability, EntityId, KindName};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::executor::Command;
use crate::oracle::Oracle;
use crate::plan::{Plan, WorkPlan};

/// The entities of a plan. The last one of each kind is deleted now and then, and takes part in nothing else.
#[derive(Debug)]
pub(super) struct Choices {
    /// Those that live for ever.
    lasting: Vec<EntityId>,
    /// Those that are deleted.
    fleeting: Vec<EntityId>,
    durability: BTreeMap<EntityId, Durability>,
}

impl Choices {
    /// The entities of a plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut choices = Self {
            lasting: Vec::new(),
            fleeting: Vec::new(),
            durability: BTreeMap::new(),
        };
        for space in plan.spaces.iter().filter(|space| !space.daemons) {
            let kind = KindName::new(space.name).expect("plans name kinds well");
            for number in 0..plan.work.entities.max(1) {
                let key = format!("{number}");
                let entity = EntityId::new(kind.clone(), &key).expect("a short key");
                choices.durability.insert(entity.clone(), space.durability);
                choices.lasting.push(entity);
            }
            let entity = EntityId::new(kind, "fleeting").expect("a short key");
            choices.durability.insert(entity.clone(), space.durability);
            choices.fleeting.push(entity);
        }
        choices
    }

    /// How many clients there can be: none where there is nobody to call.
    pub(super) fn clients(&self, wanted: u32) -> usize {
        if self.lasting.is_empty() {
            0
        } else {
            wanted as usize
        }
    }

    /// All entities.
    pub(super) fn all(&self) -> impl Iterator<Item = (&EntityId, Durability)> {
        self.durability
            .iter()
            .map(|(entity, &durability)| (entity, durability))
    }

    /// What survives of an entity.
    pub(super) fn durability(&self, entity: &EntityId) -> Option<Durability> {
        self.durability.get(entity).copied()
    }

    /// Draws what a client does next.
    pub(super) fn choose(
        &self,
        plan: &WorkPlan,
        random: &mut Pcg64Mcg,
        oracle: &mut Oracle,
    ) -> (EntityId, Command) {
        let mut draw = random.random_range(0..100);
        let mut falls_in = |percent: u32| {
            let falls = draw < percent;
            draw = draw.saturating_sub(percent);
            falls
        };
        if falls_in(plan.delete_percent) {
            return self.fleeting_command(random, oracle);
        }
        let entity = pick(&self.lasting, random);
        let command = if falls_in(plan.read_percent) {
            Command::Read
        } else if falls_in(plan.trap_percent) {
            Command::Boom {
                serial: oracle.serial(&entity, false),
            }
        } else if falls_in(plan.timer_percent) {
            Command::Remind {
                serial: oracle.serial(&entity, true),
                after_ms: random.random_range(10..2_000),
            }
        } else if falls_in(plan.chain_percent) {
            let (serial, other, theirs) = self.pair(&entity, random, oracle);
            Command::Chain {
                serial,
                other,
                theirs,
            }
        } else if falls_in(plan.send_percent) {
            let (serial, other, theirs) = self.pair(&entity, random, oracle);
            Command::Post {
                serial,
                other,
                theirs,
            }
        } else {
            Command::Append {
                serial: oracle.serial(&entity, true),
            }
        };
        (entity, command)
    }

    fn fleeting_command(&self, random: &mut Pcg64Mcg, oracle: &mut Oracle) -> (EntityId, Command) {
        let entity = pick(&self.fleeting, random);
        let command = match random.random_range(0..4) {
            0 => Command::Forget,
            1 => Command::Read,
            _ => Command::Append {
                serial: oracle.serial(&entity, true),
            },
        };
        (entity, command)
    }

    fn pair(
        &self,
        entity: &EntityId,
        random: &mut Pcg64Mcg,
        oracle: &mut Oracle,
    ) -> (u64, EntityId, u64) {
        let mut other = pick(&self.lasting, random);
        if other == *entity {
            // Calls to oneself are rare.
            other = pick(&self.lasting, random);
        }
        let serial = oracle.serial(entity, true);
        let theirs = oracle.serial(&other, true);
        (serial, other, theirs)
    }
}

fn pick(entities: &[EntityId], random: &mut Pcg64Mcg) -> EntityId {
    entities[random.random_range(0..entities.len())].clone()
}

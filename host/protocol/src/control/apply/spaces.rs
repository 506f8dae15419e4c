//! Which kinds and daemon sets there are.

use super::Step;
use crate::cluster::{Epoch, ShardId, SpaceId};
use crate::control::{Ownership, Phase, Role, Shard, Space};
use crate::{Digest, Durability, KindName};

impl Step<'_> {
    /// The same component again changes nothing, so that a proposal that is in the log twice is one deployment.
    pub(super) fn deploy(
        &mut self,
        name: &KindName,
        component: Digest,
        durability: Durability,
        shards: u32,
    ) {
        let Some(id) = self.state.space(name).map(|(id, _)| id) else {
            let space = Space {
                name: name.clone(),
                component,
                version: 1,
                durability,
                shards,
                role: Role::Kind,
            };
            return self.create(space);
        };
        let Some(space) = self.state.spaces.get_mut(&id) else {
            return;
        };
        let same = space.durability == durability && space.shards == shards;
        if space.role == Role::Kind && same && space.component != component {
            space.component = component;
            space.version += 1;
            self.changes.spaces.push(id);
        }
    }

    /// Workers beyond the new number keep their shards until they are retired.
    pub(super) fn scale(
        &mut self,
        name: &KindName,
        component: Digest,
        durability: Durability,
        (after, workers): (u64, u32),
    ) {
        if !Space::SHARDS.contains(&workers) {
            return;
        }
        let Some(id) = self.state.space(name).map(|(id, _)| id) else {
            let role = Role::Daemons {
                revision: 1,
                previous: 0,
                phase: Phase::Stable,
            };
            let space = Space {
                name: name.clone(),
                component,
                version: 1,
                durability,
                shards: workers,
                role,
            };
            return if after == 0 {
                self.create(space)
            };
        };
        let Some(space) = self.state.spaces.get_mut(&id) else {
            return;
        };
        let Role::Daemons {
            revision,
            phase: Phase::Stable,
            ..
        } = space.role
        else {
            return;
        };
        let before = space.shards;
        let same = before == workers && space.component == component;
        if revision != after || space.durability != durability || same {
            return;
        }
        let phase = if workers < before {
            Phase::Shrinking
        } else {
            Phase::Stable
        };
        space.role = Role::Daemons {
            revision: revision + 1,
            previous: before,
            phase,
        };
        space.version += u64::from(space.component != component);
        space.component = component;
        space.shards = workers;
        self.changes.spaces.push(id);
        self.grow(id, before..workers);
    }

    pub(super) fn retire(&mut self, id: SpaceId, which: u64) {
        let Some(space) = self.state.spaces.get_mut(&id) else {
            return;
        };
        let Role::Daemons {
            revision, phase, ..
        } = &mut space.role
        else {
            return;
        };
        if *revision != which || *phase != Phase::Shrinking {
            return;
        }
        *phase = Phase::Stable;
        self.changes.spaces.push(id);
        let first = space.shards;
        self.cut(id, first);
    }

    pub(super) fn drop_space(&mut self, id: SpaceId) {
        if self.state.spaces.remove(&id).is_some() {
            self.changes.spaces.push(id);
            self.cut(id, 0);
        }
    }

    fn create(&mut self, space: Space) {
        if !Space::SHARDS.contains(&space.shards) {
            return;
        }
        let id = SpaceId(self.index.0);
        let shards = space.shards;
        self.state.spaces.insert(id, space);
        self.changes.spaces.push(id);
        self.grow(id, 0..shards);
    }

    fn grow(&mut self, space: SpaceId, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let shard = ShardId { space, number };
            let new = Shard {
                epoch: Epoch(0),
                since: Epoch(0),
                sources: Vec::new(),
                ownership: Ownership::Unassigned,
            };
            self.state.shards.insert(shard, new);
            self.changes.shards.push(shard);
        }
    }

    fn cut(&mut self, space: SpaceId, first: u32) {
        let beyond = ShardId {
            space,
            number: first,
        }..=ShardId {
            space,
            number: u32::MAX,
        };
        let gone: Vec<_> = self.state.shards.range(beyond).map(|(&id, _)| id).collect();
        for shard in gone {
            self.state.shards.remove(shard);
            self.changes.shards.push(shard);
        }
        self.loose = true;
    }
}

use std::sync::Arc;

use super::super::super::Request;
use super::{Found, World, entity};
use crate::EntityId;
use crate::cluster::{NodeId, ShardId, StoredRecord};

impl World {
    pub(in super::super) fn append(
        &mut self,
        id: NodeId,
        shard: ShardId,
        record: StoredRecord,
    ) -> u64 {
        self.next += 1;
        let number = self.next;
        let record = Arc::new(record);
        self.request(
            id,
            Request::Append {
                id: number,
                shard,
                record,
            },
        );
        number
    }

    pub(in super::super) fn find(&mut self, id: NodeId, shard: ShardId, key: &str) -> u64 {
        self.next += 1;
        let number = self.next;
        let entity = entity(key);
        self.request(
            id,
            Request::Find {
                id: number,
                shard,
                entity,
            },
        );
        number
    }

    /// Looks an entity up while everything arrives.
    pub(in super::super) fn find_now(
        &mut self,
        id: NodeId,
        shard: ShardId,
        key: &str,
    ) -> Option<Found> {
        let number = self.find(id, shard, key);
        self.run();
        self.nodes.get_mut(&id).unwrap().heard.found.remove(&number)
    }

    pub(in super::super) fn append_now(
        &mut self,
        id: NodeId,
        shard: ShardId,
        record: StoredRecord,
    ) {
        let number = self.append(id, shard, record);
        self.run();
        assert!(
            self.is_committed(id, number),
            "committed when everything arrives"
        );
    }

    pub(in super::super) fn is_committed(&self, id: NodeId, number: u64) -> bool {
        self.nodes[&id].heard.committed.contains_key(&number)
    }

    pub(in super::super) fn scan(
        &mut self,
        id: NodeId,
        shard: ShardId,
        after: Option<EntityId>,
    ) -> u64 {
        self.next += 1;
        let number = self.next;
        self.request(
            id,
            Request::Scan {
                id: number,
                shard,
                after,
            },
        );
        number
    }
}

//! What the host asks of the journal. A stand-in: the journal itself takes its place.

use std::sync::Arc;

use crate::EntityId;
use crate::cluster::{Epoch, ShardId, StoredRecord};

/// What the host asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Write a record of a durable kind.
    Append {
        /// Named in the answer.
        id: u64,
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// Keep a record of a memory kind on this node.
    Stash {
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// Records of this shard below a stamp are not needed.
    Forget {
        /// Of which shard.
        shard: ShardId,
        /// The lowest stamp that is.
        before: Epoch,
    },
    /// The latest record of an entity.
    Find {
        /// Named in the answer.
        id: u64,
        /// Of which shard.
        shard: ShardId,
        /// Whose.
        entity: EntityId,
    },
    /// A page of the records of a shard.
    Scan {
        /// Named in the answer.
        id: u64,
        /// Of which shard.
        shard: ShardId,
        /// From behind this one.
        after: Option<EntityId>,
    },
}

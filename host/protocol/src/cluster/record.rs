use serde::{Deserialize, Serialize};

use super::{Blob, Epoch};
use crate::EntityId;

/// All that there is of an entity at a call boundary: state, idempotency records, timers and pending sends, in the encoding of
/// who runs it. The machines move it and never look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts the entity's commits from 1. Of two records of one epoch the higher version is newer.
    pub version: u64,
    /// When the entity wants to be woken (a timer, a send that was not delivered), in milliseconds since 1970.
    pub wake_ms: Option<u64>,
    /// The entity was deleted: kept until nothing older can come back.
    pub deleted: bool,
    /// The rest.
    pub bytes: Blob,
}

/// A record with what orders it among all records of its entity: (epoch, version), whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Whose.
    pub entity: EntityId,
    /// The ownership under which it was written; a record that is adopted is stamped with the adopter's.
    pub epoch: Epoch,
    /// What.
    pub record: Record,
}

impl StoredRecord {
    /// The order of records of one entity, oldest first.
    pub fn age(&self) -> (Epoch, u64) {
        (self.epoch, self.record.version)
    }
}

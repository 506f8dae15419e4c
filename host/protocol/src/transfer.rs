//! How the states of a shard get from its home to the next one. See PROTOCOL section 3, steps 1 and 5.
//!
//! ```text
//!   home ── Shipment ── Chunk 0, 1, 2 ..  (precopy: the shard is served all the while)
//!                    ── Chunk n ..  end   (stop phase: only what changed since)      ──► Receiver ── target
//!                    ◄─ ChunkAcked (each when its records are as safe as their kind wants) ──
//!                                              coordinator ◄── Installed{digest} ──
//! ```
//!
//! A chunk can come twice, late and in any order: parts are numbered, and of an entity's records the one with the highest version
//! counts. The target writes records as they come, stamped so that they count only once the control log says that this very
//! transfer is complete: a partial one is never visible, and the pause does not grow with the state.

mod receiver;
mod shipment;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::cluster::{HandoffId, Message, NodeId, Record, ShardId, StoredRecord};
use crate::{Digest, EntityId};

pub use receiver::Receiver;
pub use shipment::Shipment;

/// What a transfer wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say something.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Write a record that has come, and say when it is safe ([`Receiver::handle_installed`]).
    Install {
        /// Counts the installs of this receiver.
        id: u64,
        /// Of which shard.
        shard: ShardId,
        /// What, with the transfer's stamp.
        record: StoredRecord,
    },
    /// A shard that has come is this node's by the control log now.
    Received {
        /// Which.
        shard: ShardId,
        /// By which handoff.
        handoff: HandoffId,
        /// Who wants to be woken, and when, in milliseconds since 1970.
        wakes: Vec<(EntityId, u64)>,
    },
}

/// What is known of the records of a shard on both sides: enough to compare, not the records.
#[derive(Debug, Default)]
struct Manifest(BTreeMap<EntityId, Line>);

#[derive(Debug)]
struct Line {
    version: u64,
    wake_ms: Option<u64>,
    digest: Digest,
}

impl Manifest {
    /// Takes a record in; `false` if it knows one as new.
    fn add(&mut self, entity: &EntityId, record: &Record) -> bool {
        if self
            .version(entity)
            .is_some_and(|known| known >= record.version)
        {
            return false;
        }
        let line = Line {
            version: record.version,
            wake_ms: record.wake_ms,
            digest: digest_of(record),
        };
        self.0.insert(entity.clone(), line);
        true
    }

    fn version(&self, entity: &EntityId) -> Option<u64> {
        self.0.get(entity).map(|line| line.version)
    }

    fn wakes(&self) -> Vec<(EntityId, u64)> {
        let wakes = self.0.iter();
        wakes
            .filter_map(|(entity, line)| Some((entity.clone(), line.wake_ms?)))
            .collect()
    }

    /// Of all records: the same on both sides if and only if they have the same.
    fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.0.len() * 64);
        for (entity, line) in &self.0 {
            bytes.extend_from_slice(&(entity.key().len() as u64).to_le_bytes());
            bytes.extend_from_slice(entity.key().as_bytes());
            bytes.extend_from_slice(line.digest.as_bytes());
        }
        Digest::of(&bytes)
    }
}

/// Of one record, with all that counts in it.
fn digest_of(record: &Record) -> Digest {
    let mut bytes = Vec::with_capacity(record.bytes.0.len() + 32);
    bytes.extend_from_slice(&record.version.to_le_bytes());
    bytes.extend_from_slice(&record.wake_ms.unwrap_or(u64::MAX).to_le_bytes());
    bytes.push(u8::from(record.deleted));
    bytes.extend_from_slice(&record.bytes.0);
    Digest::of(&bytes)
}

/// Of the records of one chunk, in their order.
fn digest_of_chunk(records: &[StoredRecord]) -> Digest {
    let mut bytes = Vec::with_capacity(records.len() * 64);
    for record in records {
        bytes.extend_from_slice(&(record.entity.key().len() as u64).to_le_bytes());
        bytes.extend_from_slice(record.entity.key().as_bytes());
        bytes.extend_from_slice(digest_of(&record.record).as_bytes());
    }
    Digest::of(&bytes)
}

use serde::{Deserialize, Serialize};

use crate::{CommandKey, Digest, Payload, Rejection};

/// An entity's state as it is stored and moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredState {
    /// The version of the author's encoding.
    pub schema_version: u32,
    /// The hash of `bytes`: what is restored is what was taken.
    pub digest: Digest,
    /// What the guest's `snapshot` returned.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The version of the kind that wrote it.
    pub kind_version: u64,
    /// The entity's clock when it was taken, in milliseconds since 1970; the clock never goes back behind it.
    pub taken_ms: u64,
}

/// The part of an idempotency record that identifies it within its entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdempotencyId {
    /// The method that ran.
    pub method: String,
    /// The key it ran under.
    pub key: CommandKey,
}

/// The memory of one command, so that a repetition gets the same answer and has no second effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Which command.
    pub id: IdempotencyId,
    /// The hash of its arguments: the same key with others is refused.
    pub arguments: Digest,
    /// What it answered.
    pub answer: Result<Payload, Rejection>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl StoredState {
    /// Takes a guest's snapshot, computing its digest.
    pub fn new(schema_version: u32, bytes: Vec<u8>, kind_version: u64, taken_ms: u64) -> Self {
        Self {
            schema_version,
            digest: Digest::of(&bytes),
            bytes,
            kind_version,
            taken_ms,
        }
    }

    /// Whether the bytes are those that were taken.
    pub fn intact(&self) -> bool {
        Digest::of(&self.bytes) == self.digest
    }
}

impl IdempotencyRecord {
    /// What this record counts against an entity's bound, in bytes: its texts and payload, and 32 for the rest.
    pub fn cost_bytes(&self) -> usize {
        let key = match &self.id.key {
            CommandKey::Client(key) => key.len(),
            CommandKey::Derived(_) | CommandKey::Random(_) => 16,
        };
        let answer = match &self.answer {
            Ok(payload) => payload.0.len(),
            Err(rejection) => {
                let data = rejection.data.as_ref().map_or(0, |data| data.0.len());
                rejection.code.len() + rejection.message.len() + data
            }
        };
        self.id.method.len() + key + answer + 32
    }
}

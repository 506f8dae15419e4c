use std::collections::BTreeSet;
use std::sync::Arc;

use crate::EntityId;
use crate::cluster::{Epoch, LedgerId, Message, NodeId, ShardId, StoredRecord};

/// What a journal has to know of its disk when the process starts.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The ledgers that are sealed there.
    pub sealed: BTreeSet<LedgerId>,
}

/// What the host, or a transfer, asks of the journal. The numbers are the asker's and come back with the answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Keep a durable record, stamped with the shard's epoch, or with the handoff that installs it. Answered by
    /// [`Action::Committed`], in any order, or by [`Action::Fenced`].
    Append {
        /// Comes back.
        id: u64,
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// Keep a state of a memory kind on this disk. It can be found at once.
    Stash {
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// What is older than this on this disk, of this shard, is not needed. What counts by the control state is kept all the same.
    Forget {
        /// Which shard.
        shard: ShardId,
        /// The lowest stamp that is kept.
        before: Epoch,
    },
    /// The latest record of an entity of a shard that this node owns. Answered by [`Action::Found`].
    Find {
        /// Comes back.
        id: u64,
        /// Of which shard.
        shard: ShardId,
        /// Whose.
        entity: EntityId,
    },
    /// A page of the latest records of a shard that this node owns, or that is being installed here. Answered by
    /// [`Action::Scanned`], once every state of the shard is in the own ledger; not at all, if the shard goes before.
    Scan {
        /// Comes back.
        id: u64,
        /// Which shard.
        shard: ShardId,
        /// From behind this entity.
        after: Option<EntityId>,
    },
}

/// What the journal wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this; to this node itself, too.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Write and sync, then say so with [`super::Journal::handle_persisted`].
    Persist {
        /// Comes back.
        token: u64,
        /// What.
        write: Write,
    },
    /// Read, then answer with [`super::Journal::handle_read`].
    Read {
        /// Comes back.
        token: u64,
        /// What.
        query: Query,
    },
    /// An append is on as many disks as it takes: what waits for it may leave.
    Committed {
        /// The append's.
        id: u64,
        /// The ledger that has it: a `CompleteHandoff` names the oldest in which something was installed.
        ledger: LedgerId,
    },
    /// A successor has sealed the ledger that this life writes: the life is over, everything durable of it has to be discarded.
    Fenced {
        /// Which ledger.
        ledger: LedgerId,
    },
    /// What was looked for.
    Found {
        /// The lookup's.
        id: u64,
        /// The latest record, perhaps a tombstone; none if there never was one.
        result: Result<Option<StoredRecord>, Unavailable>,
    },
    /// What was scanned.
    Scanned {
        /// The scan's.
        id: u64,
        /// In the order of their entities, tombstones included.
        records: Vec<StoredRecord>,
        /// There are more behind the last one.
        more: bool,
    },
    /// Entities of a shard that came to this node which want to be woken. Told once for each, as far as nothing is written to it meanwhile.
    Swept {
        /// The shard.
        shard: ShardId,
        /// Who, and when, in milliseconds since 1970.
        records: Vec<(EntityId, u64)>,
    },
}

/// What is to be on disk. Of one entity in one ledger, or in the stash, the disk keeps the record of the highest age.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A record of a ledger.
    Record {
        /// Which ledger.
        ledger: LedgerId,
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// A ledger is sealed: comes back in [`Restored`] until the ledger is dropped.
    Seal {
        /// Which.
        ledger: LedgerId,
    },
    /// A record of the stash.
    Stash {
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// A ledger and its seal are not needed any more.
    DropLedger {
        /// Which.
        ledger: LedgerId,
    },
    /// Records of a shard with lower stamps are not needed any more.
    Forget {
        /// Which shard.
        shard: ShardId,
        /// In which ledger; in the stash, if none.
        ledger: Option<LedgerId>,
        /// The lowest stamp that is kept.
        before: Epoch,
    },
}

/// What is to be read from disk.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// The record of one entity, if its stamp is high enough.
    Entity {
        /// In which ledger; in the stash, if none.
        ledger: Option<LedgerId>,
        /// Of which shard.
        shard: ShardId,
        /// Whose.
        entity: EntityId,
        /// The lowest stamp that counts.
        since: Epoch,
    },
    /// Records in the order of their entities, and whether there are more.
    Page {
        /// In which ledger; in the stash, if none.
        ledger: Option<LedgerId>,
        /// Of which shard.
        shard: ShardId,
        /// From behind this entity.
        after: Option<EntityId>,
        /// The lowest stamp that counts.
        since: Epoch,
        /// How many at most.
        limit: usize,
    },
}

/// Why an entity's state cannot be had now. Nothing is known of it, not even whether it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too few of the ledger's disks answer.
    #[error("too few disks of ledger {ledger} answer")]
    Disks {
        /// The ledger.
        ledger: LedgerId,
    },
    /// No ledger is open for this node.
    #[error("no ledger is open for this node yet")]
    NoLedger,
    /// The shard is not this node's.
    #[error("the shard is not this node's")]
    NotOwned,
    /// A successor has taken over.
    #[error("another node has taken over")]
    Fenced,
    /// As many lookups as there may be are on their way.
    #[error("too many entities are being looked up")]
    Busy,
}

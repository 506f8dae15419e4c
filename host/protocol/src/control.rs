//! What the control log decides, and how an entry changes it. See PROTOCOL section 1.
//!
//! [`ControlState::apply`] is deterministic and idempotent: every command names what it expects (an epoch, an incarnation, a
//! handoff), and does nothing where it does not find it. So an entry that was proposed twice, or by a coordinator that did
//! not know of another's, is harmless, and all nodes have the same state at the same index, hash for hash.

mod apply;
mod command;
mod invariants;
mod shards;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::{
    Boot, ClusterId, Epoch, HandoffId, Home, Incarnation, Index, LedgerId, NodeId, ShardId,
    SpaceId, Term, TransferId,
};
use crate::{Digest, Durability, EntityId, KindName};

pub use apply::Changes;
pub use command::{Assignment, Command, Entry};
pub use shards::Shards;

/// What is decided at one index of the control log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControlState {
    /// The cluster.
    pub cluster: ClusterId,
    /// The version of the wire format that all members speak.
    pub protocol: u32,
    /// The index of the last entry.
    pub applied: Index,
    /// A hash over all entries up to it: two nodes with one index have one hash (I4).
    pub hash: u64,
    /// The last coordinator that wrote its first entry; entries of an older one are void (I3).
    pub coordinator: Term,
    /// By node; one that was removed is absent.
    pub members: BTreeMap<NodeId, Member>,
    /// The nodes that vote in the control log.
    pub voters: BTreeSet<NodeId>,
    /// The kinds and daemon sets.
    pub spaces: BTreeMap<SpaceId, Space>,
    /// All shards of all spaces.
    pub shards: Shards,
    /// The ledgers that may still be read or written.
    pub ledgers: BTreeMap<LedgerId, Ledger>,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its life: the index of its Join.
    pub incarnation: Incarnation,
    /// How it introduced itself.
    pub boot: Arc<Boot>,
    /// Where it stands.
    pub status: Status,
    /// The entry that made it so.
    pub since: Index,
    /// The ledger that it writes; none before the first is opened, and none when it is down.
    pub ledger: Option<LedgerId>,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Its Join is committed; it owns nothing yet.
    Joining,
    /// It may own shards.
    Up,
    /// It wants to go: its shards move away.
    Leaving,
    /// This life is over. Its leases have run out, or its process is proven dead.
    Down,
}

/// A kind or a daemon set: what has shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// Its name, unique among the spaces.
    pub name: KindName,
    /// The code.
    pub component: Digest,
    /// Counts what was deployed under this name from 1.
    pub version: u64,
    /// What survives.
    pub durability: Durability,
    /// How many shards there are.
    pub shards: u32,
    /// What it is.
    pub role: Role,
}

/// What a space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Entities by name, each in the shard that its key hashes to.
    Kind,
    /// Workers that always run: worker i is shard i.
    Daemons {
        /// Counts the changes of the number.
        revision: u64,
        /// The number before the last change.
        previous: u32,
        /// Whether workers beyond the number may still run.
        phase: Phase,
    },
}

/// How far a change of a daemon set's number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Exactly its number of shards exists.
    Stable,
    /// Workers beyond the number are being stopped; their shards still exist.
    Shrinking,
}

/// Who owns a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// The index of the entry that assigned it last; 0 if none has. It never goes back, also not where nobody owns it.
    pub epoch: Epoch,
    /// The lowest stamp of a record of this shard that counts in the owner's ledgers: what lies there from an earlier ownership, or from
    /// a handoff that was aborted, is below it.
    pub since: Epoch,
    /// Ledgers, besides the one that the owner writes, that may have states of this shard which that one has not. Oldest first.
    pub sources: Vec<Source>,
    /// Where it stands.
    pub ownership: Ownership,
}

/// A ledger that may have states of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The ledger.
    pub ledger: LedgerId,
    /// The lowest stamp of a record that counts.
    pub since: Epoch,
}

/// Where a shard stands (I5: in exactly one of these).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Nobody owns it.
    Unassigned,
    /// One node does.
    Owned {
        /// Which.
        home: Home,
    },
    /// It moves. `from` serves it until it acknowledges the handoff, and nobody from then to the end.
    Handoff {
        /// The handoff: the index of the entry that began it.
        handoff: HandoffId,
        /// What was shipped for it.
        transfer: TransferId,
        /// What the target has stamped it with: from there on the records in its ledger count.
        stamp: Epoch,
        /// Who has it.
        from: Home,
        /// Who gets it.
        to: Home,
    },
}

/// A sealed, or not yet sealed, list of states on several disks: PROTOCOL section 10.
///
/// A ledger has one writer in all its life, and never changes its replicas: where these have to change, its home opens another
/// one and adopts from the old one what it owns, exactly as a successor does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Who may write.
    pub home: Home,
    /// Whose disks keep it; the home is one of them. A node with another disk is none.
    pub replicas: Vec<Replica>,
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The node that has it.
    pub node: NodeId,
    /// The disk's number: see [`Boot::disk`].
    pub disk: u64,
}

impl Ledger {
    /// The most replicas.
    pub const REPLICAS: usize = 3;

    /// How many disks a record has to be on before it is acknowledged: two, where there are two.
    pub fn append_quorum(&self) -> usize {
        self.replicas.len().min(2)
    }

    /// How many disks have to be sealed and read, so that one of them has every acknowledged record.
    pub fn read_quorum(&self) -> usize {
        self.replicas.len() - self.append_quorum() + 1
    }
}

impl Member {
    /// This life of it, as an owner.
    pub fn home(&self) -> Home {
        Home {
            node: self.boot.node,
            incarnation: self.incarnation,
        }
    }
}

impl Space {
    /// How many shards, or workers, there may be.
    pub const SHARDS: RangeInclusive<u32> = 1..=65_536;
}

impl ControlState {
    /// The most voters: more make every commit slower and the cluster no safer.
    pub const VOTERS_MAX: usize = 5;

    /// Nothing is decided yet.
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            protocol: 1,
            applied: Index(0),
            hash: cluster.0,
            coordinator: Term::default(),
            members: BTreeMap::new(),
            voters: BTreeSet::new(),
            spaces: BTreeMap::new(),
            shards: Shards::default(),
            ledgers: BTreeMap::new(),
        }
    }

    /// The member whose life this is, if it is not over or replaced. A Down member is not live.
    pub fn live(&self, home: Home) -> Option<&Member> {
        self.members.get(&home.node).filter(|member| {
            member.incarnation == home.incarnation && member.status != Status::Down
        })
    }

    /// The space of that name.
    pub fn space(&self, name: &KindName) -> Option<(SpaceId, &Space)> {
        self.spaces
            .iter()
            .find(|(_, space)| space.name == *name)
            .map(|(&id, space)| (id, space))
    }

    /// The shard of an entity: of a kind, xxh3-64 of the key, seeded per cluster, modulo the number of shards; of a daemon set, the
    /// number that is the key. `None` also for a worker that does not exist.
    pub fn shard_of(&self, entity: &EntityId) -> Option<ShardId> {
        let (space, record) = self.space(entity.kind())?;
        let key = entity.key();
        let number = match record.role {
            Role::Kind => {
                let hash = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), self.cluster.0);
                u32::try_from(hash % u64::from(record.shards)).expect("less than a u32")
            }
            Role::Daemons { .. } => worker_number(key)?,
        };
        let shard = ShardId { space, number };
        self.shards.contains_key(&shard).then_some(shard)
    }

    /// The shards of which this is the owner, or the source of their handoff.
    pub fn owned_by(&self, home: Home) -> impl Iterator<Item = ShardId> + '_ {
        self.shards.owned_by(home)
    }

    /// Who dispatches calls of this shard, or did last while it moves, and under which epoch.
    pub fn home_of(&self, shard: ShardId) -> Option<(Home, Epoch)> {
        let shard = self.shards.get(&shard)?;
        match shard.ownership {
            Ownership::Unassigned => None,
            Ownership::Owned { home } => Some((home, shard.epoch)),
            Ownership::Handoff { from, .. } => Some((from, shard.epoch)),
        }
    }
}

/// A worker has one name: `7`, and neither `07` nor `+7`.
fn worker_number(key: &str) -> Option<u32> {
    let number: u32 = key.parse().ok()?;
    (number.to_string() == key).then_some(number)
}

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster::{
    Boot, Epoch, HandoffId, Home, Index, LedgerId, NodeId, ShardId, SpaceId, Term, TransferId,
};
use crate::{Digest, Durability, KindName};

use super::Replica;

/// An entry of the control log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place: without gaps, from 1.
    pub index: Index,
    /// The coordinator that proposed it.
    pub term: Term,
    /// What it decides.
    pub command: Command,
}

/// What the control log can decide. Each does nothing where it does not find what it expects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The first entry of a coordinator: from here on entries of older terms are void (I3).
    Coordinate,
    /// A process becomes a member, in the place of the node's life `after`, which is over.
    Join {
        /// How it introduced itself.
        boot: Arc<Boot>,
        /// The life that it follows: `None` if the node is no member.
        after: Option<Home>,
    },
    /// A joining member may own shards.
    Up {
        /// Which.
        member: Home,
    },
    /// A member wants to go.
    Leave {
        /// Which.
        member: Home,
    },
    /// A member's life is over: its lease has run out, or its death is proven. What it owned belongs to nobody.
    Down {
        /// Which.
        member: Home,
    },
    /// A member that is down, or that left and owns nothing, is a member no more.
    Remove {
        /// Which.
        member: Home,
    },
    /// Who votes in the control log. One node more or less at a time (I16).
    Voters {
        /// Who votes now; anything else and the command is void.
        from: Vec<NodeId>,
        /// Who votes from now on.
        to: Vec<NodeId>,
    },
    /// A kind is deployed, or deployed again.
    DeployKind {
        /// Its name.
        name: KindName,
        /// Its code.
        component: Digest,
        /// What survives; fixed by the first.
        durability: Durability,
        /// How many shards; fixed by the first.
        shards: u32,
    },
    /// A daemon set is made, or gets another number of workers or another code.
    Scale {
        /// Its name.
        name: KindName,
        /// Its code.
        component: Digest,
        /// What survives; fixed by the first.
        durability: Durability,
        /// How many workers.
        workers: u32,
        /// The revision that this one follows; 0 for a new set.
        after: u64,
    },
    /// Workers beyond the number are stopped: their shards are gone.
    Retire {
        /// Which set.
        space: SpaceId,
        /// The revision that shrank it.
        revision: u64,
    },
    /// A space is forgotten with its shards.
    Drop {
        /// Which.
        space: SpaceId,
    },
    /// Shards that nobody owns get an owner.
    Assign {
        /// Which, with the epoch that they have, and to whom.
        shards: Vec<Assignment>,
    },
    /// Shards begin to move.
    BeginHandoff {
        /// What was shipped for them.
        transfer: TransferId,
        /// What the target has stamped it with.
        stamp: Epoch,
        /// Who has them.
        from: Home,
        /// Who gets them.
        to: Home,
        /// Which, with the epoch that they have.
        shards: Vec<(ShardId, Epoch)>,
    },
    /// Shards have moved.
    CompleteHandoff {
        /// Which handoff.
        handoff: HandoffId,
        /// Which shards, and the target's ledger that has their states.
        shards: Vec<(ShardId, Option<LedgerId>)>,
    },
    /// Shards did not move: they are the source's again, if it lives, under a new epoch; else nobody's.
    AbortHandoff {
        /// Which handoff.
        handoff: HandoffId,
        /// Which shards.
        shards: Vec<ShardId>,
    },
    /// A member writes another ledger from now on.
    OpenLedger {
        /// Who.
        home: Home,
        /// The ledger that it wrote until now; anything else and the command is void.
        after: Option<LedgerId>,
        /// Whose disks keep it.
        replicas: Vec<Replica>,
    },
    /// An owner has every state of a shard that the source has.
    Adopted {
        /// The shard.
        shard: ShardId,
        /// The ownership that adopted.
        epoch: Epoch,
        /// The ledger that it needs no more.
        source: LedgerId,
    },
}

/// A shard that gets an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The shard.
    pub shard: ShardId,
    /// The epoch that it had last.
    pub after: Epoch,
    /// Its new home.
    pub home: Home,
}

//! Where shards should live: a pure function from what is to what should be done about it.
//!
//! ```text
//!   nodes, shards ──► assign: each shard that has no node, to the node with the least of its space
//!                 ──► moves:  1. per space, from the node with the most to the one with the least, until they are even
//!                             2. over all spaces, in the same way, where no space gets less even by it
//! ```
//! Nothing moves unless a difference exceeds a limit, and then everything is evened out: what moved once does not move back, and a
//! cluster in which nothing changes is left alone. A space with about one shard per node (workers, mostly) is spread as far as
//! it goes. Every move lowers what is compared, so a plan ends, and so do plans made of its result.

mod loads;

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Home, ShardId, SpaceId};
use loads::Loads;

/// A node that may get shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub home: Home,
    /// What fails together with it.
    pub zone: String,
    /// How much it takes, in relation to the others; with 0 it gets nothing and gives away what it has.
    pub weight: u32,
    /// It has a ledger: it may own durable shards.
    pub durable_ok: bool,
}

/// What a plan has to respect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A difference of this many shards between two nodes is left alone.
    pub absolute: usize,
    /// And so is one of this many percent of what a node has on average, if that is more.
    pub relative: usize,
    /// The most moves in a plan.
    pub moves_max: usize,
    /// The spaces whose shards only go to nodes that are `durable_ok`.
    pub durable: BTreeSet<SpaceId>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            absolute: 2,
            relative: 10,
            moves_max: 64,
            durable: BTreeSet::new(),
        }
    }
}

/// What should be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Shards that nobody has, and who should.
    pub assign: Vec<(ShardId, Home)>,
    /// Shards that should move, from whom, to whom. None of those that are assigned.
    pub moves: Vec<(ShardId, Home, Home)>,
}

/// Plans for shards that have a home, or none. Shards of a home that is no candidate are left alone, and those that no candidate
/// may have are in no plan.
pub fn plan(nodes: &[Candidate], shards: &[(ShardId, Option<Home>)], policy: &Policy) -> Plan {
    let mut loads = Loads::new(nodes, policy);
    let mut spaces: BTreeMap<SpaceId, Vec<ShardId>> = BTreeMap::new();
    let shards: BTreeMap<_, _> = shards.iter().copied().collect();
    for (shard, home) in shards {
        let free = spaces.entry(shard.space).or_default();
        match home {
            Some(home) => loads.place(shard, home),
            None => free.push(shard),
        }
    }
    let mut plan = Plan::default();
    for (space, free) in spaces {
        for shard in free {
            let Some(home) = loads.assign(shard) else {
                break;
            };
            plan.assign.push((shard, home));
        }
        loads.even_out(space, &mut plan.moves);
    }
    loads.even_out_totals(&mut plan.moves);
    plan
}

#[cfg(test)]
mod tests;

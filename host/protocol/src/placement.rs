//! Stand-in: the real one is helper A's.
#![allow(missing_docs, reason = "stand-in")]
use std::collections::BTreeMap;

use crate::cluster::{Home, ShardId};

#[derive(Debug, Clone)]
pub struct Candidate {
    pub home: Home,
    pub zone: String,
    pub weight: u32,
    pub durable_ok: bool,
}
#[derive(Debug, Clone)]
pub struct Policy {
    pub absolute: usize,
    pub relative: usize,
    pub moves_max: usize,
}
impl Default for Policy {
    fn default() -> Self {
        Self {
            absolute: 2,
            relative: 10,
            moves_max: 64,
        }
    }
}
#[derive(Debug, Default)]
pub struct Plan {
    pub assign: Vec<(ShardId, Home)>,
    pub moves: Vec<(ShardId, Home, Home)>,
}
pub fn plan(nodes: &[Candidate], shards: &[(ShardId, Option<Home>)], policy: &Policy) -> Plan {
    let mut plan = Plan::default();
    let mut load: BTreeMap<Home, Vec<ShardId>> =
        nodes.iter().map(|n| (n.home, Vec::new())).collect();
    for (shard, home) in shards {
        if let Some(list) = home.and_then(|home| load.get_mut(&home)) {
            list.push(*shard);
        }
    }
    for (shard, home) in shards {
        if home.is_none() {
            let (&home, list) = load
                .iter_mut()
                .min_by_key(|(h, l)| (l.len(), **h))
                .expect("nodes");
            list.push(*shard);
            plan.assign.push((*shard, home));
        }
    }
    while plan.moves.len() < policy.moves_max {
        let (&min, low) = load
            .iter()
            .min_by_key(|(h, l)| (l.len(), **h))
            .expect("nodes");
        let (&max, high) = load
            .iter()
            .max_by_key(|(h, l)| (l.len(), **h))
            .expect("nodes");
        let slack = if plan.moves.is_empty() {
            policy.absolute
        } else {
            1
        };
        if high.len() <= low.len() + slack {
            break;
        }
        let shard = load
            .get_mut(&max)
            .and_then(Vec::pop)
            .expect("more than the least");
        load.get_mut(&min).expect("a node").push(shard);
        plan.moves.push((shard, max, min));
    }
    plan
}

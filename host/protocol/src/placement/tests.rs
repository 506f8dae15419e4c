use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Policy, plan};
use crate::cluster::{Home, Incarnation, NodeId, ShardId, SpaceId};

/// A cluster whose plans are carried out.
struct Cluster {
    nodes: Vec<Candidate>,
    shards: BTreeMap<ShardId, Option<Home>>,
    policy: Policy,
}

impl Cluster {
    fn of(nodes: u64, spaces: &[u32]) -> Self {
        let mut cluster = Self {
            nodes: (1..=nodes).map(node).collect(),
            shards: BTreeMap::new(),
            policy: Policy::default(),
        };
        for (space, &count) in (1..).zip(spaces) {
            cluster.deploy(space, count);
        }
        cluster
    }

    fn deploy(&mut self, space: u64, count: u32) {
        let space = SpaceId(space);
        let shards = (0..count).map(|number| (ShardId { space, number }, None));
        self.shards.extend(shards);
    }

    /// Carries out one plan, and says how much it assigned and moved.
    fn round(&mut self) -> (usize, usize) {
        let shards: Vec<_> = self.shards.iter().map(|(&id, &home)| (id, home)).collect();
        let plan = plan(&self.nodes, &shards, &self.policy);
        assert!(plan.moves.len() <= self.policy.moves_max);
        for &(shard, home) in &plan.assign {
            assert_eq!(self.shards.insert(shard, Some(home)), Some(None));
        }
        let mut moved = BTreeSet::new();
        for &(shard, from, to) in &plan.moves {
            assert!(moved.insert(shard), "{shard} moves twice");
            assert!(from != to && self.nodes.iter().any(|node| node.home == to));
            assert_eq!(self.shards.insert(shard, Some(to)), Some(Some(from)));
        }
        (plan.assign.len(), plan.moves.len())
    }

    /// Plans until nothing is left to do, and says how much was assigned and moved.
    fn settle(&mut self) -> (usize, usize) {
        let mut sum = (0, 0);
        for _ in 0..200 {
            let (assigned, moved) = self.round();
            if (assigned, moved) == (0, 0) {
                return sum;
            }
            sum = (sum.0 + assigned, sum.1 + moved);
        }
        panic!("plans do not end");
    }

    /// Takes nodes out; what they had belongs to nobody. Says how much that is.
    fn kill(&mut self, dead: &[u64]) -> usize {
        let dead = |home: Home| dead.contains(&home.node.0);
        self.nodes.retain(|node| !dead(node.home));
        let mut lost = 0;
        for home in self.shards.values_mut() {
            if home.is_some_and(dead) {
                *home = None;
                lost += 1;
            }
        }
        lost
    }

    fn counts(&self, of: impl Fn(ShardId) -> bool) -> Vec<usize> {
        let count = |node: &Candidate| {
            let mine = |(shard, home): &(&ShardId, &Option<Home>)| {
                of(**shard) && **home == Some(node.home)
            };
            self.shards.iter().filter(mine).count()
        };
        self.nodes.iter().map(count).collect()
    }

    fn of_space(&self, space: u64) -> Vec<usize> {
        self.counts(|shard| shard.space == SpaceId(space))
    }

    /// No two nodes differ by more than is left alone, in any space and in sum.
    fn check_even(&self) {
        let spaces: BTreeSet<_> = self.shards.keys().map(|shard| shard.space.0).collect();
        for space in spaces {
            self.check_counts(&self.of_space(space));
        }
        self.check_counts(&self.counts(|_| true));
    }

    fn check_counts(&self, counts: &[usize]) {
        let sum: usize = counts.iter().sum();
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        let limit = (sum / counts.len() / 10).max(2);
        assert!(most - least <= limit, "{counts:?}");
    }
}

fn node(number: u64) -> Candidate {
    Candidate {
        home: Home {
            node: NodeId(number),
            incarnation: Incarnation(number),
        },
        zone: format!("z{}", number % 3),
        weight: 1,
        durable_ok: true,
    }
}

const SIZES: [(u64, &[u32]); 9] = [
    (1, &[64]),
    (3, &[64, 3]),
    (5, &[64, 64, 7, 1, 1, 1]),
    (7, &[64; 10]),
    (10, &[1; 100]),
    (20, &[5; 40]),
    (50, &[64; 15]),
    (100, &[1_000]),
    (100, &[500, 64, 64, 64, 64, 64, 64, 100, 16]),
];

#[test]
fn an_assigned_cluster_is_even_at_once_and_nothing_ever_moves() {
    for (nodes, spaces) in SIZES {
        let mut cluster = Cluster::of(nodes, spaces);
        let all = cluster.shards.len();
        assert_eq!(cluster.round(), (all, 0), "{nodes} nodes, {spaces:?}");
        cluster.check_even();
        assert_eq!(cluster.round(), (0, 0), "{nodes} nodes, {spaces:?}");
    }
}

#[test]
fn a_node_that_joins_gets_its_share_and_nothing_else_moves() {
    for (nodes, spaces) in SIZES {
        let mut cluster = Cluster::of(nodes, spaces);
        cluster.settle();
        cluster.nodes.push(node(nodes + 1));
        let all = cluster.shards.len();
        let share = all.div_ceil(cluster.nodes.len());
        let (assigned, moved) = cluster.settle();
        assert_eq!(assigned, 0);
        assert!(
            moved <= share + share / 10 + 1,
            "{moved} instead of {share}: {nodes} nodes, {spaces:?}"
        );
        cluster.check_even();
    }
}

#[test]
fn after_deaths_only_what_was_lost_moves_and_a_tenth_of_it() {
    for (nodes, spaces) in SIZES {
        let dead: Vec<_> = (1..=nodes * 3 / 10).collect();
        let mut cluster = Cluster::of(nodes, spaces);
        cluster.settle();
        let lost = cluster.kill(&dead);
        let (assigned, moved) = cluster.settle();
        assert_eq!(assigned, lost);
        assert!(
            moved <= lost / 10,
            "{moved} besides {lost}: {nodes} nodes, {spaces:?}"
        );
        cluster.check_even();
    }
}

#[test]
fn whatever_comes_and_goes_plans_end_and_are_even() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let nodes = 1 + random.below(if seed % 10 == 0 { 100 } else { 12 });
        let mut cluster = Cluster::of(nodes, &[]);
        for _ in 0..12 {
            match random.below(3) {
                0 => {
                    let dead: Vec<_> = (1..=nodes).filter(|_| random.below(4) == 0).collect();
                    if cluster
                        .nodes
                        .iter()
                        .any(|it| !dead.contains(&it.home.node.0))
                    {
                        cluster.kill(&dead);
                    }
                }
                1 => {
                    let back = node(1 + random.below(nodes));
                    if !cluster.nodes.contains(&back) {
                        cluster.nodes.push(back);
                    }
                }
                _ => {
                    let space = 1 + random.below(6);
                    let count = 1 + random.below(120);
                    if !cluster.shards.keys().any(|it| it.space.0 == space) {
                        cluster.deploy(space, u32::try_from(count).unwrap());
                    }
                }
            }
            if random.below(3) > 0 {
                cluster.settle();
                cluster.check_even();
            } else {
                cluster.round();
            }
        }
    }
}

#[test]
fn the_order_of_nodes_and_shards_does_not_matter() {
    let mut cluster = Cluster::of(5, &[64, 5, 30, 1, 1, 1, 1, 1, 1, 1]);
    cluster.settle();
    cluster.nodes.extend([node(6), node(7)]);
    cluster.deploy(11, 9);
    let shards = cluster.shards.iter().map(|(&id, &home)| (id, home));
    let mut shards: Vec<_> = shards.collect();
    let forwards = plan(&cluster.nodes, &shards, &cluster.policy);
    cluster.nodes.reverse();
    shards.reverse();
    assert_eq!(forwards, plan(&cluster.nodes, &shards, &cluster.policy));
    assert!(!forwards.assign.is_empty() && !forwards.moves.is_empty());
}

#[test]
fn a_difference_within_the_limits_is_left_alone_and_one_beyond_is_evened_out() {
    let mut cluster = Cluster::of(2, &[100]);
    let [one, two] = [1, 2].map(|number| node(number).home);
    let mut set = |first: usize| {
        for (place, home) in cluster.shards.values_mut().enumerate() {
            *home = Some(if place < first { one } else { two });
        }
        let moved = cluster.settle().1;
        (moved, cluster.of_space(1))
    };
    assert_eq!(set(52), (0, vec![52, 48]));
    assert_eq!(set(53), (3, vec![50, 50]));
}

#[test]
fn workers_are_spread_over_nodes_and_zones() {
    let mut cluster = Cluster::of(6, &[2]);
    cluster.settle();
    let homes: Vec<_> = cluster.shards.values().flatten().collect();
    assert_ne!(homes[0].node.0 % 3, homes[1].node.0 % 3, "{homes:?}");
    let mut cluster = Cluster::of(3, &[3]);
    cluster.settle();
    cluster.kill(&[3]);
    cluster.settle();
    assert_eq!(cluster.of_space(1).iter().sum::<usize>(), 3);
    cluster.nodes.push(node(3));
    assert_eq!(cluster.settle(), (0, 1));
    assert_eq!(cluster.of_space(1), [1, 1, 1]);
}

#[test]
fn a_plan_has_no_more_moves_than_allowed_and_the_next_one_goes_on() {
    let mut cluster = Cluster::of(1, &[64]);
    cluster.settle();
    cluster.nodes.push(node(2));
    cluster.policy.moves_max = 10;
    assert_eq!(cluster.round(), (0, 10));
    assert_eq!(cluster.of_space(1), [54, 10]);
    cluster.policy.moves_max = 0;
    assert_eq!(cluster.round(), (0, 0));
}

#[test]
fn a_heavier_node_takes_more_and_one_without_weight_gives_all_away() {
    let mut cluster = Cluster::of(3, &[60]);
    cluster.nodes[0].weight = 4;
    cluster.settle();
    assert_eq!(cluster.of_space(1), [40, 10, 10]);
    cluster.nodes[1].weight = 0;
    cluster.settle();
    assert_eq!(cluster.of_space(1), [48, 0, 12]);
    assert_eq!(cluster.settle(), (0, 0));
}

#[test]
fn durable_shards_only_go_where_there_is_a_ledger() {
    let mut cluster = Cluster::of(3, &[30, 30]);
    cluster.policy.durable = [SpaceId(2)].into();
    cluster.nodes[0].durable_ok = false;
    cluster.settle();
    assert_eq!(cluster.of_space(2), [0, 15, 15]);
    assert_eq!(cluster.settle(), (0, 0));
    cluster.nodes[0].durable_ok = true;
    cluster.settle();
    cluster.check_even();
}

#[test]
fn without_nodes_there_is_no_plan_and_shards_of_others_are_left_alone() {
    let mut cluster = Cluster::of(0, &[3]);
    assert_eq!(cluster.round(), (0, 0));
    cluster.nodes.push(node(1));
    cluster.settle();
    cluster.nodes = vec![node(2)];
    assert_eq!(cluster.round(), (0, 0));
}

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

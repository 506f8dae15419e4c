use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::{Candidate, Policy};
use crate::cluster::{Home, ShardId, SpaceId};

/// What each node has, while a plan is made.
pub(super) struct Loads<'a> {
    /// In the order of their homes: where all else is equal, the first one is taken.
    nodes: Vec<Load<'a>>,
    places: BTreeMap<Home, usize>,
    /// Shards per space and zone.
    zones: BTreeMap<(SpaceId, &'a str), usize>,
    policy: &'a Policy,
}

struct Load<'a> {
    node: &'a Candidate,
    total: usize,
    spaces: BTreeMap<SpaceId, Held>,
}

/// What a node has of a space.
#[derive(Default)]
struct Held {
    count: usize,
    /// Those of them that may move: not what the plan itself has put here.
    movable: Vec<ShardId>,
}

/// Shards in relation to a node's weight. Of a node without weight any number is more than everything.
#[derive(Clone, Copy)]
struct Share {
    count: usize,
    weight: u32,
}

type Move = (ShardId, Home, Home);

impl<'a> Loads<'a> {
    pub(super) fn new(nodes: &'a [Candidate], policy: &'a Policy) -> Self {
        let load = |node| Load {
            node,
            total: 0,
            spaces: BTreeMap::new(),
        };
        let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (node.home, node)).collect();
        Self {
            nodes: nodes.values().copied().map(load).collect(),
            places: nodes.into_keys().zip(0..).collect(),
            zones: BTreeMap::new(),
            policy,
        }
    }

    /// A shard is where it is.
    pub(super) fn place(&mut self, shard: ShardId, home: Home) {
        if let Some(&place) = self.places.get(&home) {
            self.add(shard, place);
            let held = self.nodes[place].spaces.entry(shard.space).or_default();
            held.movable.push(shard);
        }
    }

    /// A shard gets a node.
    pub(super) fn assign(&mut self, shard: ShardId) -> Option<Home> {
        let place = self.least(shard.space)?;
        self.add(shard, place);
        Some(self.nodes[place].node.home)
    }

    /// Moves shards of one space until no move makes it more even, if it is uneven enough to begin.
    pub(super) fn even_out(&mut self, space: SpaceId, moves: &mut Vec<Move>) {
        if moves.len() >= self.policy.moves_max || !self.is_uneven(space) {
            return;
        }
        while moves.len() < self.policy.moves_max {
            let Some((from, to)) = self.most(space).zip(self.least(space)) else {
                return;
            };
            if self.share(from, space) <= self.share_with(to, space) {
                return;
            }
            moves.extend(self.shift(space, from, to));
        }
    }

    /// Moves shards of all spaces until no move makes the sums more even, where it makes no space less even.
    pub(super) fn even_out_totals(&mut self, moves: &mut Vec<Move>) {
        if moves.len() >= self.policy.moves_max || !self.are_totals_uneven() {
            return;
        }
        while moves.len() < self.policy.moves_max {
            let Some((space, from, to)) = self.total_step() else {
                return;
            };
            moves.extend(self.shift(space, from, to));
        }
    }

    /// From the node with the most to the first, beginning with that with the least, that can take something.
    fn total_step(&self) -> Option<(SpaceId, usize, usize)> {
        let full = (0..self.nodes.len()).filter(|&at| self.nodes[at].total > 0);
        let from = full.max_by_key(|&at| (self.nodes[at].share(), Reverse(at)))?;
        let mut targets: Vec<_> = (0..self.nodes.len())
            .filter(|&at| self.nodes[at].node.weight > 0)
            .filter(|&at| self.nodes[at].share_with() < self.nodes[from].share())
            .collect();
        targets.sort_unstable_by_key(|&at| (self.nodes[at].share_with(), at));
        targets.into_iter().find_map(|to| {
            let spaces = self.nodes[from].spaces.iter();
            let fits = |space| {
                self.may_take(to, space) && self.share_with(to, space) <= self.share(from, space)
            };
            let mut movable = spaces.filter(|(_, held)| !held.movable.is_empty());
            let (&space, _) = movable.find(|(space, _)| fits(**space))?;
            Some((space, from, to))
        })
    }

    fn is_uneven(&self, space: SpaceId) -> bool {
        let Some((most, least)) = self.most(space).zip(self.least(space)) else {
            return false;
        };
        let able: Vec<_> = (0..self.nodes.len())
            .filter(|&at| self.may_take(at, space))
            .collect();
        let count = self.nodes.iter().map(|load| load.count(space)).sum();
        let weight = able
            .iter()
            .map(|&at| u128::from(self.nodes[at].node.weight));
        let average = Average {
            count,
            nodes: able.len(),
            weight: weight.sum(),
        };
        average.differ(
            self.policy,
            self.share(most, space),
            self.share(least, space),
        )
    }

    fn are_totals_uneven(&self) -> bool {
        let able = self.nodes.iter().filter(|load| load.node.weight > 0);
        let shares = || self.nodes.iter().map(Load::share);
        let full = shares().filter(|share| share.count > 0).max();
        let Some((most, least)) = full.zip(able.clone().map(Load::share).min()) else {
            return false;
        };
        let average = Average {
            count: self.nodes.iter().map(|load| load.total).sum(),
            nodes: able.clone().count(),
            weight: able.map(|load| u128::from(load.node.weight)).sum(),
        };
        average.differ(self.policy, most, least)
    }

    /// The node that should give one of this space away.
    fn most(&self, space: SpaceId) -> Option<usize> {
        let movable = |at: &usize| {
            let held = self.nodes[*at].spaces.get(&space);
            held.is_some_and(|held| !held.movable.is_empty())
        };
        let givers = (0..self.nodes.len()).filter(movable);
        givers.max_by_key(|&at| {
            let load = &self.nodes[at];
            (self.share(at, space), load.share(), Reverse(at))
        })
    }

    /// The node that should get one of this space.
    fn least(&self, space: SpaceId) -> Option<usize> {
        let takers = (0..self.nodes.len()).filter(|&at| self.may_take(at, space));
        takers.min_by_key(|&at| {
            let load = &self.nodes[at];
            let zone = self.zones.get(&(space, load.node.zone.as_str()));
            let zone = zone.copied().unwrap_or(0);
            let share = self.share_with(at, space);
            (share, load.share_with(), zone, at)
        })
    }

    fn may_take(&self, at: usize, space: SpaceId) -> bool {
        let node = self.nodes[at].node;
        node.weight > 0 && (node.durable_ok || !self.policy.durable.contains(&space))
    }

    fn share(&self, at: usize, space: SpaceId) -> Share {
        let load = &self.nodes[at];
        load.node.share(load.count(space))
    }

    /// What a node would have with one more.
    fn share_with(&self, at: usize, space: SpaceId) -> Share {
        let load = &self.nodes[at];
        load.node.share(load.count(space) + 1)
    }

    fn shift(&mut self, space: SpaceId, from: usize, to: usize) -> Option<Move> {
        let giver = &mut self.nodes[from];
        let held = giver.spaces.get_mut(&space)?;
        let shard = held.movable.pop()?;
        held.count -= 1;
        giver.total -= 1;
        let source = giver.node;
        if let Some(count) = self.zones.get_mut(&(space, source.zone.as_str())) {
            *count -= 1;
        }
        self.add(shard, to);
        Some((shard, source.home, self.nodes[to].node.home))
    }

    fn add(&mut self, shard: ShardId, place: usize) {
        let load = &mut self.nodes[place];
        load.total += 1;
        load.spaces.entry(shard.space).or_default().count += 1;
        let zone = (shard.space, load.node.zone.as_str());
        *self.zones.entry(zone).or_default() += 1;
    }
}

impl Load<'_> {
    fn count(&self, space: SpaceId) -> usize {
        self.spaces.get(&space).map_or(0, |held| held.count)
    }

    fn share(&self) -> Share {
        self.node.share(self.total)
    }

    fn share_with(&self) -> Share {
        self.node.share(self.total + 1)
    }
}

impl Candidate {
    fn share(&self, count: usize) -> Share {
        let weight = self.weight;
        Share { count, weight }
    }
}

/// What nodes would have if all were even.
struct Average {
    count: usize,
    nodes: usize,
    weight: u128,
}

impl Average {
    /// Whether two shares differ by more than the policy leaves alone, in shards of a node of average weight.
    fn differ(&self, policy: &Policy, most: Share, least: Share) -> bool {
        let fair = self.count.div_ceil(self.nodes.max(1));
        let relative = self.count * policy.relative / (100 * self.nodes.max(1));
        let limit = policy.absolute.min(fair).max(relative);
        let (most_weight, least_weight) = (u128::from(most.weight), u128::from(least.weight));
        let above = most.count as u128 * least_weight;
        let below = least.count as u128 * most_weight;
        let scale = most_weight * least_weight * self.nodes as u128;
        above.saturating_sub(below) * self.weight > limit as u128 * scale
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = self.count as u128 * u128::from(other.weight);
        let theirs = other.count as u128 * u128::from(self.weight);
        mine.cmp(&theirs)
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{Ownership, Shard};
use crate::cluster::{Home, LedgerId, ShardId};

/// All shards of all spaces, read like the map that it is, and found by who owns them and by the ledgers that they need.
///
/// What is derived is kept by the only functions that change a shard, and made anew from the map when a state is decoded: it
/// cannot disagree with it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "BTreeMap<ShardId, Shard>")]
pub struct Shards {
    all: BTreeMap<ShardId, Shard>,
    lists: Lists,
}

/// Shards by something that they say of themselves. A list that is empty is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lists {
    unassigned: BTreeSet<ShardId>,
    owned: BTreeMap<Home, BTreeSet<ShardId>>,
    incoming: BTreeMap<Home, BTreeSet<ShardId>>,
    sourced: BTreeMap<LedgerId, BTreeSet<ShardId>>,
}

impl Shards {
    /// Those of this owner: also those that move away from it, for which it is the source.
    pub fn owned_by(&self, home: Home) -> impl Iterator<Item = ShardId> + '_ {
        self.lists.owned.get(&home).into_iter().flatten().copied()
    }

    /// Those that move to this home.
    pub fn incoming(&self, home: Home) -> impl Iterator<Item = ShardId> + '_ {
        let incoming = self.lists.incoming.get(&home);
        incoming.into_iter().flatten().copied()
    }

    /// Those that move.
    pub fn moving(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.lists.incoming.values().flatten().copied()
    }

    /// Those that nobody owns.
    pub fn unassigned(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.lists.unassigned.iter().copied()
    }

    /// Those that have this ledger among their sources.
    pub fn sourced_from(&self, ledger: LedgerId) -> impl Iterator<Item = ShardId> + '_ {
        let sourced = self.lists.sourced.get(&ledger);
        sourced.into_iter().flatten().copied()
    }

    /// Adds a shard, or puts it in the place of the one with its id.
    pub fn insert(&mut self, id: ShardId, shard: Shard) {
        self.remove(id);
        self.lists.link(id, &shard);
        self.all.insert(id, shard);
    }

    /// Takes a shard out.
    pub fn remove(&mut self, id: ShardId) -> Option<Shard> {
        let shard = self.all.remove(&id)?;
        self.lists.unlink(id, &shard);
        Some(shard)
    }

    /// Changes a shard, if there is one with this id.
    pub fn change(&mut self, id: ShardId, edit: impl FnOnce(&mut Shard)) {
        if let Some(shard) = self.all.get_mut(&id) {
            self.lists.unlink(id, shard);
            edit(shard);
            self.lists.link(id, shard);
        }
    }

    /// Panics if what is derived disagrees with the shards.
    pub(super) fn check_invariants(&self) {
        let mut lists = Lists::default();
        for (&id, shard) in &self.all {
            lists.link(id, shard);
        }
        assert_eq!(self.lists, lists, "the lists disagree with the shards");
    }
}

impl Lists {
    fn link(&mut self, id: ShardId, shard: &Shard) {
        match shard.ownership {
            Ownership::Unassigned => {
                self.unassigned.insert(id);
            }
            Ownership::Owned { home } => add(&mut self.owned, home, id),
            Ownership::Handoff { from, to, .. } => {
                add(&mut self.owned, from, id);
                add(&mut self.incoming, to, id);
            }
        }
        for source in &shard.sources {
            add(&mut self.sourced, source.ledger, id);
        }
    }

    fn unlink(&mut self, id: ShardId, shard: &Shard) {
        match shard.ownership {
            Ownership::Unassigned => {
                self.unassigned.remove(&id);
            }
            Ownership::Owned { home } => take(&mut self.owned, home, id),
            Ownership::Handoff { from, to, .. } => {
                take(&mut self.owned, from, id);
                take(&mut self.incoming, to, id);
            }
        }
        for source in &shard.sources {
            take(&mut self.sourced, source.ledger, id);
        }
    }
}

fn add<K: Ord>(lists: &mut BTreeMap<K, BTreeSet<ShardId>>, key: K, id: ShardId) {
    lists.entry(key).or_default().insert(id);
}

fn take<K: Ord>(lists: &mut BTreeMap<K, BTreeSet<ShardId>>, key: K, id: ShardId) {
    if let Some(list) = lists.get_mut(&key) {
        list.remove(&id);
        if list.is_empty() {
            lists.remove(&key);
        }
    }
}

impl Deref for Shards {
    type Target = BTreeMap<ShardId, Shard>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<'a> IntoIterator for &'a Shards {
    type Item = (&'a ShardId, &'a Shard);
    type IntoIter = std::collections::btree_map::Iter<'a, ShardId, Shard>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl From<BTreeMap<ShardId, Shard>> for Shards {
    fn from(all: BTreeMap<ShardId, Shard>) -> Self {
        let mut lists = Lists::default();
        for (&id, shard) in &all {
            lists.link(id, shard);
        }
        Self { all, lists }
    }
}

impl Serialize for Shards {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(serializer)
    }
}

impl PartialEq for Shards {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

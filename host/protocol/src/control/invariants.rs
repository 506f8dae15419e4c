//! What is true of the control state at every index (I5, I16, and what the rules of `apply` rely on).

use std::collections::BTreeSet;

use super::{ControlState, Ledger, Member, Ownership, Phase, Role, Shard, Space, Status};
use crate::Durability;
use crate::cluster::{Home, Index, LedgerId, NodeId, ShardId, SpaceId};

impl ControlState {
    /// Panics where the state is one that no log leads to. It looks at everything: run it after an entry, not after a message.
    pub fn check_invariants(&self) {
        self.shards.check_invariants();
        self.check_voters();
        for (&node, member) in &self.members {
            self.check_member(node, member);
        }
        let mut names = BTreeSet::new();
        for (&id, space) in &self.spaces {
            assert!(names.insert(&space.name), "{} is there twice", space.name);
            self.check_space(id, space);
        }
        for (&id, shard) in &self.shards {
            self.check_shard(id, shard);
        }
        for (&id, ledger) in &self.ledgers {
            self.check_ledger(id, ledger);
        }
    }

    fn check_voters(&self) {
        let voters = &self.voters;
        let members = voters.iter().all(|node| self.members.contains_key(node));
        assert!(members, "voters {voters:?} are not all members");
        assert!(
            voters.len() <= Self::VOTERS_MAX,
            "voters {voters:?} are too many"
        );
        assert_eq!(
            voters.is_empty(),
            self.members.is_empty(),
            "members without a voter"
        );
    }

    fn check_member(&self, node: NodeId, member: &Member) {
        let began = Index(member.incarnation.0);
        assert!(began <= member.since, "{node} changed before it joined");
        assert!(member.since <= self.applied, "{node} is from the future");
        assert_eq!(
            node, member.boot.node,
            "{node} introduced itself as another"
        );
        if let Some(id) = member.ledger {
            let home = self.ledgers.get(&id).map(|ledger| ledger.home);
            assert_eq!(home, Some(member.home()), "{node} does not write {id}");
            assert_ne!(
                member.status,
                Status::Down,
                "{node} is down and writes {id}"
            );
        }
    }

    fn check_space(&self, id: SpaceId, space: &Space) {
        assert!(id.0 <= self.applied.0, "{id} is from the future");
        let count = match space.role {
            Role::Daemons {
                previous,
                phase: Phase::Shrinking,
                ..
            } => previous,
            _ => space.shards,
        };
        assert!(space.shards > 0 && space.shards <= count, "{id} shrinks up");
        let all = ShardId {
            space: id,
            number: 0,
        }..=ShardId {
            space: id,
            number: u32::MAX,
        };
        let numbers = self.shards.range(all).map(|(shard, _)| shard.number);
        assert!(numbers.eq(0..count), "{id} has not the shards 0..{count}");
    }

    fn check_shard(&self, id: ShardId, shard: &Shard) {
        let space = self.spaces.get(&id.space).expect("a shard has a space");
        assert!(shard.epoch.0 <= self.applied.0, "{id} is from the future");
        assert!(
            shard.since <= shard.epoch,
            "{id} counts nothing that is written"
        );
        match shard.ownership {
            Ownership::Unassigned => {}
            Ownership::Owned { home } => self.check_owner(id, home, space.durability),
            Ownership::Handoff {
                handoff, from, to, ..
            } => {
                assert!(handoff.0 > shard.epoch.0, "{id} moved before it was owned");
                assert!(handoff.0 <= self.applied.0, "{id} will move in the future");
                assert_ne!(from.node, to.node, "{id} moves nowhere");
                self.check_owner(id, to, space.durability);
                if self.live(from).is_some() {
                    self.check_owner(id, from, space.durability);
                } else {
                    let durable = space.durability == Durability::Durable;
                    let lost = durable && shard.sources.is_empty();
                    assert!(!lost, "{id} lost {from} and its ledger");
                }
            }
        }
        self.check_sources(id, shard, space.durability);
    }

    fn check_owner(&self, id: ShardId, home: Home, durability: Durability) {
        let member = self.live(home);
        assert!(member.is_some(), "{id} is of {home}, which is not live");
        let ledger = member.and_then(|member| member.ledger);
        let kept = ledger.is_some() || durability == Durability::Memory;
        assert!(kept, "{id} is durable and {home} has no ledger");
    }

    fn check_sources(&self, id: ShardId, shard: &Shard, durability: Durability) {
        let none = shard.sources.is_empty();
        assert!(
            none || durability == Durability::Durable,
            "{id} is in memory and has sources"
        );
        let mut seen = BTreeSet::new();
        for source in &shard.sources {
            let ledger = source.ledger;
            assert!(seen.insert(ledger), "{id} has the source {ledger} twice");
            assert!(
                self.ledgers.contains_key(&ledger),
                "{id} has the source {ledger}, which is gone"
            );
            assert!(
                source.since <= shard.epoch,
                "{id} wants nothing of {ledger}"
            );
            assert!(
                self.written_by_owner(shard) != Some(ledger),
                "{id} has the source {ledger}, which its owner writes"
            );
        }
    }

    fn written_by_owner(&self, shard: &Shard) -> Option<LedgerId> {
        let (Ownership::Owned { home } | Ownership::Handoff { from: home, .. }) = shard.ownership
        else {
            return None;
        };
        self.live(home)?.ledger
    }

    fn check_ledger(&self, id: LedgerId, ledger: &Ledger) {
        assert!(id.0 <= self.applied.0, "{id} is from the future");
        let nodes: BTreeSet<_> = ledger.replicas.iter().map(|one| one.node).collect();
        let count = ledger.replicas.len();
        assert!(
            count == nodes.len() && count <= Ledger::REPLICAS,
            "{id} is kept by {:?}",
            ledger.replicas
        );
        assert!(
            nodes.contains(&ledger.home.node),
            "{id} is not kept by its home"
        );
        let member = self.live(ledger.home);
        let needed = member.is_some_and(|member| member.ledger == Some(id))
            || self.shards.sourced_from(id).next().is_some()
            || self.shards.incoming(ledger.home).next().is_some();
        assert!(needed, "{id} is needed by nobody");
    }
}

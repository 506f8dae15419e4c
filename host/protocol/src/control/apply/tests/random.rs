//! Random logs: whatever is decided, in whatever order and however often, two replicas agree, no epoch goes back, and what was
//! acknowledged is where the next owner looks.

mod states;

use std::collections::BTreeSet;

use super::*;
use crate::cluster::Incarnation;
use crate::control::{Member, Phase, Role};
use states::States;

const SEEDS: u64 = 60;
const STEPS: u64 = 400;
const NODES: u64 = 5;

#[test]
fn nothing_acknowledged_is_lost_and_all_replicas_agree() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        assert_eq!(run.log.state, run.replica, "seed {seed}");
        seen.add(&run.seen);
    }
    seen.check();
}

/// What has to happen sometimes, or the test shows nothing.
#[derive(Debug, Default)]
struct Seen {
    completed: u64,
    completed_without_source: u64,
    completed_with_sources: u64,
    sources_max: usize,
    adopted: u64,
    retired: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.completed_without_source += other.completed_without_source;
        self.completed_with_sources += other.completed_with_sources;
        self.sources_max = self.sources_max.max(other.sources_max);
        self.adopted += other.adopted;
        self.retired += other.retired;
    }

    fn check(&self) {
        let always = [
            self.completed,
            self.completed_without_source,
            self.completed_with_sources,
            self.adopted,
            self.retired,
        ];
        assert!(always.iter().all(|count| *count > 10), "{self:?}");
        assert!(self.sources_max >= 3, "{self:?}");
    }
}

struct Run {
    seed: u64,
    random: Random,
    log: Log,
    replica: ControlState,
    states: States,
    past: Vec<Command>,
    seen: Seen,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut run = Self {
            seed,
            random: Random(seed),
            log: Log::new(),
            replica: ControlState::new(ClusterId(7)),
            states: States::default(),
            past: Vec::new(),
            seen: Seen::default(),
        };
        for command in [
            deploy("d", "v1", Durability::Durable, 3),
            deploy("m", "v1", Durability::Memory, 2),
            scale("w", "v1", 2, 0),
        ] {
            run.decide(command);
        }
        run
    }

    fn step(&mut self) {
        for _ in 0..8 {
            self.states.work(&self.log.state, &mut self.random);
        }
        if let Some(command) = self.command() {
            self.decide(command);
        }
        self.states.check(&self.log.state, self.seed);
    }

    fn decide(&mut self, command: Command) {
        let old = self.random.one_in(30);
        self.log.term.number += u64::from(self.random.one_in(30));
        let mut entry = self.log.entry(command.clone());
        entry.term.number -= u64::from(old && entry.term.number > 0);
        let before = self.log.state.clone();
        let changes = self.log.state.apply(&entry).expect("it is the next");
        self.log.state.check_invariants();
        assert_eq!(self.replica.apply(&entry), Some(changes.clone()));
        assert_eq!(self.replica.hash, self.log.state.hash);
        if self.random.one_in(20) {
            let bytes = rmp_serde::to_vec_named(&self.replica).unwrap();
            self.replica = rmp_serde::from_slice(&bytes).unwrap();
            self.replica.check_invariants();
        }
        self.check_changes(&before, &changes);
        self.count(&before, &command, &changes);
        self.past.push(command);
    }

    /// What changed is what is said to have, and a shard that gets an owner has the entry's index for an epoch (I5).
    fn check_changes(&self, before: &ControlState, changes: &Changes) {
        let (after, seed) = (&self.log.state, self.seed);
        let ids: BTreeSet<_> = before.shards.keys().chain(after.shards.keys()).collect();
        for id in ids {
            let (old, new) = (before.shards.get(id), after.shards.get(id));
            assert!(
                old == new || changes.shards.contains(id),
                "seed {seed}: {id}"
            );
            let (Some(old), Some(new)) = (old, new) else {
                continue;
            };
            assert!(
                old.epoch <= new.epoch && old.since <= new.since,
                "seed {seed}: {id}"
            );
            let owned = matches!(new.ownership, Ownership::Owned { .. });
            let gets = owned && old.ownership != new.ownership;
            assert!(
                !gets || new.epoch.0 == after.applied.0,
                "seed {seed}: {id} has a new owner under an old epoch"
            );
        }
        let members: BTreeSet<_> = before.members.keys().chain(after.members.keys()).collect();
        for id in members {
            let same = before.members.get(id) == after.members.get(id);
            assert!(same || changes.members.contains(id), "seed {seed}: {id}");
        }
        let ledgers: BTreeSet<_> = before.ledgers.keys().chain(after.ledgers.keys()).collect();
        for id in ledgers {
            let same = before.ledgers.get(id) == after.ledgers.get(id);
            assert!(same || changes.ledgers.contains(id), "seed {seed}: {id}");
        }
    }

    fn count(&mut self, before: &ControlState, command: &Command, changes: &Changes) {
        for id in &changes.shards {
            let Some(shard) = self.log.state.shards.get(id) else {
                continue;
            };
            self.seen.sources_max = self.seen.sources_max.max(shard.sources.len());
            let Command::CompleteHandoff { .. } = command else {
                continue;
            };
            let dead = before
                .home_of(*id)
                .is_some_and(|(from, _)| before.live(from).is_none());
            self.seen.completed += 1;
            self.seen.completed_without_source += u64::from(dead);
            self.seen.completed_with_sources += u64::from(!shard.sources.is_empty());
        }
        if !changes.is_empty() {
            self.seen.adopted += u64::from(matches!(command, Command::Adopted { .. }));
            self.seen.retired += u64::from(matches!(command, Command::Retire { .. }));
        }
    }

    /// Every other seed has few deaths, so that handoffs get far.
    fn command(&mut self) -> Option<Command> {
        let rough = self.seed.is_multiple_of(2) || self.random.one_in(10);
        match self.random.below(40) {
            7..13 if !rough => self.begin(),
            0..2 => self.join(),
            2..7 => {
                let member = self.member()?;
                Some(Command::Up { member })
            }
            7 | 8 if self.random.one_in(4) => {
                let member = self.member()?;
                Some(Command::Leave { member })
            }
            9 => {
                let member = self.member()?;
                Some(Command::Down { member })
            }
            10 => {
                let member = self.member()?;
                Some(Command::Remove { member })
            }
            11 => self.vote(),
            12 => self.space(),
            13..20 => self.assign(),
            20..24 => self.begin(),
            24 if self.random.one_in(3) => self.abort(),
            24..29 => self.states.completion(&self.log.state, &mut self.random),
            29..33 => self.states.adoption(&self.log.state, &mut self.random),
            33..35 if rough || self.random.one_in(2) => self.open(),
            _ => self.random.pick(&self.past),
        }
    }

    /// A life that is, or was.
    fn member(&mut self) -> Option<Home> {
        let members = self.log.state.members.values();
        let homes: Vec<_> = members.map(Member::home).collect();
        let mut home = self.random.pick(&homes)?;
        if self.random.one_in(10) {
            home.incarnation = Incarnation(home.incarnation.0.saturating_sub(3));
        }
        Some(home)
    }

    fn join(&mut self) -> Option<Command> {
        let node = 1 + self.random.below(NODES);
        let mut boot = boot(node, self.random.below(3));
        boot.disk += u64::from(self.random.one_in(10));
        let after = self.log.member(node);
        Some(Command::Join {
            boot: Arc::new(boot),
            after,
        })
    }

    fn vote(&mut self) -> Option<Command> {
        let from: Vec<_> = self.log.state.voters.iter().copied().collect();
        let mut to = self.log.state.voters.clone();
        let node = NodeId(1 + self.random.below(NODES));
        if !to.remove(&node) {
            to.insert(node);
        }
        let to = to.into_iter().collect();
        Some(Command::Voters { from, to })
    }

    fn space(&mut self) -> Option<Command> {
        let set = KindName::new("w").unwrap();
        let found = self
            .log
            .state
            .space(&set)
            .map(|(id, space)| (id, space.role));
        Some(match (self.random.below(8), found) {
            (0, _) => {
                let spaces: Vec<_> = self.log.state.spaces.keys().copied().collect();
                let space = self.random.pick(&spaces)?;
                Command::Drop { space }
            }
            (1, _) => deploy("d", "v2", Durability::Durable, 3),
            (2, _) => deploy("d", "v1", Durability::Durable, 3),
            (3, _) => deploy("m", "v1", Durability::Memory, 2),
            (_, None) => scale("w", "v1", 3, 0),
            (
                _,
                Some((
                    space,
                    Role::Daemons {
                        revision, phase, ..
                    },
                )),
            ) => match phase {
                Phase::Stable => {
                    let workers = 1 + self.random.below(4);
                    scale("w", "v1", u32::try_from(workers).unwrap(), revision)
                }
                Phase::Shrinking => Command::Retire { space, revision },
            },
            _ => return None,
        })
    }

    fn assign(&mut self) -> Option<Command> {
        let home = self.member()?;
        let mut shards = Vec::new();
        for shard in self.log.state.shards.unassigned() {
            if self.random.one_in(2) {
                let after = self.log.shard(shard).epoch;
                shards.push(Assignment { shard, after, home });
            }
        }
        Some(Command::Assign { shards })
    }

    fn begin(&mut self) -> Option<Command> {
        let (from, to) = (self.member()?, self.member()?);
        let owned = self.log.state.owned_by(from);
        let shards = owned.map(|shard| (shard, self.log.shard(shard).epoch));
        Some(Command::BeginHandoff {
            transfer: TransferId::default(),
            stamp: Epoch(self.log.state.applied.0),
            from,
            to,
            shards: shards.collect(),
        })
    }

    fn abort(&mut self) -> Option<Command> {
        let moving: Vec<_> = self.log.state.shards.moving().collect();
        let shard = self.random.pick(&moving)?;
        let Ownership::Handoff { handoff, .. } = self.log.shard(shard).ownership else {
            return None;
        };
        Some(Command::AbortHandoff {
            handoff,
            shards: vec![shard],
        })
    }

    /// Often by the target of a handoff, which may have installed something in the ledger before.
    fn open(&mut self) -> Option<Command> {
        let moving: Vec<_> = self.log.state.shards.moving().collect();
        let moving = self.random.pick(&moving).map(|shard| self.log.shard(shard));
        let home = match moving.map(|shard| shard.ownership) {
            Some(Ownership::Handoff { to, .. }) if self.random.one_in(2) => to,
            _ => self.member()?,
        };
        let member = &self.log.state.members[&home.node];
        let own = Replica {
            node: home.node,
            disk: member.boot.disk,
        };
        Some(Command::OpenLedger {
            home,
            after: member.ledger,
            replicas: vec![own],
        })
    }
}

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let bound = u64::try_from(list.len()).ok().filter(|len| *len > 0)?;
        let place = usize::try_from(self.below(bound)).ok()?;
        list.get(place).cloned()
    }
}

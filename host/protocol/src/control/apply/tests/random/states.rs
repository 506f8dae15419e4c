//! What lies in the ledgers, as far as the control state's promises need it: owners that write, adopt and install, each at its own
//! pace, and the newest acknowledged version of each entity.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use crate::cluster::{Epoch, HandoffId, Home, LedgerId, ShardId};
use crate::control::{Command, ControlState, Ownership};

type Entity = (ShardId, u64);
/// (stamp, version)
type Age = (Epoch, u64);

const ENTITIES: u64 = 3;

#[derive(Default)]
pub(super) struct States {
    written: BTreeMap<LedgerId, BTreeMap<Entity, BTreeSet<Age>>>,
    acknowledged: BTreeMap<Entity, u64>,
    /// The ledger that a home writes; it may not know yet of the one that it should.
    writes: BTreeMap<Home, LedgerId>,
    transfers: BTreeMap<(ShardId, HandoffId), Transfer>,
}

#[derive(Default)]
struct Transfer {
    /// The source has acknowledged the handoff.
    stopped: bool,
    installed: BTreeSet<u64>,
    oldest: Option<LedgerId>,
}

impl States {
    /// Something that one owner or target does.
    pub(super) fn work(&mut self, control: &ControlState, random: &mut Random) {
        let all: Vec<_> = control.shards.keys().copied().collect();
        let moving: Vec<_> = control.shards.moving().collect();
        let busy = if random.one_in(2) { &all } else { &moving };
        let Some(shard) = random.pick(busy) else {
            return;
        };
        let entity = (shard, random.below(ENTITIES));
        let durable = control.spaces[&shard.space].durability == crate::Durability::Durable;
        match control.shards[&shard].ownership {
            _ if !durable => {}
            Ownership::Unassigned => {}
            Ownership::Owned { home } if random.one_in(2) => self.adopt(control, home, entity),
            Ownership::Owned { home } => self.write(control, home, entity),
            Ownership::Handoff {
                handoff, from, to, ..
            } => {
                let transfer = self.transfers.entry((shard, handoff)).or_default();
                let lives = control.live(from).is_some();
                match transfer.stopped {
                    false if lives && random.one_in(3) => transfer.stopped = true,
                    false if lives => self.write(control, from, entity),
                    true if lives => self.install(control, handoff, to, entity),
                    _ => {}
                }
            }
        }
    }

    /// A handoff whose target has everything.
    pub(super) fn completion(
        &self,
        control: &ControlState,
        random: &mut Random,
    ) -> Option<Command> {
        let moving: Vec<_> = control.shards.moving().collect();
        let shard = random.pick(&moving)?;
        let Ownership::Handoff { handoff, .. } = control.shards[&shard].ownership else {
            return None;
        };
        let durable = control.spaces[&shard.space].durability == crate::Durability::Durable;
        let transfer = self.transfers.get(&(shard, handoff));
        let whole = transfer.is_some_and(|it| (0..ENTITIES).all(|one| it.installed.contains(&one)));
        let ledger = transfer.and_then(|transfer| transfer.oldest);
        (whole || !durable).then(|| Command::CompleteHandoff {
            handoff,
            shards: vec![(shard, ledger)],
        })
    }

    /// A source of which an owner has everything.
    pub(super) fn adoption(&self, control: &ControlState, random: &mut Random) -> Option<Command> {
        let sourced = control
            .shards
            .iter()
            .filter(|(_, it)| !it.sources.is_empty());
        let sourced: Vec<_> = sourced.map(|(&shard, _)| shard).collect();
        let shard = random.pick(&sourced)?;
        let (home, epoch) = control.home_of(shard)?;
        let current = control.live(home)?.ledger?;
        let knows = self.writes.get(&home) == Some(&current);
        let has = |number| {
            let entity = (shard, number);
            self.newest(control, entity)
                .is_none_or(|age| self.own(control, entity) == Some(age))
        };
        let sources = &control.shards[&shard].sources;
        let source = random.pick(sources)?.ledger;
        (knows && (0..ENTITIES).all(has)).then_some(Command::Adopted {
            shard,
            epoch,
            source,
        })
    }

    /// What was acknowledged is the newest that counts (I6).
    pub(super) fn check(&mut self, control: &ControlState, seed: u64) {
        self.acknowledged
            .retain(|(shard, _), _| control.shards.contains_key(shard));
        self.written
            .retain(|id, _| control.ledgers.contains_key(id));
        for (&entity, &version) in &self.acknowledged {
            let newest = self.newest(control, entity).map(|(_, version)| version);
            let shard = &control.shards[&entity.0];
            assert_eq!(
                newest,
                Some(version),
                "seed {seed}: {entity:?} of {shard:?}"
            );
        }
    }

    fn write(&mut self, control: &ControlState, home: Home, entity: Entity) {
        let epoch = control.shards[&entity.0].epoch;
        let ledger = self.ledger(control, home, epoch);
        let version = self.acknowledged.entry(entity).or_default();
        *version += 1;
        let age = (epoch, *version);
        self.append(ledger, entity, age);
    }

    fn adopt(&mut self, control: &ControlState, home: Home, entity: Entity) {
        let current = control.live(home).and_then(|member| member.ledger);
        let current = current.expect("an owner of something durable has a ledger");
        self.writes.insert(home, current);
        let newest = self.newest(control, entity);
        if let Some((_, version)) = newest.filter(|_| self.own(control, entity) != newest) {
            let epoch = control.shards[&entity.0].epoch;
            self.append(current, entity, (epoch, version));
        }
    }

    fn install(&mut self, control: &ControlState, handoff: HandoffId, to: Home, entity: Entity) {
        let stamp = Epoch(handoff.0);
        let ledger = self.ledger(control, to, stamp);
        if let Some((_, version)) = self.newest(control, entity) {
            self.append(ledger, entity, (stamp, version));
        }
        let transfer = self.transfers.entry((entity.0, handoff)).or_default();
        transfer.installed.insert(entity.1);
        transfer.oldest = transfer.oldest.or(Some(ledger));
    }

    fn append(&mut self, ledger: LedgerId, (shard, number): Entity, age: Age) {
        let ledger = self.written.entry(ledger).or_default();
        ledger.entry((shard, number)).or_default().insert(age);
    }

    /// The ledger that a home writes, if it has applied what made `epoch`: at least the newest of those before it.
    fn ledger(&mut self, control: &ControlState, home: Home, epoch: Epoch) -> LedgerId {
        let before = control.ledgers.range(..=LedgerId(epoch.0));
        let mine = before.filter(|(_, ledger)| ledger.home == home);
        let known = mine.map(|(&id, _)| id).max();
        let ledger = known.max(self.writes.get(&home).copied());
        let ledger = ledger.expect("an owner of something durable has a ledger");
        self.writes.insert(home, ledger);
        ledger
    }

    fn own(&self, control: &ControlState, entity: Entity) -> Option<Age> {
        let shard = &control.shards[&entity.0];
        let (home, _) = control.home_of(entity.0)?;
        let ledger = control.live(home)?.ledger?;
        self.find(ledger, entity, shard.since)
    }

    fn newest(&self, control: &ControlState, entity: Entity) -> Option<Age> {
        let sources = control.shards[&entity.0].sources.iter();
        let sources = sources.filter_map(|it| self.find(it.ledger, entity, it.since));
        sources.max().max(self.own(control, entity))
    }

    fn find(&self, ledger: LedgerId, entity: Entity, since: Epoch) -> Option<Age> {
        let ages = self.written.get(&ledger)?.get(&entity)?;
        ages.last().copied().filter(|(stamp, _)| *stamp >= since)
    }
}

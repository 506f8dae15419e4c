//! Whatever happens, in whatever order: what was acknowledged, or used, is in every state that is used later.

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::world::{World, entity};
use crate::EntityId;
use crate::cluster::{Blob, Epoch, Home, Mutant, NodeId, Record, Settings, ShardId, StoredRecord};

const NODES: u64 = 4;
const SHARDS: u32 = 2;
const KEYS: u32 = 2;
const SEEDS: u64 = 150;

/// A host that appends a serial number to what it finds, on each node, and what everybody was told.
struct Story {
    world: World,
    random: Random,
    /// Applies what is decided late.
    slow: NodeId,
    /// How many of a hundred messages are lost.
    loss: usize,
    /// How many of a thousand steps disturb.
    unrest: usize,
    activations: BTreeMap<(NodeId, EntityId), Activation>,
    finding: BTreeMap<u64, (NodeId, EntityId, Title)>,
    appending: BTreeMap<u64, (NodeId, EntityId, Vec<u64>)>,
    acknowledged: BTreeMap<EntityId, BTreeSet<u64>>,
    /// The longest state that was used or acknowledged.
    used: BTreeMap<EntityId, Vec<u64>>,
    serial: u64,
    wrong: Option<String>,
    acks: usize,
    takeovers: usize,
}

struct Activation {
    title: Title,
    version: u64,
    serials: Vec<u64>,
}

type Title = (Home, Epoch);

struct Random(u64);

impl Random {
    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.next() % NODES + 1)
    }
}

fn entities() -> impl Iterator<Item = (u32, EntityId)> {
    let keys = (0..SHARDS).flat_map(|shard| (0..KEYS).map(move |key| (shard, key)));
    keys.map(|(shard, key)| (shard, entity(&format!("s{shard}k{key}"))))
}

fn shard_number(entity: &EntityId) -> u32 {
    entity.key()[1..2].parse().unwrap()
}

fn encode(serials: &[u64]) -> Blob {
    Blob::from(
        serials
            .iter()
            .flat_map(|serial| serial.to_be_bytes())
            .collect::<Vec<_>>(),
    )
}

fn decode(record: &Record) -> Vec<u64> {
    let words = record.bytes.0.chunks_exact(8);
    words
        .map(|word| u64::from_be_bytes(word.try_into().unwrap()))
        .collect()
}

impl Story {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut settings = Settings::lan();
        settings.mutant = mutant;
        settings.bounds.page_max = 2;
        settings.timing.phase = Duration::from_secs(1);
        let mut world = World::with(NODES, settings);
        for number in 0..SHARDS {
            world.assign(world.shard(number), NodeId(u64::from(number) + 1));
        }
        let mut random = Random(seed);
        Self {
            world,
            slow: random.node(),
            loss: [0, 5, 30, 60][random.below(4)],
            unrest: [2, 5, 20][random.below(3)],
            random,
            activations: BTreeMap::new(),
            finding: BTreeMap::new(),
            appending: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            used: BTreeMap::new(),
            serial: 0,
            wrong: None,
            acks: 0,
            takeovers: 0,
        }
    }

    fn shard(&self, entity: &EntityId) -> ShardId {
        self.world.shard(shard_number(entity))
    }

    /// Who owns the shard, as this node sees it.
    fn title(&self, node: NodeId, shard: ShardId) -> Option<Title> {
        let seen = &self.world.nodes[&node];
        let (home, epoch) = seen.control.home_of(shard)?;
        let me = seen.me(node).home();
        (home == me && seen.control.live(me).is_some()).then_some((home, epoch))
    }

    fn rightful(&self, shard: ShardId, title: Title) -> bool {
        self.world.control.home_of(shard) == Some(title)
    }

    fn step(&mut self) {
        match self.random.below(1_000) {
            0..350 => {
                for _ in 0..=self.random.below(4) {
                    self.deliver();
                }
            }
            350..550 => {
                let node = self.random.node();
                for _ in 0..=self.random.below(4) {
                    self.world.sync(node);
                }
            }
            550..700 => {
                let node = self.random.node();
                let unsynced = self.random.below(2) == 0;
                self.world.read(node, unsynced);
            }
            700..850 => self.work(),
            850..920 => self.apply(),
            920..950 => {
                self.world.now = self.world.now + Duration::from_millis(100);
                self.world.fire();
            }
            950..985 => self.coordinate(),
            _ => {}
        }
        if self.random.below(1_000) < self.unrest {
            self.disturb();
        }
        self.listen();
    }

    fn apply(&mut self) {
        let node = self.random.node();
        let waits = node == self.slow && self.random.below(20) != 0;
        if self.world.nodes[&node].journal.is_some() && !waits {
            for _ in 0..=self.random.below(4) {
                self.world.apply_next(node);
            }
        }
    }

    fn deliver(&mut self) {
        if self.world.net.is_empty() {
            return;
        }
        let window = self.world.net.len().min(12);
        let place = self.random.below(window);
        let packet = self.world.net.remove(place).unwrap();
        if packet.from.node != packet.to && self.random.below(100) < self.loss {
            return;
        }
        if self.random.below(12) == 0 {
            self.world.net.push_back(packet.clone());
        }
        self.world.deliver(&packet);
    }

    fn work(&mut self) {
        let all: Vec<_> = entities().collect();
        let (number, entity) = all[self.random.below(all.len())].clone();
        let shard = self.world.shard(number);
        let node = self.random.node();
        let Some(title) = self.title(node, shard) else {
            return;
        };
        let key = (node, entity.clone());
        self.activations
            .retain(|at, activation| *at != key || activation.title == title);
        if self.random.below(8) == 0 {
            self.activations.remove(&key);
        }
        let Some(activation) = self.activations.get_mut(&key) else {
            let waits = self.finding.values().any(|f| f.0 == node && f.1 == entity);
            if !waits {
                let id = self.world.find(node, shard, entity.key());
                self.finding.insert(id, (node, entity, title));
            }
            return;
        };
        self.serial += 1;
        activation.version += 1;
        activation.serials.push(self.serial);
        let record = Record {
            version: activation.version,
            wake_ms: None,
            deleted: false,
            bytes: encode(&activation.serials),
        };
        let serials = activation.serials.clone();
        let stored = StoredRecord {
            entity: entity.clone(),
            epoch: title.1,
            record,
        };
        let id = self.world.append(node, shard, stored);
        self.appending.insert(id, (node, entity, serials));
    }

    /// Takes what the journals have said and checks it against everything before.
    fn listen(&mut self) {
        for node in (1..=NODES).map(NodeId) {
            let heard = &mut self.world.nodes.get_mut(&node).unwrap().heard;
            let found = std::mem::take(&mut heard.found);
            let committed = std::mem::take(&mut heard.committed);
            for id in committed.into_keys() {
                if let Some((_, entity, serials)) = self.appending.remove(&id) {
                    self.handle_committed(entity, serials);
                }
            }
            for (id, result) in found {
                let Some((_, entity, title)) = self.finding.remove(&id) else {
                    continue;
                };
                let Ok(record) = result else { continue };
                if self.title(node, self.shard(&entity)) == Some(title) {
                    self.handle_found(node, entity, title, record);
                }
            }
        }
    }

    fn handle_committed(&mut self, entity: EntityId, serials: Vec<u64>) {
        self.acks += 1;
        let last = *serials.last().unwrap();
        self.acknowledged
            .entry(entity.clone())
            .or_default()
            .insert(last);
        self.use_state(entity, serials, true);
    }

    fn handle_found(
        &mut self,
        node: NodeId,
        entity: EntityId,
        title: Title,
        found: Option<StoredRecord>,
    ) {
        let serials = found
            .as_ref()
            .map(|found| decode(&found.record))
            .unwrap_or_default();
        let version = found.map_or(0, |found| found.record.version);
        if self.rightful(self.shard(&entity), title) {
            let acknowledged = self.acknowledged.get(&entity).cloned().unwrap_or_default();
            let lost = acknowledged.iter().find(|serial| !serials.contains(serial));
            if let Some(lost) = lost {
                self.wrong(format!(
                    "{entity:?} at {title:?}: {lost} is lost, found {serials:?}"
                ));
            }
            self.use_state(entity.clone(), serials.clone(), false);
        }
        let activation = Activation {
            title,
            version,
            serials,
        };
        self.activations.insert((node, entity), activation);
    }

    /// What is used extends what was used; an acknowledgement may come after that of a later one.
    fn use_state(&mut self, entity: EntityId, serials: Vec<u64>, late: bool) {
        let used = self.used.entry(entity.clone()).or_default();
        if serials.starts_with(used) {
            *used = serials;
        } else if !(late && used.starts_with(&serials)) {
            let used = used.clone();
            self.wrong(format!(
                "{entity:?}: {used:?} was used, and then {serials:?}"
            ));
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

fn run(seed: u64, mutant: Option<Mutant>) -> Story {
    let mut story = Story::new(seed, mutant);
    for _ in 0..1_500 {
        story.step();
        if story.wrong.is_some() {
            return story;
        }
    }
    story.heal();
    story
}

#[test]
fn what_was_acknowledged_or_used_is_in_every_later_state() {
    let (mut acks, mut takeovers) = (0, 0);
    for seed in 0..SEEDS {
        let story = run(seed, None);
        assert_eq!(story.wrong, None, "seed {seed}");
        acks += story.acks;
        takeovers += story.takeovers;
    }
    assert!(
        acks > 2_000 && takeovers > 300,
        "{acks} acks, {takeovers} takeovers"
    );
}

fn is_caught(mutant: Mutant) -> bool {
    (0..1_000).any(|seed| {
        let story = std::panic::catch_unwind(|| run(seed, Some(mutant)).wrong);
        story.map_or(true, |wrong| wrong.is_some())
    })
}

#[test]
fn reading_without_a_seal_is_caught() {
    assert!(is_caught(Mutant::NoSeal));
}

#[test]
fn forgetting_sources_too_early_is_caught() {
    assert!(is_caught(Mutant::ForgetSources));
}

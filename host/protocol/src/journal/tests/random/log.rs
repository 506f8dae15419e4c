use std::sync::Arc;
use std::time::Duration;

use super::super::world::record;
use super::{NODES, SHARDS, Story, entities};
use crate::cluster::{Epoch, NodeId, TransferId};
use crate::control::{Assignment, Command, Ownership};

impl Story {
    pub(super) fn coordinate(&mut self) {
        match self.random.below(8) {
            0 => {
                let node = self.random.node();
                let first = self.random.next() % NODES;
                let count = 1 + self.random.next() % 3;
                let mut replicas = vec![node.0];
                let others = (0..NODES)
                    .map(|n| (first + n) % NODES + 1)
                    .filter(|&n| n != node.0);
                replicas.extend(others.take(usize::try_from(count).unwrap() - 1));
                let command = self.world.ledger_command(node, &replicas);
                self.world.propose(command);
            }
            1..4 => {
                let adopted: Vec<_> = self.world.adopted.iter().copied().collect();
                if !adopted.is_empty() {
                    let (shard, epoch, source) = adopted[self.random.below(adopted.len())];
                    self.world.propose(Command::Adopted {
                        shard,
                        epoch,
                        source,
                    });
                }
            }
            4 => self.hand_over(),
            _ => self.place(),
        }
    }

    /// Shards that nobody owns get an owner, nodes that have none a ledger.
    pub(super) fn place(&mut self) {
        for id in (1..=NODES).map(NodeId) {
            let member = &self.world.control.members[&id];
            let live = self.world.control.live(self.world.home(id)).is_some();
            if live && member.ledger.is_none() {
                let next = id.0 % NODES + 1;
                let command = self
                    .world
                    .ledger_command(id, &[id.0, next, next % NODES + 1]);
                self.world.propose(command);
            }
        }
        for number in 0..SHARDS {
            let shard = self.world.shard(number);
            let state = self.world.control.shards[&shard].clone();
            let home = self.world.home(self.random.node());
            if state.ownership == Ownership::Unassigned && self.world.control.live(home).is_some() {
                self.takeovers += 1;
                let shards = vec![Assignment {
                    shard,
                    after: state.epoch,
                    home,
                }];
                self.world.propose(Command::Assign { shards });
            }
        }
    }

    /// Begins a handoff, and soon calls it off: what the target has installed until then must not be seen.
    pub(super) fn hand_over(&mut self) {
        let shard = self
            .world
            .shard(u32::try_from(self.random.below(2)).unwrap());
        let state = self.world.control.shards[&shard].clone();
        match state.ownership {
            Ownership::Owned { home } => {
                let to = self.world.home(self.random.node());
                let stamp = Epoch(self.world.control.applied.0);
                self.world.propose(Command::BeginHandoff {
                    transfer: TransferId::default(),
                    stamp,
                    from: home,
                    to,
                    shards: vec![(shard, state.epoch)],
                });
            }
            Ownership::Handoff {
                handoff, stamp, to, ..
            } => {
                let key = format!("s{}k0", shard.number);
                let stale = record(&key, stamp, 1_000, "12345678");
                if self.world.nodes[&to.node].me(to.node).home() == to {
                    self.world.append(to.node, shard, stale);
                }
                self.world.propose(Command::AbortHandoff {
                    handoff,
                    shards: vec![shard],
                });
            }
            Ownership::Unassigned => {}
        }
    }

    pub(super) fn disturb(&mut self) {
        let node = self.random.node();
        match self.random.below(3) {
            0 if self.world.nodes[&node].journal.is_some() => self.crash(node),
            0 | 1 => {
                if self.world.nodes[&node].journal.is_none() {
                    self.world.boot(node);
                }
                self.rejoin(node);
            }
            _ => {
                let member = self.world.home(node);
                self.world.propose(Command::Down { member });
            }
        }
    }

    pub(super) fn crash(&mut self, node: NodeId) {
        self.world.crash(node);
        self.activations.retain(|key, _| key.0 != node);
        self.finding.retain(|_, finding| finding.0 != node);
        self.appending.retain(|_, appending| appending.0 != node);
    }

    pub(super) fn rejoin(&mut self, node: NodeId) {
        let before = self.world.home(node);
        let boot = Arc::new(self.world.introduction(node));
        self.world.propose(Command::Join {
            boot,
            after: Some(before),
        });
        let member = self.world.home(node);
        if member != before {
            self.world.propose(Command::Up { member });
        }
    }

    /// Everything is repaired, and everything is found.
    pub(super) fn heal(&mut self) {
        for node in (1..=NODES).map(NodeId) {
            if self.world.nodes[&node].journal.is_none() {
                self.world.boot(node);
            }
            let live = self.world.control.live(self.world.home(node)).is_some();
            let known = &self.world.control.members[&node].boot;
            if !live || known.process != self.world.nodes[&node].process {
                self.rejoin(node);
            }
        }
        for _ in 0..20 {
            self.place();
            for number in 0..SHARDS {
                let shard = self.world.shard(number);
                if let Ownership::Handoff { handoff, .. } =
                    self.world.control.shards[&shard].ownership
                {
                    self.world.propose(Command::AbortHandoff {
                        handoff,
                        shards: vec![shard],
                    });
                }
            }
        }
        for node in (1..=NODES).map(NodeId) {
            self.world.catch_up(node);
        }
        for _ in 0..4 {
            self.world.pass(Duration::from_secs(1));
            self.listen();
            self.world.decide_adopted();
        }
        for (number, entity) in entities() {
            let shard = self.world.shard(number);
            let (home, epoch) = self.world.control.home_of(shard).expect("it has an owner");
            let id = self.world.find(home.node, shard, entity.key());
            self.finding
                .insert(id, (home.node, entity.clone(), (home, epoch)));
            self.world.pass(Duration::from_secs(1));
            if !self.world.nodes[&home.node].heard.found.contains_key(&id) {
                self.wrong(format!("{entity:?} is not answered"));
            }
            if let Some(Err(why)) = self.world.nodes[&home.node].heard.found.get(&id) {
                self.wrong(format!("{entity:?} is not available: {why}"));
            }
            self.listen();
            let sources = &self.world.control.shards[&shard].sources;
            if !sources.is_empty() {
                let what = format!("{shard} still has {sources:?}");
                self.wrong(what);
            }
        }
    }
}

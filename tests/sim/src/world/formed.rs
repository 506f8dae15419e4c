//! A cluster that has existed for a while: everybody is a member, everything is deployed and has an owner.

use std::sync::Arc;

use entia_protocol::KindName;
use entia_protocol::cluster::{NodeId, Term};
use entia_protocol::control::{Assignment, Command, Replica};

use super::World;
use crate::plan::SpacePlan;

impl World {
    /// Writes the log of a cluster that has formed, and gives it to all nodes.
    pub(super) fn form(&mut self) {
        self.log.term = 1;
        self.decide(Command::Coordinate);
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for &id in &ids {
            let boot = Arc::clone(&self.nodes[&id].boot);
            self.decide(Command::Join { boot, after: None });
        }
        for &id in &ids {
            let member = self.log.state.members[&id].home();
            self.decide(Command::Up { member });
        }
        self.choose_voters(&ids);
        for &id in &ids {
            self.open_ledger(id, &ids);
        }
        let plan = Arc::clone(&self.plan);
        for space in &plan.spaces {
            self.deploy(space);
        }
        self.assign(&ids);
        let committed = self.log.committed();
        for there in self.nodes.values_mut() {
            there.restored = committed;
        }
    }

    fn decide(&mut self, command: Command) {
        let term = Term {
            number: 1,
            node: NodeId(1),
        };
        self.log.append(term, command);
        self.log.commit().expect("it was just proposed");
    }

    fn choose_voters(&mut self, ids: &[NodeId]) {
        let count = match ids.len() {
            0..3 => 1,
            3..5 => 3,
            _ => 5,
        };
        for &id in &ids[1..count] {
            let from: Vec<_> = self.log.state.voters.iter().copied().collect();
            let mut to = from.clone();
            to.push(id);
            self.decide(Command::Voters { from, to });
        }
    }

    /// On its own disk and those of the two nodes that follow it.
    fn open_ledger(&mut self, id: NodeId, ids: &[NodeId]) {
        let own = ids
            .iter()
            .position(|&other| other == id)
            .expect("it is one");
        let replicas = (0..ids.len().min(3))
            .map(|next| {
                let node = ids[(own + next) % ids.len()];
                let disk = self.nodes[&node].boot.disk;
                Replica { node, disk }
            })
            .collect();
        let home = self.log.state.members[&id].home();
        self.decide(Command::OpenLedger {
            home,
            after: None,
            replicas,
        });
    }

    fn deploy(&mut self, space: &SpacePlan) {
        let name = KindName::new(space.name).expect("plans name kinds well");
        let (component, durability) = (space.digest(1), space.durability);
        self.decide(if space.daemons {
            Command::Scale {
                name,
                component,
                durability,
                workers: space.shards,
                after: 0,
            }
        } else {
            Command::DeployKind {
                name,
                component,
                durability,
                shards: space.shards,
            }
        });
    }

    /// Round robin: no two nodes differ by more than one shard.
    fn assign(&mut self, ids: &[NodeId]) {
        let state = &self.log.state;
        let shards = state.shards.unassigned().zip(ids.iter().cycle());
        let shards = shards
            .map(|(shard, id)| Assignment {
                shard,
                after: state.shards.get(&shard).expect("it was listed").epoch,
                home: state.members[id].home(),
            })
            .collect();
        self.decide(Command::Assign { shards });
    }
}

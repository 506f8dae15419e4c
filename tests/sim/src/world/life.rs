//! Processes start, stop and are killed.

use std::sync::Arc;

use entia_protocol::cluster::{Blob, Home, NodeId};

use super::{Input, MILLISECOND, Pending, SimNode, Watch, World, boot};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::executor::Executor;
use crate::faults::Restart;
use crate::node::{Event, Node, Restored, Start};
use crate::observation::Cause;
use crate::plan::SpacePlan;
use crate::seeded;

impl World {
    /// A machine with an empty disk, and no process.
    pub(super) fn make_node(&mut self, id: NodeId) {
        let plan = &self.plan;
        let seed = seeded::mixed(plan.seed, 100 + id.0);
        let mut rng = seeded::rng(seed, 1);
        let index = usize::try_from(id.0 - 1).expect("few nodes");
        let ppm = plan.drift_ppm.get(index).copied().unwrap_or(0);
        let wall_ms = i64::try_from(seeded::within(&mut rng, 0, 100)).unwrap_or(0);
        let local = seeded::within(&mut rng, 10_000, 1_000_000) * MILLISECOND;
        let mut disk = Disk::new(plan.disk, seeded::rng(seed, 2));
        if plan.formed && id.0 <= plan.nodes {
            for space in &plan.spaces {
                let bytes = SpacePlan::component(space.name, 1);
                disk.components.insert(space.digest(1), Blob::from(bytes));
            }
        }
        let there = SimNode {
            node: None,
            boot: Arc::new(boot(self.log.state.cluster, id, plan.zones, plan.seed)),
            clock: Clock::new(local, ppm, wall_ms),
            disk,
            executor: Executor::of_plan(id, seeded::mixed(seed, 3), plan),
            alive: false,
            paused: false,
            gone: false,
            life: 0,
            pauses: 0,
            backlog: Default::default(),
            timer: None,
            restored: 0,
        };
        self.nodes.insert(id, there);
    }

    /// One more node.
    pub(super) fn add_node(&mut self) -> NodeId {
        let id = self.next_node();
        self.make_node(id);
        self.queue.push(self.true_time, Pending::Start(id));
        id
    }

    /// A process starts with what the disk has.
    pub(super) fn start(&mut self, id: NodeId, watch: &mut dyn Watch) {
        let seeds = self.seeds(id);
        let Some(there) = self.nodes.get_mut(&id) else {
            return;
        };
        if there.alive || there.gone {
            return;
        }
        let restored = there.restored;
        let control = (restored > 0).then(|| self.log.state_at(restored));
        let start = Start {
            boot: Arc::clone(&there.boot),
            seeds,
            settings: Arc::clone(&self.plan.settings),
            restored: Restored {
                control,
                sealed: there.disk.sealed(),
                components: there.disk.components.keys().copied().collect(),
            },
        };
        there.node = Some(Node::new(start, there.clock.now(self.true_time)));
        there.alive = true;
        there.life += 1;
        if let Some(replica) = self.log.replicas.get_mut(&id) {
            replica.sent = restored;
            replica.due = self.true_time;
        }
        self.trace
            .line(self.true_time, || format!("{id} starts at @{restored}"));
        self.observe(id, Cause::Started, watch);
        self.after_input(id);
    }

    /// A process is killed.
    pub(super) fn kill(&mut self, id: NodeId, restart: Restart, watch: &mut dyn Watch) {
        let lag = seeded::within(&mut self.rng, 0, 8);
        let Some(there) = self.nodes.get_mut(&id) else {
            return;
        };
        let Some(node) = there.node.take() else {
            return;
        };
        let home = node.home();
        let applied = node.control().applied.0;
        // What was applied is written a little later.
        there.restored = there.restored.max(applied.saturating_sub(lag));
        there.alive = false;
        there.paused = there.pauses > 0;
        there.backlog.clear();
        there.timer = None;
        there.executor.crash();
        if restart == Restart::EmptyDisk {
            there.disk.wipe();
            there.restored = 0;
        } else {
            there.disk.crash();
        }
        there.next_process(restart, self.true_time);
        self.log.beliefs.remove(&id);
        if restart == Restart::EmptyDisk
            && let Some(replica) = self.log.replicas.get_mut(&id)
        {
            replica.lost = true;
            replica.stored = 0;
        }
        self.trace
            .line(self.true_time, || format!("{home} is killed: {restart:?}"));
        self.observe(id, Cause::Crashed { home }, watch);
        watch.crashed(id);
        if restart == Restart::Supervised {
            self.report_exit(home);
        }
    }

    /// Somebody on the machine saw the process exit, and tells the coordinator.
    fn report_exit(&mut self, home: Home) {
        let Some(leader) = self.log.leader else {
            return;
        };
        let Some(there) = self.nodes.get(&leader) else {
            return;
        };
        if there.alive && leader != home.node {
            let due = self.true_time + seeded::within(&mut self.rng, 1, 50) * MILLISECOND;
            let (life, input) = (there.life, Input::Event(Event::Exited(home)));
            self.queue.push(
                due,
                Pending::Input {
                    node: leader,
                    life,
                    input,
                },
            );
        }
    }

    /// A process stops.
    pub(super) fn pause(&mut self, id: NodeId) {
        if let Some(there) = self.nodes.get_mut(&id) {
            there.pauses += 1;
            there.paused = true;
        }
    }

    /// A process goes on, with all that came meanwhile; whether it sees first what time it is, is a matter of luck.
    pub(super) fn resume(&mut self, id: NodeId) {
        let Some(there) = self.nodes.get_mut(&id) else {
            return;
        };
        there.pauses = there.pauses.saturating_sub(1);
        there.paused = there.pauses > 0;
        if there.paused || !there.alive {
            return;
        }
        let life = there.life;
        let mut waited = std::mem::take(&mut there.backlog);
        // Events that are not messages keep their order, and messages theirs; the two mix as in a select loop.
        if seeded::one_in(&mut self.rng, 2) {
            waited
                .make_contiguous()
                .sort_by_key(|input| matches!(input, Input::Message { .. }));
        }
        if let Some(timer) = waited
            .iter()
            .position(|input| matches!(input, Input::Timer { .. }))
        {
            let timer = waited.remove(timer).expect("it was found");
            let at = seeded::within(&mut self.rng, 0, waited.len() as u64);
            let at = if seeded::one_in(&mut self.rng, 2) {
                0
            } else {
                at
            };
            waited.insert(usize::try_from(at).expect("within the queue"), timer);
        }
        for (count, input) in waited.into_iter().enumerate() {
            let due = self.true_time + 1_000 * count as u64;
            let node = id;
            self.queue.push(due, Pending::Input { node, life, input });
        }
    }

    /// Whom a node knows when it knows nobody.
    fn seeds(&self, id: NodeId) -> Vec<NodeId> {
        // The founder knows itself.
        let founder = id.0 == 1 && !self.plan.formed;
        self.nodes
            .iter()
            .filter(|(other, there)| (founder || **other != id) && !there.gone)
            .map(|(&other, _)| other)
            .take(3)
            .collect()
    }
}

impl SimNode {
    /// How the next process will introduce itself.
    fn next_process(&mut self, restart: Restart, true_time: u64) {
        let boot = Arc::make_mut(&mut self.boot);
        boot.process += 1;
        if !restart.proves() {
            boot.machine += 1;
        }
        if restart == Restart::Upgraded {
            boot.version += 1;
        }
        if restart == Restart::Machine {
            self.clock.reboot(true_time);
        }
        if restart == Restart::EmptyDisk {
            boot.disk += 1;
            boot.directory += 1_000;
        }
    }
}

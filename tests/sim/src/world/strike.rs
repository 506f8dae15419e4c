//! Faults strike, and all of them end.

use entia_protocol::cluster::{NodeId, ShardId};
use entia_protocol::control::Ownership;

use super::{Pending, Strike, Watch, World};
use crate::faults::{At, Fault, FaultKind, Restart, Who, Wish};
use crate::plan::{SpacePlan, nanos};
use crate::seeded;

impl World {
    /// A fault of the plan will strike.
    pub(super) fn plan_fault(&mut self, fault: &Fault) {
        match fault.at {
            At::Time(time) => self.queue.push(time, Pending::Strike(fault.kind)),
            At::Step(step) => self.at_step.push((step, fault.kind)),
        }
    }

    /// Faults that strike before this step.
    pub(super) fn strike_at_step(&mut self, watch: &mut dyn Watch) {
        while let Some(&(step, kind)) = self.at_step.last()
            && step <= self.steps
        {
            self.at_step.pop();
            self.strike(kind, watch);
        }
    }

    /// A fault strikes now.
    pub fn strike(&mut self, kind: FaultKind, watch: &mut dyn Watch) {
        self.trace
            .line(self.true_time, || format!("FAULT {kind:?}"));
        self.trace.mix([self.true_time, 0, 60, self.steps]);
        self.strikes.push(Strike {
            at: self.true_time,
            kind,
            node: kind.who().and_then(|who| self.who(who)),
        });
        match kind {
            FaultKind::Crash { who, down, restart } => {
                if let Some(id) = self.who(who) {
                    self.crash(id, (nanos(down), restart), watch);
                }
            }
            FaultKind::CrashAll { down, restart } => {
                let ids: Vec<_> = self.nodes.keys().copied().collect();
                for id in ids {
                    let down = seeded::within(&mut self.rng, 0, nanos(down));
                    self.crash(id, (down, restart), watch);
                }
            }
            FaultKind::ClockRate { who, ppm } => {
                let now = self.true_time;
                if let Some(id) = self.who(who)
                    && let Some(there) = self.nodes.get_mut(&id)
                {
                    there.clock.run_at(ppm, now);
                    // What is set was computed by the old rate.
                    there.timer = None;
                    if there.alive {
                        self.set_timer(id);
                    }
                }
            }
            FaultKind::WallJump { who, ms } => {
                if let Some(there) = self.who(who).and_then(|id| self.nodes.get_mut(&id)) {
                    there.clock.jump(ms);
                }
            }
            FaultKind::Elect => self.elect_another(),
            FaultKind::Mend => self.end_all_effects(),
            FaultKind::Wish(wish) => self.wish(wish),
            _ => self.begin_effect(kind),
        }
    }

    /// All faults end: everybody runs, and hears everybody.
    pub(super) fn heal(&mut self) {
        self.trace.line(self.true_time, || "all faults end".into());
        self.end_all_effects();
        self.at_step.clear();
        let down: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, there)| !there.alive && !there.gone)
            .map(|(&id, _)| id)
            .collect();
        for id in down {
            self.queue.push(self.true_time, Pending::Start(id));
        }
        // A node that is being drained for good would keep the cluster from being whole.
        let drained: Vec<_> = self.wishes.iter().copied().collect();
        for wish in drained {
            if let Wish::Drain(id) = wish {
                self.wishes.remove(&wish);
                self.wishes.insert(Wish::Undrain(id));
            }
        }
    }

    /// Whom a fault is about.
    pub fn who(&self, who: Who) -> Option<NodeId> {
        match who {
            Who::Node(id) => Some(id),
            Who::Coordinator => self.log.leader,
            Who::Source => self.first_handoff().map(|(from, _)| from),
            Who::Target => self.first_handoff().map(|(_, to)| to),
            Who::Worker(number) => self.owner(SpacePlan::WORKER, number),
            Who::Owner(number) => self.owner(SpacePlan::DURABLE, number),
            Who::Voter => self.voters().find(|&id| Some(id) != self.log.leader),
        }
    }

    /// The shard of a space with this number.
    pub fn shard(&self, name: &str, number: u32) -> Option<ShardId> {
        let mut spaces = self.log.state.spaces.iter();
        let (&space, _) = spaces.find(|(_, space)| space.name.as_str() == name)?;
        Some(ShardId { space, number })
    }

    fn owner(&self, name: &str, number: u32) -> Option<NodeId> {
        let shard = self.shard(name, number)?;
        self.log.state.home_of(shard).map(|(home, _)| home.node)
    }

    fn first_handoff(&self) -> Option<(NodeId, NodeId)> {
        let state = &self.log.state;
        let shard = state.shards.moving().next()?;
        match state.shards.get(&shard)?.ownership {
            Ownership::Handoff { from, to, .. } => Some((from.node, to.node)),
            _ => None,
        }
    }

    fn crash(&mut self, id: NodeId, (down, restart): (u64, Restart), watch: &mut dyn Watch) {
        if !self.nodes.get(&id).is_some_and(|there| there.alive) {
            return;
        }
        let restart = match restart {
            Restart::EmptyDisk if !self.all_disks_are_there() => Restart::Machine,
            restart => restart,
        };
        self.kill(id, restart, watch);
        if restart != Restart::Never {
            self.queue.push(self.true_time + down, Pending::Start(id));
        }
    }

    /// Whether all that counts on a disk still is on it. Who loses another one before the first is made up for, loses states and
    /// votes: nobody promises otherwise.
    fn all_disks_are_there(&self) -> bool {
        let state = &self.log.state;
        let is_there = |node: NodeId, disk: u64| {
            let there = self.nodes.get(&node);
            there.is_some_and(|there| there.boot.disk == disk && !there.gone)
        };
        let mut replicas = state.ledgers.values().flat_map(|ledger| &ledger.replicas);
        let kept = replicas.all(|replica| is_there(replica.node, replica.disk));
        kept && self.log.replicas.values().all(|replica| !replica.lost)
    }
}

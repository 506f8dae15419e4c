//! Not sampled but swept: a play without surprises, and then each fault at each of its steps.

use std::sync::Arc;
use std::time::Duration;

use entia_protocol::cluster::NodeId;

use crate::faults::{At, Fault, FaultKind, Restart, Who, Wish};
use crate::plan::{Plan, nanos};
use crate::run::Simulation;

/// A play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// Durable shards are moved.
    Handoff,
    /// A node is drained.
    Drain,
    /// A node dies for a while.
    Failover,
    /// Workers become more, then fewer.
    Workers,
    /// A node comes.
    Join,
}

impl Play {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Handoff,
        Self::Drain,
        Self::Failover,
        Self::Workers,
        Self::Join,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handoff => "handoff",
            Self::Drain => "drain",
            Self::Failover => "failover",
            Self::Workers => "workers",
            Self::Join => "join",
        }
    }

    /// The play as it goes when nothing goes wrong: what matters happens from a second on.
    pub fn plan(self, seed: u64) -> Plan {
        let mut plan = Plan::calm(seed);
        plan.nodes = if self == Self::Drain { 4 } else { 3 };
        plan.duration = ms(3_500);
        plan.settle = ms(9_000);
        plan.work.clients = 5;
        for space in &mut plan.spaces {
            space.shards = space.shards.min(4);
        }
        let settings = Arc::make_mut(&mut plan.settings);
        settings.timing.readmit = ms(1_000);
        let wish = |time, wish| fault(time, FaultKind::Wish(wish));
        plan.faults = match self {
            Self::Handoff => (0..3)
                .map(|shard| {
                    wish(
                        1_000,
                        Wish::Move(shard, NodeId(u64::from(shard + 1) % 3 + 1)),
                    )
                })
                .collect(),
            Self::Drain => vec![wish(1_000, Wish::Drain(NodeId(2)))],
            Self::Failover => vec![fault(1_000, crash(Who::Node(NodeId(2)), Restart::Machine))],
            Self::Workers => vec![wish(1_000, Wish::Scale(7)), wish(1_700, Wish::Scale(2))],
            Self::Join => vec![wish(1_000, Wish::Add)],
        };
        plan
    }

    /// The steps of the play in which something can be in the way of something.
    pub fn steps(self, seed: u64) -> Vec<u64> {
        let plan = self.plan(seed);
        Simulation::new(plan)
            .steps_between(nanos(ms(1_000)), nanos(ms(2_600)))
            .collect()
    }

    /// The play with one fault more, at that step.
    pub fn with(self, seed: u64, kind: FaultKind, step: u64) -> Plan {
        let mut plan = self.plan(seed);
        let at = At::Step(step);
        plan.faults.push(Fault { at, kind });
        plan
    }
}

/// The faults that are swept, with their names.
pub fn faults() -> Vec<(&'static str, FaultKind)> {
    let lasts = ms(1_300);
    vec![
        (
            "kill-coordinator",
            crash(Who::Coordinator, Restart::Process),
        ),
        ("kill-source", crash(Who::Source, Restart::Process)),
        ("kill-target", crash(Who::Target, Restart::Machine)),
        ("kill-worker", crash(Who::Worker(0), Restart::Process)),
        ("kill-owner", crash(Who::Owner(0), Restart::Supervised)),
        ("lose-voter", crash(Who::Voter, Restart::Machine)),
        ("elect", FaultKind::Elect),
        (
            "isolate-coordinator",
            FaultKind::Isolate {
                who: Who::Coordinator,
                lasts,
            },
        ),
        (
            "isolate-source",
            FaultKind::Isolate {
                who: Who::Source,
                lasts,
            },
        ),
        (
            "pause-coordinator",
            FaultKind::Pause {
                who: Who::Coordinator,
                lasts,
            },
        ),
        (
            "pause-source",
            FaultKind::Pause {
                who: Who::Source,
                lasts,
            },
        ),
        (
            "mute-target",
            FaultKind::Mute {
                who: Who::Target,
                lasts,
            },
        ),
        (
            "deafen-owner",
            FaultKind::Deafen {
                who: Who::Owner(0),
                lasts,
            },
        ),
    ]
}

fn crash(who: Who, restart: Restart) -> FaultKind {
    FaultKind::Crash {
        who,
        down: ms(600),
        restart,
    }
}

fn fault(time: u64, kind: FaultKind) -> Fault {
    let at = At::Time(nanos(ms(time)));
    Fault { at, kind }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

//! What a seed and a profile make of a run. Parameters are drawn towards their extremes: between them little happens.

use std::sync::Arc;
use std::time::Duration;

use entia_protocol::Durability;
use entia_protocol::cluster::Settings;

use super::{DiskPlan, LogPlan, NetworkPlan, Plan, SpacePlan, WorkPlan};
use crate::seeded::{self, Rng};

mod mischief;

/// What kind of trouble a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Nothing goes wrong.
    Calm,
    /// A bit of everything.
    Default,
    /// Links.
    Network,
    /// Processes.
    Crash,
    /// Clocks, up to five times further than we promise: then only what is durable holds.
    Clock,
    /// Disks.
    Disk,
    /// Nodes come and go, workers more and fewer, other versions.
    Scale,
    /// A cluster that forms by itself.
    Boot,
}

impl Profile {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Calm,
        Self::Default,
        Self::Network,
        Self::Crash,
        Self::Clock,
        Self::Disk,
        Self::Scale,
        Self::Boot,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Default => "default",
            Self::Network => "network",
            Self::Crash => "crash",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::Scale => "scale",
            Self::Boot => "boot",
        }
    }

    /// The plan of a seed.
    pub fn plan(self, seed: u64) -> Plan {
        let mut rng = seeded::rng(seed, 1);
        let nodes = seeded::pick(&mut rng, &[3, 3, 5, 5, 5, 4, 7]);
        let mut plan = Plan {
            nodes,
            profile: self,
            zones: seeded::pick(&mut rng, &[1, 3, nodes]),
            formed: self != Self::Boot,
            settings: Arc::new(settings(&mut rng)),
            drift_ppm: drift(&mut rng, nodes),
            check_every: 101,
            network: self.network(&mut rng),
            disk: self.disk(&mut rng),
            log: log(&mut rng),
            spaces: spaces(&mut rng),
            work: work(&mut rng),
            ..Plan::calm(seed)
        };
        if self == Self::Calm {
            plan.drift_ppm.clear();
            plan.log = Plan::calm(seed).log;
        }
        plan.faults = mischief::faults(&plan, &mut seeded::rng(seed, 2));
        plan
    }

    fn network(self, rng: &mut Rng) -> NetworkPlan {
        let fair = Plan::calm(0).network;
        match self {
            Self::Calm => fair,
            Self::Network => weather(rng),
            _ if seeded::one_in(rng, 2) => fair,
            _ => weather(rng),
        }
    }

    fn disk(self, rng: &mut Rng) -> DiskPlan {
        let fair = Plan::calm(0).disk;
        let stall_one_in = match self {
            Self::Calm | Self::Boot => 0,
            Self::Disk => seeded::pick(rng, &[50, 500]),
            _ => seeded::pick(rng, &[0, 1_000]),
        };
        DiskPlan {
            stall_one_in,
            sync_max: ms(seeded::pick(rng, &[2, 5, 40])),
            ..fair
        }
    }
}

impl Plan {
    /// A run in which nothing goes wrong.
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            profile: Profile::Calm,
            nodes: 5,
            zones: 3,
            formed: true,
            duration: ms(15_000),
            settle: ms(15_000),
            settings: Arc::new(Settings::lan()),
            faults: Vec::new(),
            check_every: 11,
            network: NetworkPlan {
                delay_min: Duration::from_micros(100),
                delay_max: ms(1),
                slow_one_in: 0,
                slow: ms(0),
                loss_ppm: 0,
                again_ppm: 0,
            },
            disk: DiskPlan {
                sync_min: Duration::from_micros(300),
                sync_max: ms(2),
                stall_one_in: 0,
                stall: ms(2_000),
            },
            log: LogPlan {
                election_min: ms(150),
                election_max: ms(300),
                apply_lag: ms(5),
                loss_ppm: 0,
                twice_ppm: 0,
                jump_ppm: 0,
            },
            drift_ppm: Vec::new(),
            spaces: vec![
                space(SpacePlan::DURABLE, Durability::Durable, 16, false),
                space(SpacePlan::MEMORY, Durability::Memory, 8, false),
                space(SpacePlan::WORKER, Durability::Durable, 6, true),
            ],
            work: WorkPlan {
                clients: 12,
                entities: 12,
                think: ms(150),
                deadline: ms(4_000),
                read_percent: 15,
                chain_percent: 10,
                send_percent: 10,
                timer_percent: 5,
                delete_percent: 2,
                trap_percent: 1,
                turn_max: ms(5),
                moods: true,
            },
        }
    }

    /// Whether all clocks keep what the protocol assumes of them.
    pub fn clocks_are_honest(&self) -> bool {
        let bound = i64::try_from(self.settings.timing.drift_ppm).unwrap_or(i64::MAX);
        let drifts = self.drift_ppm.iter().copied();
        let changes = self.faults.iter().filter_map(|fault| match fault.kind {
            crate::faults::FaultKind::ClockRate { ppm, .. } => Some(ppm),
            _ => None,
        });
        drifts.chain(changes).all(|ppm| ppm.abs() <= bound)
    }
}

fn space(name: &'static str, durability: Durability, shards: u32, daemons: bool) -> SpacePlan {
    SpacePlan {
        name,
        durability,
        shards,
        daemons,
    }
}

fn settings(rng: &mut Rng) -> Settings {
    let mut settings = if seeded::one_in(rng, 4) {
        Settings::local()
    } else {
        Settings::lan()
    };
    let bounds = &mut settings.bounds;
    bounds.page_max = seeded::pick(rng, &[2, 16, 256]);
    bounds.delta_max = seeded::pick(rng, &[3, 256, 256]);
    bounds.loading_max = seeded::pick(rng, &[1, 256]);
    // All workers may be on one node, and chains need both ends in memory.
    bounds.activations_max = seeded::pick(rng, &[40, 10_000, 10_000]);
    bounds.handoffs_max = seeded::pick(rng, &[1, 64]);
    settings.timing.idle = ms(seeded::pick(rng, &[200, 2_000, 60_000]));
    settings.timing.readmit = ms(seeded::pick(rng, &[1_000, 5_000]));
    settings.timing.replace = ms(seeded::pick(rng, &[3_000, 60_000]));
    settings
}

fn drift(rng: &mut Rng, nodes: u64) -> Vec<i64> {
    let worst = seeded::pick(rng, &[0, 200, 9_900]);
    (0..nodes)
        .map(|_| match seeded::within(rng, 0, 2) {
            0 => -worst,
            1 => worst,
            _ => 0,
        })
        .collect()
}

fn spaces(rng: &mut Rng) -> Vec<SpacePlan> {
    let durable = seeded::pick(rng, &[4, 16, 32]);
    let memory = seeded::pick(rng, &[2, 8]);
    let workers = seeded::pick(rng, &[1, 5, 12]);
    // Both kinds of daemon sets must survive: those with a state, and those without.
    let durability = seeded::pick(rng, &[Durability::Durable, Durability::Memory]);
    vec![
        space(SpacePlan::DURABLE, Durability::Durable, durable, false),
        space(SpacePlan::MEMORY, Durability::Memory, memory, false),
        space(SpacePlan::WORKER, durability, workers, true),
    ]
}

fn work(rng: &mut Rng) -> WorkPlan {
    WorkPlan {
        clients: seeded::pick(rng, &[4, 12, 24]),
        entities: seeded::pick(rng, &[2, 12, 40]),
        think: ms(seeded::pick(rng, &[40, 150, 400])),
        deadline: ms(seeded::pick(rng, &[500, 4_000, 10_000])),
        turn_max: ms(seeded::pick(rng, &[1, 5, 60])),
        ..Plan::calm(0).work
    }
}

fn log(rng: &mut Rng) -> LogPlan {
    LogPlan {
        apply_lag: ms(seeded::pick(rng, &[2, 20, 200])),
        loss_ppm: seeded::pick(rng, &[0, 0, 50_000]),
        twice_ppm: seeded::pick(rng, &[0, 0, 50_000]),
        jump_ppm: seeded::pick(rng, &[0, 200_000, 1_000_000]),
        ..Plan::calm(0).log
    }
}

/// Links that are not as good as they should be.
fn weather(rng: &mut Rng) -> NetworkPlan {
    NetworkPlan {
        delay_min: Duration::from_micros(100),
        delay_max: ms(seeded::pick(rng, &[1, 5, 20])),
        slow_one_in: seeded::pick(rng, &[0, 20, 200]),
        slow: ms(seeded::pick(rng, &[50, 300, 2_000])),
        loss_ppm: seeded::pick(rng, &[0, 1_000, 20_000, 100_000]),
        again_ppm: seeded::pick(rng, &[0, 10_000, 300_000]),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

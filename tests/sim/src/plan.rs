//! What a run does: everything that is decided before it begins. The same plan is the same run, to the last event.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use entia_protocol::cluster::{Blob, Settings};
use entia_protocol::{Digest, Durability};

use crate::faults::Fault;

mod profile;

pub use profile::Profile;

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Draws everything that is not in the plan: the delay of each message, each write, each call.
    pub seed: u64,
    /// What it was made for.
    pub profile: Profile,
    /// How many nodes there are at the beginning, numbered from 1.
    pub nodes: u64,
    /// How many zones they are in, round robin.
    pub zones: u64,
    /// The cluster exists when the run begins; else the nodes join one by one.
    pub formed: bool,
    /// How long there are faults and load.
    pub duration: Duration,
    /// How long there are none, at the end. The load stops in the middle of it.
    pub settle: Duration,
    /// The cluster's tuning, with the mutant.
    pub settings: Arc<Settings>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// After so many inputs the machines look at everything in themselves: 1 is after each, which costs more than all the rest.
    pub check_every: u64,
    /// The links.
    pub network: NetworkPlan,
    /// The disks.
    pub disk: DiskPlan,
    /// The control log.
    pub log: LogPlan,
    /// What each node's monotonic clock runs wrong by at the beginning, in parts per million, by node number minus 1; 0 beyond the end.
    pub drift_ppm: Vec<i64>,
    /// The kinds and daemon sets that are deployed.
    pub spaces: Vec<SpacePlan>,
    /// What clients do.
    pub work: WorkPlan,
}

/// How links behave where no fault makes them worse. One in `slow_one_in` messages takes up to `slow` longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkPlan {
    /// The shortest delay.
    pub delay_min: Duration,
    /// The longest delay of a message that is not slow.
    pub delay_max: Duration,
    /// One in so many is slow; 0: none.
    pub slow_one_in: u32,
    /// How much longer, at most.
    pub slow: Duration,
    /// Messages lost of a million.
    pub loss_ppm: u32,
    /// Messages that arrive three times of a million.
    pub again_ppm: u32,
}

/// How disks behave where no fault makes them worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskPlan {
    /// The shortest fsync.
    pub sync_min: Duration,
    /// The longest fsync that does not stall.
    pub sync_max: Duration,
    /// One in so many stalls; 0: none.
    pub stall_one_in: u32,
    /// How long.
    pub stall: Duration,
}

/// How the control log behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlan {
    /// The shortest time without a leader before there is an election.
    pub election_min: Duration,
    /// The longest.
    pub election_max: Duration,
    /// How much later than the leader a voter applies, at most.
    pub apply_lag: Duration,
    /// Proposals lost of a million.
    pub loss_ppm: u32,
    /// Proposals committed twice of a million.
    pub twice_ppm: u32,
    /// Voters that get the whole state instead of what they miss, of a million times.
    pub jump_ppm: u32,
}

/// A kind or a daemon set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpacePlan {
    /// Its name.
    pub name: &'static str,
    /// What survives.
    pub durability: Durability,
    /// How many shards, or workers.
    pub shards: u32,
    /// Whether it is a daemon set.
    pub daemons: bool,
}

/// What clients do. The workload makes of it what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkPlan {
    /// How many clients there are; each waits for its answer before it calls again.
    pub clients: u32,
    /// How many entities there are of each kind.
    pub entities: u32,
    /// How long a client pauses between two calls, on average.
    pub think: Duration,
    /// How long a client waits for an answer.
    pub deadline: Duration,
    /// Calls that only read, in percent.
    pub read_percent: u32,
    /// Calls that call other entities, in percent.
    pub chain_percent: u32,
    /// Calls that send to other entities, in percent.
    pub send_percent: u32,
    /// Calls that set a timer, in percent.
    pub timer_percent: u32,
    /// Calls that delete, in percent.
    pub delete_percent: u32,
    /// Calls whose turn traps, in percent.
    pub trap_percent: u32,
    /// The longest turn.
    pub turn_max: Duration,
    /// Workers have bad days before the faults end: some steps hang, some are slow, some trap.
    pub moods: bool,
}

impl SpacePlan {
    /// Durable entities.
    pub const DURABLE: &'static str = "durable";
    /// Entities that live in memory.
    pub const MEMORY: &'static str = "memory";
    /// Daemon workers.
    pub const WORKER: &'static str = "worker";

    /// The component's bytes, in one version of it.
    pub fn component(name: &str, version: u64) -> Vec<u8> {
        format!("component {name} {version}").into_bytes()
    }

    /// The digest of [`SpacePlan::component`].
    pub fn digest(&self, version: u64) -> Digest {
        Digest::of(&Self::component(self.name, version))
    }
}

impl Plan {
    /// How many versions of its components a plan may deploy.
    pub const VERSIONS: u64 = 3;

    /// The component with this digest, if one of the plan's spaces has it in one of its versions.
    pub fn component(&self, digest: Digest) -> Option<Blob> {
        let versions = 1..=Self::VERSIONS;
        let mut components = versions.flat_map(|version| {
            let spaces = self.spaces.iter();
            spaces.map(move |space| SpacePlan::component(space.name, version))
        });
        components
            .find(|bytes| Digest::of(bytes) == digest)
            .map(Blob::from)
    }

    /// The end of faults, in nanoseconds of true time.
    pub fn faults_until(&self) -> u64 {
        nanos(self.duration)
    }

    /// The end of load: clients begin nothing new from then on.
    pub fn load_until(&self) -> u64 {
        nanos(self.duration + self.settle / 2)
    }

    /// The end.
    pub fn ends(&self) -> u64 {
        nanos(self.duration + self.settle)
    }
}

/// A duration as true time.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| format!("no such profile: {text}"))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

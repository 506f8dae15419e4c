use std::time::Duration;

use super::Mutant;

/// What a cluster is tuned with. The same on all its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long things take and last.
    pub timing: Timing,
    /// How much there may be of things.
    pub bounds: Bounds,
    /// The rule that is left out, in the simulator.
    pub mutant: Option<Mutant>,
}

/// How long things take and last. See PROTOCOL section 2 for the profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// L: how long a lease runs.
    pub lease: Duration,
    /// rho, in parts per million: how much a node's clock may run wrong.
    pub drift_ppm: u64,
    /// g: taken off a lease at the region.
    pub guard: Duration,
    /// How often a region renews.
    pub renew: Duration,
    /// How long the coordinator gathers renewals for one barrier.
    pub barrier: Duration,
    /// Silence after which a node gets nothing new.
    pub suspect: Duration,
    /// How long grants go to a region that confirms none.
    pub confirm: Duration,
    /// How often a message that wants an answer is sent again.
    pub resend: Duration,
    /// How often what is not urgent is sent again: joins, pulls, the notices of a coordinator.
    pub announce: Duration,
    /// How long running turns may go on when their shard is drained.
    pub drain: Duration,
    /// How long a precopy, and then each later phase of a handoff, may take.
    pub phase: Duration,
    /// How long a handoff may take in all.
    pub handoff: Duration,
    /// How long a node that was downed waits for shards after it is back; doubled with each flap, to 16 times.
    pub readmit: Duration,
    /// How often the coordinator looks whether shards should move.
    pub rebalance: Duration,
    /// How long a voter or a replica of a ledger may be down before a spare takes its place.
    pub replace: Duration,
    /// A worker's step that takes longer, or comes later than this after it was due, is stuck.
    pub worker: Duration,
    /// The first pause before a worker that failed runs again; doubled with each failure, to 64 times.
    pub backoff: Duration,
    /// An entity that nobody calls for that long is passivated.
    pub idle: Duration,
}

/// How much there may be of things. Beyond a bound there is an answer that says so, or the oldest is let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Calls of one node that wait for a shard's home, per shard.
    pub waiting_max: usize,
    /// Calls of one node on their way to one shard.
    pub in_flight_max: usize,
    /// Calls that wait for one entity.
    pub mailbox_max: usize,
    /// Replies remembered per origin and shard until the origin has them.
    pub replies_max: usize,
    /// Entities in memory, per node.
    pub activations_max: usize,
    /// Records in a page of a scan, a fetch or a transfer.
    pub page_max: usize,
    /// Entities that are loaded at the same time, per node: the slow start after a failover.
    pub loading_max: usize,
    /// Entries of the control log in one delta; who is further behind gets the whole state.
    pub delta_max: usize,
    /// Entities in a chain of calls.
    pub chain_max: usize,
    /// Failures in place before a worker runs elsewhere.
    pub worker_failures_max: u32,
    /// Handoffs at the same time, per node that takes part.
    pub handoffs_max: usize,
}

impl Settings {
    /// One machine: leases of 500 ms.
    pub fn local() -> Self {
        Self::with_lease(Duration::from_millis(500))
    }

    /// One site: leases of a second.
    pub fn lan() -> Self {
        Self::with_lease(Duration::from_secs(1))
    }

    /// Several sites: leases of six seconds.
    pub fn wan() -> Self {
        Self::with_lease(Duration::from_secs(6))
    }

    /// Whether this rule is left out.
    pub fn lacks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn with_lease(lease: Duration) -> Self {
        let ms = Duration::from_millis;
        Self {
            timing: Timing {
                lease,
                drift_ppm: 10_000,
                guard: ms(20),
                renew: lease / 10,
                barrier: lease / 20,
                suspect: lease / 2,
                confirm: lease / 2,
                resend: lease / 5,
                announce: lease / 4,
                drain: ms(1_000),
                phase: ms(5_000),
                handoff: ms(20_000),
                readmit: ms(5_000),
                rebalance: ms(1_000),
                replace: ms(60_000),
                worker: ms(1_000),
                backoff: ms(100),
                idle: ms(60_000),
            },
            bounds: Bounds {
                waiting_max: 1_000,
                in_flight_max: 1_000,
                mailbox_max: 1_000,
                replies_max: 4_000,
                activations_max: 10_000,
                page_max: 256,
                loading_max: 256,
                delta_max: 256,
                chain_max: 100,
                worker_failures_max: 3,
                handoffs_max: 64,
            },
            mutant: None,
        }
    }
}

impl Timing {
    /// `duration` as a clock that runs too slow by the bound may show it: L(1 + rho), what a granter waits.
    pub fn longest(&self, duration: Duration) -> Duration {
        duration + self.margin(duration)
    }

    /// `duration` as a clock that runs too fast by the bound may show it: L(1 - rho), what a holder trusts.
    pub fn shortest(&self, duration: Duration) -> Duration {
        duration - self.margin(duration)
    }

    fn margin(&self, duration: Duration) -> Duration {
        let nanos = duration.as_nanos() * u128::from(self.drift_ppm) / 1_000_000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

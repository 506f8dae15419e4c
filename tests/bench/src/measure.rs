use std::time::Duration;

use anyhow::Result;

use crate::cores::Cores;
use crate::figure::Figure;
use crate::limits::Limit;
use crate::load::{Caller, Load};
use crate::pairs::alternate;
use crate::report::Report;

/// What every bench works with.
pub(crate) struct Bench {
    pub(crate) load: Load,
    pub(crate) cores: Cores,
    pub(crate) plan: Plan,
    pub(crate) report: Report,
}

/// How long it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) pairs: usize,
    pub(crate) slice: Duration,
}

/// What is compared.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) goal: Option<f64>,
    pub(crate) limit: Limit,
}

/// Latencies are taken at this share of the throughput: near all of it a queue's length is all that one sees.
const PACE: f64 = 0.5;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

impl Bench {
    /// Compares ours with its floor: throughput in pairs of slices, then latencies, of both at the same pace.
    pub(crate) fn compare<F: Caller, O: Caller>(
        &mut self,
        subject: Subject,
        floor: &mut Vec<F>,
        ours: &mut Vec<O>,
    ) -> Result<()> {
        self.cores.pin_load()?;
        let (load, slice) = (&self.load, self.plan.slice);
        load.closed(floor, WARM_UP)?;
        load.closed(ours, WARM_UP)?;
        let pairs = alternate(
            self.plan.pairs,
            || load.closed(floor, slice),
            || load.closed(ours, slice),
        )?;
        let pace = PACE * pairs.ours().min(pairs.floor());
        let floor = load.paced(floor, pace, slice)?;
        let ours = load.paced(ours, pace, slice)?;

        let Subject { name, goal, limit } = subject;
        let voided = limit.void(pairs.floor());
        let us = |ns: u64| ns as f64 / 1_000.0;
        let latency = |what: &str, ours, floor| {
            Figure::latency(
                format!("{name}.{what}"),
                us(ours),
                us(floor),
                voided.clone(),
            )
        };
        let latencies = [
            latency(
                "p50",
                ours.value_at_quantile(0.50),
                floor.value_at_quantile(0.50),
            ),
            latency(
                "p99",
                ours.value_at_quantile(0.99),
                floor.value_at_quantile(0.99),
            ),
            latency("max", ours.max(), floor.max()),
        ];
        self.report
            .note(format!("{name}: latencies at {pace:.0} calls/s"));
        self.report
            .add([Figure::throughput(name, &pairs, goal, voided.clone())]);
        self.report.add(latencies);
        Ok(())
    }
}

//! What it takes to bring an entity into memory, and to keep one there.
//!
//! ```text
//!   fresh          a name that nobody has called: look up nothing, instantiate, activate, handle, snapshot
//!   reactivation   one of a million that left memory: read the store, instantiate, activate from its state, handle, snapshot
//!   floor          instantiate, activate, handle, snapshot of the same component, on plain wasmtime
//! ```
//! One call at a time, so a latency is the work alone. The bench makes a million entities of a kind in memory, of which the
//! node keeps 10,000; those that leave are written to the store.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use entia_protocol::Durability;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::figure::Figure;
use crate::local::guest::{Guest, Guests};
use crate::measure::Bench;
use crate::node::{InProcess, Method};
use crate::places;

/// Entities on the node in the end.
const ENTITIES: usize = 1_000_000;
/// Those in memory: the node's own bound, by default.
const LIVE: usize = 10_000;
/// Activations that are timed, of each sort.
const TIMED: usize = 5_000;
/// Before anything counts.
const WARM_UP: usize = 500;
/// What a live entity may cost: LIMITS.md B has 24 KiB resident and 2.3 KiB of page tables of the bare instance.
const KIB_A_LIVE_ENTITY_MAX: f64 = 40.0;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    bench.cores.pin_server()?;
    let (floor, floor_kib) = bare()?;

    let node = InProcess::start(bench.cores, Durability::Memory)?;
    node.increment_all(0..WARM_UP)?;
    let before = memory_kib()?;
    let fresh = timed(WARM_UP..WARM_UP + TIMED, |number| {
        node.call(number, Method::Increment)
    })?;
    node.increment_all(WARM_UP + TIMED..LIVE)?;
    let live = node.live()?;
    let live_kib = (memory_kib()? - before) / (live as f64 - WARM_UP as f64);

    let began = Instant::now();
    node.increment_all(LIVE..ENTITIES)?;
    let rate = (ENTITIES - LIVE) as f64 / began.elapsed().as_secs_f64();
    let live = node.live()?;
    ensure!(
        live as usize <= LIVE + LIVE / 10,
        "{live} entities are live"
    );
    let all_kib = memory_kib()?;
    let mut random = StdRng::seed_from_u64(1);
    let again = timed(0..TIMED, |_| {
        node.call(
            random.random_range(0..ENTITIES - 2 * LIVE),
            Method::Increment,
        )
    })?;
    node.stop()?;

    let report = &mut bench.report;
    for (name, ours) in [("activate.fresh", &fresh), ("activate.again", &again)] {
        for (quantile, of) in [("p50", 0.50), ("p99", 0.99)] {
            let us = |times: &Histogram<u64>| times.value_at_quantile(of) as f64 / 1_000.0;
            let name = format!("{name}.{quantile}");
            report.add([Figure::latency(name, us(ours), us(&floor), None)]);
        }
    }
    report.add([Figure::amount(
        "activate.memory",
        "KiB",
        live_kib,
        floor_kib,
    )]);
    let verdict = if live_kib <= KIB_A_LIVE_ENTITY_MAX {
        "ok"
    } else {
        "MISSED"
    };
    report.note(format!(
        "a live entity takes {live_kib:.1} KiB, resident and page tables; at most {KIB_A_LIVE_ENTITY_MAX:.0}: {verdict}"
    ));
    report.note(format!(
        "{ENTITIES} entities on one node, {live} of them live: made at {rate:.0}/s, {:.0} MiB in this process",
        all_kib / 1_024.0
    ));
    Ok(())
}

/// The same without a node: how long an instance takes to its first answer, and what it occupies.
fn bare() -> Result<(Histogram<u64>, f64)> {
    let wasm = fs::read(places::counter()?)?;
    let guests = Guests::compile(&wasm).map_err(trapped)?;
    let arguments = Method::Increment.arguments()?;
    let mut kept: Vec<Guest> = Vec::with_capacity(LIVE);
    let mut start = |number: usize| {
        let mut guest = guests.start(format!("entity-{number}")).map_err(trapped)?;
        guest
            .handle(Method::Increment.name(), &arguments)
            .map_err(trapped)?;
        guest.snapshot().map_err(trapped)?;
        kept.push(guest);
        anyhow::Ok(())
    };
    for number in 0..WARM_UP {
        start(number)?;
    }
    let before = memory_kib()?;
    let times = timed(WARM_UP..WARM_UP + TIMED, &mut start)?;
    let kib = (memory_kib()? - before) / TIMED as f64;
    Ok((times, kib))
}

/// How long each took, in nanoseconds.
fn timed(
    numbers: std::ops::Range<usize>,
    mut work: impl FnMut(usize) -> Result<()>,
) -> Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    for number in numbers {
        let began = Instant::now();
        work(number)?;
        // Grows as it has to, which `saturating_record` does not.
        times.record(nanoseconds(began.elapsed()))?;
    }
    Ok(times)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What this process has in memory and its page tables, in KiB.
fn memory_kib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line.with_context(|| format!("/proc/self/status has no {name}"))?;
        Ok::<f64, anyhow::Error>(text.trim().trim_end_matches(" kB").trim().parse()?)
    };
    Ok(field("VmRSS:")? + field("VmPTE:")?)
}

/// wasmtime's errors have a type of their own.
fn trapped(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("the floor's guest: {error:#}")
}

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::super::{Observed, process};
use super::{BUCKETS, KindCounters, OUTCOMES, Snapshot};

/// Writes everything in the text format of OpenMetrics.
pub(in super::super) fn encode(
    observed: Arc<Observed>,
    snapshot: Snapshot,
) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { observed, snapshot }));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

/// One look at everything.
#[derive(Debug)]
struct Scrape {
    observed: Arc<Observed>,
    snapshot: Snapshot,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let kinds = self.observed.kinds.all();
        calls(&mut encoder, &kinds)?;
        turns(&mut encoder, &kinds)?;
        self.counters(&mut encoder)?;
        self.responses(&mut encoder)?;
        self.gauges(&mut encoder)?;
        process_gauges(&mut encoder)?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("entia_build", "This node's build", None, MetricType::Info)?
            .encode_info(&version)
    }
}

impl Scrape {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let counters = &self.observed.counters;
        let snapshot = &self.snapshot;
        for (name, help, value) in [
            (
                "entia_activations",
                "Instances started",
                counters.activations.value(),
            ),
            (
                "entia_passivations",
                "Instances ended because they were idle or to make room",
                counters.passivations.value(),
            ),
            (
                "entia_quarantines",
                "Times that an entity was quarantined",
                counters.quarantines.value(),
            ),
            (
                "entia_log_lines",
                "Log lines of entities",
                counters.log_lines.value(),
            ),
            (
                "entia_log_lines_dropped",
                "Log lines of entities over log_bytes_max",
                counters.log_lines_dropped.value(),
            ),
            (
                "entia_sends_delivered",
                "Messages that their target has answered",
                counters.sends_delivered.value(),
            ),
            (
                "entia_sends_retried",
                "Deliveries that failed and are tried again",
                counters.sends_retried.value(),
            ),
            (
                "entia_sends_dead",
                "Messages given up",
                counters.sends_dead.value(),
            ),
            (
                "entia_timers_fired",
                "Timers that fired",
                counters.timers_fired.value(),
            ),
            (
                "entia_store_commits",
                "Commits on disk since the store was made",
                snapshot.store_sequence,
            ),
            (
                "entia_store_groups",
                "Groups of commits synced to disk together",
                snapshot.store_groups,
            ),
        ] {
            counter(encoder, name, help, value)?;
        }
        Ok(())
    }

    fn responses(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "HTTP responses by the class of their status";
        let mut family =
            encoder.encode_descriptor("entia_http_responses", help, None, MetricType::Counter)?;
        for (class, responses) in self.observed.counters.http.iter().enumerate() {
            let labels = [("class", format!("{}xx", class + 1))];
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, u64>(&responses.value(), None)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let snapshot = &self.snapshot;
        for (name, help, value) in [
            ("entia_kinds", "Deployed kinds", snapshot.kinds as u64),
            (
                "entia_entities_live",
                "Entities with an instance",
                snapshot.entities_live as u64,
            ),
            (
                "entia_entities_in_memory",
                "Entities that the node keeps anything of in memory",
                snapshot.cells as u64,
            ),
            (
                "entia_calls_pending",
                "Calls under way, from the mailbox to the answer",
                snapshot.calls_pending as u64,
            ),
            (
                "entia_store_failed",
                "1 once the store takes no more commits",
                u64::from(snapshot.store_failed),
            ),
        ] {
            gauge(encoder, name, help, &value)?;
        }
        let uptime = snapshot.uptime.as_secs_f64();
        gauge(
            encoder,
            "entia_uptime_seconds",
            "Since the node's start",
            &uptime,
        )
    }
}

fn calls(
    encoder: &mut DescriptorEncoder<'_>,
    kinds: &[(String, Arc<KindCounters>)],
) -> Result<(), Error> {
    let help = "Calls by kind and by how they ended";
    let mut family = encoder.encode_descriptor("entia_calls", help, None, MetricType::Counter)?;
    for (kind, counters) in kinds {
        for (outcome, calls) in OUTCOMES.iter().zip(&counters.outcomes) {
            // Most kinds never meet most outcomes.
            if calls.value() > 0 {
                let labels = [("kind", kind.as_str()), ("outcome", *outcome)];
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, u64, u64>(&calls.value(), None)?;
            }
        }
    }
    Ok(())
}

fn turns(
    encoder: &mut DescriptorEncoder<'_>,
    kinds: &[(String, Arc<KindCounters>)],
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(
        "entia_turn_duration_seconds",
        "Turns by kind and by how long they took",
        None,
        MetricType::Histogram,
    )?;
    for (kind, counters) in kinds {
        let bounds = BUCKETS.iter().map(|bound| bound.as_secs_f64());
        let bounds = bounds.chain([f64::INFINITY]);
        let turns = &counters.turns;
        let buckets: Vec<(f64, u64)> = bounds
            .zip(turns.buckets.iter().map(super::Counter::value))
            .collect();
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        if count > 0 {
            let sum = turns.sum_ns.value() as f64 / 1e9;
            family
                .encode_family(&[("kind", kind.as_str())])?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
    }
    Ok(())
}

/// What the system says of the process, where it says it.
fn process_gauges(encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    if let Some(bytes) = process::resident_bytes() {
        let help = "Resident memory";
        gauge(encoder, "process_resident_memory_bytes", help, &bytes)?;
    }
    if let Some(open) = process::open_descriptors() {
        gauge(encoder, "process_open_fds", "Open file descriptors", &open)?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), Error> {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeGaugeValue,
) -> Result<(), Error> {
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(value)
}

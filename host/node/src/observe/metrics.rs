//! Counters for Prometheus.
//!
//! A turn takes a few microseconds, so what it adds to is a relaxed atomic in a place that it has at hand; the library
//! that knows the text format comes in only when somebody asks. Labels are bounded: kinds, outcomes, classes of status.

mod encode;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entia_protocol::{CallError, KindName};

pub(super) use encode::encode;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// What is counted for the whole node.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Instances started.
    pub(crate) activations: Counter,
    /// Instances ended because they were idle, or to make room.
    pub(crate) passivations: Counter,
    /// Times that an entity was quarantined.
    pub(crate) quarantines: Counter,
    /// Log lines of entities.
    pub(crate) log_lines: Counter,
    /// Log lines over `log_bytes_max`.
    pub(crate) log_lines_dropped: Counter,
    /// Messages that their target has answered.
    pub(crate) sends_delivered: Counter,
    /// Deliveries that failed and are tried again.
    pub(crate) sends_retried: Counter,
    /// Messages given up.
    pub(crate) sends_dead: Counter,
    /// Timers that fired.
    pub(crate) timers_fired: Counter,
    /// Responses by the first digit of their status, from 1 on.
    http: [Counter; 5],
}

/// What is counted for each kind.
#[derive(Debug, Default)]
pub(crate) struct KindCounters {
    outcomes: [Counter; OUTCOMES.len()],
    turns: Histogram,
}

/// The kinds' counters, by the label that they have.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    named: Mutex<BTreeMap<KindName, Arc<KindCounters>>>,
    /// Of all kinds that came when there were labels enough.
    others: Arc<KindCounters>,
}

/// What is not counted but looked at.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) kinds: usize,
    pub(crate) entities_live: usize,
    pub(crate) cells: usize,
    pub(crate) calls_pending: usize,
    pub(crate) store_sequence: u64,
    pub(crate) store_groups: u64,
    pub(crate) store_failed: bool,
    pub(crate) uptime: Duration,
}

/// Durations.
#[derive(Debug, Default)]
struct Histogram {
    /// One more than bounds: what is longer than the last.
    buckets: [Counter; BUCKETS.len() + 1],
    sum_ns: Counter,
}

impl Counter {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts a response.
    pub(crate) fn responded(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(counter) = self.http.get(class) {
            counter.inc();
        }
    }
}

impl KindCounters {
    /// Counts a call's end.
    pub(crate) fn called<T>(&self, answer: &Result<T, CallError>) {
        self.outcomes[outcome(answer)].inc();
    }

    /// Counts a turn that took so long, waiting for others included.
    pub(crate) fn turned(&self, duration: Duration) {
        self.turns.add(duration);
    }
}

impl Histogram {
    fn add(&self, duration: Duration) {
        let bucket = BUCKETS.iter().position(|bound| duration <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS.len())].inc();
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.add(ns);
    }
}

impl Kinds {
    pub(super) fn of(&self, name: &KindName) -> Arc<KindCounters> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = named.get(name) {
            return Arc::clone(counters);
        }
        if named.len() == KINDS_MAX {
            return Arc::clone(&self.others);
        }
        Arc::clone(named.entry(name.clone()).or_default())
    }

    pub(super) fn forget(&self, name: &KindName) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.remove(name);
    }

    /// All of them, each with its label.
    fn all(&self) -> Vec<(String, Arc<KindCounters>)> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = named
            .iter()
            .map(|(name, counters)| (name.to_string(), Arc::clone(counters)))
            .collect();
        all.push((OTHERS.to_owned(), Arc::clone(&self.others)));
        all
    }
}

/// The place of an answer's outcome in [`OUTCOMES`].
fn outcome<T>(answer: &Result<T, CallError>) -> usize {
    let Err(error) = answer else { return 0 };
    let code = error.code();
    let known = OUTCOMES.iter().position(|outcome| *outcome == code);
    known.unwrap_or(OUTCOMES.len() - 1)
}

/// `ok`, the codes of errors that calls end in, and what any other is counted as.
const OUTCOMES: [&str; 22] = [
    "ok",
    "rejected",
    "unknown_kind",
    "unknown_method",
    "bad_arguments",
    "too_large",
    "key_reused",
    "overloaded",
    "deadline_exceeded",
    "limit_exceeded",
    "trapped",
    "activation_failed",
    "bad_result",
    "store_failed",
    "quarantined",
    "undone_since",
    "deadlock",
    "in_query",
    "shutting_down",
    "unavailable",
    "interrupted",
    "other",
];
/// The longest turn of each bucket.
const BUCKETS: [Duration; 12] = [
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(10),
];
/// Kinds with a label of their own.
const KINDS_MAX: usize = 100;
/// The label of the others. No kind has this name: theirs begin with a letter.
const OTHERS: &str = "_other";

#[cfg(test)]
mod tests {
    use super::super::Observed;
    use super::*;

    fn kind(number: usize) -> KindName {
        KindName::new(&format!("k{number}")).unwrap()
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            kinds: 2,
            entities_live: 3,
            cells: 4,
            calls_pending: 5,
            store_sequence: 6,
            store_groups: 7,
            store_failed: true,
            uptime: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn what_was_counted_is_written_as_prometheus_reads_it() {
        let observed = Arc::new(Observed::default());
        let counter = observed.kind(&kind(1));
        counter.called(&Ok(()));
        counter.called(&Ok(()));
        counter.called::<()>(&Err(CallError::ShuttingDown));
        counter.turns.add(Duration::from_micros(60));
        counter.turns.add(Duration::from_secs(60));
        observed.counters.responded(404);
        observed.counters.responded(0);
        observed.counters.responded(700);
        observed.counters.timers_fired.add(9);
        let text = observed.metrics(snapshot()).unwrap();
        for line in [
            "entia_calls_total{kind=\"k1\",outcome=\"ok\"} 2",
            "entia_calls_total{kind=\"k1\",outcome=\"shutting_down\"} 1",
            "entia_turn_duration_seconds_sum{kind=\"k1\"} 60.00006",
            "entia_turn_duration_seconds_count{kind=\"k1\"} 2",
            "entia_turn_duration_seconds_bucket{le=\"0.00005\",kind=\"k1\"} 0",
            "entia_turn_duration_seconds_bucket{le=\"0.0001\",kind=\"k1\"} 1",
            "entia_turn_duration_seconds_bucket{le=\"10.0\",kind=\"k1\"} 1",
            "entia_turn_duration_seconds_bucket{le=\"+Inf\",kind=\"k1\"} 2",
            "entia_http_responses_total{class=\"4xx\"} 1",
            "entia_http_responses_total{class=\"2xx\"} 0",
            "entia_timers_fired_total 9",
            "entia_entities_live 3",
            "entia_store_commits_total 6",
            "entia_store_failed 1",
            "entia_uptime_seconds 1.5",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("outcome=\"trapped\""), "nothing trapped");
    }

    #[test]
    fn kinds_beyond_the_hundredth_are_counted_together() {
        let observed = Arc::new(Observed::default());
        for number in 0..300 {
            observed.kind(&kind(number)).called(&Ok(()));
        }
        let text = observed.metrics(snapshot()).unwrap();
        let series = text.lines().filter(|l| l.starts_with("entia_calls_total{"));
        assert_eq!(series.count(), KINDS_MAX + 1);
        assert!(text.contains("entia_calls_total{kind=\"_other\",outcome=\"ok\"} 200"));
        // A deleted kind leaves its label to another.
        observed.forget_kind(&kind(0));
        observed.kind(&kind(300)).called(&Ok(()));
        let text = observed.metrics(snapshot()).unwrap();
        assert!(text.contains("kind=\"k300\"") && !text.contains("kind=\"k0\""));
    }
}

//! What one hostile guest costs the others: their 99th percentile stays within twice what it was, or 25 ms.
//!
//! The load is a quarter of what the node can do, at a steady rate: each call's time counts from the moment at which it was
//! due, so that a stall counts for every call that it delayed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use entia_tests::{Hostile, Wire};
use hdrhistogram::Histogram;

/// What one hostile guest does while the others are measured: kind, method, arguments.
const CLASSES: [(&str, &str, &str); 14] = [
    ("spinning", "spin", "{}"),
    ("spinning-waiting", "spin", "{}"),
    ("hostile", "host_calls", r#"{"count": 1000000}"#),
    ("spinning", "allocate", "{}"),
    ("table-bomb", "grow", "{}"),
    ("hostile", "gigabyte", "{}"),
    ("hostile", "recurse", "{}"),
    ("waiting", "chain", r#"{"kind": "waiting", "depth": 100}"#),
    ("hostile", "noise", r#"{"lines": 1000000}"#),
    ("spinning", "send_flood", r#"{"kind": "gone"}"#),
    ("spinning", "timer_flood", r#"{"bytes": 1000000}"#),
    ("hostile", "panic", "{}"),
    ("durable", "big_state", r#"{"bytes": 900000}"#),
    ("hostile", "beat", r#"{"name": "beat", "period_ms": 10}"#),
];

/// Entities with a timer that fires every 10 ms: 5,000 turns a second.
const BEATING: u64 = 50;
const CALLERS: usize = 16;
const SLICE: Duration = Duration::from_millis(800);
/// Whatever the figure was before, this much does nobody harm.
const HARMLESS: Duration = Duration::from_millis(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hostile_guest_costs_the_others_little() {
    let f = Hostile::start();
    // Once for nothing: entities start, connections open.
    capacity(&f.wire).await;
    let rate = capacity(&f.wire).await / 4.0;
    let before = paced(&f.wire, rate).await;
    let bound = HARMLESS.max(2 * before);
    println!("{rate:.0} calls/s, p99 {before:.1?}, bound {bound:.1?}");
    let mut over = Vec::new();
    for (kind, method, arguments) in CLASSES {
        let stop = Arc::new(AtomicBool::new(false));
        let misdeeds = misbehave(&f, kind, method, arguments, &stop);
        // The median of three: one stall of the machine itself is not the guest's.
        let mut slices = Vec::new();
        for _ in 0..3 {
            slices.push(paced(&f.wire, rate).await);
        }
        slices.sort_unstable();
        let p99 = slices[1];
        stop.store(true, Ordering::Relaxed);
        let misdeeds = misdeeds.await.unwrap();
        println!("{kind} {method}: p99 {p99:.1?} beside {misdeeds} misdeeds");
        assert!(misdeeds > 0, "{kind} {method} did not happen");
        if p99 > bound {
            over.push(format!("{kind} {method}: {p99:.1?}"));
        }
    }
    assert!(over.is_empty(), "over {bound:.1?}: {over:?}");
}

/// Calls one hostile entity again and again; once it is quarantined, another one.
fn misbehave(
    f: &Hostile,
    kind: &'static str,
    method: &'static str,
    arguments: &'static str,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<u64> {
    let (wire, stop) = (f.wire.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut misdeeds = 0;
        while !stop.load(Ordering::Relaxed) {
            let number = match method {
                // These do not fail, and go on by themselves: one more each time would measure how many a node can bear.
                "beat" => misdeeds % BEATING,
                _ => misdeeds / 5,
            };
            let path = format!("{kind}/{method}-{number}/{method}");
            wire.call(&path, arguments).await;
            misdeeds += 1;
        }
        misdeeds
    })
}

/// Calls one of the entities that behave.
async fn call(wire: &Wire, number: u64) {
    let path = format!("counter/well-behaved-{}/value", number % 100);
    let answer = wire.call(&path, "{}").await;
    assert!(answer.status.is_success(), "{:?}", answer.body);
}

/// The calls a second of callers that call again as soon as they are answered.
async fn capacity(wire: &Wire) -> f64 {
    let began = Instant::now();
    let calls = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (wire, calls) = (wire.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                while began.elapsed() < SLICE {
                    call(&wire, calls.fetch_add(1, Ordering::Relaxed)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    calls.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// The 99th percentile of calls at a steady rate.
async fn paced(wire: &Wire, rate: f64) -> Duration {
    let began = tokio::time::Instant::now();
    let mut calls = Vec::new();
    for number in 0..(rate * SLICE.as_secs_f64()) as u64 {
        let due = began + Duration::from_secs_f64(number as f64 / rate);
        tokio::time::sleep_until(due).await;
        let wire = wire.clone();
        calls.push(tokio::spawn(async move {
            call(&wire, number).await;
            due.elapsed()
        }));
    }
    let mut latencies = Histogram::<u64>::new(3).unwrap();
    for call in calls {
        let latency = call.await.unwrap();
        // Grows the histogram; `saturating_record` would count whatever is over 2 ms as 2 ms.
        latencies.record(latency.as_micros() as u64).unwrap();
    }
    Duration::from_micros(latencies.value_at_quantile(0.99))
}

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use hdrhistogram::Histogram;

use super::random::Random;
use super::{Caller, ENTITIES};

/// What the pacer and the callers share. All of them run on one thread: nobody ever waits for the lock.
struct Shared<C> {
    idle: Vec<C>,
    /// When the calls were due for which no caller was idle.
    overdue: VecDeque<Instant>,
    latencies: Histogram<u64>,
    random: Random,
    failure: Option<Error>,
}

/// The pacer: at each call's time it gives the call to an idle caller, or lets it wait for one.
///
/// It spins, since tokio's timer is a millisecond coarse and the load has its own core.
pub(super) async fn run<C: Caller>(
    callers: &mut Vec<C>,
    rate: f64,
    slice: Duration,
    random: Random,
) -> Result<Histogram<u64>> {
    let count = callers.len();
    let shared = Arc::new(Mutex::new(Shared {
        idle: std::mem::take(callers),
        overdue: VecDeque::new(),
        latencies: histogram(),
        random,
        failure: None,
    }));
    let started = Instant::now();
    for call in 0..(rate * slice.as_secs_f64()) as u64 {
        let due = started + Duration::from_secs_f64(call as f64 / rate);
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        let idle = lock(&shared).idle.pop();
        match idle {
            Some(caller) => drop(tokio::spawn(serve(Arc::clone(&shared), caller, due))),
            None => lock(&shared).overdue.push_back(due),
        }
    }
    loop {
        if let Some(outcome) = lock(&shared).outcome(callers, count) {
            return outcome;
        }
        tokio::task::yield_now().await;
    }
}

impl<C> Shared<C> {
    /// The latencies, once all callers are idle again and given back; or why there are none.
    fn outcome(&mut self, callers: &mut Vec<C>, count: usize) -> Option<Result<Histogram<u64>>> {
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        (self.idle.len() == count).then(|| {
            callers.append(&mut self.idle);
            Ok(self.latencies.clone())
        })
    }
}

/// Makes a call, then those that are overdue, then is idle.
async fn serve<C: Caller>(shared: Arc<Mutex<Shared<C>>>, mut caller: C, mut due: Instant) {
    loop {
        let entity = lock(&shared).random.below(ENTITIES);
        let answered = caller.call(entity).await;
        let latency = due.elapsed();
        let mut shared = lock(&shared);
        if let Err(failure) = answered {
            shared.failure.get_or_insert(failure);
        }
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        shared.latencies.saturating_record(latency_ns);
        match shared.overdue.pop_front() {
            Some(next) => due = next,
            None => return shared.idle.push(caller),
        }
    }
}

fn histogram() -> Histogram<u64> {
    const LONGEST: Duration = Duration::from_secs(60);
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).expect("the bounds are in order")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

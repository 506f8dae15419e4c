//! The load generator: one thread, and callers that are tasks on it. The same for floors and for ours.

mod paced;
mod random;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

use random::Random;

/// Calls are spread over so many entities, at random: which of them is warm must not be up to an order.
pub(crate) const ENTITIES: usize = 1_000;

/// Someone who makes one call at a time.
pub(crate) trait Caller: Send + 'static {
    /// Calls one of the [`ENTITIES`] and waits for its answer. An error ends the bench.
    fn call(&mut self, entity: usize) -> impl Future<Output = Result<()>> + Send;
}

/// Makes load on the thread that it is used on.
pub(crate) struct Load {
    runtime: Runtime,
    spins: bool,
    /// Each slice draws other entities, and each run of the bench the same.
    seed: AtomicU64,
}

impl Load {
    /// A generator that never sleeps, if it `spins`: what is measured is then not charged for waking a sleeping core, which
    /// on a virtual machine costs as much as a call of a guest. It needs a core of its own.
    pub(crate) fn new(spins: bool) -> Result<Self> {
        Ok(Self {
            spins,
            runtime: Builder::new_current_thread().enable_all().build()?,
            seed: AtomicU64::new(0),
        })
    }

    /// Runs something on the generator's runtime, such as connecting callers.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Calls every entity once, so that none is activated while it is measured.
    pub(crate) fn touch(&self, caller: &mut impl Caller) -> Result<()> {
        self.block_on(async {
            for entity in 0..ENTITIES {
                caller.call(entity).await?;
            }
            Ok(())
        })
    }

    /// All callers call again as soon as they are answered. Returns the calls a second.
    pub(crate) fn closed<C: Caller>(&self, callers: &mut Vec<C>, slice: Duration) -> Result<f64> {
        let random = self.random();
        self.bounded(slice, async {
            let started = Instant::now();
            let end = started + slice;
            let tasks = callers.drain(..).zip(random.split());
            let tasks: Vec<_> = tasks
                .map(|(caller, random)| tokio::spawn(call_until(end, caller, random)))
                .collect();
            let mut calls = 0;
            for task in tasks {
                let (caller, made) = task.await??;
                calls += made;
                callers.push(caller);
            }
            Ok(calls as f64 / started.elapsed().as_secs_f64())
        })
    }

    /// Sends `rate` calls a second whether or not earlier ones are answered, as far as there are callers. Returns the
    /// latencies in nanoseconds, each from the moment at which the call was due, so that a stall counts for every call that
    /// it delayed.
    pub(crate) fn paced<C: Caller>(
        &self,
        callers: &mut Vec<C>,
        rate: f64,
        slice: Duration,
    ) -> Result<Histogram<u64>> {
        let random = self.random();
        self.bounded(slice, paced::run(callers, rate, slice, random))
    }

    fn random(&self) -> Random {
        Random::new(self.seed.fetch_add(1, Ordering::Relaxed))
    }

    fn bounded<T>(&self, slice: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.block_on(async {
            let work = tokio::time::timeout(slice + PATIENCE, work);
            let answered = tokio::select! {
                answered = work => answered,
                () = spin(), if self.spins => unreachable!("it spins for ever"),
            };
            answered.context("calls were not answered")?
        })
    }
}

async fn spin() {
    loop {
        tokio::task::yield_now().await;
    }
}

async fn call_until<C: Caller>(
    end: Instant,
    mut caller: C,
    mut random: Random,
) -> Result<(C, u64)> {
    let mut calls = 0;
    while Instant::now() < end {
        caller.call(random.below(ENTITIES)).await?;
        calls += 1;
    }
    Ok((caller, calls))
}

/// How long the calls of a slice may outlast it.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a time.
    struct Slow(Duration);

    impl Caller for Slow {
        async fn call(&mut self, entity: usize) -> Result<()> {
            assert!(entity < ENTITIES);
            std::thread::sleep(self.0);
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[test]
    fn a_closed_loop_counts_what_its_callers_did_and_keeps_them() {
        let load = Load::new(true).unwrap();
        let mut callers = vec![Slow(Duration::from_millis(1)), Slow(Duration::ZERO)];
        let rate = load
            .closed(&mut callers, Duration::from_millis(50))
            .unwrap();
        // Both share the thread, so the slow one holds up the other.
        assert!((10.0..2_100.0).contains(&rate), "{rate}");
        assert_eq!(callers.len(), 2);
    }

    #[test]
    fn a_paced_loop_charges_a_late_answer_to_the_calls_behind_it() {
        let load = Load::new(true).unwrap();
        let mut callers = vec![Slow(Duration::from_millis(20))];
        // Ten calls, due within 10 ms, by one caller who needs 20 ms for each: the last waits for nine others.
        let slice = Duration::from_millis(10);
        let latencies = load.paced(&mut callers, 1_000.0, slice).unwrap();
        assert_eq!(latencies.len(), 10);
        assert!(latencies.max() > Duration::from_millis(150).as_nanos() as u64);
        assert_eq!(callers.len(), 1);
    }

    #[test]
    fn an_error_of_a_caller_ends_the_slice() {
        struct Broken;
        impl Caller for Broken {
            async fn call(&mut self, _: usize) -> Result<()> {
                anyhow::bail!("no answer")
            }
        }
        let load = Load::new(true).unwrap();
        let slice = Duration::from_millis(10);
        assert!(load.closed(&mut vec![Broken], slice).is_err());
        assert!(load.paced(&mut vec![Broken], 1e3, slice).is_err());
    }
}

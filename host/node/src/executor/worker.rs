//! The threads that visit cells, and the spare ones that take over while a guest holds a worker.
//!
//! A guest on a plain thread cannot yield, only be stopped, and a turn may take `cpu_ms_max`. A turn over 20 ms therefore
//! wakes a spare worker in its place, so that a few busy entities do not stop the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use entia_wasm::engine::THREAD_STACK_BYTES;

use super::cell::Cell;
use super::{Shared, passivation, turn, wakes};

/// Turns of one entity before another gets the thread.
const TURNS_PER_VISIT: usize = 16;
/// A turn that holds its worker longer wakes a spare.
const LONG_TURN: Duration = Duration::from_millis(20);
/// How often long turns are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often idle entities are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// The threads, until [`Workers::end`].
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    watch: Option<JoinHandle<()>>,
    stop: Option<Sender<()>>,
    spares: Arc<Spares>,
}

/// When a worker's visit began, in milliseconds since the start; 0 while it visits nobody.
type Busy = Arc<AtomicU64>;

/// How many spare workers may run.
#[derive(Default)]
struct Spares {
    wanted: Mutex<usize>,
    changed: Condvar,
    ended: AtomicBool,
}

impl Workers {
    pub(super) fn start(
        shared: &Arc<Shared>,
        runnable: &Receiver<Arc<Cell>>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let spares = Arc::new(Spares::default());
        let started = Instant::now();
        let mut threads = Vec::new();
        let mut busy = Vec::new();
        for number in 0..shared.options.workers + shared.options.spare_workers {
            let spare = number.checked_sub(shared.options.workers);
            let worker = Worker {
                shared: Arc::clone(shared),
                runnable: runnable.clone(),
                stopped: stopped.clone(),
                busy: Busy::default(),
                started,
            };
            // Spares as well: one that is held is replaced by another.
            busy.push(Arc::clone(&worker.busy));
            let spares = Arc::clone(&spares);
            let thread = std::thread::Builder::new()
                .name(format!("entia-worker-{number}"))
                .stack_size(THREAD_STACK_BYTES)
                .spawn(move || match spare {
                    None => worker.run(),
                    Some(spare) => worker.run_spare(spare, &spares),
                })?;
            threads.push(thread);
        }
        let watch = std::thread::Builder::new()
            .name("entia-watch".into())
            .spawn({
                let spares = Arc::clone(&spares);
                let stopped = stopped.clone();
                move || watch(&busy, &spares, &stopped, started)
            })?;
        let idle = std::thread::Builder::new()
            .name("entia-idle".into())
            .spawn({
                let (shared, stopped) = (Arc::clone(shared), stopped.clone());
                move || {
                    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(SWEEP_EVERY) {
                        passivation::passivate_idle(&shared);
                    }
                }
            })?;
        threads.push(idle);
        let waking = std::thread::Builder::new()
            .name("entia-wakes".into())
            .spawn({
                let shared = Arc::clone(shared);
                move || wakes::run(&shared)
            })?;
        threads.push(waking);
        Ok(Self {
            shared: Arc::clone(shared),
            threads,
            watch: Some(watch),
            stop: Some(stop),
            spares,
        })
    }

    /// Lets the visits under way end, and the threads with them.
    pub(super) fn end(&mut self) {
        drop(self.stop.take());
        self.shared.wakes.end();
        self.spares.ended.store(true, Ordering::SeqCst);
        self.spares.set_wanted(usize::MAX);
        for thread in self.threads.drain(..).chain(self.watch.take()) {
            // A worker that panicked has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

struct Worker {
    shared: Arc<Shared>,
    runnable: Receiver<Arc<Cell>>,
    /// Disconnected when the workers have to end.
    stopped: Receiver<()>,
    busy: Busy,
    started: Instant,
}

impl Worker {
    fn run(&self) {
        let _abort = AbortOnPanic;
        loop {
            crossbeam_channel::select! {
                recv(self.runnable) -> cell => match cell {
                    Ok(cell) => self.visit(&cell),
                    Err(_) => return,
                },
                recv(self.stopped) -> _ => return,
            }
        }
    }

    /// Works only while more than `number` spares are wanted.
    fn run_spare(&self, number: usize, spares: &Spares) {
        let _abort = AbortOnPanic;
        while spares.wait_until_wanted(number) {
            match self.runnable.recv_timeout(LOOK_EVERY) {
                Ok(cell) => self.visit(&cell),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn visit(&self, cell: &Arc<Cell>) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.busy.store(now.max(1), Ordering::Relaxed);
        let next = self.turns(cell);
        cell.touch(self.shared.now_ms());
        if next == Next::More {
            // Still scheduled: behind the others.
            self.shared
                .queue
                .send(Arc::clone(cell))
                .expect("this worker holds a receiver");
        }
        passivation::make_room(&self.shared);
        self.busy.store(0, Ordering::Relaxed);
    }
}

impl Worker {
    fn turns(&self, cell: &Arc<Cell>) -> Next {
        let mut activation = cell.activation();
        for _ in 0..TURNS_PER_VISIT {
            let waits = if activation.waiting().is_some() {
                !turn::resume(&self.shared, cell, &mut activation)
            } else {
                let Some(work) = cell.pop() else {
                    turn::flush(&self.shared, cell, &mut activation);
                    return Next::Nothing;
                };
                turn::run(&self.shared, cell, &mut activation, work);
                activation.waiting().is_some() && !turn::resume(&self.shared, cell, &mut activation)
            };
            if waits && cell.begin_waiting() {
                return Next::Woken;
            }
            if waits {
                // Woken already, most likely by its own tick: behind the others.
                return Next::More;
            }
        }
        turn::flush(&self.shared, cell, &mut activation);
        Next::More
    }
}

/// How a visit ended.
#[derive(PartialEq, Eq)]
enum Next {
    /// The mailbox may have more, or a turn has more to run: the cell stays scheduled.
    More,
    /// A turn waits: the cell stays scheduled, and comes back when it is woken.
    Woken,
    /// The cell is no longer scheduled.
    Nothing,
}

/// Wakes as many spares as workers are held by long turns.
fn watch(busy: &[Busy], spares: &Spares, stopped: &Receiver<()>, started: Instant) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let long = |busy: &&Busy| {
            let since = busy.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) > LONG_TURN.as_millis() as u64
        };
        spares.set_wanted(busy.iter().filter(long).count());
    }
}

impl Spares {
    fn set_wanted(&self, wanted: usize) {
        let mut current = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != wanted {
            *current = wanted;
            self.changed.notify_all();
        }
    }

    /// False: the workers end.
    fn wait_until_wanted(&self, number: usize) -> bool {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.ended.load(Ordering::SeqCst) {
                return false;
            }
            if *wanted > number {
                return true;
            }
            wanted = self
                .changed
                .wait(wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A worker that panics leaves an entity between two states. The disk knows the last good one: end the process and start
/// again from there, rather than go on with what nobody checked.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker panicked; the node ends and will start again from disk");
            std::process::abort();
        }
    }
}

//! The engine's configuration and the ticker of its epochs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine};

/// The resolution of processor-time bounds.
pub const TICK: Duration = Duration::from_millis(10);
/// The stack of a guest, in bytes. A thread that runs guests needs [`THREAD_STACK_BYTES`].
pub const STACK_BYTES_MAX: usize = 512 << 10;
/// The stack that a thread needs to run guests: theirs, and the host functions' on top of it.
pub const THREAD_STACK_BYTES: usize = 4 << 20;

/// The configuration that compiles and runs components; both sides have to use the same.
///
/// Epochs cost nothing measurable where fuel costs 18 to 49 %. Without concurrency support a call takes 0.3 us instead of
/// 0.7 to 1.7. Memories reserve nothing ahead and have no guard pages: bounds are then checked explicitly, at up to 18 %, and
/// an instance takes two mappings of address space instead of four, so that the default `vm.max_map_count` holds 30,000 of
/// them. Growth keeps 1 MiB in reserve, since 0 would move the memory at each step.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(0)
        .guard_before_linear_memory(false)
        .memory_init_cow(false)
        .wasm_memory64(false)
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    config
}

/// Advances an engine's epoch every [`TICK`] while a guest runs, from an OS thread that no guest can delay.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    parked: AtomicBool,
    ended: AtomicBool,
}

/// A guest is running as long as this lives.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let handle = thread::Builder::new().name("entia-epoch".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.tick(&engine)
        })?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
            handle: Some(handle),
        })
    }

    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

/// The number of ticks after which `milliseconds` have surely passed: the tick that is under way counts for nothing.
pub(crate) fn ticks(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(TICK.as_millis() as u64) + 1
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        while !self.ended.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) == 0 {
                // `parked` is set before `running` is read again, and `running()` does the opposite: one sees the other.
                self.parked.store(true, Ordering::SeqCst);
                if self.running.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                continue;
            }
            thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // The thread runs no code that panics; there is nothing to learn from its end.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_rounded_up_and_never_cut_short_by_the_tick_under_way() {
        assert_eq!(ticks(10), 2);
        assert_eq!(ticks(11), 3);
        assert_eq!(ticks(100), 11);
    }
}

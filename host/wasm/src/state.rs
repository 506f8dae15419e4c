use std::collections::BTreeMap;
use std::sync::Arc;

use entia_protocol::{GuestLimit, Limits};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::{config, log, types};
use crate::clock::EntityClock;
use crate::effects::ActiveTurn;
use crate::engine::ticks;
use crate::log::{LogBuffer, LogLevel};
use crate::memory::Memory;

/// What a store knows of its guest.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(crate) log: LogBuffer,
    settings: Arc<BTreeMap<String, String>>,
    pub(crate) clock: EntityClock,
    pub(crate) meter: Meter,
    /// The turn that runs, of components that can have effects.
    pub(crate) turn: Option<ActiveTurn>,
}

/// What a guest uses, and what it may.
pub(crate) struct Meter {
    pub(crate) limits: Limits,
    /// The export that runs.
    pub(crate) during: &'static str,
    /// The first bound that the guest met in this turn. A trap after it is put down to it.
    pub(crate) overrun: Option<GuestLimit>,
    /// Ticks that a guest on a fiber may still run.
    pub(crate) ticks_left: u64,
    /// The host, not the guest, had no more memory in this turn.
    pub(crate) host_full: bool,
    host_calls: u64,
    /// Of all guests together.
    memory: Arc<Memory>,
    memory_bytes: u64,
    table_elements: u64,
}

impl State {
    pub(crate) fn new(
        wasi: WasiCtx,
        log: LogBuffer,
        settings: Arc<BTreeMap<String, String>>,
        limits: Limits,
        clock: EntityClock,
        memory: Arc<Memory>,
    ) -> Self {
        let meter = Meter {
            ticks_left: ticks(limits.cpu_ms_max),
            limits,
            during: "start",
            overrun: None,
            host_full: false,
            host_calls: 0,
            memory,
            memory_bytes: 0,
            table_elements: 0,
        };
        Self {
            wasi,
            table: resource_table(),
            log,
            settings,
            clock,
            meter,
            turn: None,
        }
    }
}

impl Meter {
    pub(crate) fn begin(&mut self, during: &'static str) {
        self.during = during;
        self.overrun = None;
        self.host_full = false;
        self.host_calls = 0;
        self.ticks_left = ticks(self.limits.cpu_ms_max);
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub(crate) fn host_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        let host_calls_max = self.limits.host_calls_max;
        if self.host_calls > host_calls_max {
            self.overrun = Some(GuestLimit::HostCalls {
                during: self.during.into(),
                host_calls_max,
            });
            return Err(wasmtime::format_err!("too many host calls"));
        }
        Ok(())
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes + (desired - current) as u64;
        let memory_bytes_max = self.limits.memory_bytes_max;
        if total > memory_bytes_max {
            self.overrun = Some(GuestLimit::Memory {
                during: self.during.into(),
                memory_bytes_max,
            });
            return Ok(false);
        }
        if !self.memory.grow(self.memory_bytes, total) {
            self.host_full = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements + (desired - current) as u64;
        let table_elements_max = self.limits.table_elements_max;
        if total > table_elements_max {
            self.overrun = Some(GuestLimit::Table {
                during: self.during.into(),
                table_elements_max,
            });
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        32
    }

    fn memories(&self) -> usize {
        8
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.memory.free(self.memory_bytes);
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.meter.host_call()?;
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.line(level, message);
        Ok(())
    }
}

impl config::Host for State {
    fn read(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.meter.host_call()?;
        Ok(self.settings.get(&name).cloned())
    }
}

/// A table of host resources that a guest cannot grow without end.
fn resource_table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(1_000);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        let limits = Limits {
            memory_bytes_max: 1_000,
            table_elements_max: 100,
            ..Limits::default()
        };
        let log = LogBuffer::new(0);
        let clock = EntityClock::from_ms(0);
        let wasi = crate::wasi::context(clock.clone(), &log, 0);
        let memory = Arc::new(Memory::new(u64::MAX));
        let mut meter = State::new(wasi, log, Arc::default(), limits, clock, memory).meter;
        meter.begin("handle");
        meter
    }

    #[test]
    fn tables_count_together_and_the_one_too_many_is_named() {
        let mut meter = meter();
        assert!(meter.table_growing(0, 60, None).unwrap());
        assert!(meter.table_growing(0, 40, None).unwrap());
        assert_eq!(meter.overrun, None);
        assert!(!meter.table_growing(60, 61, None).unwrap());
        let overrun = meter.overrun.clone().unwrap();
        assert_eq!(
            overrun,
            GuestLimit::Table {
                during: "handle".into(),
                table_elements_max: 100
            }
        );
    }

    #[test]
    fn memories_count_together_and_a_new_turn_begins_without_blame() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(!meter.memory_growing(0, 600, None).unwrap());
        assert!(matches!(
            meter.overrun,
            Some(GuestLimit::Memory {
                memory_bytes_max: 1_000,
                ..
            })
        ));
        meter.begin("handle");
        assert_eq!(meter.overrun, None);
        assert_eq!(meter.memory_bytes(), 600, "what was refused was not taken");
    }
}

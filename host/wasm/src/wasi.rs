//! What of WASI 0.2 a guest sees: clocks, random, and the parts that a standard library links. No file, socket, variable or
//! argument; standard output and error become log lines; nothing waits.

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::sync as wasi;
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiView as _};
use wasmtime_wasi::{cli::WasiCli, clocks::WasiClocks, filesystem::WasiFilesystem};
use wasmtime_wasi::{cli::WasiCliView as _, clocks::WasiClocksView as _};
use wasmtime_wasi::{filesystem::WasiFilesystemView as _, random::WasiRandomView as _};

use crate::clock::EntityClock;
use crate::log::{LogBuffer, LogLevel};
use crate::state::State;

/// The trap of a guest that waits.
pub(crate) const WAITING: &str =
    "entities do not wait in wasi:io/poll (std::thread::sleep ends here): use a timer";

/// Bytes that a guest may write to a standard stream at once.
const WRITE_BYTES_MAX: usize = 4096;

/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// A guest's WASI context. `seed` is fixed for the entity: another seed would change the order of its hash maps, and with it
/// the bytes of an unchanged state.
pub(crate) fn context(clock: EntityClock, log: &LogBuffer, seed: u128) -> WasiCtx {
    WasiCtx::builder()
        .wall_clock(clock)
        .insecure_random_seed(seed)
        .max_random_size(RANDOM_BYTES_MAX)
        .stdout(LogStream {
            log: log.clone(),
            level: LogLevel::Info,
        })
        .stderr(LogStream {
            log: log.clone(),
            level: LogLevel::Warn,
        })
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let l = linker;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure::add_to_linker::<State, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, State::random)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    wasi::filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasi::io::error::add_to_linker::<State, Table>(l, |state| state.ctx().table)?;
    wasi::io::streams::add_to_linker::<State, Table>(l, |state| state.ctx().table)?;
    wasi::io::poll::add_to_linker::<State, NoWaiting>(l, |state| Unwaiting(state.ctx().table))?;
    Ok(())
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

struct NoWaiting;

impl HasData for NoWaiting {
    type Data<'a> = Unwaiting<'a>;
}

/// `wasi:io/poll` for guests that run on a thread they must not hold: asking is fine, waiting traps.
struct Unwaiting<'a>(&'a mut ResourceTable);

impl wasi::io::poll::Host for Unwaiting<'_> {
    fn poll(&mut self, _pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        Err(wasmtime::format_err!("{WAITING}"))
    }
}

impl wasi::io::poll::HostPollable for Unwaiting<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        wasi::io::poll::HostPollable::ready(self.0, pollable)
    }

    fn block(&mut self, _pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("{WAITING}"))
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        wasi::io::poll::HostPollable::drop(self.0, pollable)
    }
}

/// A standard stream that becomes log lines.
#[derive(Clone)]
struct LogStream {
    log: LogBuffer,
    level: LogLevel,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap(
                "more was written than `check-write` allowed",
            ));
        }
        self.log.stream(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

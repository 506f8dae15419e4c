//! Compiling ahead, in a child process with limits: compile bombs exist, and a compiler that eats the node's memory takes every
//! entity with it.
//!
//! The child is any program that calls [`child`]: the node starts its own binary again. It reads where to find the component
//! and where to leave the machine code from its environment, limits itself, and answers on standard error with a [`Refusal`]
//! as one line of JSON. Its exit code says which it was.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use wasmtime::Engine;

use crate::{Refusal, engine};

/// The program that compiles, and what bounds it.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its processor time, in seconds.
    pub cpu_seconds_max: u64,
    /// Its address space, in bytes.
    pub memory_bytes_max: u64,
}

impl Compiler {
    /// A compiler with the default bounds: 120 s of processor time, enough for 100 MB, and 4 GiB of address space.
    pub fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self {
            program,
            arguments,
            cpu_seconds_max: 120,
            memory_bytes_max: 4 << 30,
        }
    }

    /// Compiles the component in `input` and leaves the machine code in `output`.
    pub(crate) fn run(&self, input: &Path, output: &Path) -> Result<(), Refusal> {
        let failed = |message: String| Refusal::CompileFailed { message };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env(INPUT, input)
            .env(OUTPUT, output)
            .env(CPU_SECONDS, self.cpu_seconds_max.to_string())
            .env(MEMORY_BYTES, self.memory_bytes_max.to_string())
            .env("RAYON_NUM_THREADS", "2")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                failed(format!("{} did not start: {error}", self.program.display()))
            })?;
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            // The child cannot hang for ever: its processor time is bounded, and it waits for nothing.
            let _ = stderr.take(SAID_BYTES_MAX).read_to_string(&mut said);
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        self.judge(status, &said)
    }

    fn judge(&self, status: ExitStatus, said: &str) -> Result<(), Refusal> {
        if status.success() {
            return Ok(());
        }
        if status.code() == Some(REFUSED.into()) {
            let answer = said
                .lines()
                .rev()
                .find_map(|line| serde_json::from_str(line).ok());
            return Err(answer.unwrap_or_else(|| Refusal::CompileFailed {
                message: said.into(),
            }));
        }
        let what = match status.signal().map(Signal::from_named_raw) {
            Some(Some(Signal::XCPU | Signal::KILL)) => {
                format!("{} s of processor time", self.cpu_seconds_max)
            }
            Some(Some(Signal::XFSZ)) => format!("{} MiB of machine code", CODE_BYTES_MAX >> 20),
            // Rust's allocator aborts when the address space is used up.
            Some(Some(Signal::ABORT)) => {
                format!("{} MiB of memory", self.memory_bytes_max >> 20)
            }
            _ => {
                return Err(Refusal::CompileFailed {
                    message: format!("{status}: {}", said.trim()),
                });
            }
        };
        Err(Refusal::CompileLimit { what })
    }
}

/// What the child process does: limits itself, compiles, answers. Returns the code that it has to exit with.
pub fn child() -> u8 {
    match compile_from_environment() {
        Ok(()) => 0,
        Err(refusal) => {
            let line = serde_json::to_string(&refusal).unwrap_or_else(|error| error.to_string());
            eprintln!("{line}");
            REFUSED
        }
    }
}

fn compile_from_environment() -> Result<(), Refusal> {
    let failed = |message: String| Refusal::CompileFailed { message };
    let variable = |name: &str| {
        std::env::var_os(name).ok_or_else(|| failed(format!("the variable {name} is not set")))
    };
    let number = |name: &str| -> Result<u64, Refusal> {
        let text = variable(name)?;
        let parsed = text.to_str().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| failed(format!("the variable {name} is not a number")))
    };
    limit(Resource::Cpu, number(CPU_SECONDS)?).map_err(failed)?;
    limit(Resource::As, number(MEMORY_BYTES)?).map_err(failed)?;
    limit(Resource::Core, 0).map_err(failed)?;
    limit(Resource::Fsize, CODE_BYTES_MAX).map_err(failed)?;
    // A node that dies takes its compiler with it.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed(error.to_string()))?;

    let wasm = std::fs::read(variable(INPUT)?).map_err(|error| failed(error.to_string()))?;
    let engine = Engine::new(&engine::config()).map_err(|error| failed(format!("{error:#}")))?;
    let code = engine
        .precompile_component(&wasm)
        .map_err(|error| Refusal::Invalid {
            message: format!("{error:#}"),
        })?;
    std::fs::write(variable(OUTPUT)?, code).map_err(|error| failed(error.to_string()))?;
    Ok(())
}

fn limit(resource: Resource, amount: u64) -> Result<(), String> {
    setrlimit(
        resource,
        Rlimit {
            current: Some(amount),
            maximum: Some(amount),
        },
    )
    .map_err(|error| format!("the limit {resource:?} could not be set: {error}"))
}

const INPUT: &str = "ENTIA_COMPILE_INPUT";
const OUTPUT: &str = "ENTIA_COMPILE_OUTPUT";
const CPU_SECONDS: &str = "ENTIA_COMPILE_CPU_SECONDS";
const MEMORY_BYTES: &str = "ENTIA_COMPILE_MEMORY_BYTES";
const REFUSED: u8 = 3;
/// The most machine code of one component.
const CODE_BYTES_MAX: u64 = 1 << 30;
const SAID_BYTES_MAX: u64 = 64 << 10;

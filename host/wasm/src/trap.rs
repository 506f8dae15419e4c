//! Says in our words what went wrong in a guest.

use entia_protocol::{CallError, GuestLimit};
use wasmtime::{Trap, WasmBacktrace};

use crate::engine::STACK_BYTES_MAX;
use crate::log::LogLine;
use crate::state::Meter;

/// Frames of the guest's backtrace that a message shows.
const FRAMES_MAX: usize = 8;
/// Bytes of a function's name that a message shows; the guest chooses them.
const NAME_BYTES_MAX: usize = 200;
/// Bytes of panic text that a message shows.
const PANIC_BYTES_MAX: usize = 1_000;

/// When a caller may try again after the node had no memory: others are passivated meanwhile.
const RETRY_AFTER_MS: u64 = 100;

/// Makes the error of a call that ended in `error`. `lines` is what the guest wrote before it died: a Rust panic's text goes
/// to standard error.
pub(crate) fn error(error: &wasmtime::Error, meter: &Meter, lines: &[LogLine]) -> CallError {
    let during = meter.during.to_owned();
    if meter.host_full {
        // Not the guest's doing: it may have wanted a single page.
        return CallError::Overloaded {
            queue: "the node's memory for entities".to_owned(),
            retry_after_ms: RETRY_AFTER_MS,
        };
    }
    if let Some(limit) = limit(error, meter) {
        return CallError::LimitExceeded { limit };
    }
    let mut message = panic_text(lines).unwrap_or_else(|| cause(error));
    if let Some(frames) = frames(error) {
        message = format!("{message}\n{frames}");
    }
    CallError::Trapped { during, message }
}

fn limit(error: &wasmtime::Error, meter: &Meter) -> Option<GuestLimit> {
    let during = meter.during.to_owned();
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Some(GuestLimit::Cpu {
            during,
            cpu_ms_max: meter.limits.cpu_ms_max,
        }),
        Some(Trap::StackOverflow) => Some(GuestLimit::Stack {
            during,
            stack_bytes_max: STACK_BYTES_MAX as u64,
        }),
        // A guest told that there is no more memory may cope. One that then trapped did not.
        _ => meter.overrun.clone(),
    }
}

/// The text of a Rust panic, from what the guest wrote to standard error.
fn panic_text(log: &[LogLine]) -> Option<String> {
    let start = log
        .iter()
        .rposition(|line| line.text.contains("panicked at"))?;
    let lines = log[start..].iter().map(|line| line.text.trim());
    let mut text = lines
        .filter(|line| !line.is_empty() && !line.starts_with("note: run with"))
        .collect::<Vec<_>>()
        .join(" ");
    text.truncate(text.floor_char_boundary(PANIC_BYTES_MAX));
    Some(text)
}

/// The innermost cause: a trap's name, or what a host function said.
fn cause(error: &wasmtime::Error) -> String {
    error
        .chain()
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// The guest's functions that led to the trap, innermost first, without those of the standard library's panic machinery.
fn frames(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    let names = backtrace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name());
    let own: Vec<_> = names
        .map(readable)
        .map(|mut name| {
            name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
            name
        })
        .filter(|name| !machinery(name))
        .take(FRAMES_MAX)
        .map(|name| format!("    in {name}"))
        .collect();
    (!own.is_empty()).then(|| own.join("\n"))
}

fn machinery(name: &str) -> bool {
    [
        "std::", "core::", "alloc::", "__rust", "rust_", "abort", "_<std", "<std", "<core",
        "<alloc",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

/// A symbol as people write it: without the hash that Rust appends.
fn readable(symbol: &str) -> String {
    rustc_demangle::try_demangle(symbol)
        .map_or_else(|_| symbol.to_owned(), |name| format!("{name:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogLevel;

    #[test]
    fn a_panics_text_is_found_among_what_the_guest_wrote() {
        let line = |text: &str| LogLine {
            level: LogLevel::Warn,
            text: text.into(),
        };
        let log = [
            line("earlier"),
            line("thread '<unnamed>' panicked at src/lib.rs:9:5:"),
            line("out of cheese"),
            line("note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"),
        ];
        assert_eq!(
            panic_text(&log).unwrap(),
            "thread '<unnamed>' panicked at src/lib.rs:9:5: out of cheese"
        );
        assert_eq!(panic_text(&[]), None);
    }
}

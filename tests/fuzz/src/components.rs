//! Deploying a component that was damaged, or never was one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use entia_protocol::Digest;
use entia_wasm::compile::{self, Compiler};
use entia_wasm::{Host, HostOptions, Refusal};
use tempfile::TempDir;

use crate::choices::{Choices, edit};

/// Prepares a component as a deployment does. It is refused by name and with a hint, or it describes itself; neither this
/// process nor the one that compiles panics.
///
/// The calling program has to call [`compile_if_asked`]: it is the compiler, too.
pub fn components(input: &[u8]) {
    let fixture = fixture();
    let mut choices = Choices::new(input);
    let mut wasm = fixture.counter.clone();
    match choices.below(5) {
        0 => wasm = [*choices.pick(&HEADERS), choices.rest()].concat(),
        1 => {
            for _ in 0..=choices.below(EDITS_MAX) {
                edit(&mut wasm, &mut choices);
            }
        }
        // Of one length, so that more of it is still read, compiled and run.
        _ => {
            for _ in 0..=choices.below(EDITS_MAX) {
                let at = choices.below(wasm.len());
                wasm[at] ^= 1 << choices.below(8);
            }
        }
    }
    let described = fixture.host.prepare(&wasm).and_then(|component| {
        let kinds = fixture.host.describe(&component);
        fixture.host.forget(&Digest::of(&wasm));
        kinds
    });
    match described {
        Ok(kinds) => assert!(!kinds.is_empty(), "it describes no kind"),
        Err(Refusal::CompileFailed { message }) => panic!("the compiler failed: {message}"),
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty(), "{refusal:?}");
            assert!(!refusal.hint().is_empty(), "{refusal:?}");
        }
    }
}

/// Compiles and ends the process, if it was started for that.
///
/// A test with the name `compile_in_a_child_process` calls it, and a fuzz target before it reads its arguments.
pub fn compile_if_asked() {
    if std::env::var_os("ENTIA_COMPILE_INPUT").is_some() {
        std::process::exit(compile::child().into());
    }
}

struct Fixture {
    host: Host,
    counter: Vec<u8>,
    _artifacts: TempDir,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let artifacts = tempfile::tempdir().expect("a temporary directory");
        let program = std::env::current_exe().expect("the program finds itself");
        let arguments = [COMPILE, "--exact", "--nocapture"].map(Into::into);
        let options = HostOptions {
            compiler: Compiler::new(program, arguments.to_vec()),
            component_bytes_max: 4 << 20,
            memory_bytes_max: u64::MAX,
        };
        let host = Host::new(artifacts.path(), options).expect("wasmtime runs here");
        Fixture {
            host,
            counter: counter(),
            _artifacts: artifacts,
        }
    })
}

fn counter() -> Vec<u8> {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/wasm32-wasip2/guest");
    let dir = std::env::var_os("ENTIA_GUESTS").map_or(built, PathBuf::from);
    let path = dir.join("counter.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo xtask build-entities` first",
            path.display()
        )
    })
}

/// The test that is the compiler.
const COMPILE: &str = "compile_in_a_child_process";
/// What people deploy by mistake, by its first bytes; and a component's, with anything behind.
const HEADERS: [&[u8]; 7] = [
    b"",
    b"\0asm",
    b"\0asm\x01\0\0\0",
    b"\0asm\x0d\0\x01\0",
    b"\0asm\xff\xff\x01\0",
    b"\x7fELF",
    b"ENTIACWA",
];
const EDITS_MAX: usize = 3;

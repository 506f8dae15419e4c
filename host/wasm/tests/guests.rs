//! Real guests in the real engine: the counter that people copy, and the hostile one. Needs the components that
//! `cargo xtask build-entities` builds; `cargo xtask test` does it first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use entia_protocol::{
    CallError, Caller, CommandKey, EntityId, GuestLimit, Limits, Payload, StoredState, Subject,
};
use entia_wasm::compile::{self, Compiler};
use entia_wasm::{Component, GuestConfig, Host, HostOptions, Input, Instance, Refusal, Turn};

/// Not a test of its own: the tests' compiler is this program again, told to run this.
#[test]
fn compile_in_a_child_process() {
    if std::env::var_os("ENTIA_COMPILE_INPUT").is_some() {
        std::process::exit(compile::child().into());
    }
}

struct Fixture {
    host: Host,
    counter: Component,
    hostile: Component,
    _artifacts: tempfile::TempDir,
}

/// One host for all tests: they share the engine, as entities share a node.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let artifacts = tempfile::tempdir().unwrap();
        let host = Host::new(artifacts.path(), options()).unwrap();
        let counter = host.prepare(&guest("counter")).unwrap();
        let hostile = host.prepare(&guest("entia_hostile")).unwrap();
        Fixture {
            host,
            counter,
            hostile,
            _artifacts: artifacts,
        }
    })
}

fn options() -> HostOptions {
    let arguments = ["compile_in_a_child_process", "--exact", "--nocapture"].map(Into::into);
    let program = std::env::current_exe().unwrap();
    HostOptions {
        compiler: Compiler::new(program, arguments.to_vec()),
        component_bytes_max: 4 << 20,
        memory_bytes_max: u64::MAX,
    }
}

fn guest(name: &str) -> Vec<u8> {
    let built = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/guests/wasm32-wasip2/guest"
    );
    let dir = std::env::var_os("ENTIA_GUESTS").map_or_else(|| built.into(), PathBuf::from);
    let path = dir.join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo xtask build-entities` first",
            path.display()
        )
    })
}

fn entity(id: &str) -> EntityId {
    id.parse().unwrap()
}

fn activate(component: &Component, id: &str) -> Result<Instance, CallError> {
    fixture()
        .host
        .activate(component, &entity(id), &config(), None)
}

fn config() -> GuestConfig {
    let limits = Limits {
        // Generous, so that on a busy machine only what loops for ever meets it.
        cpu_ms_max: 2_000,
        memory_bytes_max: 16 << 20,
        host_calls_max: 1_000,
        log_bytes_max: 1_000,
        ..Limits::default()
    };
    GuestConfig {
        limits,
        settings: Arc::default(),
    }
}

fn call<T: serde::Serialize>(
    instance: &mut Instance,
    method: &str,
    arguments: &T,
) -> Result<Payload, CallError> {
    let arguments = Payload(rmp_serde::to_vec_named(arguments).unwrap());
    fixture().host.handle(
        instance,
        &Turn {
            caller: &Caller::Anonymous,
            key: &CommandKey::Random([0; 16]),
            attempt: 1,
            deadline_left_ms: 10_000,
            deadline: Instant::now() + Duration::from_secs(10),
            input: Input::Call {
                method,
                arguments: &arguments,
            },
            query: false,
            timers: &Arc::default(),
            sends_pending: 0,
            sends_pending_bytes: 0,
            calls: None,
        },
    )
}

fn arguments<const N: usize>(pairs: [(&str, u64); N]) -> std::collections::BTreeMap<String, u64> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn number(payload: &Payload) -> u64 {
    rmp_serde::from_slice(&payload.0).unwrap()
}

/// What to provoke, and how to tell that it happened.
type Case<T> = (&'static str, fn(&T) -> bool);

#[test]
fn a_component_describes_its_methods_with_schemas() {
    let kinds = fixture().host.describe(&fixture().counter).unwrap();
    assert_eq!(kinds.len(), 1);
    assert_eq!(kinds[0].name, "counter");
    let increment = kinds[0].method("increment").unwrap();
    assert!(!increment.query);
    assert!(
        increment.arguments.contains("\"by\""),
        "{}",
        increment.arguments
    );
    assert!(kinds[0].method("value").unwrap().query);
}

#[test]
fn an_entity_answers_and_goes_on_from_its_snapshot() {
    let fixture = fixture();
    let mut instance = activate(&fixture.counter, "counter/a").unwrap();
    assert_eq!(
        number(&call(&mut instance, "increment", &arguments([("by", 5)])).unwrap()),
        5
    );
    let (schema_version, bytes) = fixture.host.snapshot(&mut instance).unwrap();
    let state = StoredState::new(schema_version, bytes, 1, 0);

    let again = fixture.host.activate(
        &fixture.counter,
        &entity("counter/a"),
        &config(),
        Some(&state),
    );
    let mut again = again.unwrap();
    assert_eq!(
        number(&call(&mut again, "value", &arguments([])).unwrap()),
        5
    );
}

#[test]
fn a_refusal_is_an_answer_and_the_instance_goes_on() {
    let mut instance = activate(&fixture().counter, "counter/full").unwrap();
    call(&mut instance, "increment", &arguments([("by", u64::MAX)])).unwrap();
    let refused = call(&mut instance, "increment", &arguments([("by", 1)])).unwrap_err();
    let CallError::Rejected(rejection) = refused else {
        panic!("{refused}")
    };
    assert_eq!(rejection.code, "full");
    assert!(!instance.failed());
    assert_eq!(
        number(&call(&mut instance, "value", &arguments([])).unwrap()),
        u64::MAX
    );
}

#[test]
fn every_limit_is_named_and_poisons_only_its_own_instance() {
    let cases: [Case<GuestLimit>; 4] = [
        ("spin", |limit| {
            matches!(
                limit,
                GuestLimit::Cpu {
                    cpu_ms_max: 2_000,
                    ..
                }
            )
        }),
        ("recurse", |limit| matches!(limit, GuestLimit::Stack { .. })),
        ("allocate", |limit| {
            matches!(
                limit,
                GuestLimit::Memory {
                    memory_bytes_max: 16_777_216,
                    ..
                }
            )
        }),
        ("host_calls", |limit| {
            matches!(
                limit,
                GuestLimit::HostCalls {
                    host_calls_max: 1_000,
                    ..
                }
            )
        }),
    ];
    let mut neighbour = activate(&fixture().hostile, "hostile/neighbour").unwrap();
    for (method, expected) in cases {
        let mut instance = activate(&fixture().hostile, "hostile/a").unwrap();
        let given = if method == "host_calls" {
            arguments([("count", 5_000)])
        } else {
            arguments([])
        };
        match call(&mut instance, method, &given) {
            Err(CallError::LimitExceeded { limit }) => {
                assert!(expected(&limit), "{method}: {limit}");
                assert!(limit.to_string().contains("handle"), "{limit}");
            }
            other => panic!("{method}: {other:?}"),
        }
        assert!(instance.failed());
        assert!(
            call(&mut instance, "value", &arguments([])).is_err(),
            "a failed instance stays so"
        );
        call(&mut neighbour, "increment", &arguments([("by", 1)])).unwrap();
    }
    assert_eq!(
        number(&call(&mut neighbour, "value", &arguments([])).unwrap()),
        4
    );
}

#[test]
fn a_panic_is_told_with_its_text_and_where_it_was() {
    let mut instance = activate(&fixture().hostile, "hostile/a").unwrap();
    let error = call(&mut instance, "panic", &arguments([])).unwrap_err();
    let CallError::Trapped { during, message } = error else {
        panic!("{error}")
    };
    assert_eq!(during, "handle");
    assert!(
        message.contains("told to panic with the value at 0"),
        "{message}"
    );
    assert!(message.contains("methods.rs"), "{message}");
    assert!(
        message.contains("entia_misdeeds::"),
        "the backtrace names the guest's functions: {message}"
    );
    let log = instance.take_log();
    assert!(
        log.lines
            .iter()
            .any(|line| line.text.contains("panicked at")),
        "its log says so, too"
    );
}

#[test]
fn waiting_traps_and_says_to_use_a_timer() {
    let mut instance = activate(&fixture().hostile, "hostile/a").unwrap();
    let error = call(&mut instance, "sleep", &arguments([])).unwrap_err();
    assert!(error.to_string().contains("use a timer"), "{error}");
}

#[test]
fn what_is_too_large_does_not_leave_the_guest() {
    let mut instance = activate(&fixture().hostile, "hostile/a").unwrap();
    let error = call(&mut instance, "gigabyte", &arguments([("bytes", 2 << 20)])).unwrap_err();
    assert_eq!(
        error,
        CallError::TooLarge {
            subject: Subject::Result,
            bytes_max: 1 << 20
        }
    );
    assert!(instance.failed(), "what the turn changed must not stay");

    let mut instance = activate(&fixture().hostile, "hostile/a").unwrap();
    call(&mut instance, "big_state", &arguments([("bytes", 2 << 20)])).unwrap();
    let error = fixture().host.snapshot(&mut instance).unwrap_err();
    assert_eq!(
        error,
        CallError::TooLarge {
            subject: Subject::State,
            bytes_max: 1 << 20
        }
    );
}

#[test]
fn log_lines_are_bounded_and_counted() {
    let mut instance = activate(&fixture().hostile, "hostile/a").unwrap();
    call(&mut instance, "noise", &arguments([("lines", 500)])).unwrap();
    let log = instance.take_log();
    assert_eq!(log.lines[0].text, "noise 0");
    assert_eq!(log.lines.len() as u64 + log.dropped, 500);
    assert!(log.dropped > 300, "{}", log.dropped);
}

#[test]
fn other_exports_are_bounded_too() {
    let activating: [Case<CallError>; 5] = [
        (
            "hostile/trap-in-activate",
            |e| matches!(e, CallError::Trapped { during, .. } if during == "activate"),
        ),
        ("hostile/spin-in-activate", |e| {
            matches!(
                e,
                CallError::LimitExceeded {
                    limit: GuestLimit::Cpu { .. }
                }
            )
        }),
        ("hostile/recurse-in-activate", |e| {
            matches!(
                e,
                CallError::LimitExceeded {
                    limit: GuestLimit::Stack { .. }
                }
            )
        }),
        ("hostile/allocate-in-activate", |e| {
            matches!(
                e,
                CallError::LimitExceeded {
                    limit: GuestLimit::Memory { .. }
                }
            )
        }),
        (
            "hostile/refuse-activate",
            |e| matches!(e, CallError::ActivationFailed { message, .. } if message == "told to refuse"),
        ),
    ];
    for (id, expected) in activating {
        let error = activate(&fixture().hostile, id).unwrap_err();
        assert!(expected(&error), "{id}: {error:?}");
    }
    for (id, during) in [
        ("hostile/trap-in-snapshot", "snapshot"),
        ("hostile/spin-in-snapshot", "snapshot"),
    ] {
        let mut instance = activate(&fixture().hostile, id).unwrap();
        let error = fixture().host.snapshot(&mut instance).unwrap_err();
        assert!(error.to_string().contains(during), "{id}: {error}");
    }
}

#[test]
fn what_is_not_an_entity_is_refused_by_name() {
    let host = &fixture().host;
    let refusal = |bytes: &[u8]| host.prepare(bytes).unwrap_err();
    assert_eq!(refusal(b"\0asm\x01\0\0\0"), Refusal::CoreModule);
    assert!(matches!(refusal(b"MZ and so on"), Refusal::NotWasm { .. }));
    assert!(matches!(refusal(b"\x7fELF0123"), Refusal::Precompiled));
    assert!(matches!(refusal(b""), Refusal::Invalid { .. }));
    assert!(matches!(
        refusal(&vec![0; (4 << 20) + 1]),
        Refusal::TooLarge { .. }
    ));

    let whole = guest("counter");
    for length in [4, 100, whole.len() / 2, whole.len() - 1] {
        // Cut between two sections, what is left is valid and lacks its exports.
        let refused = refusal(&whole[..length]);
        let named = matches!(refused, Refusal::Invalid { .. } | Refusal::World { .. });
        assert!(named, "cut to {length}: {refused:?}");
    }
}

#[test]
fn a_missing_or_mistyped_item_is_named() {
    let host = &fixture().host;
    let refusal = |wat: &str| host.prepare(&wat::parse_str(wat).unwrap()).unwrap_err();

    let nothing = refusal("(component)");
    assert!(matches!(nothing, Refusal::World { .. }), "{nothing}");
    assert!(
        nothing.to_string().contains("entia:entity/guest@1.0.0"),
        "{nothing}"
    );

    let import =
        |name: &str| format!(r#"(component (import "{name}" (instance (export "f" (func)))))"#);
    for (name, why) in [
        ("wasi:sockets/tcp@0.2.6", "no sockets"),
        ("wasi:http/outgoing-handler@0.2.6", "HTTP"),
        ("acme:magic/wand@1.0.0", "no entity has it"),
    ] {
        let refused = refusal(&import(name));
        assert!(
            matches!(&refused, Refusal::Import { name: found, .. } if found == name),
            "{refused}"
        );
        assert!(refused.to_string().contains(why), "{refused}");
    }

    let mistyped = refusal(
        r#"(component (import "entia:entity/config@1.0.0" (instance (export "read" (func)))))"#,
    );
    assert!(matches!(mistyped, Refusal::World { .. }), "{mistyped}");
    assert!(mistyped.to_string().contains("read"), "{mistyped}");
}

#[test]
fn an_artifact_is_used_again_and_a_damaged_one_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path(), options()).unwrap();
    host.prepare(&guest("counter")).unwrap();
    let artifact = std::fs::read_dir(dir.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let written = std::fs::metadata(&artifact).unwrap().modified().unwrap();
    host.prepare(&guest("counter")).unwrap();
    assert_eq!(
        std::fs::metadata(&artifact).unwrap().modified().unwrap(),
        written,
        "compiled once"
    );

    let mut bytes = std::fs::read(&artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&artifact, &bytes).unwrap();
    host.prepare(&guest("counter")).unwrap();
    assert_ne!(std::fs::read(&artifact).unwrap(), bytes, "compiled again");
}

#[test]
fn a_compiler_over_its_bounds_is_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.compiler.cpu_seconds_max = 1;
    options.component_bytes_max = 64 << 20;
    let host = Host::new(dir.path(), options).unwrap();
    // One function that keeps thousands of values alive at once: a register allocator's nightmare.
    let values = 20_000;
    let sums: String = (1..values)
        .map(|n| {
            format!(
                "(local.set {n} (i32.mul (local.get {}) (local.get 0)))",
                n - 1
            )
        })
        .collect();
    let uses: String = (1..values)
        .map(|n| format!("(local.set 0 (i32.xor (local.get 0) (local.get {n})))"))
        .collect();
    let locals = "i32 ".repeat(values);
    let body = format!("{sums} {uses}").repeat(12);
    let bomb = format!(
        "(component (core module (func (export \"f\") (param i32) (result i32) (local {locals}) {body} (local.get 0))))"
    );
    let refusal = host.prepare(&wat::parse_str(bomb).unwrap()).unwrap_err();
    let Refusal::CompileLimit { what } = &refusal else {
        panic!("{refusal:?}")
    };
    assert_eq!(what, "1 s of processor time");
}

//! Whatever a guest does is contained: the error names the limit, the entity is quarantined and released, others go on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use entia_tests::{Hostile, assert_error};

/// What a guest does, and how that ends: path, arguments, status, code, and what the message names.
type Misdeed = (&'static str, &'static str, u16, &'static str, &'static str);

const LIMIT: &str = "limit_exceeded";

/// Misdeeds of guests on plain threads and on fibers. `*` stands for the kind.
const ANY_GUEST: [Misdeed; 20] = [
    // Loops, alone and across calls of the host.
    ("spinning*/a/spin", "{}", 500, LIMIT, "cpu_ms_max"),
    ("spinning*/b/clock_loop", "{}", 500, LIMIT, "cpu_ms_max"),
    (
        "*/c/host_calls",
        r#"{"count": 1000000}"#,
        500,
        LIMIT,
        "host_calls_max",
    ),
    // Memory, and recursion.
    ("*/d/allocate", "{}", 500, LIMIT, "memory_bytes_max"),
    ("*/e/recurse", "{}", 500, LIMIT, "stack"),
    // Too much comes back.
    ("*/f/gigabyte", "{}", 500, LIMIT, "memory_bytes_max"),
    (
        "*/g/gigabyte",
        r#"{"bytes": 3000000}"#,
        422,
        "too_large",
        "result",
    ),
    (
        "*/h/big_state",
        r#"{"bytes": 3000000}"#,
        422,
        "too_large",
        "state",
    ),
    // Floods.
    (
        "*/i/noise",
        r#"{"lines": 1000000}"#,
        500,
        LIMIT,
        "host_calls_max",
    ),
    (
        "*/j/send_flood",
        r#"{"kind": "gone"}"#,
        500,
        LIMIT,
        "host_calls_max",
    ),
    (
        "spinning*/k/timer_flood",
        r#"{"bytes": 1000000}"#,
        500,
        LIMIT,
        "cpu_ms_max",
    ),
    // Traps.
    ("*/l/panic", "{}", 500, "trapped", "told to panic"),
    ("*/m/sleep", "{}", 500, "trapped", "use a timer"),
    ("*/trap-in-activate/value", "{}", 500, "trapped", "activate"),
    (
        "*/trap-in-snapshot/increment",
        r#"{"by": 1}"#,
        500,
        "trapped",
        "snapshot",
    ),
    (
        "spinning*/spin-in-snapshot/increment",
        r#"{"by": 1}"#,
        500,
        LIMIT,
        "snapshot",
    ),
    // Starts that never end, or end badly.
    (
        "spinning*/spin-in-activate/value",
        "{}",
        500,
        LIMIT,
        "activate",
    ),
    ("*/recurse-in-activate/value", "{}", 500, LIMIT, "activate"),
    ("*/allocate-in-activate/value", "{}", 500, LIMIT, "activate"),
    (
        "*/refuse-activate/value",
        "{}",
        500,
        "activation_failed",
        "told to refuse",
    ),
];

#[tokio::test]
async fn what_a_guest_on_a_plain_thread_does_is_contained() {
    let f = Hostile::start();
    for misdeed in ANY_GUEST {
        contained(&f, &of(misdeed.0, "hostile", ""), misdeed).await;
    }
    let tables = ("table-bomb/a/grow", "{}", 500, LIMIT, "table_elements_max");
    f.provoke(tables.0, tables.1, (tables.2, tables.3, tables.4))
        .await;
    f.release("table-bomb/a");
    let value = f.wire.call("table-bomb/a/value", "{}").await;
    assert_eq!(value.body.as_u64(), Some(7), "{:?}", value.body);
}

#[tokio::test]
async fn what_a_guest_on_a_fiber_does_is_contained() {
    let f = Hostile::start();
    for misdeed in ANY_GUEST {
        contained(&f, &of(misdeed.0, "waiting", "-waiting"), misdeed).await;
    }
    let itself = r#"{"kind": "waiting", "key": "loop"}"#;
    let calls = (
        "waiting/loop/call_loop",
        itself,
        500,
        LIMIT,
        "host_calls_max",
    );
    contained(&f, calls.0, calls).await;
    for (then, code, why) in [
        ("panic", "trapped", "after a call: answered"),
        ("spin", LIMIT, "cpu_ms_max"),
        ("recurse", LIMIT, "stack"),
        ("allocate", LIMIT, "memory_bytes_max"),
    ] {
        let kind = if then == "spin" {
            "spinning-waiting"
        } else {
            "waiting"
        };
        let path = format!("{kind}/then-{then}/call");
        let arguments = format!(
            r#"{{"kind": "hostile", "key": "called", "method": "value", "then": "{then}"}}"#
        );
        f.provoke(&path, &arguments, (500, code, why)).await;
        released(&f, &path).await;
    }
}

/// The path of a misdeed, of one of the two kinds of guests.
fn of(path: &str, kind: &str, suffix: &str) -> String {
    match path.strip_prefix("spinning*") {
        Some(rest) => format!("spinning{suffix}{rest}"),
        None => path.replace('*', kind),
    }
}

async fn contained(f: &Hostile, path: &str, (_, arguments, status, code, why): Misdeed) {
    let began = Instant::now();
    f.provoke(path, arguments, (status, code, why)).await;
    released(f, path).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "{path} took {took:?}");
}

/// Ends the quarantine: the entity is as it was before, and fails again if it is its start that fails.
async fn released(f: &Hostile, path: &str) {
    let (entity, _) = path.rsplit_once('/').unwrap();
    f.release(entity);
    let value = f.wire.call(&format!("{entity}/value"), "{}").await;
    if path.contains("activate") {
        assert_ne!(value.code(), "quarantined", "{path}: {:?}", value.body);
        assert!(value.is_well_formed_error(), "{path}: {:?}", value.body);
    } else {
        assert_eq!(value.body.as_u64(), Some(0), "{path}: {:?}", value.body);
    }
    f.assert_neighbours_answer(path).await;
}

#[tokio::test]
async fn a_timer_that_fails_quarantines_its_entity() {
    let f = Hostile::start();
    for (name, why) in [
        ("trap", "told to panic in on-timer"),
        ("spin", "cpu_ms_max"),
    ] {
        for kind in ["spinning", "spinning-waiting"] {
            let entity = format!("{kind}/timer-{name}");
            let beat = format!(r#"{{"name": "{name}", "period_ms": 10}}"#);
            let set = f.wire.call(&format!("{entity}/beat"), &beat).await;
            assert!(set.status.is_success(), "{:?}", set.body);
            let seen = f
                .until(&entity, |seen| seen["quarantine"]["reason"].is_string())
                .await;
            let reason = seen["quarantine"]["reason"].as_str().unwrap();
            assert!(
                reason.contains("on-timer") && reason.contains(why),
                "{reason}"
            );
            // It fails by itself, so its quarantine may end at any time.
            let refused = f.wire.call(&format!("{entity}/value"), "{}").await;
            if !refused.status.is_success() {
                assert_error(&refused, 503, "quarantined", why);
            }
            f.release(&entity);
            f.assert_neighbours_answer(&entity).await;
        }
    }
}

#[tokio::test]
async fn a_timer_that_is_refused_by_its_entity_goes_on_and_harms_nobody() {
    let f = Hostile::start();
    let beat = r#"{"name": "refuse", "period_ms": 10}"#;
    f.wire.call("hostile/refuse/beat", beat).await;
    let seen = f
        .until("hostile/refuse", |seen| {
            seen["timers"][0]["fire"].as_u64() > Some(3)
        })
        .await;
    assert_eq!(seen["failures"].as_u64(), Some(0), "{seen}");
    f.assert_neighbours_answer("a timer that is refused").await;
}

#[tokio::test]
async fn a_snapshot_that_differs_each_time_costs_a_write_a_command_and_queries_take_none() {
    let f = Hostile::start();
    let entity = "durable/changing-snapshot";
    for by in 1..=20_u64 {
        let path = format!("{entity}/increment");
        let value = f.wire.call(&path, r#"{"by": 1}"#).await;
        assert_eq!(value.body.as_u64(), Some(by), "{:?}", value.body);
        for _ in 0..3 {
            let taken = f.wire.call(&format!("{entity}/snapshots"), "{}").await;
            assert_eq!(taken.body.as_u64(), Some(by), "a query takes no snapshot");
        }
    }
    // What was taken last is what it goes on from.
    let panicked = f.wire.call(&format!("{entity}/panic"), "{}").await;
    assert_error(&panicked, 500, "trapped", "told to panic");
    let value = f.wire.call(&format!("{entity}/value"), "{}").await;
    assert_eq!(value.body.as_u64(), Some(20), "{:?}", value.body);
    f.assert_neighbours_answer(entity).await;
}

#[tokio::test]
async fn an_entity_that_takes_any_garbage_as_its_state_harms_only_itself() {
    let f = Hostile::start();
    for kind in ["hostile", "durable", "waiting"] {
        let entity = format!("{kind}/garbage-in-snapshot");
        let path = format!("{entity}/increment");
        let raised = f.wire.call(&path, r#"{"by": 1}"#).await;
        assert_eq!(raised.body.as_u64(), Some(1));
        let panicked = f.wire.call(&format!("{entity}/panic"), "{}").await;
        assert_error(&panicked, 500, "trapped", "told to panic");
        // It starts again, from what it wrote.
        let value = f.wire.call(&format!("{entity}/value"), "{}").await;
        assert_eq!(value.body.as_u64(), Some(100), "{:?}", value.body);
        f.assert_neighbours_answer(&entity).await;
    }
}

#[tokio::test]
async fn a_start_that_succeeds_only_sometimes_does_in_the_end() {
    let f = Hostile::start();
    let entity = "hostile/sometimes-in-activate";
    let mut tries = 0;
    let value = loop {
        let answer = f
            .wire
            .call(&format!("{entity}/increment"), r#"{"by": 1}"#)
            .await;
        match answer.code() {
            "" => break answer,
            "quarantined" => f.release(entity),
            _ => assert_error(&answer, 500, "trapped", "no luck in activate"),
        }
        tries += 1;
        assert!(tries < 500, "it never starts: {:?}", answer.body);
    };
    assert_eq!(
        value.body.as_u64(),
        Some(1),
        "no failed start left anything"
    );
    f.assert_neighbours_answer(entity).await;
}

#[tokio::test]
async fn an_entity_that_nobody_has_called_cannot_be_released() {
    let f = Hostile::start();
    let path = "/v1/entities/hostile/nobody/release";
    let nobody = f.wire.send("POST", path, &[], "").await;
    assert_error(&nobody, 404, "unknown_entity", "hostile/nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compile_bomb_is_stopped_and_the_others_go_on_meanwhile() {
    let f = Hostile::start_with("compile_s_max = 4");
    let mut deploying = std::pin::pin!(f.deploy_compile_bomb());
    let mut answered = 0;
    let answer = loop {
        tokio::select! {
            answer = &mut deploying => break answer,
            () = f.assert_neighbours_answer("a compile bomb began") => answered += 1,
        }
    };
    assert!(answered > 0, "nobody was answered while it compiled");
    let limit = "4 s of processor time";
    assert_error(&answer, 422, "component_refused", limit);
}

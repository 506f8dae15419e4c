//! Guests that flood others, themselves or the node with messages, timers and calls, or that make others wait.

use std::time::{Duration, Instant};

use entia_tests::{Answer, Hostile, Wire, assert_error, guest};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn effects_in_queries_and_outside_of_turns_are_refused() {
    let f = Hostile::start();
    for (kind, outside) in [("hostile", 8), ("waiting", 10)] {
        let path = format!("{kind}/a/effects_in_query");
        let refused = f.wire.call(&path, "{}").await;
        let words = serde_json::json!(["in-query", "in-query", "in-query", "in-query"]);
        assert_eq!(refused.body, words);
        let entity = format!("{kind}/effects-outside");
        let path = format!("{entity}/increment");
        f.wire.call(&path, r#"{"by": 1}"#).await;
        let refused = f.wire.call(&format!("{entity}/outside"), "{}").await;
        let refused = refused.body.as_array().unwrap();
        assert_eq!(refused.len(), outside, "{refused:?}");
        for word in refused {
            let word = word.as_str().unwrap();
            assert!(
                word.contains("only `handle` and `on-timer` can have effects"),
                "{word}"
            );
        }
    }
}

#[tokio::test]
async fn effects_over_their_bounds_are_refused_by_name() {
    let f = Hostile::start();
    let send = r#"{"kind": "gone", "key": "a", "method": "value", "count": 1001}"#;
    for (method, arguments, why) in [
        ("send", send, "1000 messages"),
        ("timers", r#"{"count": 101, "bytes": 1}"#, "100 timers"),
        (
            "timers",
            r#"{"count": 9, "bytes": 1000000}"#,
            "8388608 bytes",
        ),
        (
            "timers",
            r#"{"count": 1, "bytes": 2000000}"#,
            "payload_bytes_max",
        ),
    ] {
        let path = format!("hostile/over-{why}/{method}").replace(' ', "-");
        let refused = f.wire.call(&path, arguments).await;
        assert_error(&refused, 422, "rejected", why);
    }
    f.assert_neighbours_answer("effects over their bounds")
        .await;
}

#[tokio::test]
async fn a_turn_that_sets_a_timer_for_ever_holds_one_payload() {
    let f = Hostile::start();
    let before = f.resident_bytes_max();
    let flood = r#"{"bytes": 1000000}"#;
    let path = "spinning/flood/timer_flood";
    f.provoke(path, flood, (500, "limit_exceeded", "cpu_ms_max"))
        .await;
    let more = f.resident_bytes_max() - before;
    assert!(more < 64 * MIB, "{} MiB more", more / MIB);
}

#[tokio::test]
async fn messages_that_double_are_bounded_and_end_with_their_kind() {
    let f = Hostile::start();
    f.node.deploy(&guest("entia_hostile"), &["--kind", "bomb"]);
    let itself = r#"{"kind": "bomb", "key": "a"}"#;
    f.wire.call("bomb/a/bomb", itself).await;
    f.until("bomb/a", |seen| seen["sends_pending"].as_u64() > Some(900))
        .await;
    for _ in 0..20 {
        f.assert_neighbours_answer("messages that double").await;
    }
    let seen = f.inspect("bomb/a").await;
    assert!(seen["sends_pending"].as_u64() <= Some(1_000), "{seen}");
    let path = "/v1/kinds/bomb?with_entities=true";
    let deleted = f.wire.send("DELETE", path, &[], "").await;
    assert_eq!(deleted.status.as_u16(), 200, "{:?}", deleted.body);
    f.node.deploy(&guest("entia_hostile"), &["--kind", "bomb"]);
    let seen = f.inspect("bomb/a").await;
    assert_eq!(seen["error"]["code"], "unknown_entity", "{seen}");
}

#[tokio::test]
async fn timers_as_often_as_allowed_on_many_entities_leave_time_for_others() {
    let f = Hostile::start();
    let beat = r#"{"name": "beat", "period_ms": 10}"#;
    for number in 0..50 {
        let path = format!("hostile/beat-{number}/beat");
        let set = f.wire.call(&path, beat).await;
        assert!(set.status.is_success(), "{:?}", set.body);
    }
    for number in 0..50 {
        let entity = format!("hostile/beat-{number}");
        f.until(&entity, |seen| seen["timers"][0]["fire"].as_u64() > Some(3))
            .await;
        f.assert_neighbours_answer("timers as often as allowed")
            .await;
    }
}

#[tokio::test]
async fn calls_within_calls_are_bounded_and_cost_little() {
    let f = Hostile::start();
    let before = f.resident_bytes_max();
    for (depth, end) in [(100, "end"), (101, "too_deep: 100 "), (5_000, "too_deep")] {
        let arguments = format!(r#"{{"kind": "waiting", "depth": {depth}}}"#);
        let answer = f.wire.call("waiting/top/chain", &arguments).await;
        let said = answer.body.as_str().unwrap_or_default();
        assert!(said.starts_with(end), "{depth}: {:?}", answer.body);
    }
    let more = f.resident_bytes_max() - before;
    assert!(more < 100 * MIB, "{} MiB more", more / MIB);
}

#[tokio::test]
async fn entities_that_want_all_memory_share_what_the_node_has_for_them() {
    let f = Hostile::start_with("memory_bytes_max = 268435456");
    let before = f.resident_bytes_max();
    let mut refused = 0;
    for round in 0..2 {
        for number in 0..40 {
            let path = format!("hostile/hoard-{number}/hoard");
            let answer = f.wire.call(&path, r#"{"bytes": 25000000}"#).await;
            if answer.code() == "overloaded" {
                assert_error(&answer, 503, "overloaded", "the node's memory");
                refused += 1;
            } else {
                assert!(answer.status.is_success(), "{round}: {:?}", answer.body);
            }
        }
    }
    // Those idle longest make room, so hardly anybody meets the bound.
    assert!(refused <= 8, "{refused} of 80 were refused");
    // The bound, and twice an entity's own: growing, a memory is in two places.
    let more = f.resident_bytes_max() - before;
    assert!(more < (256 + 2 * 64) * MIB, "{} MiB more", more / MIB);
    let seen = f.inspect("hostile/hoard-0").await;
    assert_eq!(seen["quarantine"], serde_json::Value::Null, "{seen}");
    f.assert_neighbours_answer("entities that want all memory")
        .await;
}

/// A node with `slow`, whose entities may spin for three seconds.
fn slow() -> Hostile {
    let f = Hostile::start();
    let flags = ["--kind", "slow", "--limit", "cpu_ms_max=3000"];
    f.node.deploy(&guest("entia_hostile"), &flags);
    f
}

/// Lets an entity call one that spins, and waits until it does.
async fn waiting_for_slow(f: &Hostile, entity: &str) -> tokio::task::JoinHandle<Answer> {
    let (wire, path): (Wire, _) = (f.wire.clone(), format!("{entity}/call"));
    let call = tokio::spawn(async move {
        let spin = r#"{"kind": "slow", "key": "a", "method": "spin", "then": ""}"#;
        wire.call(&path, spin).await
    });
    f.until(entity, |seen| seen["calls"].as_u64() == Some(1))
        .await;
    call
}

#[tokio::test]
async fn a_trap_of_the_called_is_an_answer_to_the_caller() {
    let f = Hostile::start();
    let panics = r#"{"kind": "hostile", "key": "a", "method": "panic", "then": ""}"#;
    let answer = f.wire.call("waiting/a/call", panics).await;
    let said = answer.body.as_str().unwrap();
    assert!(said.starts_with("trapped: "), "{said}");
    let seen = f.inspect("waiting/a").await;
    assert_eq!(seen["failures"].as_u64(), Some(0), "{seen}");
}

#[tokio::test]
async fn a_deadline_that_passes_while_a_turn_waits_ends_the_turn() {
    let f = slow();
    let began = Instant::now();
    let spin = r#"{"kind": "slow", "key": "a", "method": "spin", "then": ""}"#;
    let deadline = [("entia-deadline-ms", "200")];
    let path = "/v1/entities/waiting/a/call";
    let answer = f.wire.send("POST", path, &deadline, spin).await;
    // Both wait until the same instant: the entity's own answer, that its call had none in time, may be the first.
    match answer.body.as_str() {
        Some(said) => assert!(said.starts_with("deadline_exceeded: "), "{said}"),
        None => assert_error(&answer, 504, "deadline_exceeded", "while the call ran"),
    }
    let value = f.wire.call("waiting/a/value", "{}").await;
    assert_eq!(value.body.as_u64(), Some(0), "{:?}", value.body);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
}

#[tokio::test]
async fn an_entity_or_kind_can_be_deleted_while_a_turn_waits() {
    let f = slow();
    f.node
        .deploy(&guest("entia_hostile_waiting"), &["--kind", "victim"]);
    for (entity, delete) in [
        ("waiting/a", "/v1/entities/waiting/a"),
        ("victim/a", "/v1/kinds/victim?with_entities=true"),
    ] {
        let call = waiting_for_slow(&f, entity).await;
        let deleted = f.wire.send("DELETE", delete, &[], "").await;
        assert!(deleted.status.is_success(), "{:?}", deleted.body);
        // The turn came before the deletion, so it ended before, with its call's failure as the answer.
        let answer = call.await.unwrap();
        let said = answer.body.as_str().unwrap_or_default();
        assert!(said.starts_with("limit_exceeded: "), "{:?}", answer.body);
        let gone = f.inspect(entity).await;
        assert!(gone["error"]["code"].is_string(), "{gone}");
        f.release("slow/a");
        f.assert_neighbours_answer(delete).await;
    }
}

#[tokio::test]
async fn a_node_goes_down_in_time_while_a_turn_waits() {
    let f = slow();
    let call = waiting_for_slow(&f, "waiting/a").await;
    let began = Instant::now();
    let node = f.node;
    let status = tokio::task::spawn_blocking(|| node.stop()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(30));
    let answer = call.await.unwrap();
    let said = answer.body.as_str().unwrap_or_default();
    assert!(said.starts_with("limit_exceeded: "), "{:?}", answer.body);
}

//! Entities that call each other and wait, on a node in this process: answers, circles, deadlines, many at once. Needs the
//! guests that `cargo xtask build-entities` builds.

mod fixture;

use std::sync::Arc;
use std::time::Duration;

use entia_node::Node;
use entia_protocol::Durability;
use entia_wasm::compile;
use serde_json::{Value, json};

use fixture::{address, call, config, deploy, try_call, until, until_seen};

/// Not a test of its own: the node's compiler is this program again, told to run this.
#[test]
fn compile_in_a_child_process() {
    if std::env::var_os("ENTIA_COMPILE_INPUT").is_some() {
        std::process::exit(compile::child().into());
    }
}

fn relay(path: &[&str], by: u64) -> Value {
    let path: Vec<_> = path.iter().map(|entity| address(entity)).collect();
    json!({ "path": path, "by": by })
}

async fn node(dir: &std::path::Path, durability: Durability) -> Node {
    let node = fixture::start(config(dir)).await;
    deploy(&node, "caller", "caller", durability).await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_comes_back_with_the_answer_through_several_entities() {
    for durability in [Durability::Memory, Durability::Durable] {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path(), durability).await;
        let path = ["caller/b", "caller/c", "caller/d"];
        let sum = call(&node, "caller/a", "relay", relay(&path, 2)).await;
        assert_eq!(sum, 8);
        let sum = call(&node, "caller/a", "relay", relay(&path, 1)).await;
        assert_eq!(sum, 12);
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_refused_at_once_with_who_waits_for_whom() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Durability::Durable).await;
    for path in [&["caller/a"][..], &["caller/b", "caller/c", "caller/a"]] {
        let error = try_call(&node, "caller/a", "relay", relay(path, 1), None)
            .await
            .unwrap_err();
        assert!(error.error.message.contains("deadlock"), "{error:?}");
        assert!(
            error.error.message.contains("caller/a waits for"),
            "{error:?}"
        );
    }
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_call_each_other_at_the_same_time_do_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let node = Arc::new(node(dir.path(), Durability::Memory).await);
    let mut refused = 0;
    for round in 0..50 {
        let (a, b) = (format!("caller/a{round}"), format!("caller/b{round}"));
        let ab = relay(&[&b], 1);
        let ba = relay(&[&a], 1);
        let (first, second) = tokio::join!(
            try_call(&node, &a, "relay", ab, None),
            try_call(&node, &b, "relay", ba, None)
        );
        for outcome in [first, second] {
            if let Err(error) = outcome {
                assert!(error.error.message.contains("deadlock"), "{error:?}");
                refused += 1;
            }
        }
    }
    println!("{refused} of 100 calls were refused");
    Arc::into_inner(node).unwrap().shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_no_longer_than_it_was_told_and_says_whether_it_may_have_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Durability::Memory).await;
    let slow = json!({"target": address("caller/b"), "ms": 80, "within_ms": 20});
    let text = call(&node, "caller/a", "call_slow", slow).await;
    assert_eq!(text, "deadline_exceeded true");
    // It ran all the same, and the caller goes on.
    until(&node, "caller/b", "value", json!(1)).await;
    let quick = json!({"target": address("caller/b"), "ms": 1, "within_ms": 9_000});
    let text = call(&node, "caller/a", "call_slow", quick).await;
    assert_eq!(text, "answered 1");
    let unknown = json!({"target": address("nobody/b"), "ms": 1, "within_ms": 9_000});
    let text = call(&node, "caller/a", "call_slow", unknown).await;
    assert_eq!(text, "unknown_kind false");
    let nameless = json!({"target": {"kind": "No Kind", "key": ""}, "ms": 1, "within_ms": 9_000});
    let text = call(&node, "caller/a", "call_slow", nameless).await;
    assert_eq!(text, "bad_address false");
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_after_a_call_is_undone_and_repeated_with_its_key_calls_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Durability::Durable).await;
    let arguments = json!({"target": address("caller/b"), "by": 5});
    for _ in 0..3 {
        let failed = try_call(
            &node,
            "caller/a",
            "call_and_fail",
            arguments.clone(),
            Some("k"),
        );
        assert_eq!(failed.await.unwrap_err().error.code, "trapped");
    }
    assert_eq!(call(&node, "caller/a", "value", json!({})).await, 0);
    // The turn ran three times; each time it derived the same key for its call.
    assert_eq!(call(&node, "caller/b", "value", json!({})).await, 5);
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_turns_wait_at_once_and_the_workers_are_free() {
    let dir = tempfile::tempdir().unwrap();
    let node = Arc::new(node(dir.path(), Durability::Memory).await);
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let node = Arc::clone(&node);
        waiting.spawn(async move {
            let from = format!("caller/{number}");
            call(&node, &from, "relay", relay(&["caller/hub"], 1)).await
        });
    }
    let mut sum = 0;
    while let Some(answer) = waiting.join_next().await {
        sum += answer.unwrap().as_u64().unwrap();
    }
    // Each caller adds 1 to what the hub answered: 1 to 1,000.
    assert_eq!(sum, 1_000 + 1_000 * 1_001 / 2);
    Arc::into_inner(node).unwrap().shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_on_a_fiber_is_bounded_in_processor_time_and_lets_others_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.workers = 1;
    let node = Arc::new(Node::start(config).await.unwrap());
    deploy(&node, "caller", "caller", Durability::Memory).await;
    call(&node, "caller/quick", "relay", relay(&[], 1)).await;
    let endless = {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let spin = json!({"ms": 60_000});
            try_call(&node, "caller/slow", "spin", spin, None).await
        })
    };
    // With one worker: these run between the other's ticks.
    for value in 2..20 {
        let answer = call(&node, "caller/quick", "relay", relay(&[], 1)).await;
        assert_eq!(answer, value);
    }
    let error = endless.await.unwrap().unwrap_err();
    assert_eq!(error.error.code, "limit_exceeded");
    assert!(error.error.message.contains("cpu_ms_max"), "{error:?}");
    Arc::into_inner(node).unwrap().shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_of_an_entity_that_waits_can_call_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), Durability::Durable).await;
    let later = json!({"delay_ms": 10, "target": address("caller/b")});
    call(&node, "caller/a", "later", later).await;
    until(&node, "caller/a", "log", json!(["1"])).await;
    let itself = json!({"delay_ms": 10, "target": address("caller/a")});
    call(&node, "caller/a", "later", itself).await;
    until_seen(&node, "caller/a", |seen| seen.timers.is_empty()).await;
    let log = call(&node, "caller/a", "log", json!({})).await;
    assert!(log[1].as_str().unwrap().contains("deadlock"), "{log}");
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_down_lets_a_waiting_turn_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut node_config = config(dir.path());
    node_config.shutdown = Duration::from_secs(30);
    let node = Node::start(node_config).await.unwrap();
    deploy(&node, "caller", "caller", Durability::Durable).await;
    let slow = json!({"target": address("caller/b"), "ms": 60, "within_ms": 9_000}).to_string();
    let client = fixture::client(&node);
    let calling = tokio::spawn(async move {
        let from = fixture::entity("caller/a");
        client
            .call(&from, "call_slow", slow, &Default::default())
            .await
    });
    let watching = fixture::client(&node);
    // The turn of `a` has begun, and waits.
    while watching.health().await.unwrap().entities_live == 0 {
        assert!(!calling.is_finished(), "it ended before it was seen");
        tokio::task::yield_now().await;
    }
    node.shut_down().await.unwrap();
    assert_eq!(calling.await.unwrap().unwrap(), "\"answered 60\"");
}

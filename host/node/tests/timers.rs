//! Entities with timers, on a node in this process: once a fire, across passivation and restarts. Needs the guests that
//! `cargo xtask build-entities` builds.

mod fixture;

use std::time::Duration;

use entia_node::Node;
use entia_protocol::{Durability, TimerRecord};
use entia_wasm::compile;
use serde_json::json;

use fixture::{call, client, config, deploy, inspect, try_call, until, until_seen};

/// Not a test of its own: the node's compiler is this program again, told to run this.
#[test]
fn compile_in_a_child_process() {
    if std::env::var_os("ENTIA_COMPILE_INPUT").is_some() {
        std::process::exit(compile::child().into());
    }
}

const BOTH: [Durability; 2] = [Durability::Memory, Durability::Durable];

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_once_and_one_set_anew_by_its_fire_fires_again() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).await.unwrap();
        deploy(&node, "courier", "courier", durability).await;
        let arguments = json!({"name": "t", "delay_ms": 10, "again": 2});
        call(&node, "courier/a", "after", arguments).await;
        // Each is a timer of its own, so each is its first fire.
        until(&node, "courier/a", "fires", json!(["t#1", "t#1", "t#1"])).await;
        let seen = inspect(&node, "courier/a").await;
        assert!(seen.timers.is_empty(), "{seen:?}");
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeating_timer_counts_its_fires_until_it_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    let every = json!({"name": "beat", "period_ms": 20});
    call(&node, "courier/a", "every", every).await;
    until_seen(&node, "courier/a", |seen| {
        seen.timers.first().is_some_and(|timer| timer.fire > 3)
    })
    .await;
    let cancelled = call(&node, "courier/a", "cancel", json!({"name": "beat"})).await;
    assert_eq!(cancelled, true);
    let fires = call(&node, "courier/a", "fires", json!({})).await;
    let fires = fires.as_array().unwrap();
    let expected: Vec<_> = (1..=fires.len())
        .map(|fire| format!("beat#{fire}"))
        .collect();
    assert_eq!(*fires, expected, "each fire once");
    let again = call(&node, "courier/a", "cancel", json!({"name": "beat"})).await;
    assert_eq!(again, false);
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_wakes_an_entity_that_left_memory() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.idle = Duration::from_millis(50);
        let node = Node::start(config).await.unwrap();
        deploy(&node, "courier", "courier", durability).await;
        let arguments = json!({"name": "alarm", "delay_ms": 1_500, "again": 0});
        call(&node, "courier/a", "after", arguments).await;
        let end = std::time::Instant::now() + fixture::PATIENCE;
        while client(&node).health().await.unwrap().entities_live > 0 {
            assert!(std::time::Instant::now() < end, "it is still in memory");
            tokio::task::yield_now().await;
        }
        assert_eq!(inspect(&node, "courier/a").await.timers[0].name, "alarm");
        until(&node, "courier/a", "fires", json!(["alarm#1"])).await;
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_was_due_while_the_node_was_down_fires_after_the_start() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).await.unwrap();
        deploy(&node, "courier", "courier", durability).await;
        let arguments = json!({"name": "send", "delay_ms": 300, "again": 0});
        call(&node, "courier/a", "after", arguments).await;
        let every = json!({"name": "beat", "period_ms": 100_000});
        call(&node, "courier/a", "every", every).await;
        node.shut_down().await.unwrap();

        let node = Node::start(config(dir.path())).await.unwrap();
        until(&node, "courier/a", "fires", json!(["send#1"])).await;
        until(&node, "courier/timed", "received", json!([1])).await;
        let seen = inspect(&node, "courier/a").await;
        assert_eq!(seen.timers.len(), 1, "{seen:?}");
        assert_eq!(seen.timers[0].period_ms, Some(100_000));
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_traps_is_tried_again_later_until_it_is_quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    let arguments = json!({"name": "trap", "delay_ms": 10, "again": 0});
    call(&node, "courier/a", "after", arguments).await;
    let seen = until_seen(&node, "courier/a", |seen| seen.quarantine.is_some()).await;
    assert_eq!(seen.failures, 5, "{seen:?}");
    assert_eq!(seen.timers[0].fire, 1, "none of its fires took effect");
    let reason = &seen.quarantine.unwrap().reason;
    assert!(
        reason.contains("on-timer") && reason.contains("in a timer"),
        "{reason}"
    );
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_out_of_bounds_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Memory).await;
    let refusal = async |method: &str, arguments: serde_json::Value| {
        let refused = try_call(&node, "courier/a", method, arguments, None).await;
        refused.unwrap_err().error.message
    };
    let quick = refusal("every", json!({"name": "quick", "period_ms": 1})).await;
    assert!(quick.contains("every 10 ms"), "{quick}");
    let far = json!({"name": "far", "delay_ms": u64::MAX, "again": 0});
    let far = refusal("after", far).await;
    assert!(far.contains("at most"), "{far}");
    let unnamed = refusal("after", json!({"name": "", "delay_ms": 1, "again": 0})).await;
    assert!(unnamed.contains("1 to 128 bytes"), "{unnamed}");
    for number in 0..TimerRecord::TIMERS_MAX {
        let name = format!("t{number}");
        let arguments = json!({"name": name, "delay_ms": 1_000_000, "again": 0});
        call(&node, "courier/a", "after", arguments).await;
    }
    let more = json!({"name": "more", "delay_ms": 1_000_000, "again": 0});
    let more = refusal("after", more).await;
    assert!(more.contains("100 timers"), "{more}");
    node.shut_down().await.unwrap();
}

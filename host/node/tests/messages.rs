//! Entities that send, on a node in this process: order, exactly once, dead letters, restarts. Needs the guests that
//! `cargo xtask build-entities` builds.

mod fixture;

use entia_node::Node;
use entia_protocol::{Durability, SendRecord};
use entia_wasm::compile;
use serde_json::{Value, json};

use fixture::{PATIENCE, address, call, config, deploy, inspect, try_call, until, until_seen};

/// Not a test of its own: the node's compiler is this program again, told to run this.
#[test]
fn compile_in_a_child_process() {
    if std::env::var_os("ENTIA_COMPILE_INPUT").is_some() {
        std::process::exit(compile::child().into());
    }
}

const BOTH: [Durability; 2] = [Durability::Memory, Durability::Durable];

fn numbers(range: std::ops::Range<u64>) -> Value {
    range.collect::<Vec<_>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_once_and_in_order() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).await.unwrap();
        deploy(&node, "courier", "courier", durability).await;
        for first in [0, 100, 200] {
            let arguments = json!({"target": address("courier/b"), "first": first, "count": 100});
            call(&node, "courier/a", "dispatch", arguments).await;
        }
        until(&node, "courier/b", "received", numbers(0..300)).await;
        let sender = until_seen(&node, "courier/a", |seen| seen.sends_pending == 0).await;
        assert!(sender.dead_letters.is_empty());
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_sends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    let target = json!({"target": address("courier/b")});
    let error = try_call(&node, "courier/a", "dispatch_and_fail", target, None)
        .await
        .unwrap_err();
    assert_eq!(error.error.code, "trapped");
    let arguments = json!({"target": address("courier/b"), "first": 7, "count": 1});
    call(&node, "courier/a", "dispatch", arguments).await;
    until(&node, "courier/b", "received", json!([7])).await;
    assert_eq!(call(&node, "courier/a", "sent", json!({})).await, 1);
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_repeated_sends_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    let arguments = json!({"target": address("courier/b"), "first": 0, "count": 3});
    for _ in 0..3 {
        let sent = try_call(&node, "courier/a", "dispatch", arguments.clone(), Some("k")).await;
        assert_eq!(sent.unwrap(), 3);
    }
    // The same key to another entity is another command, and so are its messages.
    let sent = try_call(&node, "courier/c", "dispatch", arguments, Some("k")).await;
    assert_eq!(sent.unwrap(), 3);
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let received = call(&node, "courier/b", "received", json!({})).await;
        if received.as_array().unwrap().len() == 6 {
            break;
        }
        assert!(std::time::Instant::now() < end, "{received}");
    }
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_a_dead_letter_that_inspection_shows_and_a_restart_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    call(&node, "courier/b", "refuse", json!({})).await;
    let arguments = json!({"target": address("courier/b"), "first": 1, "count": 2});
    call(&node, "courier/a", "dispatch", arguments).await;
    let check = |seen: &entia_api::body::EntityBody| seen.dead_letters.len() == 2;
    until_seen(&node, "courier/a", check).await;
    node.shut_down().await.unwrap();

    let node = Node::start(config(dir.path())).await.unwrap();
    let seen = inspect(&node, "courier/a").await;
    let letter = &seen.dead_letters[0];
    assert_eq!(
        (
            &*letter.target,
            &*letter.method,
            &*letter.code,
            seen.sends_pending
        ),
        ("courier/b", "receive", "rejected", 0)
    );
    assert_eq!(letter.message, "no parcels are taken here");
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_a_kind_that_is_not_there_yet_also_across_a_restart() {
    for durability in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).await.unwrap();
        deploy(&node, "courier", "courier", durability).await;
        let arguments = json!({"target": address("later/b"), "first": 0, "count": 5});
        call(&node, "courier/a", "dispatch", arguments).await;
        assert_eq!(inspect(&node, "courier/a").await.sends_pending, 5);
        node.shut_down().await.unwrap();

        let node = Node::start(config(dir.path())).await.unwrap();
        assert_eq!(inspect(&node, "courier/a").await.sends_pending, 5);
        deploy(&node, "later", "courier", durability).await;
        until(&node, "later/b", "received", numbers(0..5)).await;
        until_seen(&node, "courier/a", |seen| seen.sends_pending == 0).await;
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_may_have_so_many_messages_pending_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    let max = SendRecord::PENDING_MAX as u64;
    let send = |first: u64, count: u64| json!({"target": address("gone/b"), "first": first, "count": count});
    call(&node, "courier/a", "dispatch", send(0, max - 1)).await;
    let error = try_call(&node, "courier/a", "dispatch", send(0, 2), None)
        .await
        .unwrap_err();
    assert!(error.error.message.contains("1000 messages"), "{error:?}");
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_reaches_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    call(&node, "courier/a", "fan_out", json!({"count": 500})).await;
    for number in [0, 250, 499] {
        let target = format!("courier/fan-{number}");
        until(&node, &target, "received", json!([number])).await;
    }
    until_seen(&node, "courier/a", |seen| seen.sends_pending == 0).await;
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_entity_takes_its_messages_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "courier", "courier", Durability::Durable).await;
    let arguments = json!({"target": address("later/b"), "first": 0, "count": 5});
    call(&node, "courier/a", "dispatch", arguments).await;
    let client = fixture::client(&node);
    client
        .delete_entity(&fixture::entity("courier/a"))
        .await
        .unwrap();
    deploy(&node, "later", "courier", Durability::Durable).await;
    let arguments = json!({"target": address("later/b"), "first": 9, "count": 1});
    call(&node, "courier/a", "dispatch", arguments).await;
    until(&node, "later/b", "received", json!([9])).await;
    node.shut_down().await.unwrap();
}

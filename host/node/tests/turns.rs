//! Turns of real entities on a node in this process: order, bounds, deadlines, restarts. Needs the guests that
//! `cargo xtask build-entities` builds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fixture;

use std::time::{Duration, Instant};

use entia_api::body::DeployOptions;
use entia_api::client::Client;
use entia_node::{Node, Ticket};
use entia_protocol::{
    CallError, Caller, CommandKey, Durability, EntityId, Envelope, KindName, Payload,
};
use entia_wasm::compile;

use fixture::{config, guest};

/// Not a test of its own: the node's compiler is this program again, told to run this.
#[test]
fn compile_in_a_child_process() {
    if std::env::var_os("ENTIA_COMPILE_INPUT").is_some() {
        std::process::exit(compile::child().into());
    }
}

async fn deploy(
    node: &Node,
    kind: &str,
    wasm: &str,
    durability: Durability,
    limits: &[(&str, u64)],
) -> u64 {
    let client = Client::new(&format!("http://{}", node.http())).unwrap();
    let options = DeployOptions {
        durability: Some(durability),
        limits: limits
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        ..DeployOptions::default()
    };
    let file = tokio::fs::File::open(guest(wasm)).await.unwrap();
    let deployed = client
        .deploy(&KindName::new(kind).unwrap(), file, &options, |_| {})
        .await;
    deployed.unwrap().kind.version
}

fn envelope(entity: &str, method: &str, arguments: &[(&str, u64)], key: CommandKey) -> Envelope {
    let arguments: std::collections::BTreeMap<_, _> = arguments.iter().copied().collect();
    Envelope {
        entity: entity.parse::<EntityId>().unwrap(),
        method: method.to_owned(),
        arguments: Payload(rmp_serde::to_vec_named(&arguments).unwrap()),
        caller: Caller::Anonymous,
        key,
        attempt: 1,
        deadline_left_ms: 10_000,
        chain: Vec::new(),
    }
}

fn submit(
    node: &Node,
    entity: &str,
    method: &str,
    arguments: &[(&str, u64)],
) -> Result<Ticket, CallError> {
    let envelope = envelope(entity, method, arguments, CommandKey::Random([0; 16]));
    node.call(envelope, Instant::now() + Duration::from_secs(10))
}

async fn call(
    node: &Node,
    entity: &str,
    method: &str,
    arguments: &[(&str, u64)],
) -> Result<u64, CallError> {
    let payload = submit(node, entity, method, arguments)?.answer().await?;
    Ok(rmp_serde::from_slice(&payload.0).unwrap_or(u64::MAX))
}

async fn keyed(node: &Node, key: &str, by: u64) -> Result<u64, CallError> {
    let key = CommandKey::Client(key.to_owned());
    let envelope = envelope("counter/keyed", "increment", &[("by", by)], key);
    let payload = node
        .call(envelope, Instant::now() + Duration::from_secs(10))?
        .answer()
        .await?;
    Ok(rmp_serde::from_slice(&payload.0).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_one_caller_run_in_order_and_their_answers_do_not_overtake() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    for durability in [Durability::Memory, Durability::Durable] {
        let kind = if durability == Durability::Memory {
            "counter"
        } else {
            "ledger"
        };
        deploy(&node, kind, "counter", durability, &[]).await;
        let entity = format!("{kind}/ordered");
        let tickets: Vec<_> = (0..900)
            .map(|_| submit(&node, &entity, "increment", &[("by", 1)]).unwrap())
            .collect();
        for (place, ticket) in tickets.into_iter().enumerate() {
            let answer: u64 = rmp_serde::from_slice(&ticket.answer().await.unwrap().0).unwrap();
            assert_eq!(answer, place as u64 + 1);
        }
        assert_eq!(call(&node, &entity, "value", &[]).await, Ok(900));
    }
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_refuses_at_once_and_says_when_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    let limits = [("mailbox_calls_max", 3), ("cpu_ms_max", 300)];
    deploy(
        &node,
        "hostile",
        "entia_hostile",
        Durability::Memory,
        &limits,
    )
    .await;
    // The first holds the entity for a while; three wait; one more does not fit.
    let tickets: Vec<_> = (0..20)
        .map(|_| submit(&node, "hostile/a", "spin", &[]))
        .collect();
    let refused = tickets.iter().filter(|ticket| {
        matches!(ticket, Err(CallError::Overloaded { queue, retry_after_ms: 1.. }) if queue.contains("hostile/a"))
    });
    assert!(refused.count() >= 16);
    assert_eq!(
        call(&node, "hostile/other", "value", &[]).await,
        Ok(0),
        "others are not affected"
    );
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_deadline_passes_in_the_mailbox_never_runs() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(
        &node,
        "hostile",
        "entia_hostile",
        Durability::Memory,
        &[("cpu_ms_max", 3_000)],
    )
    .await;
    let spinning = submit(&node, "hostile/a", "spin", &[]).unwrap();
    let short = envelope(
        "hostile/a",
        "increment",
        &[("by", 1)],
        CommandKey::Random([1; 16]),
    );
    let short = node
        .call(short, Instant::now() + Duration::from_millis(50))
        .unwrap();
    let began = Instant::now();
    assert_eq!(
        short.answer().await,
        Err(CallError::DeadlineExceeded {
            may_have_run: false
        })
    );
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "the answer came at the deadline"
    );
    assert!(matches!(
        spinning.answer().await,
        Err(CallError::LimitExceeded { .. })
    ));
    assert_eq!(call(&node, "hostile/a", "value", &[]).await, Ok(0));
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_turn_is_undone_and_the_entity_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    for durability in [Durability::Memory, Durability::Durable] {
        let kind = if durability == Durability::Memory {
            "hostile"
        } else {
            "durable-hostile"
        };
        deploy(&node, kind, "entia_hostile", durability, &[]).await;
        let entity = format!("{kind}/a");
        assert_eq!(call(&node, &entity, "increment", &[("by", 7)]).await, Ok(7));
        for method in ["panic", "recurse", "spin", "allocate"] {
            let error = call(&node, &entity, method, &[]).await.unwrap_err();
            assert!(!error.may_have_run(), "{method}: {error}");
        }
        assert_eq!(call(&node, &entity, "value", &[]).await, Ok(7));
        // The turn ended well, yet its state is too large: undone, too.
        let error = call(&node, &entity, "big_state", &[("bytes", 2 << 20)])
            .await
            .unwrap_err();
        assert_eq!(error.code(), "too_large");
        assert_eq!(call(&node, &entity, "value", &[]).await, Ok(7));
        assert_eq!(call(&node, &entity, "increment", &[("by", 1)]).await, Ok(8));
    }
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_effect_once_also_across_a_restart_of_either_durability() {
    for durability in [Durability::Memory, Durability::Durable] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(config(dir.path())).await.unwrap();
        deploy(&node, "counter", "counter", durability, &[]).await;
        assert_eq!(keyed(&node, "a", 1).await, Ok(1));
        assert_eq!(keyed(&node, "b", 1).await, Ok(2));
        assert_eq!(keyed(&node, "a", 1).await, Ok(1), "the same answer again");
        let reused = keyed(&node, "a", 5).await.unwrap_err();
        assert_eq!(reused.code(), "key_reused");
        assert_eq!(node.shut_down().await.unwrap(), 0);

        let node = Node::start(config(dir.path())).await.unwrap();
        assert_eq!(keyed(&node, "a", 1).await, Ok(1), "{durability:?}");
        assert_eq!(
            call(&node, "counter/keyed", "value", &[]).await,
            Ok(2),
            "{durability:?}"
        );
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_the_calls_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "counter", "counter", Durability::Durable, &[]).await;
    let tickets: Vec<_> = (0..500)
        .map(|n| {
            submit(
                &node,
                &format!("counter/{}", n % 50),
                "increment",
                &[("by", 1)],
            )
            .unwrap()
        })
        .collect();
    assert_eq!(node.shut_down().await.unwrap(), 0);
    for ticket in tickets {
        ticket.answer().await.unwrap();
    }
    let node = Node::start(config(dir.path())).await.unwrap();
    for entity in 0..50 {
        assert_eq!(
            call(&node, &format!("counter/{entity}"), "value", &[]).await,
            Ok(10)
        );
    }
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_over_the_bound_are_passivated_and_come_back_with_their_state() {
    for durability in [Durability::Memory, Durability::Durable] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.activations_max = 100;
        let node = Node::start(config).await.unwrap();
        deploy(&node, "counter", "counter", durability, &[]).await;
        for round in 1..=2 {
            for entity in 0..400 {
                let value = call(
                    &node,
                    &format!("counter/{entity}"),
                    "increment",
                    &[("by", 1)],
                )
                .await;
                assert_eq!(value, Ok(round), "{durability:?} entity {entity}");
            }
        }
        let client = Client::new(&format!("http://{}", node.http())).unwrap();
        let live = client.health().await.unwrap().entities_live;
        assert!(live <= 200, "{durability:?}: {live} live");
        node.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeployed_kind_keeps_its_entities_states() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    assert_eq!(
        deploy(&node, "counter", "counter", Durability::Memory, &[]).await,
        1
    );
    assert_eq!(
        call(&node, "counter/a", "increment", &[("by", 3)]).await,
        Ok(3)
    );
    assert_eq!(
        deploy(&node, "counter", "counter", Durability::Memory, &[]).await,
        1,
        "nothing changed"
    );
    assert_eq!(
        deploy(
            &node,
            "counter",
            "counter",
            Durability::Memory,
            &[("cpu_ms_max", 200)]
        )
        .await,
        2
    );
    assert_eq!(
        call(&node, "counter/a", "increment", &[("by", 3)]).await,
        Ok(6)
    );
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_hold_their_workers_do_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.workers = 1;
    let node = Node::start(config).await.unwrap();
    deploy(
        &node,
        "hostile",
        "entia_hostile",
        Durability::Memory,
        &[("cpu_ms_max", 5_000)],
    )
    .await;
    deploy(&node, "counter", "counter", Durability::Memory, &[]).await;
    let spinning = submit(&node, "hostile/a", "spin", &[]).unwrap();
    let began = Instant::now();
    assert_eq!(
        call(&node, "counter/a", "increment", &[("by", 1)]).await,
        Ok(1)
    );
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "a spare worker took over"
    );
    assert!(matches!(
        spinning.answer().await,
        Err(CallError::LimitExceeded { .. })
    ));
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_state_in_memory_says_what_a_failure_undid_and_forgets_the_keys_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "hostile", "entia_hostile", Durability::Memory, &[]).await;
    // Where the machine stands still for 100 ms the state is saved in between and nothing earlier is undone; another
    // entity then shows what this is about.
    let mut undone = 0;
    for number in 0..20 {
        undone += undone_with_a_large_state(&node, &format!("hostile/large-{number}")).await;
        if undone > 0 {
            break;
        }
    }
    assert!(undone > 0, "no failure undid an earlier command");
    node.shut_down().await.unwrap();
}

/// Three commands on a large state and a failure, submitted together; returns how many of the three the failure undid.
async fn undone_with_a_large_state(node: &Node, entity: &str) -> u64 {
    let increment = |key: &str| {
        let key = CommandKey::Client(key.to_owned());
        envelope(entity, "increment", &[("by", 1)], key)
    };
    let deadline = || Instant::now() + Duration::from_secs(10);
    call(node, entity, "big_state", &[("bytes", 100_000)])
        .await
        .unwrap();
    let tickets = ["a", "b", "c"].map(|key| node.call(increment(key), deadline()).unwrap());
    let panicking = submit(node, entity, "panic", &[]).unwrap();
    for ticket in tickets {
        ticket.answer().await.unwrap();
    }
    let error = panicking.answer().await.unwrap_err();
    let undone = match &error {
        CallError::UndoneSince { cause, commands } => {
            assert!(matches!(**cause, CallError::Trapped { .. }));
            *commands
        }
        CallError::Trapped { .. } => 0,
        other => panic!("{other}"),
    };
    assert_eq!(
        call(node, entity, "value", &[]).await,
        Ok(3 - undone),
        "{error}"
    );

    // What was undone runs again when it is repeated; what was kept does not.
    for key in ["a", "b", "c"] {
        node.call(increment(key), deadline())
            .unwrap()
            .answer()
            .await
            .unwrap();
    }
    assert_eq!(call(node, entity, "value", &[]).await, Ok(3));
    undone
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_an_entity_does_not_wait_for_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(
        &node,
        "hostile",
        "entia_hostile",
        Durability::Memory,
        &[("cpu_ms_max", 5_000)],
    )
    .await;
    let client = Client::new(&format!("http://{}", node.http())).unwrap();
    call(&node, "hostile/a", "increment", &[("by", 1)])
        .await
        .unwrap();
    let spinning = submit(&node, "hostile/a", "spin", &[]).unwrap();
    let began = Instant::now();
    client.inspect(&"hostile/a".parse().unwrap()).await.unwrap();
    client.kinds().await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    drop(spinning);
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_behind_a_deletion_meets_a_new_entity() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    let limits = [("cpu_ms_max", 1_000)];
    deploy(
        &node,
        "hostile",
        "entia_hostile",
        Durability::Durable,
        &limits,
    )
    .await;
    let client = Client::new(&format!("http://{}", node.http())).unwrap();
    let entity: EntityId = "hostile/a".parse().unwrap();
    assert_eq!(
        call(&node, "hostile/a", "increment", &[("by", 5)]).await,
        Ok(5)
    );

    // The deletion and the call behind it wait in one mailbox, and run in one visit.
    let spinning = submit(&node, "hostile/a", "spin", &[]).unwrap();
    let deletion = tokio::spawn({
        let (client, entity) = (client.clone(), entity.clone());
        async move { client.delete_entity(&entity).await }
    });
    while client.inspect(&entity).await.unwrap().mailbox == 0 {
        tokio::task::yield_now().await;
    }
    let behind = submit(&node, "hostile/a", "increment", &[("by", 1)]).unwrap();
    assert!(spinning.answer().await.is_err());
    deletion.await.unwrap().unwrap();
    let answer: u64 = rmp_serde::from_slice(&behind.answer().await.unwrap().0).unwrap();
    assert_eq!(answer, 1, "the deleted state did not come back");
    node.shut_down().await.unwrap();

    let node = Node::start(config(dir.path())).await.unwrap();
    assert_eq!(call(&node, "hostile/a", "value", &[]).await, Ok(1));
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_in_use_is_not_deleted_and_no_call_is_lost_to_the_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let node = std::sync::Arc::new(Node::start(config(dir.path())).await.unwrap());
    deploy(&node, "counter", "counter", Durability::Durable, &[]).await;
    let client = Client::new(&format!("http://{}", node.http())).unwrap();
    let kind = KindName::new("counter").unwrap();
    call(&node, "counter/0", "increment", &[("by", 1)])
        .await
        .unwrap();

    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let node = std::sync::Arc::clone(&node);
            tokio::spawn(async move {
                let mut answered = u64::from(caller == 0);
                for _ in 0..300 {
                    match call(
                        &node,
                        &format!("counter/{caller}"),
                        "increment",
                        &[("by", 1)],
                    )
                    .await
                    {
                        Ok(value) => {
                            answered += 1;
                            assert_eq!(value, answered);
                        }
                        Err(error) => assert!(!error.may_have_run(), "{error}"),
                    }
                }
                answered
            })
        })
        .collect();
    for _ in 0..20 {
        let refused = client.delete_kind(&kind, false).await.unwrap_err();
        assert_eq!(refused.code(), "kind_in_use", "{refused}");
    }
    for (caller, answered) in callers.into_iter().enumerate() {
        let answered = answered.await.unwrap();
        let value = call(&node, &format!("counter/{caller}"), "value", &[]).await;
        assert_eq!(value, Ok(answered));
    }
    client.delete_kind(&kind, true).await.unwrap();
    let gone = call(&node, "counter/0", "value", &[]).await.unwrap_err();
    assert_eq!(gone.code(), "unknown_kind");
    assert_eq!(
        deploy(&node, "counter", "counter", Durability::Durable, &[]).await,
        1
    );
    assert_eq!(call(&node, "counter/0", "value", &[]).await, Ok(0));
    std::sync::Arc::into_inner(node)
        .unwrap()
        .shut_down()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_that_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    deploy(&node, "counter", "counter", Durability::Durable, &[]).await;
    let tickets: Vec<_> = (0..1_005)
        .map(|n| submit(&node, &format!("counter/{n:04}"), "increment", &[("by", 1)]).unwrap())
        .collect();
    for ticket in tickets {
        ticket.answer().await.unwrap();
    }
    let client = Client::new(&format!("http://{}", node.http())).unwrap();
    let mut query = entia_api::body::ListQuery {
        limit: Some(1_000),
        ..Default::default()
    };
    let first = client.entities(&query).await.unwrap();
    assert_eq!(first.entries.len(), 1_000);
    query.cursor = Some(first.next.expect("there are more"));
    let second = client.entities(&query).await.unwrap();
    let keys: Vec<_> = second.entries.iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, ["1000", "1001", "1002", "1003", "1004"]);
    assert_eq!(second.next, None);
    node.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_entity_leaves_memory_and_comes_back_with_its_state() {
    for durability in [Durability::Memory, Durability::Durable] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.idle = Duration::from_millis(100);
        let node = Node::start(config).await.unwrap();
        deploy(&node, "counter", "counter", durability, &[]).await;
        assert_eq!(
            call(&node, "counter/a", "increment", &[("by", 3)]).await,
            Ok(3)
        );
        let client = Client::new(&format!("http://{}", node.http())).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while client.health().await.unwrap().entities_live > 0 {
            assert!(
                Instant::now() < end,
                "{durability:?}: it is still in memory"
            );
            tokio::task::yield_now().await;
        }
        assert_eq!(
            call(&node, "counter/a", "increment", &[("by", 1)]).await,
            Ok(4)
        );
        node.shut_down().await.unwrap();
    }
}

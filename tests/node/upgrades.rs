//! A kind's next version and the one before: what is tried first, what is refused and changes nothing, and what callers
//! notice of a switch.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use entia_api::body::{Activation, DeployOptions};
use entia_api::client::{CallOptions, Client, ClientError};
use entia_protocol::{EntityId, KindName};
use entia_tests::{Node, NodeOptions, guest};
use rand::Rng as _;
use serde_json::{Value, json};

const V1: &str = "entia_versioned";
const AGAIN: &str = "entia_versioned_again";
const V2: &str = "entia_versioned_v2";
const V2_REFUSES: &str = "entia_versioned_v2_refuses";
const V2_TRAPS: &str = "entia_versioned_v2_traps";
const V3: &str = "entia_versioned_v3";

/// `--durable`, or nothing.
const DURABILITIES: [&[&str]; 2] = [&[], &["--durable"]];

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(!output.stdout.is_empty(), "{}", err(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `entia deploy` of a version as the kind `versioned`.
fn deploy(node: &Node, version: &str, flags: &[&str]) -> Output {
    let path = guest(version).display().to_string();
    let arguments = ["deploy", &path, "--kind", "versioned"];
    node.entia(arguments.iter().chain(flags))
}

fn deployed(node: &Node, version: &str, flags: &[&str]) {
    let output = deploy(node, version, flags);
    assert!(output.status.success(), "{version}: {}", err(&output));
}

/// The answer of `versioned/KEY`.
async fn call(node: &Node, key: &str, method: &str, arguments: Value) -> Value {
    let path = format!("versioned/{key}/{method}");
    let answer = node.wire().call(&path, &arguments.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    answer.body
}

async fn add(node: &Node, key: &str, by: u64) -> u64 {
    let answer = call(node, key, "add", json!({"by": by})).await;
    answer.as_u64().unwrap()
}

async fn count(node: &Node, key: &str) -> u64 {
    call(node, key, "count", json!({})).await.as_u64().unwrap()
}

async fn code(node: &Node) -> String {
    let code = call(node, "asked", "code", json!({})).await;
    code.as_str().unwrap().to_owned()
}

fn kind(name: &str) -> KindName {
    KindName::new(name).unwrap()
}

/// The number of the current version.
async fn version(node: &Node) -> u64 {
    let kind = node.client().kind(&kind("versioned")).await;
    kind.unwrap().version
}

/// Waits until the node says so of `versioned/KEY`. What it says of an entity may be a moment behind the entity's answer.
async fn wait_until(node: &Node, key: &str, activation: Activation) {
    let entity: EntityId = format!("versioned/{key}").parse().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let found = node.client().inspect(&entity).await;
        if found
            .as_ref()
            .is_ok_and(|found| found.activation == activation)
        {
            return;
        }
        assert!(
            Instant::now() < end,
            "{entity} is not {activation:?}: {found:?}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_keeps_the_states_of_live_passivated_and_stored_entities() {
    for flags in DURABILITIES {
        let dir = tempfile::tempdir().unwrap();
        let options =
            NodeOptions::new(&dir.path().join("data")).config("[tuning]\nidle_ms = 200\n");
        let node = options.start();
        deployed(&node, V1, flags);
        add(&node, "stored", 1).await;
        assert!(node.stop().success());

        let node = options.start();
        add(&node, "passivated", 2).await;
        wait_until(&node, "passivated", Activation::Cold).await;
        add(&node, "live", 3).await;
        let output = deploy(&node, V2, &["-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(json_of(&output)["kind"]["schema_version"], 2);
        for (key, expected) in [("stored", 1), ("passivated", 2), ("live", 3)] {
            assert_eq!(count(&node, key).await, expected, "{key} {flags:?}");
            assert_eq!(add(&node, key, 10).await, expected + 10, "{key} {flags:?}");
        }
        assert!(node.stop().success());

        let node = options.start();
        assert_eq!(code(&node).await, "v2");
        assert_eq!(count(&node, "stored").await, 11, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_go_on_with_a_state_is_refused_by_entity_and_error() {
    for flags in DURABILITIES {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeOptions::new(dir.path()).start();
        deployed(&node, V1, flags);
        add(&node, "small", 5).await;
        add(&node, "large", 150).await;
        wait_until(&node, "small", Activation::Live).await;
        wait_until(&node, "large", Activation::Live).await;
        let before = node.client().kind(&kind("versioned")).await.unwrap();

        for (version, why) in [
            (V2_REFUSES, "150 is more than this version can count"),
            (V2_TRAPS, "150 is more than this version thought of"),
            (
                V3,
                "schema version 1; the version that was to take over reads 3 only; 2 entities",
            ),
        ] {
            for plan in [&[][..], &["--plan"]] {
                let output = deploy(&node, version, plan);
                let said = err(&output);
                assert_eq!(output.status.code(), Some(5), "{version} {plan:?}: {said}");
                assert!(said.contains(why), "{version} {plan:?}: {said}");
                assert!(said.contains("next: "), "{said}");
                let named = said.contains("versioned/large") || version == V3;
                assert!(named && said.contains("versioned/"), "{said}");
            }
            let after = node.client().kind(&kind("versioned")).await.unwrap();
            assert_eq!(
                (after.version, after.digest),
                (before.version, before.digest)
            );
            assert_eq!(code(&node).await, "v1");
            assert_eq!(count(&node, "large").await, 150);
        }
        // What was refused has left nothing behind that would stand in the way of the right one.
        deployed(&node, V2, &[]);
        assert_eq!(count(&node, "large").await, 150);
        let log = node.log();
        assert!(
            !log.contains("thought of"),
            "guests of a dry run are not heard: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_part_of_what_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    deployed(&node, V1, &["--durable"]);
    call(&node, "heavy", "fill", json!({"bytes": 5_000})).await;
    let refused = deploy(&node, V1, &["--limit", "state_bytes_max=1024"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(
        err(&refused).contains("versioned/heavy"),
        "{}",
        err(&refused)
    );
    assert_eq!(version(&node).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_the_sample_missed_does_not_stand_in_the_way_of_its_repair() {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(dir.path());
    let node = options.start();
    deployed(&node, V1, &["--durable"]);
    for key in 0..150 {
        let by = if key == 149 { 150 } else { 1 };
        add(&node, &format!("k{key:03}"), by).await;
    }
    // Or the state of the greatest count would be the largest, and tried.
    call(&node, "k000", "fill", json!({"bytes": 100})).await;
    assert!(node.stop().success());

    let node = options.start();
    let plan = json_of(&deploy(&node, V2_REFUSES, &["--plan", "-o", "json"]));
    assert_eq!(
        plan["dry_run"],
        json!({"tried": 100, "entities": 150, "more": false, "failures": []})
    );
    deployed(&node, V2_REFUSES, &[]);
    let failed = node.wire().call("versioned/k149/count", "{}").await;
    assert_eq!(failed.code(), "activation_failed", "{:?}", failed.body);

    // Now it is in memory, and tried. It fails with the version that runs, too.
    let plan = json_of(&deploy(&node, V2_TRAPS, &["--plan", "-o", "json"]));
    let failures = plan["dry_run"]["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{plan}");
    assert_eq!(
        failures[0]["entity"],
        json!({"kind": "versioned", "key": "k149"})
    );
    assert_eq!(failures[0]["already"], true, "{plan}");
    assert!(plan.get("refusal").is_none(), "{plan}");
    deployed(&node, V2_TRAPS, &[]);
    deployed(&node, V2, &[]);
    assert_eq!(count(&node, "k149").await, 150);
}

fn changes(plan: &Value) -> Vec<(String, bool)> {
    let text = |change: &Value| {
        let mut change = change.clone();
        let breaking = change.as_object_mut().unwrap().remove("breaking").is_some();
        let words: Vec<_> = (change.as_object().unwrap().iter())
            .map(|(name, value)| format!("{name}={value}").replace('"', ""))
            .collect();
        (words.join(" "), breaking)
    };
    plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_each_change_and_what_breaks_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    let new = deploy(&node, V1, &["--plan", "-o", "json"]);
    assert_eq!(new.status.code(), Some(0), "{}", err(&new));
    let new = json_of(&new);
    assert_eq!(new["to"]["version"], 1);
    assert!(
        new.get("from").is_none() && changes(&new).is_empty(),
        "{new}"
    );
    assert_eq!(
        node.client().kinds().await.unwrap().kinds,
        [],
        "nothing was deployed"
    );
    assert_eq!(
        files(&dir.path().join("artifacts")),
        0,
        "and nothing left behind"
    );

    deployed(&node, V1, &["--config", "kept=a", "--config", "gone=b"]);
    add(&node, "a", 5).await;
    wait_until(&node, "a", Activation::Live).await;
    let flags = ["--plan", "-o", "json", "--limit", "cpu_ms_max=200"];
    let settings = ["--config", "kept=secret", "--config", "added=secret"];
    let flags: Vec<_> = flags.into_iter().chain(settings).collect();
    let plan = deploy(&node, V2, &flags);
    assert_eq!(plan.status.code(), Some(0), "{}", err(&plan));
    let plan = json_of(&plan);
    assert!(!plan.to_string().contains("secret"), "{plan}");
    let expected = [
        ("change=component", false),
        (
            "argument=note change=argument_added method=add required=false",
            false,
        ),
        ("change=method_form method=look query=false", true),
        ("change=method_removed method=old", true),
        (
            "argument=size change=argument_added method=label required=true",
            true,
        ),
        ("argument=at change=argument_removed method=cut", true),
        ("change=result_changed method=size", true),
        ("change=method_added method=new", false),
        ("change=schema from=1 oldest=1 to=2", false),
        ("change=limit from=100 limit=cpu_ms_max to=200", false),
        ("became=added change=config setting=added", false),
        ("became=removed change=config setting=gone", false),
        ("became=changed change=config setting=kept", false),
    ];
    let expected = expected.map(|(text, breaking)| (text.to_owned(), breaking));
    assert_eq!(changes(&plan), expected);
    assert_eq!(
        (&plan["from"]["version"], &plan["to"]["version"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        plan["dry_run"],
        json!({"tried": 1, "entities": 1, "more": false, "failures": []})
    );
    assert!(plan.get("refusal").is_none(), "{plan}");
    assert_eq!(
        (version(&node).await, code(&node).await),
        (1, "v1".to_owned())
    );
    assert_eq!(files(&dir.path().join("artifacts")), 1);

    let text = String::from_utf8(deploy(&node, V2, &["--plan"]).stdout).unwrap();
    assert!(text.contains("- method old  BREAKING: "), "{text}");
    assert!(text.contains("tried on 1 of 1 states, 0 failed"), "{text}");
    let unchanged = deploy(&node, V1, &["--plan"]);
    let text = String::from_utf8(unchanged.stdout).unwrap();
    assert!(text.contains("nothing would change"), "{text}");
    let deploying = String::from_utf8(deploy(&node, V2, &[]).stdout).unwrap();
    assert!(
        deploying.contains("- method old  BREAKING: "),
        "{deploying}"
    );

    let wire = node.wire();
    let wasm = std::fs::read(guest(V1)).unwrap();
    let bad = wire
        .send("PUT", "/v1/kinds/versioned?plan=perhaps", &[], wasm.clone())
        .await;
    assert_eq!((bad.status.as_u16(), bad.code()), (400, "bad_query"));
    let broken = wire
        .send("PUT", "/v1/kinds/versioned?plan=true", &[], "no")
        .await;
    assert_eq!(
        (broken.status.as_u16(), broken.code()),
        (422, "component_refused")
    );
    let durable = "/v1/kinds/versioned?plan=true&durability=durable";
    let other = wire.send("PUT", durable, &[], wasm).await;
    assert_eq!(
        (other.status.as_u16(), other.code()),
        (409, "kind_exists_differently")
    );
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_back_component_limits_and_settings_and_twice_is_where_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(dir.path());
    let node = options.start();
    deployed(&node, V1, &["--durable", "--config", "name=one"]);
    let first = node.client().kind(&kind("versioned")).await.unwrap();
    add(&node, "a", 5).await;
    deployed(
        &node,
        AGAIN,
        &["--limit", "cpu_ms_max=200", "--config", "other=two"],
    );
    assert_eq!(
        (add(&node, "a", 1).await, code(&node).await),
        (6, "again".to_owned())
    );

    let output = node.entia(["rollback", "versioned", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(json_of(&output)["kind"]["version"], 3);
    let back = node.client().kind(&kind("versioned")).await.unwrap();
    assert_eq!(
        (back.digest, &back.limits, &back.config),
        (first.digest, &first.limits, &first.config)
    );
    assert_eq!(
        (add(&node, "a", 1).await, code(&node).await),
        (7, "v1".to_owned())
    );
    node.kill();

    // The version to go back to survives as the kind does.
    let node = options.start();
    assert_eq!(
        (version(&node).await, code(&node).await),
        (3, "v1".to_owned())
    );
    let output = node.entia(["rollback", "versioned"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        text.contains("versioned version 4"),
        "{text}{}",
        err(&output)
    );
    assert!(text.contains("~ limit cpu_ms_max 100 -> 200"), "{text}");
    assert_eq!(
        (count(&node, "a").await, code(&node).await),
        (7, "again".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_refused_while_states_are_newer_than_what_the_old_version_reads() {
    for flags in DURABILITIES {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeOptions::new(dir.path()).start();
        let refused = |exit: i32, words: &[&str]| {
            let output = node.entia(["rollback", "versioned"]);
            let said = err(&output);
            assert_eq!(output.status.code(), Some(exit), "{said}");
            for word in words {
                assert!(said.contains(word), "{said}");
            }
        };
        refused(4, &["no kind `versioned`"]);
        deployed(&node, V1, flags);
        refused(5, &["no version to go back to", "next: "]);
        add(&node, "a", 5).await;
        add(&node, "b", 6).await;
        deployed(&node, V2, &[]);
        assert_eq!(count(&node, "a").await, 5, "a query writes nothing");

        // No command has run: what is stored is as the old version left it.
        let output = node.entia(["rollback", "versioned"]);
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(
            (code(&node).await, add(&node, "a", 1).await),
            ("v1".to_owned(), 6)
        );

        deployed(&node, V2, &[]);
        add(&node, "a", 1).await;
        add(&node, "b", 1).await;
        let before = version(&node).await;
        refused(
            5,
            &[
                "versioned/",
                "schema version 2",
                "reads 1 only",
                "2 entities",
            ],
        );
        assert_eq!(
            (version(&node).await, code(&node).await),
            (before, "v2".to_owned())
        );
        for entity in ["versioned/a", "versioned/b"] {
            assert!(
                node.entia(["entities", "delete", entity, "--yes"])
                    .status
                    .success()
            );
        }
        let output = node.entia(["rollback", "versioned"]);
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(
            (code(&node).await, count(&node, "a").await),
            ("v1".to_owned(), 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_sees_a_command_whose_state_is_not_taken_yet() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    deployed(&node, V1, &[]);
    // Large states of kinds in memory are taken now and then, and not after the first command of an instance.
    call(&node, "large", "fill", json!({"bytes": 100_000})).await;
    deployed(&node, V2, &[]);
    add(&node, "large", 1).await;
    let output = node.entia(["rollback", "versioned"]);
    assert_eq!(output.status.code(), Some(5), "{}", err(&output));
    assert!(err(&output).contains("versioned/large"), "{}", err(&output));
    assert_eq!(count(&node, "large").await, 1);
}

#[tokio::test]
async fn the_path_of_a_rollback_takes_a_post_without_parameters() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    let wire = node.wire();
    for (method, path, status, code) in [
        (
            "GET",
            "/v1/kinds/versioned/rollback",
            405,
            "method_not_allowed",
        ),
        (
            "POST",
            "/v1/kinds/versioned/rollback?to=1",
            400,
            "bad_query",
        ),
        ("POST", "/v1/kinds/Versioned/rollback", 400, "bad_path"),
        ("POST", "/v1/kinds/versioned/forward", 400, "bad_path"),
        ("POST", "/v1/kinds/versioned/rollback", 404, "unknown_kind"),
    ] {
        let answer = wire.send(method, path, &[], "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{method} {path}"
        );
        assert!(answer.is_well_formed_error());
    }
}

/// Adds 1 with a key of its own.
async fn add_keyed(client: &Client, entity: &str, key: String) -> Result<u64, ClientError> {
    let options = CallOptions {
        idempotency_key: Some(key),
        deadline_ms: Some(60_000),
    };
    let entity: EntityId = entity.parse().unwrap();
    let answer = client
        .call(&entity, "add", r#"{"by": 1}"#, &options)
        .await?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

async fn upload(client: &Client, name: &str, version: &str) -> Result<u64, ClientError> {
    let file = tokio::fs::File::open(guest(version)).await.unwrap();
    let (kind, options) = (kind(name), DeployOptions::default());
    let deployed = client.deploy(&kind, file, &options, |_| {}).await?;
    Ok(deployed.kind.version)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_during_redeploys_and_rollbacks_and_none_is_lost_or_doubled() {
    const CALLERS: usize = 8;
    const SWITCHES: usize = 8;
    for flags in DURABILITIES {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeOptions::new(dir.path()).start();
        deployed(&node, V1, flags);
        let done = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (client, done) = (node.client(), Arc::clone(&done));
                tokio::spawn(async move {
                    let entity = format!("versioned/{}", caller % 4);
                    let mut answers = Vec::new();
                    while !done.load(Ordering::SeqCst) {
                        let key = format!("{caller}-{}", answers.len());
                        answers.push(add_keyed(&client, &entity, key).await.unwrap());
                    }
                    (caller % 4, answers)
                })
            })
            .collect();
        let client = node.client();
        for switch in 0..SWITCHES {
            let version = match switch % 4 {
                0 => upload(&client, "versioned", AGAIN).await.unwrap(),
                3 => upload(&client, "versioned", V1).await.unwrap(),
                _ => {
                    client
                        .rollback(&kind("versioned"))
                        .await
                        .unwrap()
                        .kind
                        .version
                }
            };
            assert_eq!(version, switch as u64 + 2);
        }
        done.store(true, Ordering::SeqCst);
        let mut answers = [const { Vec::new() }; 4];
        for caller in callers {
            let (entity, some) = caller.await.unwrap();
            answers[entity].extend(some);
        }
        for (entity, mut answers) in answers.into_iter().enumerate() {
            answers.sort_unstable();
            let expected: Vec<u64> = (1..=answers.len() as u64).collect();
            assert_eq!(answers, expected, "entity {entity} {flags:?}");
            assert!(!answers.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_races_with_commands_leaves_no_state_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    let client = node.client();
    let (mut rolled_back, mut refused) = (0, 0);
    // How long commands wait, in other requests. Found by halving and doubling, so that they come when it is decided.
    let mut wait: usize = 8;
    for round in 0..24 {
        let name = format!("race-{round}");
        upload(&client, &name, V1).await.unwrap();
        for key in 0..4 {
            let entity = format!("{name}/{key}");
            add_keyed(&client, &entity, "first".to_owned())
                .await
                .unwrap();
        }
        upload(&client, &name, V2).await.unwrap();
        let adders: Vec<_> = (0..4)
            .map(|key| {
                let (client, entity) = (client.clone(), format!("{name}/{key}"));
                tokio::spawn(async move {
                    for _ in 0..wait {
                        client.health().await.unwrap();
                    }
                    loop {
                        match add_keyed(&client, &entity, "second".to_owned()).await {
                            Ok(count) => return count,
                            Err(error) => assert_eq!(error.code(), "overloaded", "{error}"),
                        }
                    }
                })
            })
            .collect();
        match client.rollback(&kind(&name)).await {
            Ok(_) => {
                rolled_back += 1;
                wait = wait.div_ceil(2);
            }
            Err(error) => {
                assert_eq!(error.code(), "state_refused", "{error}");
                refused += 1;
                wait *= 2;
            }
        }
        for adder in adders {
            assert_eq!(adder.await.unwrap(), 2);
        }
    }
    assert!(
        rolled_back > 0 && refused > 0,
        "{rolled_back} rolled back, {refused} refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_deploying_leaves_the_old_version_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(dir.path());
    let node = options.start();
    deployed(&node, V1, &["--durable"]);
    let mut expected = add(&node, "a", 1).await;
    let mut current = V1;
    node.kill();
    for round in 0..8 {
        let node = options.start();
        let client = node.client();
        let next = if current == V1 { AGAIN } else { V1 };
        let calls = Arc::new(AtomicUsize::new(0));
        let deploying = tokio::spawn({
            let client = client.clone();
            async move { upload(&client, "versioned", next).await }
        });
        let calling = tokio::spawn({
            let (client, calls) = (client.clone(), Arc::clone(&calls));
            async move {
                let mut last = None;
                for number in 0.. {
                    let key = format!("{round}-{number}");
                    let Ok(count) = add_keyed(&client, "versioned/a", key).await else {
                        break;
                    };
                    last = Some(count);
                    calls.fetch_add(1, Ordering::SeqCst);
                }
                last
            }
        });
        let kill_after = rand::rng().random_range(0..60);
        while calls.load(Ordering::SeqCst) < kill_after && !calling.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(
            !calling.is_finished(),
            "the node stopped answering:\n{}",
            node.log()
        );
        node.kill();
        let acknowledged = calling.await.unwrap().unwrap_or(expected);
        let deployed = deploying.await.unwrap().is_ok();

        let node = options.start();
        let digest =
            |version: &str| entia_protocol::Digest::of(&std::fs::read(guest(version)).unwrap());
        let found = node.client().kind(&kind("versioned")).await.unwrap().digest;
        let names = [(V1, "v1"), (AGAIN, "again")];
        let (found, name) = names
            .into_iter()
            .find(|(version, _)| digest(version) == found)
            .unwrap();
        assert!(
            !deployed || found == next,
            "round {round}: a deployment was acknowledged and is gone"
        );
        assert_eq!(code(&node).await, name, "round {round}");
        let now = count(&node, "a").await;
        assert!(
            now == acknowledged || now == acknowledged + 1,
            "round {round}: {acknowledged} was acknowledged, {now} is there"
        );
        (current, expected) = (found, now);
        node.kill();
    }
}

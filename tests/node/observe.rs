//! What a node shows of itself: logs, events, counters, and the description of its API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use entia_api::body::{Event, EventsQuery, LogLevel, LogsQuery};
use entia_api::client::{Follow, Followed};
use entia_protocol::KindName;
use entia_tests::{Answer, Node, NodeOptions, Wire, entia, guest};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

struct Fixture {
    node: Node,
    wire: Wire,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    node.deploy(&guest("counter"), &["--durable"]);
    // Generous with time, so that on a busy machine only what loops for ever meets that limit.
    let limits = ["--kind", "hostile", "--limit", "cpu_ms_max=1000"];
    node.deploy(&guest("entia_hostile"), &limits);
    Fixture {
        wire: node.wire(),
        node,
        _dir: dir,
    }
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes in time")
}

async fn next<T: DeserializeOwned>(stream: &mut Follow<T>) -> Option<Followed<T>> {
    within(stream.next()).await.unwrap()
}

/// The next event, which nothing was missed before.
async fn next_event(stream: &mut Follow<entia_api::body::EventBody>) -> (u64, Event) {
    match next(stream).await {
        Some(Followed::Next(body)) => (body.id, body.event),
        other => panic!("not an event: {other:?}"),
    }
}

async fn get(wire: &Wire, path: &str) -> Answer {
    wire.send("GET", path, &[], "").await
}

/// Asks until the answer is as wanted: what a turn shows may be seen a moment after its answer. After some patience returns
/// what there is.
async fn get_once(wire: &Wire, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = get(wire, path).await;
        if wanted(&answer) || Instant::now() > until {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The log's list, once it has so many lines.
async fn log(wire: &Wire, query: &str, lines: usize) -> Value {
    let path = format!("/v1/logs{query}");
    let there = |answer: &Answer| {
        let found = answer.body["lines"].as_array();
        found.is_some_and(|found| found.len() == lines)
    };
    let answer = get_once(wire, &path, there).await;
    assert!(there(&answer), "{path}: {}", answer.body);
    answer.body
}

/// Calls an entity that panics until it is quarantined.
async fn quarantine(wire: &Wire, entity: &str) {
    for _ in 0..20 {
        let answer = wire.call(&format!("{entity}/panic"), "{}").await;
        if answer.code() == "quarantined" {
            return;
        }
    }
    panic!("{entity} is never quarantined");
}

#[tokio::test]
async fn log_lines_are_listed_and_followed_over_http() {
    let f = fixture();
    let counter = LogsQuery {
        kind: Some(KindName::new("counter").unwrap()),
        ..LogsQuery::default()
    };
    f.wire.call("counter/a/increment", r#"{"by": 7}"#).await;
    f.wire.call("counter/a/reset", "{}").await;
    let client = f.node.client();
    let mut lines = within(client.follow_logs(&counter)).await.unwrap();
    let Some(Followed::Next(line)) = next(&mut lines).await else {
        panic!("it begins with what was before");
    };
    assert_eq!(
        (line.level, line.kind.as_str(), line.key.as_str()),
        (LogLevel::Info, "counter", "a")
    );
    assert_eq!((line.kind_version, line.text.as_str()), (1, "reset from 7"));

    f.wire.call("hostile/x/noise", r#"{"lines": 3}"#).await;
    f.wire.call("counter/b/reset", "{}").await;
    let Some(Followed::Next(line)) = next(&mut lines).await else {
        panic!("it goes on with what comes, of its kind");
    };
    assert_eq!(
        (line.key.as_str(), line.text.as_str()),
        ("b", "reset from 0")
    );

    let list = log(&f.wire, "?kind=hostile&key=x&limit=2", 2).await;
    assert_eq!(list["lines"][1]["text"], "noise 2");
    let rest = format!("?cursor={}", list["next"].as_str().unwrap());
    log(&f.wire, &rest, 0).await;
    f.wire.call("counter/c/reset", "{}").await;
    let Some(Followed::Next(line)) = next(&mut lines).await else {
        panic!("it goes on with what comes");
    };
    assert_eq!(line.key, "c");
    assert_eq!(log(&f.wire, &rest, 1).await["lines"][0]["key"], "c");
    log(&f.wire, "?level=error", 0).await;
    for bad in ["/v1/logs?since=1", "/v1/logs?key=a", "/v1/logs?level=loud"] {
        let refused = get(&f.wire, bad).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (400, "bad_query")
        );
    }

    let stopped = tokio::task::spawn_blocking(move || f.node.stop());
    assert_eq!(next(&mut lines).await, None, "the node's end is a stream's");
    assert!(within(stopped).await.unwrap().success());
}

#[tokio::test]
async fn a_noisy_entity_pushes_out_its_own_lines_and_a_reader_is_told_how_many() {
    let f = fixture();
    f.wire.call("counter/quiet/reset", "{}").await;
    let first = log(&f.wire, "", 1).await;
    let cursor = first["next"].as_str().unwrap().parse().ok();
    for _ in 0..3 {
        // As many as fit log_bytes_max and some more.
        f.wire
            .call("hostile/noisy/noise", r#"{"lines": 2000}"#)
            .await;
    }
    // Of each call one line tells what was over the bound; what came before the last of them is gone.
    let noisy = log(&f.wire, "?kind=hostile&level=warn", 1).await;
    let quiet = log(&f.wire, "?kind=counter", 1).await;
    assert_eq!(quiet["lines"][0]["key"], "quiet");
    let text = noisy["lines"][0]["text"].as_str().unwrap();
    assert!(
        text.ends_with("more lines were over log_bytes_max"),
        "{text}"
    );

    let query = LogsQuery {
        cursor,
        ..LogsQuery::default()
    };
    let client = f.node.client();
    let mut lines = within(client.follow_logs(&query)).await.unwrap();
    let Some(Followed::Missed(missed)) = next(&mut lines).await else {
        panic!("some lines are gone");
    };
    let Some(Followed::Next(line)) = next(&mut lines).await else {
        panic!("the others are there");
    };
    assert_eq!(Some(line.id), cursor.map(|cursor| cursor + missed + 1));
}

#[tokio::test]
async fn the_command_line_follows_until_ctrl_c_or_the_node_goes() {
    let f = fixture();
    let follow = |of: &str| {
        tokio::process::Command::new(entia())
            .args(["logs", of, "-f", "-o", "json"])
            .env("ENTIA_API", f.node.api())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    f.wire.call("counter/a/reset", "{}").await;
    let mut interrupted = follow("counter/a");
    let mut left = follow("counter");
    for child in [&mut interrupted, &mut left] {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within(lines.next_line()).await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["text"], "reset from 0");
        child.stdout = Some(lines.into_inner().into_inner());
    }
    let pid = i32::try_from(interrupted.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    let status = within(interrupted.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "Ctrl-C is no failure");

    let listed = f.node.entia(["logs", "counter/a", "--limit", "1"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("Z INFO  counter/a reset from 0\n"),
        "{listed}"
    );
    assert!(!listed.contains('\u{1b}'), "no colours without a terminal");
    let events = f.node.entia(["events"]);
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(events.contains("counter deployed, version 1"), "{events}");

    let node = f.node;
    let stopped = tokio::task::spawn_blocking(move || node.stop());
    let status = within(left.wait()).await.unwrap();
    let mut said = String::new();
    let mut stderr = left.stderr.take().unwrap();
    stderr.read_to_string(&mut said).await.unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("has gone"), "{said}");
    assert!(within(stopped).await.unwrap().success());
}

#[tokio::test]
async fn events_tell_of_deployments_quarantines_and_the_nodes_life() {
    let f = fixture();
    let client = f.node.client();
    let all = EventsQuery::default();
    let mut events = within(client.follow_events(&all)).await.unwrap();
    assert!(matches!(
        next_event(&mut events).await.1,
        Event::NodeStarted { .. }
    ));
    for kind in ["counter", "hostile"] {
        let (_, event) = next_event(&mut events).await;
        let Event::KindDeployed {
            kind: deployed,
            version: 1,
            ..
        } = &event
        else {
            panic!("not a deployment: {event:?}");
        };
        assert_eq!(deployed.as_str(), kind);
    }
    quarantine(&f.wire, "hostile/q").await;
    let (quarantined, event) = next_event(&mut events).await;
    let Event::EntityQuarantined {
        entity,
        reason,
        retry_after_ms,
    } = event
    else {
        panic!("not a quarantine: {event:?}");
    };
    assert_eq!(
        (entity.kind.as_str(), entity.key.as_str()),
        ("hostile", "q")
    );
    assert!(reason.contains("told to panic"), "{reason}");
    assert!((1..=60_000).contains(&retry_after_ms), "{retry_after_ms}");

    let released = f
        .wire
        .send("POST", "/v1/entities/hostile/q/release", &[], "");
    assert_eq!(released.await.status.as_u16(), 200);
    let deleted = f
        .wire
        .send("DELETE", "/v1/kinds/hostile?with_entities=true", &[], "");
    assert_eq!(deleted.await.status.as_u16(), 200);
    // On a slow machine the entity may have been let through on trial, and quarantined once more, before its release.
    let released = loop {
        match next_event(&mut events).await {
            (_, Event::EntityQuarantined { .. }) => {}
            (_, other) => break other,
        }
    };
    assert!(
        matches!(&released, Event::EntityReleased { entity } if entity.key == "q"),
        "{released:?}"
    );
    let (last, event) = next_event(&mut events).await;
    assert!(matches!(event, Event::KindDeleted { .. }), "{event:?}");

    let list = get(&f.wire, "/v1/events?follow=false&limit=1").await.body;
    assert_eq!(list["events"][0]["id"], last);
    assert_eq!(list["events"][0]["type"], "kind_deleted");
    assert_eq!(get(&f.wire, "/v1/events?kind=a").await.code(), "bad_query");

    let resumed = resume(&f.node, quarantined);
    assert!(!resumed.contains("kind_deployed"), "{resumed}");
    let bad = [("last-event-id", "yesterday")];
    let refused = f.wire.send("GET", "/v1/events", &bad, "").await;
    assert_eq!(refused.code(), "bad_header");

    let stopped = tokio::task::spawn_blocking(move || f.node.stop());
    assert_eq!(next_event(&mut events).await.1, Event::NodeStopping);
    assert_eq!(next(&mut events).await, None);
    assert!(within(stopped).await.unwrap().success());
}

/// What comes after an event, up to the deletion of a kind, for a client that was cut off.
fn resume(node: &Node, after: u64) -> String {
    let address = node.api().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {after}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut read = String::new();
    let mut buffer = [0; 4096];
    while !read.contains("kind_deleted") {
        let bytes = stream.read(&mut buffer).unwrap();
        assert!(bytes > 0, "it ended: {read}");
        read += &String::from_utf8_lossy(&buffer[..bytes]);
    }
    assert!(read.contains("content-type: text/event-stream"), "{read}");
    read
}

#[tokio::test]
async fn metrics_count_what_was_called_and_name_no_key() {
    let f = fixture();
    for _ in 0..3 {
        f.wire
            .call("counter/secret-key/increment", r#"{"by": 1}"#)
            .await;
    }
    let full = r#"{"by": 18446744073709551615}"#;
    assert_eq!(
        f.wire
            .call("counter/secret-key/increment", full)
            .await
            .code(),
        "rejected"
    );
    f.wire.call("counter/secret-key/reset", "{}").await;
    f.wire.call("counter/secret-key/nothing", "{}").await;
    quarantine(&f.wire, "hostile/q").await;
    let settled = [
        "entia_calls_pending 0",
        "entia_entities_live 1",
        "entia_turn_duration_seconds_count{kind=\"counter\"} 5",
    ];
    let answer = get_once(&f.wire, "/metrics", |answer| {
        let text = answer.body.as_str().unwrap_or_default();
        let quarantined = !text.contains("entia_quarantines_total 0\n");
        let has = |line: &str| text.lines().any(|found| found == line);
        quarantined && settled.iter().all(|line| has(line))
    })
    .await;
    assert_eq!(
        answer.headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.body.as_str().unwrap();
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let line = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        line.trim().parse().unwrap()
    };
    assert_eq!(
        value(r#"entia_calls_total{kind="counter",outcome="ok"}"#),
        4.0
    );
    assert_eq!(
        value(r#"entia_calls_total{kind="counter",outcome="rejected"}"#),
        1.0
    );
    assert!(value(r#"entia_calls_total{kind="hostile",outcome="trapped"}"#) >= 5.0);
    assert!(value(r#"entia_calls_total{kind="hostile",outcome="quarantined"}"#) >= 1.0);
    assert_eq!(
        value(r#"entia_turn_duration_seconds_count{kind="counter"}"#),
        5.0
    );
    assert!(value(r#"entia_turn_duration_seconds_sum{kind="counter"}"#) > 0.0);
    assert!(value("entia_quarantines_total") >= 1.0);
    assert!(value("entia_activations_total") >= 6.0);
    assert!(value("entia_log_lines_total") >= 1.0);
    assert_eq!(value("entia_entities_live"), 1.0);
    assert_eq!(value("entia_entities_in_memory"), 2.0);
    assert_eq!(value("entia_calls_pending"), 0.0);
    assert_eq!(value("entia_kinds"), 2.0);
    assert_eq!(value("entia_store_failed"), 0.0);
    assert!(value("entia_store_commits_total") >= 4.0);
    assert!(value("entia_store_groups_total") >= 1.0);
    assert!(value(r#"entia_http_responses_total{class="2xx"}"#) >= 4.0);
    assert_eq!(value(r#"entia_http_responses_total{class="4xx"}"#), 2.0);
    assert!(value("process_resident_memory_bytes") > f64::from(1 << 20));
    assert!(value("process_open_fds") > 3.0);
    assert!(value("entia_uptime_seconds") > 0.0);
    assert!(text.contains("entia_build_info{version="));
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("secret-key"), "keys are no labels");
    assert_eq!(get(&f.wire, "/metrics?x=1").await.code(), "bad_query");
}

#[tokio::test]
async fn the_description_of_the_api_is_what_the_node_does() {
    let f = fixture();
    let document = get(&f.wire, "/openapi.json").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let increment = &paths["/v1/entities/counter/{key}/increment"]["post"];
    assert_eq!(
        increment["summary"],
        "Adds to the counter and returns its new value."
    );
    let served: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    for path in ["/metrics", "/healthz", "/v1/entities/{kind}/{key}/release"] {
        assert!(served.contains(path), "{path}");
    }
    let mut operations = Vec::new();
    for (path, described) in paths {
        for method in ["get", "put", "post", "patch", "delete"] {
            operations.push((method, path.as_str(), described.get(method)));
        }
    }
    // What deletes comes last, and entities before kinds.
    operations.sort_by_key(|(method, path, _)| (*method == "delete", !path.contains("{key}")));
    f.wire.call("counter/a/increment", r#"{"by": 1}"#).await;
    for (method, path, described) in operations {
        // The methods of the other guest do not answer: that is what it is for.
        if path.contains("/hostile/") {
            continue;
        }
        let answer = ask(&f.wire, method, path, "").await;
        let at = format!("{method} {path}: {} {}", answer.status, answer.body);
        let Some(described) = described else {
            assert_eq!(answer.status.as_u16(), 405, "{at}");
            continue;
        };
        assert_eq!(answer.status.as_u16(), 200, "{at}");
        check(&document, &described["responses"]["200"], &answer, &at);
        let refused = ask(&f.wire, method, path, "?nonsense=1").await;
        let at = format!("{method} {path}?nonsense=1: {}", refused.body);
        assert_eq!(refused.code(), "bad_query", "{at}");
        check(&document, &described["responses"]["default"], &refused, &at);
    }
}

/// A request that a path of the document describes.
async fn ask(wire: &Wire, method: &str, path: &str, query: &str) -> Answer {
    if path.ends_with("/rollback") && query.is_empty() {
        // So that there is a version before.
        let limits = "/v1/kinds/counter?limits.cpu_ms_max=200";
        let counter = std::fs::read(guest("counter")).unwrap();
        let deployed = wire.send("PUT", limits, &[], counter).await;
        assert_eq!(deployed.status, 200, "{deployed:?}");
    }
    let uri = path
        .replace("{kind}", "counter")
        .replace("{key}", "a")
        .replace("{method}", "value");
    let query = match (path, method, query) {
        ("/v1/events", _, "") => "?follow=false",
        ("/v1/kinds/{kind}", "delete", "") => "?with_entities=true",
        _ => query,
    };
    let body = if method == "put" && path.ends_with("/{kind}") && query.is_empty() {
        std::fs::read(guest("counter")).unwrap()
    } else if path.ends_with("/increment") {
        br#"{"by": 1}"#.to_vec()
    } else {
        Vec::new()
    };
    let method = method.to_uppercase();
    wire.send(&method, &format!("{uri}{query}"), &[], body)
        .await
}

/// Whether an answer is what the document says.
#[track_caller]
fn check(document: &Value, response: &Value, answer: &Answer, at: &str) {
    let content_type = answer.headers["content-type"].to_str().unwrap();
    let content = &response["content"][content_type];
    assert!(content.is_object(), "{content_type}, {at}");
    let mut schema = content["schema"].clone();
    // Where its references point to.
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(&answer.body) {
        panic!("{error}, {at}");
    }
}

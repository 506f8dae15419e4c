//! The command line, as a person meets it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Output;

use entia_tests::{NodeOptions, entia, guest};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_kind_is_deployed_called_inspected_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    let wasm = guest("counter").display().to_string();

    let deployed = out(&node.entia(["deploy", &wasm, "--durable"]));
    assert!(
        deployed.contains("counter version 1 (durable"),
        "{deployed}"
    );
    assert!(
        deployed.contains("entia call counter/"),
        "a ready-made call: {deployed}"
    );
    assert_eq!(
        out(&node.entia(["call", "counter/a", "increment", r#"{"by": 5}"#])).trim(),
        "5"
    );
    let keyed = [
        "call",
        "counter/a",
        "increment",
        r#"{"by": 5}"#,
        "--key",
        "k",
    ];
    assert_eq!(out(&node.entia(keyed)).trim(), "10");
    assert_eq!(
        out(&node.entia(keyed)).trim(),
        "10",
        "the same key takes effect once"
    );
    assert_eq!(
        out(&node.entia(["call", "counter/a", "value"])).trim(),
        "10"
    );

    let inspected = out(&node.entia(["inspect", "counter/a", "-o", "json"]));
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["activation"], "live");
    assert_eq!(inspected["kind_version"], 1);
    assert!(out(&node.entia(["entities", "--kind", "counter"])).contains("counter/a"));
    assert!(out(&node.entia(["kinds"])).contains("increment, value, reset"));
    assert!(out(&node.entia(["kinds", "show", "counter"])).contains("increment(by: integer)"));

    let refused = node.entia(["kinds", "delete", "counter", "--yes"]);
    assert!(!refused.status.success());
    assert!(
        err(&refused).contains("still has entities"),
        "{}",
        err(&refused)
    );
    assert!(
        node.entia(["entities", "delete", "counter/a", "--yes"])
            .status
            .success()
    );
    assert_eq!(
        out(&node.entia(["call", "counter/a", "value"])).trim(),
        "0",
        "a new entity"
    );
    assert!(
        node.entia(["kinds", "delete", "counter", "--with-entities", "--yes"])
            .status
            .success()
    );
    assert!(!out(&node.entia(["kinds"])).contains("counter"));
    // Another component under the name of one that is gone: its entities are new ones.
    node.deploy(&guest("entia_hostile"), &["--kind", "counter"]);
    assert_eq!(
        out(&node.entia(["call", "counter/a", "echo", r#"{"text": "new"}"#])).trim(),
        "\"new\""
    );
    assert!(node.stop().success());
}

#[test]
fn every_error_says_what_to_do_next_and_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    node.deploy(&guest("counter"), &[]);
    node.entia([
        "call",
        "counter/full",
        "increment",
        r#"{"by": 18446744073709551615}"#,
    ]);
    for (arguments, code, why) in [
        (
            vec!["call", "counter/full", "increment", r#"{"by": 1}"#],
            3,
            "the counter is full",
        ),
        (
            vec!["call", "counter/a", "inc"],
            4,
            "it has increment, value, reset",
        ),
        (vec!["call", "count/a", "inc"], 4, "there is counter"),
        (vec!["inspect", "counter/nobody"], 4, "there is no entity"),
        (
            vec!["call", "counter/a", "increment", r#"{"by": "x"}"#],
            5,
            "by",
        ),
        (vec!["call", "counter/a", "increment", "{"], 5, "JSON"),
        (vec!["call", "counter", "value"], 2, "KIND/KEY"),
        (vec!["deploy", "/nonexistent.wasm"], 1, "/nonexistent.wasm"),
        (vec!["frobnicate"], 2, "frobnicate"),
    ] {
        let output = node.entia(&arguments);
        let said = err(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
        if code != 2 {
            assert!(said.contains("next: "), "{arguments:?}: {said}");
        }
    }
    let nobody = node.entia(["--api", "http://127.0.0.1:1", "kinds"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(err(&nobody).contains("127.0.0.1:1"), "{}", err(&nobody));
}

#[test]
fn completions_are_written_for_the_common_shells() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&node.entia(["completions", shell]));
        for command in ["entia", "deploy", "dev", "doctor", "send"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn a_node_refuses_a_directory_that_another_one_has_and_settings_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(&dir.path().join("data"));
    let node = options.start();
    let second = options.refused();
    assert!(!second.status.success());
    assert!(err(&second).contains("data"), "{}", err(&second));
    drop(node);

    let unknown = options.clone().config("[tuning]\nwrokers = 3\n").refused();
    assert!(err(&unknown).contains("wrokers"), "{}", err(&unknown));
    let outside = options.flag("--http").flag("0.0.0.0:0").refused();
    assert!(!outside.status.success(), "{}", err(&outside));
}

#[test]
fn memory_kinds_keep_their_state_across_a_stop_and_lose_it_in_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(dir.path());
    let node = options.start();
    node.deploy(&guest("counter"), &[]);
    node.entia(["call", "counter/a", "increment", r#"{"by": 5}"#]);
    assert!(node.stop().success());

    let node = options.start();
    assert_eq!(
        out(&node.entia(["call", "counter/a", "increment", r#"{"by": 1}"#])).trim(),
        "6"
    );
    node.kill();

    let node = options.start();
    assert_eq!(
        out(&node.entia(["call", "counter/a", "value"])).trim(),
        "5",
        "as of the stop"
    );
    assert!(node.stop().success());
}

#[test]
fn a_message_is_accepted_and_takes_effect_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeOptions::new(dir.path()).start();
    node.deploy(&guest("counter"), &[]);
    let message = [
        "send",
        "counter/a",
        "increment",
        r#"{"by": 5}"#,
        "--key",
        "k",
    ];
    for _ in 0..2 {
        let sent = node.entia(message);
        assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
        assert_eq!(out(&sent).trim(), "accepted, with the key k");
    }
    let sent = node.entia([
        "send",
        "counter/a",
        "increment",
        r#"{"by": 1}"#,
        "-o",
        "json",
    ]);
    let sent: serde_json::Value = serde_json::from_str(&out(&sent)).unwrap();
    assert_eq!(sent["accepted"], true);
    assert!(
        sent["key"].as_str().is_some_and(|key| !key.is_empty()),
        "{sent}"
    );
    // A call comes after the messages that the entity has accepted before it.
    let value = node.entia(["call", "counter/a", "value"]);
    assert_eq!(out(&value).trim(), "6");

    let refused = node.entia(["send", "counter/a", "frobnicate"]);
    assert_eq!(refused.status.code(), Some(4), "{}", err(&refused));
}

#[test]
fn the_doctor_looks_at_the_node_and_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = NodeOptions::new(&data).start();
    let data = data.to_str().unwrap();
    let finding = |report: &Output, check: &str| {
        let report: serde_json::Value = serde_json::from_str(&out(report)).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("{check}: {report}")).clone()
    };
    let report = node.entia(["doctor", "-o", "json", "--data-dir", data]);
    assert_eq!(report.status.code(), Some(0), "{}", out(&report));
    for check in [
        "rust",
        "target",
        "node",
        "version",
        "store",
        "artifacts",
        "clock",
    ] {
        assert_eq!(finding(&report, check)["status"], "ok", "{check}");
    }
    let message = finding(&report, "store")["message"].to_string();
    assert!(message.contains("open in a running node"), "{message}");
    let lines = out(&node.entia(["doctor"]));
    assert!(lines.contains("ok    node"), "{lines}");
    assert!(!lines.contains("store"), "no directory was named: {lines}");

    let api = node.api().to_owned();
    assert!(node.stop().success());
    let report = std::process::Command::new(entia())
        .args(["doctor", "--api", &api, "-o", "json", "--data-dir", data])
        .output()
        .unwrap();
    assert_eq!(report.status.code(), Some(1), "{}", err(&report));
    assert_eq!(finding(&report, "node")["status"], "fail");
    let message = finding(&report, "store")["message"].to_string();
    assert!(message.contains("no node has open"), "{message}");
}

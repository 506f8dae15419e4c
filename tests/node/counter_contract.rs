//! A counter is the same counter in any language: what callers and operators see of it over HTTP, through passivation,
//! restart and kill -9.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use entia_tests::{Answer, Node, NodeOptions, Wire, guest};
use serde_json::{Value, json};

#[tokio::test]
async fn a_counter_in_rust_is_the_counter() {
    check("counter").await;
}

#[tokio::test]
async fn a_counter_in_javascript_is_the_counter() {
    check("counter-js").await;
}

/// One kind of counter on one node. Each check has an entity of its own.
struct Counter {
    node: Node,
    wire: Wire,
    kind: &'static str,
}

/// Everything on one data directory: a large component compiles for a while, and once.
async fn check(kind: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(&dir.path().join("data")).config("[tuning]\nidle_ms = 200\n");
    let start = || Counter::on(options.start(), kind);

    let counter = start();
    // The default limits are enough for every language; that of time is elapsed time, and this machine may be busy.
    let flags = ["--durable", "--limit", "cpu_ms_max=5000"];
    counter.node.deploy(&guest(kind), &flags);
    counter.describes_itself().await;
    counter.counts().await;
    counter.takes_a_command_with_a_key_once("keyed").await;
    counter.refuses_what_does_not_fit().await;
    counter.is_never_called_with_bad_arguments().await;
    counter.logs_what_a_reset_loses().await;
    counter.keeps_its_value_when_it_leaves_memory().await;

    counter.adds("stopped", 3, 3).await;
    assert!(counter.node.stop().success());
    let counter = start();
    counter.adds("stopped", 4, 7).await;
    counter.takes_a_command_with_a_key_once("keyed").await;

    counter.adds("killed", 5, 5).await;
    counter.node.kill();
    let counter = start();
    counter.adds("killed", 6, 11).await;
    assert_eq!(counter.shown("killed").await["failures"], 0);
}

impl Counter {
    fn on(node: Node, kind: &'static str) -> Self {
        Self {
            wire: node.wire(),
            node,
            kind,
        }
    }

    async fn call(&self, path: &str, arguments: &str) -> Answer {
        let path = format!("{}/{path}", self.kind);
        self.wire.call(&path, arguments).await
    }

    async fn shown(&self, key: &str) -> Value {
        let path = format!("/v1/entities/{}/{key}", self.kind);
        self.wire.send("GET", &path, &[], "").await.body
    }

    async fn adds(&self, key: &str, by: u64, to: u64) {
        let arguments = json!({ "by": by }).to_string();
        let answer = self.call(&format!("{key}/increment"), &arguments).await;
        assert_value(&answer, to);
    }

    async fn describes_itself(&self) {
        let path = format!("/v1/kinds/{}", self.kind);
        let described = self.wire.send("GET", &path, &[], "").await.body;
        assert_eq!(described["name"], self.kind);
        assert_eq!(described["doc"], "A number that is added to.");
        assert_eq!(described["schema_version"], 1);
        assert_eq!(described["methods"], methods());
    }

    async fn counts(&self) {
        assert_value(&self.call("a/value", "").await, 0);
        self.adds("a", 5, 5).await;
        self.adds("a", 0, 5).await;
        self.adds("a", 300, 305).await;
        // Beyond what a float says exactly.
        self.adds("a", (1 << 53) + 1, (1 << 53) + 306).await;
        assert_value(&self.call("a/value", "{}").await, (1 << 53) + 306);
        self.adds("b", 1, 1).await;
        assert_value(&self.call("a/reset", "").await, (1 << 53) + 306);
        assert_value(&self.call("a/value", "").await, 0);
        assert_value(&self.call("b/value", "").await, 1);
    }

    async fn takes_a_command_with_a_key_once(&self, key: &str) {
        let path = format!("/v1/entities/{}/{key}/increment", self.kind);
        let headers = [("idempotency-key", "order-7")];
        for _ in 0..2 {
            let answer = self
                .wire
                .send("POST", &path, &headers, r#"{"by": 7}"#)
                .await;
            assert_value(&answer, 7);
        }
        assert_value(&self.call(&format!("{key}/value"), "").await, 7);
        let other = self
            .wire
            .send("POST", &path, &headers, r#"{"by": 8}"#)
            .await;
        assert_eq!((other.status.as_u16(), other.code()), (422, "key_reused"));
    }

    async fn refuses_what_does_not_fit(&self) {
        self.adds("full", 5, 5).await;
        let most = json!({ "by": u64::MAX }).to_string();
        let refused = self.call("full/increment", &most).await;
        assert_eq!(refused.status.as_u16(), 422, "{:?}", refused.body);
        assert_eq!(refused.code(), "rejected");
        let rejection = json!({
            "code": "full",
            "message": "the counter is full: 18446744073709551610 can still be added",
            "data": {"Full": {"left": u64::MAX - 5}},
        });
        assert_eq!(refused.body["error"]["rejection"], rejection);
        assert_value(&self.call("full/value", "").await, 5);
        self.adds("full", u64::MAX - 5, u64::MAX).await;
        assert_eq!(self.shown("full").await["failures"], 0, "it is an answer");
    }

    async fn is_never_called_with_bad_arguments(&self) {
        for arguments in [
            "{}",
            r#"{"by": "1"}"#,
            r#"{"by": -1}"#,
            r#"{"by": 1.5}"#,
            r#"{"by": 18446744073709551616}"#,
            r#"{"by": 1, "more": 1}"#,
        ] {
            let answer = self.call("bad/increment", arguments).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (400, "bad_arguments"),
                "{arguments}: {:?}",
                answer.body
            );
            assert!(answer.is_well_formed_error());
        }
        let unknown = self.call("bad/decrement", "{}").await;
        assert_eq!(
            (unknown.status.as_u16(), unknown.code()),
            (404, "unknown_method")
        );
        assert_value(&self.call("bad/value", "").await, 0);
    }

    async fn logs_what_a_reset_loses(&self) {
        self.adds("logged", 42, 42).await;
        assert_value(&self.call("logged/reset", "").await, 42);
        let entity = format!("{}/logged", self.kind);
        let is_there = || {
            let log = self.node.log();
            let mut lines = log.lines();
            lines.any(|line| line.contains("reset from 42") && line.contains(&entity))
        };
        wait_until("the reset's line in the node's log", async || is_there()).await;
    }

    async fn keeps_its_value_when_it_leaves_memory(&self) {
        self.adds("idle", 9, 9).await;
        wait_until("the idle counter's passivation", async || {
            self.shown("idle").await["activation"] == "cold"
        })
        .await;
        self.adds("idle", 1, 10).await;
    }
}

#[track_caller]
fn assert_value(answer: &Answer, value: u64) {
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_u64()),
        (200, Some(value)),
        "{:?}",
        answer.body
    );
}

async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "30 s passed without {what}"
        );
        tokio::task::yield_now().await;
    }
}

/// The methods, as the node shows them.
fn methods() -> Value {
    let number = json!({"type": "integer", "format": "uint64", "minimum": 0});
    let nothing = json!({
        "type": "object", "properties": {}, "required": [], "additionalProperties": false,
    });
    let left = json!({
        "type": "integer", "format": "uint64", "minimum": 0,
        "description": "What can still be added.",
    });
    json!([
        {
            "name": "increment",
            "doc": "Adds to the counter and returns its new value.",
            "query": false,
            "arguments": {
                "type": "object",
                "properties": {"by": number},
                "required": ["by"],
                "additionalProperties": false,
            },
            "result": number,
            "rejection": {
                "description":
                    "Why the counter refuses. The variant, in snake case, is the code that a caller sees.",
                "oneOf": [{
                    "description": "The value would be greater than the greatest number.",
                    "type": "object",
                    "properties": {
                        "Full": {"type": "object", "properties": {"left": left}, "required": ["left"]},
                    },
                    "required": ["Full"],
                    "additionalProperties": false,
                }],
            },
        },
        {
            "name": "value",
            "doc": "The current value.",
            "query": true,
            "arguments": nothing,
            "result": number,
        },
        {
            "name": "reset",
            "doc": "Sets the counter to 0 and returns the value that it had.",
            "query": false,
            "arguments": nothing,
            "result": number,
        },
    ])
}

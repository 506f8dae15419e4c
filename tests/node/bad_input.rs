//! Whatever comes in over HTTP ends in a documented error of the one shape, within its deadline, and the node goes on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use entia_tests::{Node, NodeOptions, Wire, assert_error, guest};
use hyper::body::Bytes;

/// A node with both guests, and its client.
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

#[tokio::test]
async fn unknown_names_are_answered_with_those_that_exist() {
    let f = fixture();
    assert_error(
        &f.wire.call("count/a/increment", "{}").await,
        404,
        "unknown_kind",
        "counter, hostile",
    );
    assert_error(
        &f.wire.call("counter/a/inc", "{}").await,
        404,
        "unknown_method",
        "increment, value, reset",
    );
    let unknown = f
        .wire
        .call("counter/a/increment", r#"{"by": 1, "bye": 2}"#)
        .await;
    assert_error(&unknown, 400, "bad_arguments", "`bye`");
    assert_error(
        &f.wire.call("counter/a/increment", "{}").await,
        400,
        "bad_arguments",
        "`by`",
    );
    let nobody = f
        .wire
        .send("GET", "/v1/entities/counter/nobody", &[], "")
        .await;
    assert_error(&nobody, 404, "unknown_entity", "counter/nobody");
    assert_error(
        &f.wire.send("GET", "/v1/kinds/nothing", &[], "").await,
        404,
        "unknown_kind",
        "nothing",
    );
    assert_error(
        &f.wire.send("GET", "/v2", &[], "").await,
        404,
        "not_found",
        "/v2",
    );
    let wrong = f
        .wire
        .send("GET", "/v1/entities/counter/a/increment", &[], "")
        .await;
    assert_error(&wrong, 405, "method_not_allowed", "POST");
    assert_eq!(wrong.headers["allow"], "POST");
    assert_error(
        &f.wire.send("POST", "/healthz", &[], "").await,
        405,
        "method_not_allowed",
        "GET",
    );
}

#[tokio::test]
async fn arguments_of_wrong_type_or_range_are_named() {
    let f = fixture();
    for (arguments, why) in [
        (r#"{"by": "1"}"#, "by"),
        (r#"{"by": -1}"#, "-1"),
        (r#"{"by": 1.5}"#, "by"),
        (r#"{"by": 1.0}"#, "by"),
        (r#"{"by": 1e3}"#, "by"),
        (r#"{"by": 18446744073709551616}"#, "too large"),
        (r#"{"by": null}"#, "by"),
        (r#"{"by": [1]}"#, "by"),
        (r#"{"by": true}"#, "by"),
    ] {
        assert_error(
            &f.wire.call("counter/a/increment", arguments).await,
            400,
            "bad_arguments",
            why,
        );
    }
    // The largest that fits is exact.
    let most = f
        .wire
        .call("counter/most/increment", r#"{"by": 18446744073709551615}"#)
        .await;
    assert_eq!(most.body.as_u64(), Some(u64::MAX));
    let value = f.wire.call("counter/a/value", "{}").await;
    assert_eq!(value.body.as_u64(), Some(0), "nothing of all this ran");
}

#[tokio::test]
async fn what_is_not_json_or_too_much_of_it_is_refused() {
    let f = fixture();
    let deep = format!(
        r#"{{"by": {}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for bad in [
        "{",
        "{}}",
        "nonsense",
        "[1]",
        "1",
        "\"text\"",
        r#"{"by": 1, "by": 2}"#,
        r#"{"by": NaN}"#,
        &deep,
        "\u{0}",
    ] {
        let answer = f.wire.call("counter/a/increment", bad).await;
        let start: String = bad.chars().take(20).collect();
        assert_eq!(answer.status.as_u16(), 400, "{start}: {:?}", answer.body);
        assert!(
            ["bad_json", "bad_arguments"].contains(&answer.code()),
            "{start}: {:?}",
            answer.body
        );
        assert!(answer.is_well_formed_error());
    }
    let invalid = f
        .wire
        .send(
            "POST",
            "/v1/entities/counter/a/increment",
            &[],
            vec![b'{', 0xff, b'}'],
        )
        .await;
    assert_error(&invalid, 400, "bad_json", "");
    let huge = format!(r#"{{"by": {}1}}"#, " ".repeat(8 << 20));
    assert_error(
        &f.wire.call("counter/a/increment", &huge).await,
        413,
        "too_large",
        "2097152",
    );
    assert_eq!(
        f.wire
            .call("counter/a/increment", r#"{"by": 1}"#)
            .await
            .body
            .as_u64(),
        Some(1)
    );
}

#[tokio::test]
async fn keys_are_opaque_and_bounded() {
    let f = fixture();
    // Whatever a key looks like, it is a key: it names no file, and other keys are others.
    for key in [
        "..",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "a%2Fb",
        "%F0%9F%A6%80",
        "%00",
        "...",
        "C:%5Ctmp",
    ] {
        let answer = f
            .wire
            .call(&format!("counter/{key}/increment"), r#"{"by": 1}"#)
            .await;
        assert_eq!(answer.body.as_u64(), Some(1), "{key}: {:?}", answer.body);
    }
    let longest = "k".repeat(512);
    assert_eq!(
        f.wire
            .call(&format!("counter/{longest}/increment"), r#"{"by": 1}"#)
            .await
            .body
            .as_u64(),
        Some(1)
    );
    let too_long = f
        .wire
        .call(&format!("counter/k{longest}/increment"), r#"{"by": 1}"#)
        .await;
    assert_error(&too_long, 400, "bad_path", "513");
    assert_error(
        &f.wire.call("counter/%FF%FE/increment", "{}").await,
        400,
        "bad_path",
        "UTF-8",
    );
    assert_error(
        &f.wire.call("counter/%zz/increment", "{}").await,
        400,
        "bad_path",
        "%zz",
    );
    assert_error(
        &f.wire.call("counter//increment", "{}").await,
        400,
        "bad_path",
        "empty",
    );
    assert_error(
        &f.wire.call("../a/increment", "{}").await,
        400,
        "bad_path",
        "..",
    );
    assert_error(
        &f.wire.call("counter/a/b/c", "{}").await,
        400,
        "bad_path",
        "",
    );
}

#[tokio::test]
async fn headers_and_parameters_are_checked() {
    let f = fixture();
    let path = "/v1/entities/counter/a/increment";
    let by = r#"{"by": 1}"#;
    for (headers, status, code) in [
        ([("origin", "http://evil.example")], 400, "bad_header"),
        ([("idempotency-key", "")], 400, "bad_header"),
        ([("idempotency-key", &*"k".repeat(257))], 413, "too_large"),
        ([("idempotency-key", "\u{e9}")], 400, "bad_header"),
        ([("entia-deadline-ms", "0")], 400, "bad_header"),
        ([("entia-deadline-ms", "-5")], 400, "bad_header"),
        ([("entia-deadline-ms", "soon")], 400, "bad_header"),
        (
            [("entia-deadline-ms", "99999999999999999999")],
            400,
            "bad_header",
        ),
    ] {
        assert_error(
            &f.wire.send("POST", path, &headers, by).await,
            status,
            code,
            "",
        );
    }
    assert_error(
        &f.wire
            .send("POST", &format!("{path}?mode=sned"), &[], by)
            .await,
        400,
        "bad_query",
        "mode",
    );
    assert_error(
        &f.wire.send("GET", "/v1/entities?limit=many", &[], "").await,
        400,
        "bad_query",
        "limit",
    );
    assert_error(
        &f.wire.send("GET", "/v1/entities?cursor=%00", &[], "").await,
        400,
        "bad_query",
        "cursor",
    );
    assert_error(
        &f.wire
            .send("PUT", "/v1/kinds/x?durability=very", &[], "")
            .await,
        400,
        "bad_query",
        "durability",
    );
    assert_error(
        &f.wire
            .send("PUT", "/v1/kinds/x?limits.cpu_ms_max=0", &[], "")
            .await,
        400,
        "bad_query",
        "cpu_ms_max",
    );
    assert_error(
        &f.wire.send("PUT", "/v1/kinds/Bad", &[], "").await,
        400,
        "bad_path",
        "Bad",
    );
    assert_eq!(
        f.wire.call("counter/a/value", "").await.body.as_u64(),
        Some(0)
    );
}

#[tokio::test]
async fn components_that_are_not_ours_are_refused_with_the_reason() {
    let f = fixture();
    let whole = std::fs::read(guest("counter")).unwrap();
    for (bytes, status, code, why) in [
        (vec![], 422, "component_refused", "0 bytes"),
        (
            b"#!/bin/sh".to_vec(),
            422,
            "component_refused",
            "not WebAssembly",
        ),
        (
            b"\0asm\x01\0\0\0".to_vec(),
            422,
            "component_refused",
            "core WebAssembly module",
        ),
        (
            whole[..whole.len() / 2].to_vec(),
            422,
            "component_refused",
            "not valid",
        ),
        (vec![0; 200 << 20], 413, "too_large", "67108864"),
    ] {
        let answer = f.wire.send("PUT", "/v1/kinds/other", &[], bytes).await;
        assert_error(&answer, status, code, why);
    }
    let endless = std::fs::read(guest("entia_undescribable")).unwrap();
    let answer = f.wire.send("PUT", "/v1/kinds/other", &[], endless).await;
    assert_error(&answer, 422, "component_refused", "1000 ms in describe");
    let changed = f
        .wire
        .send("PUT", "/v1/kinds/counter?durability=memory", &[], whole)
        .await;
    assert_error(&changed, 409, "kind_exists_differently", "counter");
    f.wire.call("counter/a/increment", r#"{"by": 1}"#).await;
    assert_error(
        &f.wire.send("DELETE", "/v1/kinds/counter", &[], "").await,
        409,
        "kind_in_use",
        "counter",
    );
    assert_eq!(
        f.wire.call("counter/a/value", "").await.body.as_u64(),
        Some(1),
        "it is open again"
    );
}

#[tokio::test]
async fn who_is_refused_before_the_body_is_read_still_sees_why() {
    let f = fixture();
    // More than the kernels hold between them, so that the client still writes when the answer is known.
    let body = Bytes::from(vec![0; 32 << 20]);
    let long = "k".repeat(257);
    for (method, path, header, status, code) in [
        (
            "PUT",
            "/v1/kinds/other?plan=perhaps",
            ("a", "b"),
            400,
            "bad_query",
        ),
        ("PUT", "/v1/kinds/Not-A-Name", ("a", "b"), 400, "bad_path"),
        (
            "PUT",
            "/v1/kinds/other",
            ("origin", "http://a.example"),
            400,
            "bad_header",
        ),
        (
            "PATCH",
            "/v1/kinds/other",
            ("a", "b"),
            405,
            "method_not_allowed",
        ),
        ("POST", "/nowhere", ("a", "b"), 404, "not_found"),
        (
            "POST",
            "/v1/entities/counter/a/increment",
            ("idempotency-key", &*long),
            413,
            "too_large",
        ),
    ] {
        for _ in 0..5 {
            let answer = f.wire.send(method, path, &[header], body.clone()).await;
            assert_error(&answer, status, code, "");
        }
    }
}

#[tokio::test]
async fn a_deadline_is_kept_while_the_entity_is_held() {
    let f = fixture();
    let wire = f.wire.clone();
    let limits = "/v1/kinds/slow?limits.cpu_ms_max=3000";
    let deployed = wire
        .send(
            "PUT",
            limits,
            &[],
            std::fs::read(guest("entia_hostile")).unwrap(),
        )
        .await;
    assert_eq!(deployed.status.as_u16(), 200, "{:?}", deployed.body);
    let deadline = [("entia-deadline-ms", "100")];
    let spinning = tokio::spawn({
        let wire = wire.clone();
        async move {
            wire.send("POST", "/v1/entities/slow/a/spin", &deadline, "{}")
                .await
        }
    });
    let answer = spinning.await.unwrap();
    assert_error(&answer, 504, "deadline_exceeded", "while the call ran");
    assert_eq!(answer.body["error"]["may_have_run"], true);
    let began = Instant::now();
    let answer = wire
        .send(
            "POST",
            "/v1/entities/slow/a/increment",
            &deadline,
            r#"{"by": 1}"#,
        )
        .await;
    assert_error(&answer, 504, "deadline_exceeded", "before the call began");
    assert_eq!(answer.body["error"]["may_have_run"], false);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn bytes_that_are_not_http_end_their_own_connection_only() {
    let f = fixture();
    let address = f.node.api().strip_prefix("http://").unwrap().to_owned();
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        &[0xff; 4096],
        b"POST /v1/entities/counter/a/increment HTTP/1.1\r\nContent-Length: 18446744073709551617\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // Closed by the node, with or without a 400.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{answer:?}"
        );
    }
    let head = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let mut stream = TcpStream::connect(&address).unwrap();
    let _ = stream.write_all(head.as_bytes());
    let mut answer = [0; 12];
    let _ = stream.read(&mut answer);
    assert_ne!(&answer, b"HTTP/1.1 200");
    assert_eq!(
        f.wire
            .send("GET", "/healthz", &[], "")
            .await
            .status
            .as_u16(),
        200
    );
}

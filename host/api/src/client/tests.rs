use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use http::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::ApiError;
use entia_protocol::CallError;

/// A node that gives one answer to everything and keeps what it was asked.
struct Canned {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Canned {
    async fn new(status: u16, answer: impl Into<Bytes>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (answer.into(), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, kept) = (answer.clone(), kept.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, kept) = (answer.clone(), kept.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        kept.lock().unwrap().push(Seen {
                            line: format!("{} {}", head.method, head.uri),
                            headers: head.headers,
                            body,
                        });
                        let mut response = Response::new(Full::new(answer));
                        *response.status_mut() = StatusCode::from_u16(status).unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, seen }
    }

    fn client(&self) -> Client {
        Client::new(&self.url).unwrap()
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

fn entity(key: &str) -> EntityId {
    EntityId::new(KindName::new("counter").unwrap(), key).unwrap()
}

#[tokio::test]
async fn a_call_arrives_as_it_was_meant() {
    let node = Canned::new(200, "18446744073709551615").await;
    let options = CallOptions {
        idempotency_key: Some("order-7".to_owned()),
        deadline_ms: Some(250),
    };
    let result = node
        .client()
        .call(&entity("../a b"), "increment", r#"{"by": 1}"#, &options)
        .await
        .unwrap();
    assert_eq!(result, "18446744073709551615");
    let seen = node.seen();
    assert_eq!(seen.line, "POST /v1/entities/counter/..%2Fa%20b/increment");
    assert_eq!(seen.headers["idempotency-key"], "order-7");
    assert_eq!(seen.headers["entia-deadline-ms"], "250");
    assert_eq!(seen.body, r#"{"by": 1}"#);
}

#[tokio::test]
async fn a_message_is_a_call_that_is_not_waited_for() {
    let node = Canned::new(202, r#"{"accepted": true, "key": "order-7"}"#).await;
    let client = node.client();
    let arguments = r#"{"by": 1}"#;
    let to = entity("a b");
    let sent = client.send(&to, "increment", arguments, Some("order-7"));
    let accepted = SentBody {
        accepted: true,
        key: "order-7".to_owned(),
    };
    assert_eq!(sent.await.unwrap(), accepted);
    let seen = node.seen();
    let line = "POST /v1/entities/counter/a%20b/increment?mode=send";
    assert_eq!(seen.line, line);
    assert_eq!(seen.headers["idempotency-key"], "order-7");
    assert_eq!(seen.body, arguments);

    let sent = client.send(&to, "increment", arguments, None);
    sent.await.unwrap();
    assert!(!node.seen().headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn dots_arrive_unresolved() {
    let node = Canned::new(204, "").await;
    node.client().delete_entity(&entity("..")).await.unwrap();
    assert_eq!(node.seen().line, "DELETE /v1/entities/counter/..");
}

#[tokio::test]
async fn a_nodes_error_comes_through_whole() {
    let error = ApiError::from(CallError::Overloaded {
        queue: "the mailbox of counter/a".to_owned(),
        retry_after_ms: 40,
    });
    let body = serde_json::to_vec(&ErrorBody::from(&error)).unwrap();
    let node = Canned::new(429, body).await;
    let refused = node.client().inspect(&entity("a")).await.unwrap_err();
    assert_eq!(refused.code(), "overloaded");
    assert_eq!(refused.to_string(), "the mailbox of counter/a is full");
    assert_eq!(refused.hint(), error.hint());
    assert!(!refused.may_have_run());
    let ClientError::Api { status, body } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(status, 429);
    assert_eq!(body.error.retry_after_ms, Some(40));
}

#[tokio::test]
async fn what_is_no_node_is_said_to_be_none() {
    for (status, answer) in [(200, "<html>"), (502, "Bad gateway"), (404, "{}")] {
        let node = Canned::new(status, answer).await;
        let error = node.client().health().await.unwrap_err();
        assert_eq!(error.code(), "protocol", "{status}");
        assert!(error.to_string().contains(&node.url), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_nothing_ran() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(&url).unwrap();
    let error = client
        .call(&entity("a"), "value", "{}", &CallOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(!error.may_have_run());
    assert_eq!(
        error.to_string(),
        format!("the node at {url} cannot be reached")
    );
    assert!(error.hint().contains("entia node"), "{}", error.hint());
}

#[tokio::test]
async fn a_connection_that_breaks_may_have_carried_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncReadExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
    });
    let client = Client::new(&url).unwrap();
    let error = client
        .call(&entity("a"), "value", "{}", &CallOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(error.may_have_run());
}

#[tokio::test]
async fn a_component_is_streamed_and_its_progress_told() {
    let node = Canned::new(200, "{}").await;
    let mut file = tempfile::tempfile().unwrap();
    let component = vec![7; 200_000];
    file.write_all(&component).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let told = Arc::new(Mutex::new(0));
    let teller = told.clone();
    let kind = KindName::new("counter").unwrap();
    let options = DeployOptions::parse("durability=durable").unwrap();
    let file = tokio::fs::File::from_std(file);
    let client = node.client();
    let deployed = client.deploy(&kind, file, &options, move |bytes| {
        *teller.lock().unwrap() += bytes;
    });
    // The canned answer is none; what counts is what arrived.
    assert_eq!(deployed.await.unwrap_err().code(), "protocol");
    let seen = node.seen();
    assert_eq!(seen.line, "PUT /v1/kinds/counter?durability=durable");
    assert_eq!(seen.headers["content-length"], "200000");
    assert_eq!(seen.body, component);
    assert_eq!(*told.lock().unwrap(), 200_000);
}

#[test]
fn a_url_that_is_none_is_refused_with_the_reason() {
    for (url, why) in [
        ("127.0.0.1:7070", "http://"),
        ("https://a:1", "http://"),
        ("http://a:1/v1", "goes on after the port"),
        ("http://", "not the URL"),
        ("", "not the URL"),
        ("http://a b", "not the URL"),
    ] {
        let message = Client::new(url).unwrap_err().to_string();
        assert!(message.contains(why), "{url}: {message}");
    }
    assert_eq!(
        Client::new("http://[::1]:7070/").unwrap().url(),
        "http://[::1]:7070"
    );
}

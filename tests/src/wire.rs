use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Sends requests as they are written, for what our own client would not send.
#[derive(Debug, Clone)]
pub struct Wire {
    base: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, if it is JSON; else the text as a JSON string.
    pub body: Value,
}

impl Wire {
    pub(crate) fn new(base: &str) -> Self {
        let http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self {
            base: base.to_owned(),
            http,
        }
    }

    /// Sends a request with a raw path and headers.
    ///
    /// # Panics
    /// If there is no HTTP response at all.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body.into()))
            .expect("the test's request is valid");
        let response = self.http.request(request).await.expect("the node answers");
        let (parts, body) = response.into_parts();
        let bytes = body
            .collect()
            .await
            .expect("the node's answer arrives whole")
            .to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Calls a method: `path` is `kind/key/method`.
    pub async fn call(&self, path: &str, arguments: &str) -> Answer {
        self.send(
            "POST",
            &format!("/v1/entities/{path}"),
            &[],
            arguments.to_owned(),
        )
        .await
    }
}

impl Answer {
    /// The error's code; empty if it is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }

    /// The error's message.
    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or("")
    }

    /// Whether it is an error of the one shape: every field there, and of its type.
    pub fn is_well_formed_error(&self) -> bool {
        let error = &self.body["error"];
        ["code", "message", "hint"]
            .iter()
            .all(|field| error[*field].as_str().is_some_and(|text| !text.is_empty()))
            && error["may_have_run"].is_boolean()
    }
}

/// Sees that an answer is an error of the one shape, and which.
///
/// # Panics
/// If it is not.
#[track_caller]
pub fn assert_error(answer: &Answer, status: u16, code: &str, in_message: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (status, code),
        "{:?}",
        answer.body
    );
    assert!(
        answer.message().contains(in_message),
        "{in_message:?} is not in {:?}",
        answer.message()
    );
    assert!(answer.is_well_formed_error(), "{:?}", answer.body);
}

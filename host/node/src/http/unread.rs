//! Reads what a handler left of a request before its answer goes out.
//!
//! Most clients write their whole request before they look for an answer. A server that refuses early and closes the connection
//! on them makes their kernel throw the answer away, and they see a broken connection instead of the reason (RFC 9112, 9.6).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// What is left is waited for this long from one piece to the next, and a client that is as slow does not see its answer.
const PIECE_PATIENCE: Duration = Duration::from_secs(1);
/// And this long in all.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the handler, and then reads what it left of the body.
///
/// A client that asked before it sends its body (`Expect: 100-continue`) waits for the answer and has sent nothing yet.
pub(super) async fn read_to_the_end(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (unread, mut left) = oneshot::channel();
    let request = request.map(|body| {
        Body::new(Lent {
            body: Some(body),
            unread: Some(unread),
        })
    });
    let response = next.run(request).await;
    if let Ok(body) = left.try_recv() {
        // Out of time, the connection is closed on it after all.
        let _ = tokio::time::timeout(PATIENCE, throw_away(body)).await;
    }
    response
}

async fn throw_away(mut body: Body) {
    while let Ok(Some(Ok(_piece))) = tokio::time::timeout(PIECE_PATIENCE, body.frame()).await {}
}

/// A body that comes back if it is dropped before its end.
struct Lent {
    /// None once it came back.
    body: Option<Body>,
    unread: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take(), self.unread.take())
            && !body.is_end_stream()
        {
            // Who asked for it may be gone with the connection.
            let _ = unread.send(body);
        }
    }
}

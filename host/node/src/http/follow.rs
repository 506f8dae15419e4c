//! Lists and streams of what the node remembers: its last log lines and events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use entia_api::ApiError;
use entia_api::body::{LINES_DEFAULT, MissedBody};
use entia_protocol::CallError;
use serde::Serialize;
use tokio::sync::watch;

use super::respond::Answered;
use super::{Api, header};
use crate::observe::{Filter, Follower, Item, Ring, Start};

/// Where a request begins to read, and the most that it wants at once: after the item that its header or parameter names,
/// or with the last.
pub(super) fn start(
    request: &Request,
    cursor: Option<u64>,
    limit: Option<u32>,
) -> Result<(Start, usize), ApiError> {
    let limit = limit.unwrap_or(LINES_DEFAULT) as usize;
    let last = header(request, LAST_EVENT_ID)?.map(|id| {
        id.parse().map_err(|_| ApiError::BadHeader {
            name: LAST_EVENT_ID.to_owned(),
            message: "it is not an id that a stream gave".to_owned(),
        })
    });
    let after = last.transpose()?.or(cursor);
    Ok((after.map_or(Start::Last(limit), Start::After), limit))
}

/// Answers with a stream that goes on until the client or the node goes.
pub(super) fn stream<T: Item + Serialize>(
    api: &Api,
    ring: &Arc<Ring<T>>,
    filter: Filter<T>,
    start: Start,
) -> Answered {
    let follower = ring
        .follow(filter, start)
        .map_err(|_too_many| CallError::Overloaded {
            queue: "the number of those who follow".to_owned(),
            retry_after_ms: FOLLOW_RETRY_MS,
        })?;
    let streaming = Streaming {
        follower,
        stopped: api.stopped.clone(),
        ready: VecDeque::new(),
        ended: false,
    };
    let stream = futures_util::stream::unfold(streaming, Streaming::next);
    // Sent while nothing happens, so that both ends notice when the other is gone.
    let alive = KeepAlive::new().interval(ALIVE_EVERY);
    Ok(Sse::new(stream).keep_alive(alive).into_response())
}

/// A stream on its way to a client. It looks at the ring again only when the client has taken what it was given.
struct Streaming<T: Item> {
    follower: Follower<T>,
    stopped: watch::Receiver<bool>,
    ready: VecDeque<Result<Event, axum::Error>>,
    ended: bool,
}

impl<T: Item + Serialize> Streaming<T> {
    async fn next(mut self) -> Option<(Result<Event, axum::Error>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            if self.ended {
                return None;
            }
            let stopped = async {
                // The node is dropped only after it has stopped.
                let _ = self.stopped.wait_for(|stopped| *stopped).await;
            };
            let batch = tokio::select! {
                batch = self.follower.next() => batch,
                () = stopped => {
                    self.ended = true;
                    self.follower.take()
                }
            };
            if batch.missed > 0 {
                let missed = MissedBody {
                    missed: batch.missed,
                };
                let event = Event::default().event("missed").json_data(missed);
                self.ready.push_back(event);
            }
            self.ready.extend(batch.items.iter().map(|item| {
                let event = Event::default().id(item.id().to_string());
                event.json_data(&**item)
            }));
        }
    }
}

/// What a client sends that was cut off.
const LAST_EVENT_ID: &str = "last-event-id";
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Until somebody may have stopped following.
const FOLLOW_RETRY_MS: u64 = 10_000;

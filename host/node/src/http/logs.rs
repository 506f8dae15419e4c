//! `/v1/logs`: what entities wrote to their logs.

use axum::extract::{Request, State};
use axum::routing::any;
use entia_api::body::{LogLineBody, LogsBody, LogsQuery};
use entia_api::path::LOGS;

use super::openapi::Operation;
use super::respond::{Answered, allowed, json};
use super::{Api, Route, blocking, follow};
use crate::observe::Logs;

pub(super) fn routes() -> Vec<Route> {
    vec![Route {
        pattern: LOGS,
        handler: any(logs),
        operations: vec![
            Operation::get(LOGS, "Lists entities' last log lines, or follows them")
                .query("kind", "Only this kind")
                .query("key", "Only the entity of the kind that has this key")
                .query("level", "Only lines at least so grave: trace to error")
                .query(
                    "limit",
                    "How many, or how many to begin with: 1 to 1000, 100 if not given",
                )
                .query("cursor", "Only lines after it: `next` of a list")
                .query("follow", "`true` goes on with the lines to come")
                .answers::<LogsBody>()
                .or_streams::<LogLineBody>(),
        ],
    }]
}

async fn logs(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
    let query = LogsQuery::parse(request.uri().query().unwrap_or(""))?;
    let (start, limit) = follow::start(&request, query.cursor, query.limit)?;
    let (follows, filter) = (query.follow, Logs::filter(query));
    let ring = api.node.observed.logs.ring().clone();
    if follows {
        return follow::stream(&api, &ring, filter, start);
    }
    let (lines, next) = blocking(move || ring.read(&filter, start, limit)).await?;
    Ok(json(&LogsBody {
        lines: lines.iter().map(|line| (**line).clone()).collect(),
        next: next.to_string(),
    }))
}

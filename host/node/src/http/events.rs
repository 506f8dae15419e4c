//! `/v1/events`: what happened on the node.

use axum::extract::{Request, State};
use axum::routing::any;
use entia_api::body::{EventBody, EventsBody, EventsQuery};
use entia_api::path::EVENTS;

use super::openapi::Operation;
use super::respond::{Answered, allowed, json};
use super::{Api, Route, follow};
use crate::observe::Events;

pub(super) fn routes() -> Vec<Route> {
    vec![Route {
        pattern: EVENTS,
        handler: any(events),
        operations: vec![
            Operation::get(EVENTS, "Follows what happens on the node, or lists it")
                .query(
                    "limit",
                    "How many, or how many to begin with: 1 to 1000, 100 if not given",
                )
                .query("cursor", "Only events after it: `next` of a list")
                .query("follow", "`false` lists the last events and ends")
                .header("last-event-id", "Goes on after the event of this id")
                .answers::<EventsBody>()
                .or_streams::<EventBody>(),
        ],
    }]
}

async fn events(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
    let query = EventsQuery::parse(request.uri().query().unwrap_or(""))?;
    let (start, limit) = follow::start(&request, query.cursor, query.limit)?;
    let ring = api.node.observed.events.ring();
    if query.follow {
        return follow::stream(&api, ring, Events::filter(), start);
    }
    let (events, next) = ring.read(&Events::filter(), start, limit);
    Ok(json(&EventsBody {
        events: events.iter().map(|event| (**event).clone()).collect(),
        next: next.to_string(),
    }))
}

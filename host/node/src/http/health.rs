//! `/healthz` and `/readyz`.

use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::routing::any;
use entia_api::body::HealthBody;
use entia_api::path::{HEALTH, READY};
use entia_protocol::CallError;

use super::openapi::Operation;
use super::respond::{Answered, allowed, json, no_query};
use super::{Api, Route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route {
            pattern: HEALTH,
            handler: any(health),
            operations: vec![
                Operation::get(HEALTH, "Whether the process lives").answers::<HealthBody>(),
            ],
        },
        Route {
            pattern: READY,
            handler: any(ready),
            operations: vec![
                Operation::get(READY, "Whether it takes calls").answers::<HealthBody>(),
            ],
        },
    ]
}

async fn health(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET", "HEAD"])?;
    no_query(&request)?;
    Ok(json(&health_body(&api, "ok")))
}

/// Not ready: the node is going down, or its store takes no more commits.
async fn ready(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET", "HEAD"])?;
    no_query(&request)?;
    if !api.ready.load(Ordering::SeqCst) {
        return Err(CallError::ShuttingDown.into());
    }
    match api.node.store.failure() {
        Some(error) => Err(CallError::StoreFailed {
            message: error.to_string(),
            may_have_run: false,
        }
        .into()),
        None => Ok(json(&health_body(&api, "ready"))),
    }
}

fn health_body(api: &Api, status: &str) -> HealthBody {
    HealthBody {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(api.node.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        kinds: api.node.catalog.all().len() as u64,
        entities_live: api.node.executor.live() as u64,
    }
}

//! `/metrics`: counters for Prometheus.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::any;
use entia_api::ApiError;
use entia_api::path::METRICS;

use super::openapi::Operation;
use super::respond::{Answered, allowed, no_query};
use super::{Api, Route, blocking};

pub(super) fn routes() -> Vec<Route> {
    vec![Route {
        pattern: METRICS,
        handler: any(metrics),
        operations: vec![
            Operation::get(METRICS, "The node's counters, for Prometheus")
                .answers_text(OPEN_METRICS),
        ],
    }]
}

async fn metrics(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
    no_query(&request)?;
    // The system is asked for files of its own.
    let written = blocking(move || api.node.observed.metrics(api.node.snapshot())).await?;
    let written = written.map_err(|error| ApiError::Internal {
        message: format!("the metrics could not be written: {error}"),
    })?;
    let mut response = Response::new(Body::from(written));
    let kind = HeaderValue::from_static(OPEN_METRICS);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

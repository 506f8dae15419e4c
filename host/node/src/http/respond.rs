use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use entia_api::ApiError;
use entia_api::body::ErrorBody;
use serde::Serialize;

/// What a handler ends in.
pub(super) type Answered = Result<Response, Refused>;

/// An error on its way to the client.
pub(super) struct Refused(ApiError);

impl<E: Into<ApiError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = json(&ErrorBody::from(&self.0));
        *response.status_mut() = self.0.status();
        if let Some(seconds) = self.0.retry_after_s() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let ApiError::MethodNotAllowed { allowed, .. } = &self.0
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }
}

/// A response with a JSON body.
pub(super) fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => json_text(text),
        Err(error) => {
            tracing::error!("a response could not be written as JSON: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A response with a body that is JSON already.
pub(super) fn json_text(text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Refuses a request whose method the path does not take.
pub(super) fn allowed(request: &Request, methods: &[&str]) -> Result<(), Refused> {
    if methods.contains(&request.method().as_str()) {
        return Ok(());
    }
    Err(ApiError::MethodNotAllowed {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        allowed: methods.join(", "),
    }
    .into())
}

/// Refuses parameters that a request does not take, rather than ignore what somebody meant by them.
pub(super) fn no_query(request: &Request) -> Result<(), ApiError> {
    match request.uri().query() {
        None | Some("") => Ok(()),
        Some(query) => Err(ApiError::BadQuery {
            name: query.split(['=', '&']).next().unwrap_or(query).to_owned(),
            message: "this request takes no parameters".to_owned(),
        }),
    }
}

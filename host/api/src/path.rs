//! The API's paths.
//!
//! A key is opaque: it may contain `/`, `..`, `%` or any other text, and never becomes a path in a file system. In a URI it
//! is one percent-encoded segment. Paths are therefore split before they are decoded, and nothing here resolves `.` or
//! `..`: a router that decodes first could not tell `a%2Fb` from `a/b`.

use std::fmt;

use entia_protocol::{EntityId, KindName, METHOD_BYTES_MAX};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ApiError;

/// The list of entities.
pub const ENTITIES: &str = "/v1/entities";
/// The list of kinds.
pub const KINDS: &str = "/v1/kinds";
/// What entities wrote to their logs.
pub const LOGS: &str = "/v1/logs";
/// What happened on the node.
pub const EVENTS: &str = "/v1/events";
/// The node's counters, for Prometheus.
pub const METRICS: &str = "/metrics";
/// What the API takes and answers, as OpenAPI says it.
pub const OPENAPI: &str = "/openapi.json";
/// Whether the node lives.
pub const HEALTH: &str = "/healthz";
/// Whether the node takes calls.
pub const READY: &str = "/readyz";
/// In a method's place: ends the entity's quarantine. No method has this name.
pub const RELEASE: &str = "release";
/// After a kind: goes back to its version before.
pub const ROLLBACK: &str = "rollback";
/// The header with a client's idempotency key.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header with the milliseconds that a client waits.
pub const DEADLINE_MS: &str = "entia-deadline-ms";

/// What `/v1/entities/{kind}/{key}[/{method}]` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityPath {
    /// The entity.
    pub entity: EntityId,
    /// The method, if the path goes on to one.
    pub method: Option<String>,
}

/// Reads an entity's path from a URI's raw path, not yet percent-decoded and without the query.
///
/// ```
/// let path = entia_api::path::parse_entity_path("/v1/entities/counter/a%2Fb/increment")?;
/// assert_eq!(path.entity.key(), "a/b");
/// assert_eq!(path.method.as_deref(), Some("increment"));
/// # Ok::<(), entia_api::ApiError>(())
/// ```
pub fn parse_entity_path(raw_path: &str) -> Result<EntityPath, ApiError> {
    let not_found = || ApiError::NotFound {
        path: raw_path.to_owned(),
    };
    let rest = raw_path.strip_prefix(ENTITIES).ok_or_else(not_found)?;
    let rest = rest.strip_prefix('/').ok_or_else(not_found)?;
    let segments: Vec<&str> = rest.splitn(4, '/').collect();
    let (kind, key, method) = match segments[..] {
        [_] => return Err(bad("the path names a kind and no key")),
        [kind, key] => (kind, key, None),
        [kind, key, method] => (kind, key, Some(method)),
        _ => return Err(bad("the path goes on after the method")),
    };
    let kind = KindName::new(&segment("the kind", kind)?)?;
    let entity = EntityId::new(kind, &segment("the key", key)?)?;
    let method = method.map(parse_method).transpose()?;
    Ok(EntityPath { entity, method })
}

/// Reads the kind of `/v1/kinds/{kind}[/rollback]` from a URI's raw path, and whether it goes on to the rollback.
pub fn parse_kind_path(raw_path: &str) -> Result<(KindName, bool), ApiError> {
    let rest = raw_path
        .strip_prefix(KINDS)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| ApiError::NotFound {
            path: raw_path.to_owned(),
        })?;
    let (name, rollback) = match rest.split_once('/') {
        None => (rest, false),
        Some((name, ROLLBACK)) => (name, true),
        Some(_) => {
            return Err(bad(
                "the path goes on after the kind; only `rollback` can follow it",
            ));
        }
    };
    Ok((KindName::new(&segment("the kind", name)?)?, rollback))
}

/// The path of a kind.
pub fn kind_path(kind: &KindName) -> String {
    format!("{KINDS}/{kind}")
}

/// The path that takes a kind back to its version before.
pub fn rollback_path(kind: &KindName) -> String {
    format!("{}/{ROLLBACK}", kind_path(kind))
}

/// The path of an entity.
pub fn entity_path(entity: &EntityId) -> String {
    format!("{ENTITIES}/{}/{}", entity.kind(), encode(entity.key()))
}

/// The path of an entity's method.
pub fn method_path(entity: &EntityId, method: &str) -> String {
    format!("{}/{}", entity_path(entity), encode(method))
}

/// Percent-encodes all but letters, digits, `-`, `_`, `.` and `~`.
pub fn encode(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, &ENCODED)
}

/// Undoes [`encode`], and whatever else another client may have percent-encoded.
pub fn decode(raw: &str) -> Result<String, DecodeError> {
    if let Some(escape) = broken_escape(raw) {
        return Err(DecodeError::Escape(escape));
    }
    let text = percent_decode_str(raw).decode_utf8();
    Ok(text.map_err(|_| DecodeError::Utf8)?.into_owned())
}

/// Why a part of a URI cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("`{0}` is not a percent-escape; a percent sign itself is %25")]
    Escape(String),
    /// The decoded bytes are not text.
    #[error("its percent-escapes are not valid UTF-8")]
    Utf8,
}

/// The unreserved characters of RFC 3986 stay as they are.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn parse_method(raw: &str) -> Result<String, ApiError> {
    let method = segment("the method", raw)?;
    match method.len() {
        0 => Err(bad("the method's name is empty")),
        bytes if bytes > METHOD_BYTES_MAX => Err(bad(&format!(
            "the method's name has {bytes} bytes; {METHOD_BYTES_MAX} are allowed"
        ))),
        _ => Ok(method),
    }
}

fn segment(what: &str, raw: &str) -> Result<String, ApiError> {
    decode(raw).map_err(|error| bad(&format!("{what} cannot be read: {error}")))
}

fn bad(message: &str) -> ApiError {
    ApiError::BadPath {
        message: message.to_owned(),
    }
}

fn broken_escape(raw: &str) -> Option<String> {
    raw.match_indices('%').find_map(|(at, _)| {
        let digits = raw.as_bytes().get(at + 1..at + 3);
        let whole = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        (!whole).then(|| raw[at..].chars().take(3).collect())
    })
}

#[cfg(test)]
mod tests;

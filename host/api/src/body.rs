//! The bodies of requests and responses.
//!
//! Readers tolerate fields they do not know, so that a CLI can talk to a later node.

mod entity;
mod error_body;
mod kind;
mod sent;

#[cfg(test)]
mod tests;

pub use entity::{
    Activation, EntitiesBody, EntityBody, EntityEntryBody, FailureBody, HealthBody, ListQuery,
    QuarantineBody,
};
pub use error_body::{ErrorBody, ErrorDetail, RejectionBody};
pub use kind::{
    DeployOptions, DeployedBody, KindBody, KindDeletedBody, KindSummaryBody, KindsBody, MethodBody,
};
pub use sent::SentBody;

//! The bodies of requests and responses.
//!
//! Readers tolerate fields they do not know, so that a CLI can talk to a later node.

mod change;
mod entity;
mod error_body;
mod kind;
mod plan;

#[cfg(test)]
mod tests;

pub use change::{Became, ChangeBody, Changed};
pub use entity::{
    Activation, DeadLetterBody, EntitiesBody, EntityBody, EntityEntryBody, FailureBody, HealthBody,
    ListQuery, QuarantineBody, SentBody, TimerBody,
};
pub use error_body::{ErrorBody, ErrorDetail, RejectionBody};
pub use kind::{
    DeployOptions, DeployedBody, KindBody, KindDeletedBody, KindSummaryBody, KindsBody, MethodBody,
};
pub use plan::{DryRunBody, DryRunFailureBody, PlanBody, RefusalBody, VersionBody};

//! The bodies of requests and responses.
//!
//! Readers tolerate fields they do not know, so that a CLI can talk to a later node.

mod change;
mod entity;
mod error_body;
mod event;
mod kind;
mod log;
mod plan;
mod schema;

#[cfg(test)]
mod tests;

pub use change::{Became, ChangeBody, Changed};
pub use entity::{
    Activation, DeadLetterBody, EntitiesBody, EntityBody, EntityEntryBody, FailureBody, HealthBody,
    ListQuery, QuarantineBody, SentBody, TimerBody,
};
pub use error_body::{ErrorBody, ErrorDetail, RejectionBody};
pub use event::{EntityName, Event, EventBody, EventsBody, EventsQuery};
pub use kind::{
    DeployOptions, DeployedBody, KindBody, KindDeletedBody, KindSummaryBody, KindsBody, MethodBody,
};
pub use log::{LINES_DEFAULT, LINES_MAX, LogLevel, LogLineBody, LogsBody, LogsQuery, MissedBody};
pub use plan::{DryRunBody, DryRunFailureBody, PlanBody, RefusalBody, VersionBody};

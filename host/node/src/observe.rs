//! What people see of a node: its entities' log lines, what happened, and counters.
//!
//! ```text
//!   executor ──┬─► logs ─────► ring ──► followers        GET /v1/logs
//!   deployer ──┼─► events ───► ring ──► followers        GET /v1/events
//!   http ──────┴─► metrics: relaxed additions ─────────► GET /metrics
//! ```
//! Whoever tells something here never waits for who reads it: rings are bounded and forget the oldest, counters are
//! additions, and a reader that is too slow is told how much it missed.

mod events;
mod logs;
mod metrics;
mod process;
mod ring;

use std::sync::Arc;

use entia_api::body::Event;
use entia_protocol::{EntityId, KindName};

pub(crate) use events::Events;
pub(crate) use logs::{Logs, Noted};
pub(crate) use metrics::{Counters, KindCounters, Snapshot};
pub(crate) use ring::{Filter, Follower, Item, Ring, Start};

/// What a node shows of itself. One for each node, shared by all that have something to tell.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) logs: Logs,
    pub(crate) events: Events,
    pub(crate) counters: Counters,
    kinds: metrics::Kinds,
}

impl Observed {
    /// The counters of a kind. They live as long as the kind does, so that a call adds to them without looking for them.
    pub(crate) fn kind(&self, name: &KindName) -> Arc<KindCounters> {
        self.kinds.of(name)
    }

    /// Ends a kind's series.
    pub(crate) fn forget_kind(&self, name: &KindName) {
        self.kinds.forget(name);
    }

    /// The metrics in the text format of OpenMetrics.
    pub(crate) fn metrics(self: &Arc<Self>, snapshot: Snapshot) -> Result<String, std::fmt::Error> {
        metrics::encode(Arc::clone(self), snapshot)
    }

    /// Takes note of an entity's log lines.
    pub(crate) fn noted(&self, entity: &EntityId, noted: Noted) {
        if noted.is_empty() {
            return;
        }
        self.counters.log_lines.add(noted.lines.len() as u64);
        self.counters.log_lines_dropped.add(noted.dropped);
        self.logs.push(entity, noted);
    }

    /// Takes note that a quarantine began or ended.
    pub(crate) fn quarantine(&self, event: Event) {
        if let Event::EntityQuarantined { .. } = event {
            self.counters.quarantines.inc();
        }
        self.events.push(event);
    }
}

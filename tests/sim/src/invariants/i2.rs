//! I2: a node dispatches and releases output only while its lease is valid.
//!
//! And the coordinator's side of it: whoever is declared down has no valid lease, by its own clock, unless its process is gone
//! or it owns nothing.

use entia_protocol::control::{Changes, Command, Entry};
use entia_protocol::{CallError, Payload};

use super::{Checked, View};
use crate::observation::Cause;
use crate::violation::Violation;
use crate::world::World;

/// The node does what it may do only under a lease.
pub(super) fn leased(view: &View<'_>, honest: bool, what: impl FnOnce() -> String) -> Checked {
    if view.leased || !honest && view.world.plan.settings.mutant.is_none() {
        return Ok(());
    }
    let (now, until) = (view.seen.now.instant, view.node.lease_until());
    Err(view.violation(
        "I2",
        format!("{} at {now:?}, leased until {until:?}", what()),
    ))
}

/// The node answers, or passes on an answer. One that an entity here gave is output; one that came in is not, nor is a refusal.
pub(super) fn answers(
    view: &View<'_>,
    honest: bool,
    answer: &Result<Payload, CallError>,
) -> Checked {
    let passed_on = matches!(
        view.seen.cause,
        Cause::Message {
            message: entia_protocol::cluster::Message::Reply(_),
            ..
        }
    );
    if passed_on || answer.is_err() {
        return Ok(());
    }
    leased(view, honest, || "answers".to_owned())
}

/// An entry is committed.
pub(super) fn decided(world: &World, entry: &Entry, changes: &Changes) -> Checked {
    let Command::Down { member } = &entry.command else {
        return Ok(());
    };
    let Some(there) = world.nodes.get(&member.node) else {
        return Ok(());
    };
    let Some(node) = there.node.as_ref().filter(|node| node.home() == *member) else {
        return Ok(());
    };
    let now = there.clock.now(world.true_time).instant;
    let until = node.lease_until();
    if now < until && !changes.shards.is_empty() {
        let message = format!("{member} is declared down at {now:?}, leased until {until:?}");
        return Err(Violation::new("I2", message));
    }
    Ok(())
}

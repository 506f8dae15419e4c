//! Calls within the process, against a bare run-queue of instances.
//!
//! The floor does for a call what cannot be left out: a mailbox, a run-queue, the guest's `handle`, a oneshot. Ours also finds
//! the entity by its name, counts and bounds calls, holds deadlines, meters the guest, and takes a snapshot after a command.
//! Three figures tell these apart: a query, a command, and a command beside a floor that takes the snapshot, too.

mod floor;
pub(crate) mod guest;

use anyhow::Result;
use entia_protocol::Durability;

use crate::limits;
use crate::load::ENTITIES;
use crate::measure::{Bench, Subject};
use crate::node::{InProcess, Method};
use floor::RunQueue;

/// Calls in flight.
const CALLERS: usize = 256;
const GOAL: f64 = 0.70;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let node = InProcess::start(bench.cores, Durability::Memory)?;
    let floor = RunQueue::start(bench.cores)?;
    let (hot, cold) = floor.direct(Method::Increment)?;
    bench.report.note(format!(
        "a direct call of the guest takes {} ns, or {} ns where {ENTITIES} instances take turns",
        hot.as_nanos(),
        cold.as_nanos()
    ));
    for (name, method, snapshot, goal) in [
        ("local.value.256", Method::Value, false, Some(GOAL)),
        ("local.increment.256", Method::Increment, false, Some(GOAL)),
        (
            "local.increment-over-snapshot.256",
            Method::Increment,
            true,
            None,
        ),
    ] {
        let mut ours = node.callers(CALLERS, method, ENTITIES)?;
        let mut bare = floor.callers(CALLERS, method, snapshot)?;
        bench.load.touch(&mut ours[0])?;
        bench.load.touch(&mut bare[0])?;
        let subject = Subject {
            name: name.to_owned(),
            goal,
            limit: if snapshot {
                limits::LOCAL_WITH_SNAPSHOT
            } else {
                limits::LOCAL
            },
        };
        bench.compare(subject, &mut bare, &mut ours)?;
    }
    floor.stop();
    node.stop()
}

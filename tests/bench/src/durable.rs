//! Calls of a durable kind, against bare fjall group commit.
//!
//! The floor is what no durable call can do without: a record of 100 bytes in a batch with those of all who wait, synced, and
//! a oneshot. Each of its callers writes a key of its own, as a batch of fjall cannot order two writes of one key. Ours runs
//! the command, takes and compares the snapshot, seals the record and writes the watermark, too. Over one entity all callers
//! share one mailbox, and of a group's states only the last is written.

mod floor;

use anyhow::Result;
use entia_protocol::Durability;

use crate::limits;
use crate::load::ENTITIES;
use crate::measure::{Bench, Subject};
use crate::node::{InProcess, Method};
use floor::GroupCommit;

const CALLERS: [usize; 3] = [1, 64, 1024];
const GOAL: f64 = 0.60;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let node = InProcess::start(bench.cores, Durability::Durable)?;
    let floor = GroupCommit::start(bench.cores)?;
    let mut all = node.callers(1024, Method::Increment, ENTITIES)?;
    // Together: a commit for each, one after the other, takes seconds.
    bench.load.closed(&mut all, bench.plan.slice)?;
    drop(all);
    for (name, entities) in [("1000-entities", ENTITIES), ("1-entity", 1)] {
        for callers in CALLERS {
            let mut ours = node.callers(callers, Method::Increment, entities)?;
            let mut bare = floor.callers(callers);
            let subject = Subject {
                name: format!("durable.{name}.{callers}"),
                goal: Some(GOAL),
                limit: limits::durable(callers),
            };
            bench.compare(subject, &mut bare, &mut ours)?;
        }
    }
    floor.stop();
    node.stop()
}

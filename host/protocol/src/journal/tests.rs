//! The journals of a few nodes, on disks that forget what was not synced, under a control log that is written by hand.

mod append;
mod handoff;
mod ledger;
mod random;
mod stash;
mod takeover;
mod world;

//! Virtual entities.

use entia_protocol::cluster::NodeId;

use crate::node::{ExecutorAction, NodeEvent};

/// Runs the entities of a node.
#[derive(Debug)]
pub struct Executor;

impl Executor {
    /// An executor without entities.
    pub fn new(_node: NodeId, _seed: u64) -> Self {
        Self
    }

    /// Does it.
    pub fn handle(&mut self, _action: ExecutorAction, _true_time: u64) {}

    /// What will happen, and when in true time.
    pub fn poll(&mut self) -> Option<(u64, NodeEvent)> {
        None
    }

    /// All entities are gone.
    pub fn crash(&mut self) {}
}

//! What clients do.

use std::sync::Arc;

use entia_protocol::cluster::NodeId;
use entia_protocol::{CallError, Payload};

use crate::node::{OutCall, Ticket};
use crate::plan::Plan;

/// The clients.
#[derive(Debug)]
pub struct Workload;

impl Workload {
    /// The clients of a plan.
    pub fn new(_seed: u64, _plan: &Plan) -> Self {
        Self
    }

    /// When to come back.
    pub fn due(&self) -> Option<u64> {
        None
    }

    /// Calls to hand to nodes.
    pub fn step(&mut self, _true_time: u64) -> Vec<(NodeId, OutCall, Ticket)> {
        Vec::new()
    }

    /// An answer.
    pub fn answered(
        &mut self,
        _node: NodeId,
        _ticket: Ticket,
        _answer: &Arc<Result<Payload, CallError>>,
        _true_time: u64,
    ) {
    }

    /// Calls of this node are not answered any more.
    pub fn node_crashed(&mut self, _node: NodeId) {}
}

use super::{Home, Incarnation, Instant, Mutant, NodeId, Now, Settings};
use crate::control::ControlState;

/// What a machine may look at while it handles an input.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// When.
    pub now: Now,
    /// What the control log has decided, as far as this node has applied it.
    pub control: &'a ControlState,
    /// The cluster's tuning.
    pub settings: &'a Settings,
    /// Who looks.
    pub me: Identity,
    /// Until when this node may dispatch and answer: its lease. Checked with [`Context::leased`].
    pub lease_until: Instant,
}

impl Context<'_> {
    /// Whether this node may dispatch a call, or let one's output go, now (I2).
    pub fn leased(&self) -> bool {
        self.settings.lacks(Mutant::NoDispatchCheck) || self.now.instant < self.lease_until
    }
}

/// Who a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Stable over restarts.
    pub node: NodeId,
    /// This life; 0 until the Join is committed and applied here.
    pub incarnation: Incarnation,
}

impl Identity {
    /// As an owner.
    pub fn home(self) -> Home {
        Home {
            node: self.node,
            incarnation: self.incarnation,
        }
    }
}

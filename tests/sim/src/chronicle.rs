//! What happened in a run that somebody wants to ask about: see [`crate::story`].

use std::sync::Arc;

use entia_protocol::CallError;
use entia_protocol::cluster::{Epoch, Grant, Home, Message, NodeId, ShardId};
use entia_protocol::control::{ControlState, Entry};

use crate::node::{Action, Input};
use crate::observation::Observation;
use crate::work::Gap;
use crate::world::{CarriedOut, Strike, World};

/// What happened, in the order of true time.
#[derive(Debug, Default)]
pub struct Chronicle {
    /// The entries of the control log.
    pub decided: Vec<Decided>,
    /// What nodes said to each other, without what is always said: renewals, calls, appends, deltas.
    pub sent: Vec<Sent>,
    /// The grants that were sent.
    pub grants: Vec<Granted>,
    /// The turns that began.
    pub turns: Vec<Began>,
    /// The answers to clients that were errors.
    pub refusals: Vec<Refusal>,
    /// The faults that struck.
    pub strikes: Vec<Strike>,
    /// How long each append and each read took that was answered.
    pub waits: Vec<Gap>,
    /// What was decided in the end.
    pub control: Option<Arc<ControlState>>,
}

/// An entry of the control log.
#[derive(Debug, Clone)]
pub struct Decided {
    /// When it was committed.
    pub at: u64,
    /// Which.
    pub entry: Arc<Entry>,
    /// It changed something.
    pub counts: bool,
    /// The shards that it changed.
    pub shards: Vec<ShardId>,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When it was sent.
    pub at: u64,
    /// By whom.
    pub from: Home,
    /// To whom.
    pub to: NodeId,
    /// What.
    pub message: Message,
}

/// A grant.
#[derive(Debug, Clone, Copy)]
pub struct Granted {
    /// When it was sent.
    pub at: u64,
    /// By whom.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What.
    pub grant: Grant,
}

/// A turn that began.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    /// When.
    pub at: u64,
    /// Where.
    pub home: Home,
    /// In which shard.
    pub shard: ShardId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// It is a step of a worker.
    pub step: bool,
}

/// An answer to a client that was an error.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// When.
    pub at: u64,
    /// By whom.
    pub node: NodeId,
    /// Which.
    pub error: CallError,
}

impl Chronicle {
    /// Looks at one step.
    pub(crate) fn observe(
        &mut self,
        world: &World,
        seen: &Observation<'_>,
        carried_out: CarriedOut,
    ) {
        self.follow_log(world);
        if carried_out == CarriedOut::Nothing {
            return;
        }
        let there = world.nodes.get(&seen.node);
        let Some(node) = there.and_then(|there| there.node.as_ref()) else {
            return;
        };
        let (at, home) = (seen.true_time, node.home());
        for action in seen.actions {
            match action {
                Action::Send { to, message, .. } => self.sent(at, home, *to, message),
                Action::Run {
                    entity,
                    epoch,
                    input,
                    ..
                } if carried_out == CarriedOut::All => {
                    if let Some(shard) = node.control().shard_of(entity) {
                        self.turns.push(Began {
                            at,
                            home,
                            shard,
                            epoch: *epoch,
                            step: *input == Input::Step,
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// A client was refused.
    pub(crate) fn refused(&mut self, at: u64, node: NodeId, error: &CallError) {
        let error = error.clone();
        self.refusals.push(Refusal { at, node, error });
    }

    /// Takes up what was committed.
    fn follow_log(&mut self, world: &World) {
        let control = self
            .control
            .get_or_insert_with(|| Arc::new(ControlState::new(world.log.state.cluster)));
        while let Some(entry) = world.log.entries.get(self.decided.len()) {
            let before = control.hash;
            let mutant = world.plan.settings.mutant;
            let control = Arc::make_mut(control);
            let changes = control.apply_with(entry, mutant).unwrap_or_default();
            debug_assert_ne!(before, control.hash, "an entry is applied");
            let counts = changes != Default::default();
            self.decided.push(Decided {
                at: world.true_time,
                entry: Arc::clone(entry),
                counts,
                shards: changes.shards,
            });
        }
    }

    fn sent(&mut self, at: u64, from: Home, to: NodeId, message: &Message) {
        match message {
            Message::Renew(_)
            | Message::Call(_)
            | Message::Reply(_)
            | Message::Append { .. }
            | Message::Appended { .. }
            | Message::MetaDelta(_)
            | Message::MetaPull { .. }
            | Message::MetaState(_)
            | Message::EntityStopped { .. }
            | Message::EntityStarted { .. }
            | Message::State { .. }
            | Message::FetchState { .. }
            | Message::Component { .. } => {}
            Message::Grant(grant) => self.grants.push(Granted {
                at,
                from: from.node,
                to,
                grant: *grant,
            }),
            _ => self.sent.push(Sent {
                at,
                from,
                to,
                message: message.clone(),
            }),
        }
    }
}

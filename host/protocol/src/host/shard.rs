//! A shard that lives here, and how the control log makes it come, stay and go.

use std::collections::BTreeMap;

use super::activation::{Activation, Place};
use super::drain::Moving;
use super::inbound::Lanes;
use super::worker::Worker;
use super::{Action, Host};
use crate::cluster::{
    Context, Epoch, Index, LedgerId, Message, Mutant, Peer, Settings, ShardId, StopReason,
};
use crate::control::{Command, Ownership, Role};
use crate::{Digest, Durability, EntityId, journal};

/// What is here of a shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) epoch: Epoch,
    /// As the control log has it: the same as long as nobody else has owned the shard since.
    pub(super) since: Epoch,
    pub(super) durable: bool,
    /// The code that instances have to have.
    pub(super) component: Digest,
    /// It is on this node.
    pub(super) ready: bool,
    pub(super) phase: Phase,
    pub(super) lanes: Lanes,
    pub(super) activations: BTreeMap<EntityId, Activation>,
    /// Of them, those that have something to do, or to say.
    pub(super) unsettled: usize,
    /// Instances, and what was reported of them.
    pub(super) instances: u64,
    pub(super) reports: u64,
    /// Entities that were due while the shard was not served.
    pub(super) parked: Vec<(EntityId, u64)>,
    pub(super) worker: Option<Worker>,
}

/// Where a shard stands on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Calls run.
    Serving,
    /// Calls within a chain run, until all is settled.
    Draining(Moving),
    /// Nothing runs: all there is of it is being shipped.
    Acked(Moving),
    /// Nothing runs: a successor has sealed the ledger, and the control log will say so.
    Fenced,
    /// Nothing runs: it is a worker too many.
    Stopped,
}

impl Phase {
    /// Whether turns may start.
    pub(super) fn dispatches(self, settings: &Settings) -> bool {
        match self {
            Self::Serving | Self::Draining(_) => true,
            Self::Acked(_) => settings.lacks(Mutant::RunAfterAck),
            Self::Fenced | Self::Stopped => false,
        }
    }

    pub(super) fn serving(self) -> bool {
        self == Self::Serving
    }

    pub(super) fn moving(self) -> Option<Moving> {
        match self {
            Self::Draining(moving) | Self::Acked(moving) => Some(moving),
            Self::Serving | Self::Fenced | Self::Stopped => None,
        }
    }
}

/// What the control log says of a shard to its owner.
struct Owned {
    epoch: Epoch,
    since: Epoch,
    moving: Option<Moving>,
}

impl Shard {
    /// The epoch under which turns start.
    pub(super) fn serves(&self) -> Option<Epoch> {
        matches!(self.phase, Phase::Serving | Phase::Draining(_)).then_some(self.epoch)
    }

    pub(super) fn check_invariants(&self, id: ShardId) {
        let settled = |activation: &&Activation| activation.settled.is_some();
        let settled = self.activations.values().filter(settled).count();
        assert_eq!(
            self.unsettled,
            self.activations.len() - settled,
            "{id}: unsettled activations are miscounted"
        );
        for (entity, activation) in &self.activations {
            assert!(
                activation.settled.is_none() || activation.quiet(),
                "{entity} is settled and has something to do"
            );
        }
    }
}

impl Host {
    /// Looks at the shards that an entry can have changed.
    pub(super) fn follow(&mut self, cx: &Context<'_>, command: &Command) {
        match command {
            Command::Assign { shards } => {
                for assignment in shards {
                    self.reconcile(cx, assignment.shard);
                }
            }
            Command::BeginHandoff {
                from, to, shards, ..
            } => {
                if [*from, *to].contains(&self.me) {
                    shards
                        .iter()
                        .for_each(|(shard, _)| self.reconcile(cx, *shard));
                }
            }
            Command::CompleteHandoff { shards, .. } => {
                shards
                    .iter()
                    .for_each(|(shard, _)| self.reconcile(cx, *shard));
            }
            Command::AbortHandoff { shards, .. } => {
                shards.iter().for_each(|shard| self.reconcile(cx, *shard));
            }
            Command::Adopted { shard, .. } => self.ship_of(cx, *shard),
            Command::Down { .. } | Command::Join { .. } | Command::Remove { .. } => {
                self.follow_all(cx);
            }
            Command::DeployKind { .. }
            | Command::Scale { .. }
            | Command::Retire { .. }
            | Command::Drop { .. } => {
                self.follow_all(cx);
                self.follow_spaces(cx);
            }
            Command::Coordinate
            | Command::Up { .. }
            | Command::Leave { .. }
            | Command::OpenLedger { .. }
            | Command::Voters { .. } => {}
        }
    }

    /// Looks at all shards that are here, or should be.
    pub(super) fn follow_all(&mut self, cx: &Context<'_>) {
        let mut all: Vec<_> = self.shards.keys().copied().collect();
        all.extend(cx.control.owned_by(self.me));
        all.sort_unstable();
        all.dedup();
        for shard in all {
            self.reconcile(cx, shard);
        }
        for shard in self.shards.values_mut() {
            shard.lanes.retain(cx.control);
        }
        self.inbound.retain(cx.control);
    }

    /// Another life of this node, or its first: nothing that an earlier one had is its own.
    pub(super) fn change_identity(&mut self, cx: &Context<'_>) {
        for shard in self.shards.keys().copied().collect::<Vec<_>>() {
            self.give_up(cx, shard, None);
        }
        self.me = cx.me.home();
        self.inbound = super::Inbound::default();
        self.asked.forget_all();
        self.transfers = super::Transfers::default();
        self.follow_all(cx);
    }

    /// Compares what is here of a shard to what the control log says.
    fn reconcile(&mut self, cx: &Context<'_>, id: ShardId) {
        let owned = self.owned(cx, id);
        let here = self.shards.get(&id).map(|shard| (shard.since, shard.epoch));
        match (here, owned) {
            (None, None) => {}
            (None, Some(owned)) => self.take_over(cx, id, &owned),
            (Some(_), None) => {
                let forget = forgettable(cx, id, self.shards[&id].durable, self.shards[&id].since);
                self.give_up(cx, id, forget);
            }
            // The same since: nobody else has owned it meanwhile.
            (Some((since, epoch)), Some(owned)) if since == owned.since => {
                if epoch != owned.epoch {
                    self.resume(cx, id, owned.epoch);
                }
                match (owned.moving, self.shards[&id].phase.moving()) {
                    (Some(moving), before)
                        if before.map(|moving| moving.handoff) != Some(moving.handoff) =>
                    {
                        self.begin_drain(cx, id, moving);
                    }
                    (None, Some(_)) => self.resume(cx, id, owned.epoch),
                    _ => {}
                }
            }
            (Some(_), Some(owned)) => {
                self.give_up(cx, id, None);
                self.take_over(cx, id, &owned);
            }
        }
    }

    fn owned(&self, cx: &Context<'_>, id: ShardId) -> Option<Owned> {
        cx.control.live(self.me)?;
        let shard = cx.control.shards.get(&id)?;
        let moving = match shard.ownership {
            Ownership::Owned { home } if home == self.me => None,
            Ownership::Handoff {
                handoff,
                transfer,
                stamp,
                from,
                to,
            } if from == self.me => Some(Moving {
                handoff,
                transfer,
                stamp,
                to,
                until: cx.now.instant + cx.settings.timing.drain,
            }),
            _ => return None,
        };
        Some(Owned {
            epoch: shard.epoch,
            since: shard.since,
            moving,
        })
    }

    fn take_over(&mut self, cx: &Context<'_>, id: ShardId, owned: &Owned) {
        self.serve(cx, id, owned.epoch, owned.since);
        if self.shards.get(&id).is_some_and(|shard| !shard.durable) {
            // What an earlier ownership or an aborted transfer left. Of a durable shard it may still be a source.
            let before = owned.since;
            let forget = journal::Request::Forget { shard: id, before };
            self.actions.push_back(Action::Journal(forget));
        }
        if let Some(moving) = owned.moving {
            self.begin_drain(cx, id, moving);
        }
    }

    fn serve(&mut self, cx: &Context<'_>, id: ShardId, epoch: Epoch, since: Epoch) {
        let Some(space) = cx.control.spaces.get(&id.space) else {
            return;
        };
        let worker = match space.role {
            Role::Kind => None,
            Role::Daemons { .. } => Worker::new(&space.name, id.number, cx.now.instant),
        };
        let surplus = worker.is_some() && id.number >= space.shards;
        let member = cx.control.live(self.me);
        let ledger = member.and_then(|member| member.ledger);
        let durable = space.durability == Durability::Durable;
        let phase = if surplus {
            Phase::Stopped
        } else if durable && ledger.is_some() && self.fenced == ledger {
            Phase::Fenced
        } else {
            Phase::Serving
        };
        let shard = Shard {
            epoch,
            since,
            durable,
            component: space.component,
            ready: self.components.contains(&space.component),
            phase,
            lanes: Lanes::default(),
            activations: BTreeMap::new(),
            unsettled: 0,
            instances: 0,
            reports: 0,
            parked: Vec::new(),
            worker,
        };
        self.shards.insert(id, shard);
        if phase.serving() {
            self.schedule.started.insert(id);
            self.step(cx, id);
        }
    }

    /// Drops all that is here of a shard. What its records are stamped with below `forget` is not needed any more.
    pub(super) fn give_up(&mut self, cx: &Context<'_>, id: ShardId, forget: Option<Epoch>) {
        let Some(mut shard) = self.shards.remove(&id) else {
            return;
        };
        if shard.worker.is_none() {
            self.activations -= shard.activations.len();
        }
        for (entity, activation) in std::mem::take(&mut shard.activations) {
            if let Some((turn, _)) = activation.running() {
                self.turns.remove(&turn);
            }
            if let Some(at) = activation.settled.flatten() {
                let place = Place {
                    shard: id,
                    entity: entity.clone(),
                };
                self.schedule.idle.remove(&(at, place));
            }
            if let Some(instance) = activation.instance {
                let epoch = instance.epoch;
                self.actions.push_back(Action::Discard { entity, epoch });
            }
        }
        if shard.instances > 0 && cx.leased() {
            let message = Message::EntityStopped {
                shard: id,
                epoch: shard.epoch,
                seq: shard.reports + 1,
                live: 0,
                reason: StopReason::HandedOff,
            };
            self.report(cx, message);
        }
        self.wakes.forget(id);
        self.asked.forget(id);
        self.schedule.started.remove(&id);
        self.transfers.forget_shipment(id);
        if let Some(before) = forget {
            let request = journal::Request::Forget { shard: id, before };
            self.actions.push_back(Action::Journal(request));
            self.remember_departed(cx, id, shard.lanes);
        }
        if let Some(worker) = &mut shard.worker {
            worker.disarm(&mut self.schedule, id);
        }
    }

    /// A successor has sealed the ledger that this node writes: whatever the control state here says, its durable shards are not its
    /// own any more.
    pub(super) fn fence(&mut self, cx: &Context<'_>, ledger: LedgerId) {
        let member = cx.control.live(self.me);
        if member.is_none_or(|member| member.ledger != Some(ledger)) {
            return;
        }
        self.fenced = Some(ledger);
        let durable = self.shards.iter().filter(|(_, shard)| shard.durable);
        let durable = durable.map(|(&id, shard)| (id, shard.epoch, shard.since));
        for (id, epoch, since) in durable.collect::<Vec<_>>() {
            self.give_up(cx, id, None);
            self.serve(cx, id, epoch, since);
        }
    }

    /// The coordinator says what is decided anyway: owned and applied, it is acknowledged again; applied and not owned, it is stale.
    pub(super) fn take_start(
        &mut self,
        cx: &Context<'_>,
        from: Peer,
        index: Index,
        shards: &[(ShardId, Epoch)],
    ) {
        let mut refused = Vec::new();
        for &(id, epoch) in shards {
            let here = self.shards.get(&id).map(|shard| shard.epoch);
            let stale = cx.settings.lacks(Mutant::StaleStart) && index <= cx.control.applied;
            if here.is_none() && (stale || cx.settings.lacks(Mutant::StartIgnoresEpoch)) {
                self.serve(cx, id, epoch, epoch);
            } else if here == Some(epoch) {
                self.schedule.started.insert(id);
            } else if index <= cx.control.applied {
                refused.push((id, epoch));
            }
        }
        if !refused.is_empty() {
            let message = Message::StartRefused {
                shards: refused,
                applied: cx.control.applied,
            };
            self.send(from.node, message);
        }
    }

    /// Tells the coordinator of the shards that are served now.
    pub(super) fn announce(&mut self, cx: &Context<'_>) {
        if self.schedule.started.is_empty() {
            return;
        }
        if !cx.leased() {
            self.schedule.frozen = true;
            return;
        }
        let mut shards = Vec::new();
        self.schedule.started.retain(|id| {
            let Some(shard) = self.shards.get(id) else {
                return false;
            };
            if shard.ready {
                shards.push((*id, shard.epoch));
            }
            !shard.ready
        });
        if !shards.is_empty() {
            self.report(cx, Message::Started { shards });
        }
    }

    /// A component has come: shards that waited for it go on.
    pub(super) fn arm_shards(&mut self, cx: &Context<'_>, digest: Digest) {
        for shard in self.shards.values_mut() {
            shard.ready |= shard.component == digest;
        }
        self.unblock(cx);
    }

    /// Kinds have other code, or daemon sets another number.
    fn follow_spaces(&mut self, cx: &Context<'_>) {
        for id in self.shards.keys().copied().collect::<Vec<_>>() {
            let Some(space) = cx.control.spaces.get(&id.space) else {
                continue;
            };
            let Some(shard) = self.shards.get_mut(&id) else {
                continue;
            };
            if shard.component != space.component {
                shard.component = space.component;
                shard.ready = self.components.contains(&space.component);
            }
            if shard.worker.is_some() && id.number >= space.shards {
                self.stop_worker(cx, id);
            }
        }
    }
}

/// Below which stamp nobody needs what this node has of a shard that it owned. A handoff that is complete has taken all of it; what
/// was lost otherwise is what a successor adopts, if it is durable.
fn forgettable(cx: &Context<'_>, id: ShardId, durable: bool, since: Epoch) -> Option<Epoch> {
    let shard = cx.control.shards.get(&id)?;
    let moved = shard.since > since && shard.since < shard.epoch;
    (moved || !durable).then_some(shard.since)
}

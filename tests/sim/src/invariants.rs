//! What always holds: PROTOCOL section 7, one file each.
//!
//! ```text
//!   committed entry ──► ledger of decisions ──► I2 I3 I5 I12 I16
//!   step of a node ──► what it applied      ──► I4 I9
//!                  ──► each of its actions  ──► I1 I2 I8 I10 I11 I13 I14 I15 I16
//!   answer to a client ──► the oracle       ──► I6 I7 I8 I13 I15
//!   the end ──► I6 I11 I12
//! ```
//! After each step only the node that stepped is looked at, and of it only what it did: a step without actions costs a few
//! comparisons. Where a plan's clocks run more wrong than the protocol assumes, what rests on leases is not expected.

mod i1;
mod i10;
mod i11;
mod i12;
mod i13;
mod i14;
mod i15;
mod i16;
mod i2;
mod i3;
mod i4;
mod i5;
mod i6;
mod i7;
mod i8;
mod i9;

use entia_protocol::EntityId;
use entia_protocol::cluster::{Epoch, Home, Message, NodeId, ShardId, TurnId};
use entia_protocol::control::{Changes, ControlState, Entry};

use crate::node::{Action, Input, Node, Ticket};
use crate::observation::{Cause, Observation};
use crate::plan::Plan;
use crate::violation::Violation;
use crate::work::Workload;
use crate::world::World;

/// All checks.
#[derive(Debug)]
pub struct Invariants {
    honest: bool,
    control: Option<ControlState>,
    epochs: i1::Epochs,
    coordinators: i3::Coordinators,
    hashes: i4::Hashes,
    owners: i5::Owners,
    turns: i8::Turns,
    repeats: i9::Repeats,
    acked: i10::Acked,
    workers: i11::Workers,
    rest: i12::Rest,
    digests: i13::Digests,
    commits: i15::Commits,
    downed: i16::Downed,
    assigned: i6::Assigned,
}

/// One step, with what is needed to judge it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Everything else.
    world: &'a World,
    /// What happened.
    seen: &'a Observation<'a>,
    /// The node that stepped.
    node: &'a Node<Ticket>,
    /// Who it is.
    home: Home,
    /// Whether its lease is valid by its own clock.
    leased: bool,
}

/// A turn that begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dispatch<'a> {
    entity: &'a EntityId,
    shard: ShardId,
    epoch: Epoch,
    input: &'a Input,
}

type Checked = Result<(), Violation>;

impl Invariants {
    /// Nothing has been seen of a run of this plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            honest: plan.clocks_are_honest(),
            control: None,
            epochs: i1::Epochs::default(),
            coordinators: i3::Coordinators::default(),
            hashes: i4::Hashes::default(),
            owners: i5::Owners::default(),
            turns: i8::Turns::default(),
            repeats: i9::Repeats::default(),
            acked: i10::Acked::default(),
            workers: i11::Workers::default(),
            rest: i12::Rest::default(),
            digests: i13::Digests::default(),
            commits: i15::Commits::default(),
            downed: i16::Downed::default(),
            assigned: i6::Assigned::default(),
        }
    }

    /// Looks at one step.
    pub fn after_step(&mut self, world: &World, seen: &Observation<'_>) -> Checked {
        self.follow_log(world)?;
        if matches!(seen.cause, Cause::Crashed { .. } | Cause::Started) {
            self.forget(world, seen);
        }
        let there = world.nodes.get(&seen.node);
        let Some(node) = there.and_then(|there| there.node.as_ref()) else {
            return Ok(());
        };
        let view = View {
            world,
            seen,
            node,
            home: node.home(),
            leased: seen.now.instant < node.lease_until(),
        };
        self.hashes.stepped(&view)?;
        self.repeats.stepped(&view)?;
        self.came_in(&view);
        for action in seen.actions {
            self.acts(&view, action)?;
        }
        self.commits.stepped(&view)
    }

    /// Looks at the end.
    pub fn at_end(&mut self, world: &World, work: &Workload) -> Checked {
        let Some(control) = &self.control else {
            return Ok(());
        };
        if self.honest {
            self.assigned.at_end(control, work.oracle())?;
        }
        // What explains that calls have no answer comes before it.
        self.rest.at_end(world, control)?;
        self.workers.at_end(world, control)?;
        work.verdict()
    }

    /// Takes up what was committed since the last step.
    fn follow_log(&mut self, world: &World) -> Checked {
        let control = self
            .control
            .get_or_insert_with(|| ControlState::new(world.log.state.cluster));
        while let Some(entry) = usize::try_from(control.applied.0)
            .ok()
            .and_then(|applied| world.log.entries.get(applied))
        {
            let before = control.coordinator;
            let mutant = world.plan.settings.mutant;
            let changes = control.apply_with(entry, mutant).unwrap_or_default();
            self.coordinators.decided(before, entry, &changes)?;
            self.owners.decided(control, entry, &changes)?;
            self.assigned
                .decided(world.true_time, control, entry, &changes);
            self.rest.decided(world.true_time, control, &changes);
            self.downed.decided(entry, &changes)?;
            if self.honest {
                i2::decided(world, entry, &changes)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, world: &World, seen: &Observation<'_>) {
        self.hashes.forget(seen.node);
        self.turns.forget(seen.node);
        self.repeats.forget(seen.node);
        self.acked.forget(seen.node);
        self.workers.forget(seen.node);
        let disk = world.nodes.get(&seen.node).map(|there| there.boot.disk);
        self.commits.forget(seen.node, disk);
    }

    fn came_in(&mut self, view: &View<'_>) {
        match view.seen.cause {
            Cause::TurnEnded(turn) => {
                if let Some(entity) = self.turns.ended(view.seen.node, turn) {
                    self.workers.ended(view.seen.node, &entity);
                }
            }
            Cause::Message { message, .. } => self.commits.came_in(view.seen.node, message),
            Cause::Persisted { token } => self.commits.persisted(view.seen.node, token),
            _ => {}
        }
    }

    fn acts(&mut self, view: &View<'_>, action: &Action<Ticket>) -> Checked {
        match action {
            Action::Activate { entity, .. } => {
                self.turns.activated(view.seen.node, entity);
                Ok(())
            }
            Action::Run {
                turn,
                entity,
                epoch,
                input,
            } => self.runs(view, (*turn, *epoch), entity, input),
            Action::Resume { turn, .. } => {
                i2::leased(view, self.honest, || format!("resumes {turn}"))
            }
            Action::Discard { entity, .. } => {
                self.turns.discarded(view.seen.node, entity);
                self.workers.ended(view.seen.node, entity);
                Ok(())
            }
            Action::Send { to, message, .. } => self.sends(view, *to, message),
            Action::Answer { answer, .. } => i2::answers(view, self.honest, answer),
            Action::Propose { term, command } => {
                self.downed.proposed(*term, command);
                self.coordinators.proposed(view.seen.node, *term)
            }
            Action::Persist { token, write } => {
                self.commits.persists(view.seen.node, *token, write);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn runs(
        &mut self,
        view: &View<'_>,
        (turn, epoch): (TurnId, Epoch),
        entity: &EntityId,
        input: &Input,
    ) -> Checked {
        self.turns.began(view.seen.node, turn, entity)?;
        let control = view.node.control();
        let Some(shard) = control.shard_of(entity) else {
            return Err(view.violation("I1", format!("runs {entity}, which has no shard")));
        };
        let dispatch = Dispatch {
            entity,
            shard,
            epoch,
            input,
        };
        i2::leased(view, self.honest, || format!("runs {entity} of {shard}"))?;
        if self.honest {
            self.epochs.dispatched(view, &dispatch)?;
        }
        self.workers.dispatched(view, &dispatch, self.honest)?;
        self.acked.dispatched(view, &dispatch)
    }

    fn sends(&mut self, view: &View<'_>, to: NodeId, message: &Message) -> Checked {
        i14::sent(view, message)?;
        match message {
            Message::Reply(reply) => i2::answers(view, self.honest, &reply.answer),
            Message::Grant(grant) => self.downed.granted(view, to, grant),
            Message::HandoffAcked { handoff, shards } => {
                self.acked.acknowledged(view, *handoff, shards);
                Ok(())
            }
            Message::Chunk(chunk) => {
                self.digests.shipped(chunk);
                Ok(())
            }
            Message::Installed {
                handoff,
                shard,
                digest,
                ..
            } => self.digests.installed(view, *handoff, *shard, *digest),
            Message::Appended { ledger, seq } => self.commits.acknowledged(view, *ledger, *seq),
            Message::Sealed { ledger } => self.commits.sealed(view, *ledger),
            _ => Ok(()),
        }
    }
}

impl View<'_> {
    /// Something that this node must not do.
    fn violation(&self, invariant: &'static str, message: impl std::fmt::Display) -> Violation {
        Violation::new(invariant, format!("{}: {message}", self.home))
    }
}

/// Whether an entry changed any shard, and how it is called in reports.
fn named(entry: &Entry, changes: &Changes) -> String {
    format!(
        "{}: {:?} changed {:?}",
        entry.index, entry.command, changes.shards
    )
}

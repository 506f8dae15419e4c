//! What a seat wants to be decided next, and when to look at it again.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Context, Home, Instant, Mutant, NodeId};
use crate::control::{Command, ControlState, Ledger, Status};

use super::super::Action;
use super::seat::{Life, Seat};
use super::{Roster, voting};

impl Roster {
    /// Proposes what a seat wants, if that is due, and makes sure that it is looked at again.
    pub(super) fn step(&mut self, cx: &Context<'_>, node: NodeId) {
        let now = cx.now.instant;
        let wanted = self.wanted(cx, node);
        if let Some(command) = &wanted {
            self.foreclose(cx, command);
        }
        let resend = cx.settings.timing.resend;
        let Some(seat) = self.seats.get_mut(&node) else {
            return;
        };
        if let Some(command) = seat.propose(now, resend, wanted) {
            self.actions.push_back(Action::Propose(command));
        }
        let due = self.next_look(cx, node);
        self.due = self.due.min(due);
    }

    /// What has to hold before this is proposed: a life that it ends is granted nothing any more.
    fn foreclose(&mut self, cx: &Context<'_>, command: &Command) {
        let ended = match command {
            Command::Down { member } | Command::Remove { member } => Some(*member),
            Command::Join { after, .. } => *after,
            _ => None,
        };
        let Some(home) = ended else {
            return;
        };
        self.granter.stop(cx, home);
        if let Some(life) = self.life_mut(home) {
            life.doomed = true;
        }
    }

    /// What should be decided next about a node. Pure: proposing it is somebody else's.
    fn wanted(&self, cx: &Context<'_>, node: NodeId) -> Option<Command> {
        let seat = self.seats.get(&node)?;
        let boot = seat
            .candidate
            .as_ref()
            .map(|candidate| Arc::clone(&candidate.boot));
        let Some(life) = &seat.life else {
            return boot.map(|boot| Command::Join { boot, after: None });
        };
        let member = life.home;
        let after = Some(member);
        if life.status == Status::Down {
            let removable = life.removing && !cx.control.voters.contains(&node);
            return boot
                .map(|boot| Command::Join { boot, after })
                .or_else(|| removable.then_some(Command::Remove { member }));
        }
        if let Some(boot) = boot {
            let known = &cx.control.members.get(&node)?.boot;
            if boot.process > known.process && boot.proves_death_of(known) {
                return Some(Command::Join { boot, after });
            }
        }
        if self.must_end(cx, seat, life) {
            return Some(Command::Down { member });
        }
        let goes = life.leaving || life.removing;
        match life.status {
            Status::Joining | Status::Up if goes => Some(Command::Leave { member }),
            Status::Leaving if life.leaving && !self.needed(cx, member) => {
                Some(Command::Down { member })
            }
            Status::Leaving if life.removing && !self.needed(cx, member) => {
                Some(Command::Remove { member })
            }
            Status::Joining if self.heard(member) && !self.suspect(cx, member) => {
                Some(Command::Up { member })
            }
            _ => None,
        }
    }

    /// Whether a life has to be ended, and may be: no lease of it can be valid any more.
    fn must_end(&self, cx: &Context<'_>, seat: &Seat, life: &Life) -> bool {
        let home = life.home;
        let silent = self.suspect(cx, home);
        if silent && cx.settings.lacks(Mutant::ReassignBeforeExpiry) {
            return true;
        }
        let fatal = self.granter.stopped(home) || (silent && seat.readmission.may_end(cx));
        life.exited || life.doomed || (fatal && self.granter.expired(cx, home))
    }

    /// Whether the cluster would lose something if this member, which wants to go, went now.
    fn needed(&self, cx: &Context<'_>, home: Home) -> bool {
        let control = cx.control;
        let shards = &control.shards;
        let owns = shards.owned_by(home).next().is_some() || shards.incoming(home).next().is_some();
        owns || voting::needed(cx, home.node) || keeps(control, home)
    }

    /// When a seat may want something else without anything being heard. Those that are in the past say nothing.
    fn next_look(&self, cx: &Context<'_>, node: NodeId) -> Instant {
        let now = cx.now.instant;
        let timing = &cx.settings.timing;
        let far = now + timing.rebalance;
        let Some(seat) = self.seats.get(&node) else {
            return far;
        };
        let mut dues = [far; 6];
        if let Some((_, at)) = &seat.proposed {
            dues[0] = *at + timing.resend;
        }
        if let Some(candidate) = &seat.candidate {
            dues[1] = candidate.heard + timing.announce * 4;
        }
        if let Some(life) = &seat.life {
            if life.status == Status::Down {
                dues[2] = life.since + timing.replace;
            } else {
                dues[2] = self.granter.suspect_from(cx, life.home);
                // A lease has run out only after its last instant.
                dues[3] = self.granter.expires(life.home) + Duration::from_nanos(1);
                dues[4] = seat.readmission.from();
                dues[5] = seat.readmission.may_end_from(timing);
            }
        }
        dues.into_iter()
            .filter(|&due| due > now)
            .min()
            .unwrap_or(far)
    }
}

/// Whether somebody still appends to this member's disk, or could not read what he may have to read without it.
fn keeps(control: &ControlState, home: Home) -> bool {
    let Some(member) = control.members.get(&home.node) else {
        return false;
    };
    let disk = member.boot.disk;
    control.ledgers.iter().any(|(&id, ledger)| {
        let has = ledger
            .replicas
            .iter()
            .any(|replica| replica.node == home.node && replica.disk == disk);
        let written = ledger.home != home
            && control
                .live(ledger.home)
                .is_some_and(|writer| writer.ledger == Some(id));
        has && (written
            || (others(control, ledger, home) < ledger.read_quorum()
                && control.shards.sourced_from(id).next().is_some()))
    })
}

/// How many replicas are there besides this member's.
fn others(control: &ControlState, ledger: &Ledger, home: Home) -> usize {
    let there = ledger.replicas.iter().filter(|replica| {
        let member = control.members.get(&replica.node);
        replica.node != home.node
            && member.is_some_and(|member| {
                member.status != Status::Down && member.boot.disk == replica.disk
            })
    });
    there.count()
}

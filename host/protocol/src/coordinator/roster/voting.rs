//! Who votes in the control log: 1, 3 or 5 nodes, of as many zones as there are.
//!
//! | members that count | voters |
//! |---|---|
//! | 1, 2 | 1 |
//! | 3, 4 | 3 |
//! | 5 or more | 5 |
//!
//! A member counts unless it leaves, is being removed, or has been Down for `replace`. One step at a time goes from the voters that are to those that
//! should be: who is Down goes first, as that costs no vote that is there; then who is new comes; then who is one too many goes.
//! Never does the coordinator take the vote from itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Context, Instant, NodeId};
use crate::control::{Command, Status};

use super::seat::Seat;

/// The change of voters that is on its way: at most one (I16).
#[derive(Debug, Default)]
pub(super) struct Voting {
    proposed: Option<(Command, Instant)>,
    /// Not before then is the next one proposed: who came last shall have time to catch up.
    quiet: Instant,
}

/// What a member is to the vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It votes, and should.
    Voter,
    /// It could.
    Spare,
    /// It cannot now, and counts.
    Other,
    /// It has been down for long.
    Lost,
    /// It goes.
    Gone,
}

/// The most voters.
const VOTERS_MAX: usize = 5;

impl Voting {
    /// A change of voters was applied, or anything may have been.
    pub(super) fn applied(&mut self, cx: &Context<'_>) {
        self.proposed = None;
        self.quiet = cx.now.instant + cx.settings.timing.announce;
    }

    /// When to ask it again: none if nothing is on its way or waited for.
    pub(super) fn due(&self, cx: &Context<'_>) -> Option<Instant> {
        let due = match &self.proposed {
            Some((_, at)) => *at + cx.settings.timing.resend,
            None => self.quiet,
        };
        Some(due).filter(|&due| due > cx.now.instant)
    }

    /// The change to propose now. `fit` are those who may be given a vote.
    pub(super) fn propose(
        &mut self,
        cx: &Context<'_>,
        seats: &BTreeMap<NodeId, Seat>,
        fit: &BTreeSet<NodeId>,
    ) -> Option<Command> {
        let now = cx.now.instant;
        if let Some((command, at)) = &mut self.proposed {
            // The same one again, whatever has changed since: only the log can say that it is over.
            let late = now >= *at + cx.settings.timing.resend;
            return late.then(|| {
                *at = now;
                command.clone()
            });
        }
        if now < self.quiet {
            return None;
        }
        let election = Election { cx, seats, fit };
        let command = Command::Voters {
            from: cx.control.voters.iter().copied().collect(),
            to: election.step()?.into_iter().collect(),
        };
        self.proposed = Some((command.clone(), now));
        Some(command)
    }
}

/// Whether the control log could stand still if this member, which wants to go, went now.
pub(super) fn needed(cx: &Context<'_>, node: NodeId) -> bool {
    let voters = &cx.control.voters;
    if !voters.contains(&node) || node != cx.me.node {
        // Any other's vote is taken first.
        return voters.contains(&node);
    }
    let rest = voters.iter().filter(|&voter| {
        let member = cx.control.members.get(voter);
        *voter != node && member.is_some_and(|m| matches!(m.status, Status::Up | Status::Joining))
    });
    rest.count() <= voters.len() / 2
}

struct Election<'a> {
    cx: &'a Context<'a>,
    seats: &'a BTreeMap<NodeId, Seat>,
    fit: &'a BTreeSet<NodeId>,
}

impl Election<'_> {
    /// The voters after the next step; `None` if those that are are right.
    fn step(&self) -> Option<BTreeSet<NodeId>> {
        let current = &self.cx.control.voters;
        if !current.contains(&self.cx.me.node) {
            return None;
        }
        let chosen = self.chosen();
        let surplus = || current.iter().filter(|node| !chosen.contains(node));
        let dead = surplus().find(|&&node| !self.lives(node));
        let new = chosen.iter().find(|node| !current.contains(node));
        // Who coordinates and goes leaves the taking of votes to the next one, who will not need its own.
        let stays = self.cx.control.members.get(&self.cx.me.node);
        let stays = stays.is_some_and(|member| member.status != Status::Leaving);
        let mut to = current.clone();
        match (dead, new) {
            (Some(dead), _) => to.remove(dead),
            (None, Some(&new)) if current.len() < VOTERS_MAX => to.insert(new),
            _ => to.remove(surplus().next_back().filter(|_| stays)?),
        };
        Some(to)
    }

    /// Who should vote, in the order in which they are chosen: the coordinator, then zone by zone.
    fn chosen(&self) -> Vec<NodeId> {
        let parts: Vec<(NodeId, Part)> = self.parts();
        let count = |wanted: &[Part]| parts.iter().filter(|(_, p)| wanted.contains(p)).count();
        let here = count(&[Part::Voter, Part::Spare, Part::Other]);
        let size = match (here, here + count(&[Part::Lost])) {
            // One vote less would be none saved, and one copy of the log lost.
            (0..=2, 3..) | (3..=4, _) => 3,
            (0..=2, _) => 1,
            _ => VOTERS_MAX,
        };
        let mut chosen = vec![self.cx.me.node];
        let mut left: Vec<(NodeId, Part)> = parts
            .into_iter()
            .filter(|(node, part)| {
                *node != self.cx.me.node && matches!(part, Part::Voter | Part::Spare | Part::Lost)
            })
            .collect();
        while chosen.len() < size && !left.is_empty() {
            let best = left
                .iter()
                .enumerate()
                .min_by_key(|(_, (node, part))| {
                    (
                        *part == Part::Lost,
                        self.neighbours(&chosen, *node),
                        *part == Part::Spare,
                        *node,
                    )
                })
                .map(|(place, _)| place);
            chosen.extend(best.map(|place| left.remove(place).0));
        }
        // An even number stands still as easily as one voter less.
        if chosen.len().is_multiple_of(2) {
            chosen.pop();
        }
        chosen
    }

    fn parts(&self) -> Vec<(NodeId, Part)> {
        let members = self.cx.control.members.keys();
        members.map(|&node| (node, self.part(node))).collect()
    }

    fn part(&self, node: NodeId) -> Part {
        let Some(life) = self.seats.get(&node).and_then(|seat| seat.life.as_ref()) else {
            return Part::Gone;
        };
        let votes = self.cx.control.voters.contains(&node);
        let replace = life.since + self.cx.settings.timing.replace;
        match life.status {
            _ if life.removing => Part::Gone,
            Status::Leaving if node != self.cx.me.node => Part::Gone,
            Status::Down if life.leaving => Part::Gone,
            Status::Down if replace <= self.cx.now.instant => {
                if votes {
                    Part::Lost
                } else {
                    Part::Gone
                }
            }
            _ if votes => Part::Voter,
            Status::Joining => Part::Gone,
            _ if self.fit.contains(&node) => Part::Spare,
            _ => Part::Other,
        }
    }

    /// How many of the chosen are in this node's zone.
    fn neighbours(&self, chosen: &[NodeId], node: NodeId) -> usize {
        let members = &self.cx.control.members;
        let zone = |node: &NodeId| members.get(node).map(|member| &member.boot.zone);
        chosen
            .iter()
            .filter(|other| zone(other) == zone(&node))
            .count()
    }

    fn lives(&self, node: NodeId) -> bool {
        let member = self.cx.control.members.get(&node);
        member.is_some_and(|member| member.status != Status::Down)
    }
}

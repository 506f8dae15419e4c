//! Decides where shards live: gives those that nobody owns an owner, empties nodes that leave, and evens out what is uneven.
//!
//! Where something should be is [`crate::placement::plan`]'s business. Here is when: an assignment at once, a drain as fast as the
//! bound on handoffs allows, and an even distribution only in a calm cluster, one round of moves after the other is finished.

use std::collections::BTreeMap;

use super::handoffs::{Handoffs, movable};
use super::orders::Orders;
use super::roster::Roster;
use super::{Action, retiring};
use crate::Durability;
use crate::cluster::{Context, Home, Instant, ShardId, Term};
use crate::control::{Assignment, Command, Entry, Member, Ownership, Space, Status};
use crate::placement::{self, Candidate, Policy};

/// When to look what.
#[derive(Debug)]
pub(super) struct Placing {
    /// Members that were not heard of are waited for until then: their silence says nothing about them so soon.
    patience: Instant,
    /// When to look for shards without an owner.
    assign: Option<Instant>,
    /// An Assign was proposed; before this instant it is too early to do it again.
    proposed: Option<Instant>,
    /// When to look for shards on nodes that leave.
    drain: Option<Instant>,
    /// When to look whether the distribution is even.
    rebalance: Instant,
    /// Counts what may have made it uneven.
    changes: u64,
    /// The changes and nodes for which the distribution is known to be even.
    even: Option<(u64, Vec<Home>)>,
    orders: Orders,
}

/// The most shards in one Assign.
const ASSIGNED_MAX: usize = 1_024;

impl Placing {
    pub(super) fn new(cx: &Context<'_>, term: Term) -> Self {
        let timing = &cx.settings.timing;
        Self {
            patience: cx.now.instant + timing.suspect,
            assign: None,
            proposed: None,
            drain: None,
            rebalance: cx.now.instant + timing.rebalance,
            changes: 0,
            even: None,
            orders: Orders::new(term),
        }
    }

    /// Looks at everything.
    pub(super) fn handle_state(&mut self, cx: &Context<'_>) {
        self.changes += 1;
        self.proposed = None;
        self.assign = Some(cx.now.instant);
        self.drain = Some(cx.now.instant);
    }

    pub(super) fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match entry.command {
            Command::Assign { .. } => self.handle_state(cx),
            Command::Adopted { .. } => {
                // One for each shard and source comes: they are gathered.
                let later = cx.now.instant + cx.settings.timing.resend;
                self.drain = Some(self.drain.map_or(later, |at| at.min(later)));
            }
            Command::Coordinate | Command::Voters { .. } => {}
            _ => {
                self.changes += 1;
                self.assign = Some(cx.now.instant);
                self.drain = Some(cx.now.instant);
            }
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(
        &mut self,
        cx: &Context<'_>,
        roster: &Roster,
        handoffs: &mut Handoffs,
    ) {
        let now = cx.now.instant;
        if self.assign.is_some_and(|at| at <= now) {
            self.assign = None;
            self.assign(cx, roster, handoffs);
        }
        if self.drain.is_some_and(|at| at <= now) {
            self.drain = None;
            self.drain(cx, roster, handoffs);
        }
        if self.rebalance <= now {
            self.rebalance = now + cx.settings.timing.rebalance;
            self.rebalance(cx, roster, handoffs);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let soon = [self.assign, self.drain].into_iter().flatten();
        soon.chain([self.rebalance]).min()
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }

    fn assign(&mut self, cx: &Context<'_>, roster: &Roster, handoffs: &Handoffs) {
        let free = |shard: &ShardId| !retiring(cx.control, *shard);
        if !cx.control.shards.unassigned().any(|shard| free(&shard)) {
            return;
        }
        let now = cx.now.instant;
        if let Some(again) = self.proposed.filter(|&at| now < at) {
            self.assign = Some(again);
            return;
        }
        if now < self.patience && unheard(cx, roster) {
            let soon = now + cx.settings.timing.barrier;
            self.assign = Some(soon.min(self.patience));
            return;
        }
        let again = now + cx.settings.timing.resend;
        self.assign = Some(again);
        let nodes = candidates(cx, roster);
        if nodes.is_empty() {
            return;
        }
        let plan = placement::plan(&nodes, &homes(cx, handoffs), &policy(cx, 0));
        let epoch = |shard| cx.control.shards.get(&shard).map(|record| record.epoch);
        let unowned = |shard: ShardId| {
            let record = cx.control.shards.get(&shard);
            record.is_some_and(|record| record.ownership == Ownership::Unassigned)
        };
        let shards: Vec<Assignment> = plan
            .assign
            .iter()
            .filter(|(shard, _)| unowned(*shard))
            .filter_map(|&(shard, home)| {
                let after = epoch(shard)?;
                Some(Assignment { shard, after, home })
            })
            .take(ASSIGNED_MAX)
            .collect();
        if !shards.is_empty() {
            self.proposed = Some(again);
            self.orders.propose(Command::Assign { shards });
        }
    }

    /// Moves what leaving nodes have to where it would be assigned now.
    fn drain(&mut self, cx: &Context<'_>, roster: &Roster, handoffs: &mut Handoffs) {
        let drained = |home: Home| {
            let member = cx.control.live(home);
            member.is_some_and(|member| member.status == Status::Leaving)
                && !roster.suspect(cx, home)
        };
        let leavers: Vec<Home> = members(cx)
            .filter(|member| member.status == Status::Leaving)
            .map(Member::home)
            .filter(|&home| cx.control.owned_by(home).next().is_some())
            .collect();
        if leavers.is_empty() {
            return;
        }
        self.drain = Some(cx.now.instant + cx.settings.timing.rebalance);
        let nodes = candidates(cx, roster);
        if nodes.is_empty() {
            return;
        }
        let mut shards = homes(cx, handoffs);
        for (_, home) in &mut shards {
            *home = home.filter(|&home| !drained(home));
        }
        let plan = placement::plan(&nodes, &shards, &policy(cx, 0));
        let moves = plan.assign.iter().filter_map(|&(shard, to)| {
            let (from, _) = cx.control.home_of(shard)?;
            drained(from).then_some((shard, from, to))
        });
        let moves: Vec<_> = moves.collect();
        begin(cx, handoffs, &moves);
    }

    fn rebalance(&mut self, cx: &Context<'_>, roster: &Roster, handoffs: &mut Handoffs) {
        let calm = roster.steady(cx)
            && handoffs.idle()
            && cx.control.shards.moving().next().is_none()
            && cx.control.shards.unassigned().next().is_none();
        if !calm {
            return;
        }
        let nodes = candidates(cx, roster);
        let known = (self.changes, nodes.iter().map(|node| node.home).collect());
        if nodes.len() < 2 || self.even.as_ref() == Some(&known) {
            return;
        }
        let moves_max = cx.settings.bounds.handoffs_max;
        let plan = placement::plan(&nodes, &homes(cx, handoffs), &policy(cx, moves_max));
        if plan.moves.is_empty() {
            self.even = Some(known);
            return;
        }
        begin(cx, handoffs, &plan.moves);
    }
}

/// Begins the moves of a plan that can begin, in one transfer for each pair of nodes. What failed before goes alone, so that a
/// shard that takes too long takes no others with it.
fn begin(cx: &Context<'_>, handoffs: &mut Handoffs, moves: &[(ShardId, Home, Home)]) {
    let mut groups: BTreeMap<(Home, Home, Option<ShardId>), Vec<ShardId>> = BTreeMap::new();
    for &(shard, from, to) in moves {
        if !handoffs.cooling(cx, shard) && movable(cx.control, shard, from, to).is_some() {
            let alone = handoffs.failed(shard).then_some(shard);
            groups.entry((from, to, alone)).or_default().push(shard);
        }
    }
    for ((from, to, _), shards) in groups {
        handoffs.begin(cx, from, to, &shards);
    }
}

/// All shards that have to be somewhere, and where they are or will be.
fn homes(cx: &Context<'_>, handoffs: &Handoffs) -> Vec<(ShardId, Option<Home>)> {
    let home = |shard: ShardId, ownership| match ownership {
        Ownership::Unassigned => None,
        Ownership::Owned { home } => Some(handoffs.target(shard).unwrap_or(home)),
        Ownership::Handoff { to, .. } => Some(to),
    };
    let all = cx.control.shards.iter();
    all.filter(|&(&shard, _)| !retiring(cx.control, shard))
        .map(|(&shard, record)| (shard, home(shard, record.ownership)))
        .collect()
}

/// The nodes that may get shards. Where nobody has waited long enough since it was downed, waiting is worse than any of them.
fn candidates(cx: &Context<'_>, roster: &Roster) -> Vec<Candidate> {
    let up = || members(cx).filter(|member| member.status == Status::Up);
    let best: Vec<Candidate> = up()
        .filter(|member| roster.placeable(cx, member.home()))
        .map(candidate)
        .collect();
    if !best.is_empty() {
        return best;
    }
    up().filter(|member| roster.heard(member.home()) && !roster.suspect(cx, member.home()))
        .map(candidate)
        .collect()
}

fn candidate(member: &Member) -> Candidate {
    Candidate {
        home: member.home(),
        zone: member.boot.zone.clone(),
        weight: 1,
        durable_ok: member.ledger.is_some(),
    }
}

fn members<'a>(cx: &Context<'a>) -> impl Iterator<Item = &'a Member> + use<'a> {
    cx.control.members.values()
}

/// Whether a member that should be there was not heard of by this coordinator.
fn unheard(cx: &Context<'_>, roster: &Roster) -> bool {
    members(cx).any(|member| member.status == Status::Up && !roster.heard(member.home()))
}

fn policy(cx: &Context<'_>, moves_max: usize) -> Policy {
    let durable = |space: &Space| space.durability == Durability::Durable;
    let spaces = cx.control.spaces.iter();
    Policy {
        moves_max,
        durable: spaces
            .filter(|(_, space)| durable(space))
            .map(|(&id, _)| id)
            .collect(),
        ..Policy::default()
    }
}

//! Which disks keep each member's journal: PROTOCOL section 10.
//!
//! A member writes to one ledger: its own disk and two others, in other zones where there are some. Where that ledger cannot
//! do any more (a disk is gone, its node goes, or is down for long) or could do better (there are more members now), another one is opened,
//! and the member copies what it owns. That is work: so a ledger that only could do better waits a little for more to change.
//!
//! Everything is derived from the control state. What is remembered is only since when a node is down, as this coordinator
//! has seen it.

use std::collections::{BTreeMap, VecDeque};

use crate::cluster::{Context, Instant, LedgerId, NodeId};
use crate::control::{Command, ControlState, Entry, Ledger, Member, Replica, Status};

use super::Action;

/// The ledgers, as their coordinator sees them. A new coordinator has a new one.
#[derive(Debug)]
pub struct Ledgers {
    /// The members that are down, and since when.
    down: BTreeMap<NodeId, Instant>,
    /// What was proposed last for each member, and when.
    proposed: BTreeMap<NodeId, (Command, Instant)>,
    /// The members whose ledgers could do better, and since when.
    better: BTreeMap<NodeId, Instant>,
    due: Option<Instant>,
    actions: VecDeque<Action>,
}

/// Whether another ledger is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    /// The one that is written will do.
    Nothing,
    /// Another would be on more disks, or on disks that stay.
    Better,
    /// There is none, or it cannot take a record now, or lost a disk.
    Now,
}

/// A member that may keep ledgers, and how many it keeps.
struct Keeper<'a> {
    replica: Replica,
    zone: &'a str,
    kept: usize,
}

impl Ledgers {
    /// A new coordinator's. It looks at the members when it is told the control state.
    pub fn new() -> Self {
        Self {
            down: BTreeMap::new(),
            proposed: BTreeMap::new(),
            better: BTreeMap::new(),
            due: None,
            actions: VecDeque::new(),
        }
    }

    /// An entry was applied.
    pub fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match &entry.command {
            Command::OpenLedger { home, .. } => {
                self.proposed.remove(&home.node);
                self.look(cx);
            }
            Command::Join { .. }
            | Command::Up { .. }
            | Command::Leave { .. }
            | Command::Down { .. }
            | Command::Remove { .. } => self.look(cx),
            _ => {}
        }
    }

    /// The control state has changed in any way.
    pub fn handle_state(&mut self, cx: &Context<'_>) {
        self.proposed.clear();
        self.look(cx);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, cx: &Context<'_>) {
        if self.due.is_some_and(|due| due <= cx.now.instant) {
            self.look(cx);
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Panics if the ledgers contradict themselves.
    pub fn check_invariants(&self) {
        assert!(
            self.due.is_some() || (self.proposed.is_empty() && self.better.is_empty()),
            "a ledger is wanted, and nobody will look after it"
        );
    }

    /// Looks at all members.
    fn look(&mut self, cx: &Context<'_>) {
        let now = cx.now.instant;
        let timing = &cx.settings.timing;
        let control = cx.control;
        self.note_down(cx);
        self.proposed
            .retain(|node, _| control.members.contains_key(node));
        self.better
            .retain(|node, _| control.members.contains_key(node));
        let mut keepers = keepers(control);
        for (&node, member) in &control.members {
            let want = self.want(cx, node, member, keepers.len());
            match want {
                Want::Nothing => {
                    self.better.remove(&node);
                    self.proposed.remove(&node);
                }
                Want::Better => {
                    let since = *self.better.entry(node).or_insert(now);
                    if now >= since + timing.announce {
                        self.propose(cx, node, member, &mut keepers);
                    }
                }
                Want::Now => self.propose(cx, node, member, &mut keepers),
            }
        }
        let proposed = self.proposed.values().map(|(_, at)| *at + timing.resend);
        let better = self.better.values().map(|&since| since + timing.announce);
        let down = self.down.values().map(|&since| since + timing.replace);
        let dues = proposed.chain(better).chain(down);
        self.due = dues.filter(|&due| due > now).min();
    }

    fn note_down(&mut self, cx: &Context<'_>) {
        let members = &cx.control.members;
        let is_down = |member: &Member| member.status == Status::Down;
        self.down
            .retain(|node, _| members.get(node).is_some_and(is_down));
        for (&node, _) in members.iter().filter(|(_, member)| is_down(member)) {
            self.down.entry(node).or_insert(cx.now.instant);
        }
    }

    fn want(&self, cx: &Context<'_>, node: NodeId, member: &Member, keepers: usize) -> Want {
        let control = cx.control;
        let goes = match member.status {
            Status::Down => return Want::Nothing,
            Status::Leaving => true,
            Status::Joining | Status::Up => false,
        };
        let Some(ledger) = member.ledger.and_then(|id| control.ledgers.get(&id)) else {
            return if goes { Want::Nothing } else { Want::Now };
        };
        let there = ledger
            .replicas
            .iter()
            .filter(|replica| lives(control, replica));
        if there.count() < ledger.append_quorum() {
            return Want::Now;
        }
        // Who goes needs nothing better; what it has is left behind.
        if goes {
            return Want::Nothing;
        }
        if ledger
            .replicas
            .iter()
            .any(|replica| self.is_gone(cx, replica))
        {
            return Want::Now;
        }
        let stays = |replica: &Replica| {
            let status = control
                .members
                .get(&replica.node)
                .map(|member| member.status);
            replica.node == node || status != Some(Status::Leaving)
        };
        let own_counts = usize::from(member.status == Status::Joining);
        let possible = (keepers + own_counts).min(Ledger::REPLICAS);
        if !ledger.replicas.iter().all(stays) || ledger.replicas.len() < possible {
            return Want::Better;
        }
        Want::Nothing
    }

    /// Whether a disk is lost to the cluster, or down for so long that it may as well be.
    fn is_gone(&self, cx: &Context<'_>, replica: &Replica) -> bool {
        let member = cx.control.members.get(&replica.node);
        let known = member.is_some_and(|member| member.boot.disk == replica.disk);
        let long = self
            .down
            .get(&replica.node)
            .is_some_and(|&since| cx.now.instant >= since + cx.settings.timing.replace);
        !known || long
    }

    fn propose(
        &mut self,
        cx: &Context<'_>,
        node: NodeId,
        member: &Member,
        keepers: &mut [Keeper<'_>],
    ) {
        let now = cx.now.instant;
        let resend = cx.settings.timing.resend;
        if let Some((_, at)) = self.proposed.get(&node)
            && now < *at + resend
        {
            return;
        }
        let home = member.home();
        let replicas = choose(node, member, keepers);
        let after = member.ledger;
        let unchanged = after
            .and_then(|id| cx.control.ledgers.get(&id))
            .is_some_and(|ledger| same(&ledger.replicas, &replicas));
        if unchanged {
            self.better.remove(&node);
            self.proposed.remove(&node);
            return;
        }
        let command = Command::OpenLedger {
            home,
            after,
            replicas,
        };
        self.proposed.insert(node, (command.clone(), now));
        self.actions.push_back(Action::Propose(command));
    }
}

impl Default for Ledgers {
    fn default() -> Self {
        Self::new()
    }
}

/// The disk itself and two others: of other zones first, then those that keep the fewest ledgers, then by node.
fn choose(node: NodeId, member: &Member, keepers: &mut [Keeper<'_>]) -> Vec<Replica> {
    let own = Replica {
        node,
        disk: member.boot.disk,
    };
    let mut replicas = vec![own];
    let mut zones = vec![member.boot.zone.as_str()];
    while replicas.len() < Ledger::REPLICAS {
        let best = keepers
            .iter_mut()
            .filter(|keeper| !replicas.contains(&keeper.replica))
            .min_by_key(|keeper| {
                let near = zones.iter().filter(|zone| **zone == keeper.zone).count();
                (near, keeper.kept, keeper.replica.node)
            });
        let Some(best) = best else {
            break;
        };
        // Also what is only proposed counts: several ledgers are often opened at once.
        best.kept += 1;
        replicas.push(best.replica);
        zones.push(best.zone);
    }
    replicas
}

/// The members that may keep ledgers.
fn keepers(control: &ControlState) -> Vec<Keeper<'_>> {
    let mut kept: BTreeMap<NodeId, usize> = BTreeMap::new();
    let written = control.members.values().filter_map(|member| member.ledger);
    for ledger in written.filter_map(|id: LedgerId| control.ledgers.get(&id)) {
        for replica in &ledger.replicas {
            *kept.entry(replica.node).or_default() += 1;
        }
    }
    let up = control.members.iter();
    let up = up.filter(|(_, member)| member.status == Status::Up);
    up.map(|(&node, member)| Keeper {
        replica: Replica {
            node,
            disk: member.boot.disk,
        },
        zone: &member.boot.zone,
        kept: kept.get(&node).copied().unwrap_or(0),
    })
    .collect()
}

fn lives(control: &ControlState, replica: &Replica) -> bool {
    let member = control.members.get(&replica.node);
    member.is_some_and(|member| member.status != Status::Down && member.boot.disk == replica.disk)
}

fn same(one: &[Replica], other: &[Replica]) -> bool {
    one.len() == other.len() && one.iter().all(|replica| other.contains(replica))
}

#[cfg(test)]
mod tests;

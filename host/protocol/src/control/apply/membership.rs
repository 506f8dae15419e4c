//! Who is a member, and who votes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Step;
use crate::cluster::{Boot, Home, Incarnation, NodeId};
use crate::control::{ControlState, Member, Status};

impl Step<'_> {
    /// The life `after` has to be over: downed, or its process proven dead by the successor that holds its lock.
    pub(super) fn join(&mut self, boot: &Arc<Boot>, after: Option<Home>) {
        let before = self.state.members.get(&boot.node);
        if before.map(Member::home) != after {
            return;
        }
        if let Some(before) = before {
            let over = before.status == Status::Down || boot.proves_death_of(&before.boot);
            if boot.disk != before.boot.disk || !over {
                return;
            }
            self.down(before.home());
        }
        if self.state.members.is_empty() {
            self.state.voters = BTreeSet::from([boot.node]);
            self.changes.voters = true;
        }
        let member = Member {
            incarnation: Incarnation(self.index.0),
            boot: Arc::clone(boot),
            status: Status::Joining,
            since: self.index,
            ledger: None,
        };
        self.state.members.insert(boot.node, member);
        self.changes.members.push(boot.node);
    }

    pub(super) fn up(&mut self, home: Home) {
        self.turn(home, &[Status::Joining, Status::Leaving], Status::Up);
    }

    pub(super) fn leave(&mut self, home: Home) {
        self.turn(home, &[Status::Joining, Status::Up], Status::Leaving);
    }

    /// What it owned belongs to nobody, what was on its way to it goes back, and its ledger is a source of both.
    pub(super) fn down(&mut self, home: Home) {
        let all = [Status::Joining, Status::Up, Status::Leaving];
        if !self.turn(home, &all, Status::Down) {
            return;
        }
        let member = self.state.members.get_mut(&home.node);
        let ledger = member.and_then(|member| member.ledger.take());
        let owned: Vec<_> = self.state.shards.owned_by(home).collect();
        for shard in owned {
            self.lose_owner(shard, ledger);
        }
        let incoming: Vec<_> = self.state.shards.incoming(home).collect();
        for shard in incoming {
            self.give_back(shard);
        }
        self.loose = true;
    }

    pub(super) fn remove(&mut self, home: Home) {
        let Some(member) = self.state.members.get(&home.node) else {
            return;
        };
        let free = match member.status {
            Status::Down => true,
            Status::Leaving => self.idle(home),
            Status::Joining | Status::Up => false,
        };
        if member.home() == home && free && !self.state.voters.contains(&home.node) {
            self.state.members.remove(&home.node);
            self.changes.members.push(home.node);
            self.loose = true;
        }
    }

    pub(super) fn voters(&mut self, from: &[NodeId], to: &[NodeId]) {
        let before: BTreeSet<_> = from.iter().copied().collect();
        let after: BTreeSet<_> = to.iter().copied().collect();
        let one = before.symmetric_difference(&after).count() == 1;
        let sized = (1..=ControlState::VOTERS_MAX).contains(&after.len());
        let known = after.difference(&before).all(|node| {
            let member = self.state.members.get(node);
            member.is_some_and(|member| member.status != Status::Down)
        });
        if before == self.state.voters && one && sized && known {
            self.state.voters = after;
            self.changes.voters = true;
        }
    }

    fn turn(&mut self, home: Home, from: &[Status], to: Status) -> bool {
        let Some(member) = self.state.members.get_mut(&home.node) else {
            return false;
        };
        if member.home() != home || !from.contains(&member.status) {
            return false;
        }
        member.status = to;
        member.since = self.index;
        self.changes.members.push(home.node);
        true
    }

    fn idle(&self, home: Home) -> bool {
        let shards = &self.state.shards;
        shards.owned_by(home).next().is_none() && shards.incoming(home).next().is_none()
    }
}

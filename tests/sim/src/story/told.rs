//! What a story can be asked when it is over.

use std::collections::{BTreeMap, BTreeSet};

use entia_protocol::cluster::{Home, Message, NodeId, ShardId};
use entia_protocol::control::{Command, ControlState};

use crate::chronicle::{Began, Chronicle, Decided, Granted, Refusal, Sent};
use crate::faults::FaultKind;
use crate::plan::Plan;
use crate::run::Report;
use crate::work::Gap;
use crate::world::Strike;

/// A story that held. Times are true times in nanoseconds.
#[derive(Debug)]
pub struct Told {
    /// The story.
    pub plan: Plan,
    /// How it ended.
    pub report: Report,
}

impl Told {
    pub(super) fn new(plan: Plan, report: Report) -> Self {
        Self { plan, report }
    }

    /// What happened.
    pub fn chronicle(&self) -> &Chronicle {
        &self.report.chronicle
    }

    /// What was decided in the end.
    pub fn control(&self) -> &ControlState {
        let control = self.chronicle().control.as_ref();
        control.expect("every run decides something")
    }

    /// What struck that is no wish, in order.
    pub fn strikes(&self) -> impl Iterator<Item = &Strike> {
        let strikes = self.chronicle().strikes.iter();
        strikes.filter(|strike| !matches!(strike.kind, FaultKind::Wish(_)))
    }

    /// When the first of them struck.
    pub fn struck(&self) -> u64 {
        self.strike().at
    }

    /// The first of them.
    pub fn strike(&self) -> &Strike {
        self.strikes().next().expect("something struck")
    }

    /// Whom it struck.
    pub fn victim(&self) -> NodeId {
        self.strike().node.expect("it struck somebody")
    }

    /// The commands of this sort that changed something.
    pub fn decided(&self, such: impl Fn(&Command) -> bool) -> Vec<&Decided> {
        let decided = self.chronicle().decided.iter();
        decided
            .filter(|decided| decided.counts && such(&decided.entry.command))
            .collect()
    }

    /// The lives that were ended.
    pub fn downs(&self) -> Vec<(u64, Home)> {
        self.decided(|command| matches!(command, Command::Down { .. }))
            .into_iter()
            .filter_map(|down| match down.entry.command {
                Command::Down { member } => Some((down.at, member)),
                _ => None,
            })
            .collect()
    }

    /// The first handoff: when it was decided, and its shards.
    pub fn handoff(&self) -> &Decided {
        let begun = self.decided(|command| matches!(command, Command::BeginHandoff { .. }));
        begun.first().expect("a handoff began")
    }

    /// How the first handoff ended: each Complete and each Abort in the log, also those that are void.
    pub fn endings(&self) -> Vec<&Decided> {
        let id = self.handoff().entry.index.0;
        let decided = self.chronicle().decided.iter();
        decided
            .filter(|decided| match &decided.entry.command {
                Command::CompleteHandoff { handoff, .. }
                | Command::AbortHandoff { handoff, .. } => handoff.0 == id,
                _ => false,
            })
            .collect()
    }

    /// What was decided at that time.
    pub fn control_at(&self, at: u64) -> ControlState {
        let mut control = ControlState::new(self.control().cluster);
        let decided = self.chronicle().decided.iter();
        for decided in decided.take_while(|decided| decided.at <= at) {
            control.apply(&decided.entry);
        }
        control
    }

    /// What a node owned at that time.
    pub fn owned(&self, node: NodeId, at: u64) -> Vec<ShardId> {
        let control = self.control_at(at);
        let shards = control.shards.iter().map(|(&shard, _)| shard);
        let owns = |shard: &ShardId| {
            let home = control.home_of(*shard);
            home.is_some_and(|(home, _)| home.node == node)
        };
        shards.filter(owns).collect()
    }

    /// The messages of this sort, by when they were sent.
    pub fn sent(&self, such: impl Fn(&Message) -> bool) -> Vec<&Sent> {
        let sent = self.chronicle().sent.iter();
        sent.filter(|sent| such(&sent.message)).collect()
    }

    /// How long after `since` a shard was served anew: a node that owns it by a decision that is newer than `epoch` said so.
    pub fn served(&self, shard: ShardId, since: u64, epoch: u64) -> u64 {
        let started = |sent: &&Sent| match &sent.message {
            Message::Started { shards } => shards
                .iter()
                .any(|&(started, under)| started == shard && under.0 > epoch),
            _ => false,
        };
        let sent = self.chronicle().sent.iter();
        let first = sent.filter(|sent| sent.at >= since).find(started);
        let at = first.map(|sent| sent.at);
        at.unwrap_or_else(|| panic!("seed {}: {shard} is never served again", self.plan.seed))
            - since
    }

    /// How long after `since` everything was served anew that a node owned then.
    pub fn outage(&self, node: NodeId, since: u64) -> u64 {
        let epoch = self.control_at(since).applied.0;
        let shards = self.owned(node, since);
        assert!(!shards.is_empty(), "{node} owned nothing");
        let times = shards
            .into_iter()
            .map(|shard| self.served(shard, since, epoch));
        times.max().expect("some")
    }

    /// How long after `since` the shards of the first handoff were served under a new epoch.
    pub fn settled(&self, since: u64) -> u64 {
        let handoff = self.handoff();
        let Command::BeginHandoff { shards, .. } = &handoff.entry.command else {
            unreachable!("it is one");
        };
        let times = shards
            .iter()
            .map(|&(shard, _)| self.served(shard, since, handoff.entry.index.0));
        times.max().expect("a handoff is about something")
    }

    /// The turns that began from then on, and before that.
    pub fn turns(&self, from: u64, until: u64) -> impl Iterator<Item = &Began> {
        let turns = self.chronicle().turns.iter();
        turns.filter(move |turn| (from..until).contains(&turn.at))
    }

    /// The workers' shards with the node that owned each at that time.
    pub fn workers(&self, at: u64) -> BTreeMap<ShardId, NodeId> {
        let control = self.control_at(at);
        let daemons = |shard: &ShardId| {
            let space = control.spaces.get(&shard.space);
            space.is_some_and(|space| space.role != entia_protocol::control::Role::Kind)
        };
        let shards = control.shards.iter().map(|(&shard, _)| shard);
        shards
            .filter(daemons)
            .filter_map(|shard| Some((shard, control.home_of(shard)?.0.node)))
            .collect()
    }

    /// How long after `since` a worker stepped, on a node that is none of those.
    pub fn stepped(&self, worker: ShardId, since: u64, not: &[NodeId]) -> u64 {
        let steps =
            |turn: &&Began| turn.step && turn.shard == worker && !not.contains(&turn.home.node);
        let first = self.turns(since, u64::MAX).find(steps);
        first
            .unwrap_or_else(|| panic!("seed {}: {worker} steps no more", self.plan.seed))
            .at
            - since
    }

    /// The workers that stepped between two times.
    pub fn working(&self, from: u64, until: u64) -> BTreeSet<ShardId> {
        let steps = self.turns(from, until).filter(|turn| turn.step);
        steps.map(|turn| turn.shard).collect()
    }

    /// The grants that a node sent, from then on.
    pub fn grants_of(&self, node: NodeId, from: u64) -> Vec<&Granted> {
        let grants = self.chronicle().grants.iter();
        grants
            .filter(|granted| granted.from == node && granted.at >= from)
            .collect()
    }

    /// The longest that a client waited for an append or a read that it asked for between two times, errors and repetitions
    /// included.
    pub fn longest_wait(&self, from: u64, until: u64) -> u64 {
        let waits = self.chronicle().waits.iter();
        let asked = waits.filter(|wait| (from..until).contains(&wait.issued));
        asked.map(Gap::length).max().unwrap_or(0)
    }

    /// The errors that clients got between two times.
    pub fn refusals(&self, from: u64, until: u64) -> Vec<&Refusal> {
        let refusals = self.chronicle().refusals.iter();
        refusals
            .filter(|refusal| (from..until).contains(&refusal.at))
            .collect()
    }

    /// When a node was a member again after that time, in another life.
    pub fn joined(&self, node: NodeId, since: u64) -> u64 {
        let joined = self.decided(|command| match command {
            Command::Join { boot, .. } => boot.node == node,
            _ => false,
        });
        let mut joined = joined.into_iter().filter(|joined| joined.at >= since);
        let first = joined.next().map(|joined| joined.at);
        first.unwrap_or_else(|| panic!("seed {}: {node} is no member again", self.plan.seed))
            - since
    }

    /// When shards were given to a node after that time.
    pub fn given(&self, node: NodeId, since: u64) -> Option<u64> {
        let given = self.decided(|command| match command {
            Command::Assign { shards } => shards.iter().any(|each| each.home.node == node),
            Command::BeginHandoff { to, .. } => to.node == node,
            _ => false,
        });
        let mut given = given.into_iter().filter(|given| given.at >= since);
        given.next().map(|given| given.at - since)
    }
}

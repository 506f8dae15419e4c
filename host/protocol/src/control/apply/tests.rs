mod ledgers;
mod membership;
mod ownership;
mod random;
mod spaces;

use std::sync::Arc;

use super::Changes;
use crate::cluster::{
    Boot, ClusterId, Epoch, HandoffId, Home, Index, LedgerId, NodeAddress, NodeId, ProtocolRange,
    ShardId, SpaceId, Term, TransferId,
};
use crate::control::{
    Assignment, Command, ControlState, Entry, Ownership, Replica, Shard, Source, Status,
};
use crate::{Digest, Durability, KindName};

/// A control log and what it decides. Every entry is followed by the invariants.
struct Log {
    state: ControlState,
    term: Term,
}

impl Log {
    fn new() -> Self {
        Self {
            state: ControlState::new(ClusterId(7)),
            term: Term::default(),
        }
    }

    /// Nodes 1 to `nodes` are up and have a ledger that is theirs alone.
    fn of(nodes: u64) -> Self {
        let mut log = Self::new();
        for node in 1..=nodes {
            log.join(node);
        }
        log
    }

    fn join(&mut self, node: u64) -> Home {
        let boot = Arc::new(boot(node, 1));
        let after = self.member(node);
        self.applies(Command::Join { boot, after });
        let member = self.home(node);
        self.applies(Command::Up { member });
        self.open(node);
        member
    }

    fn open(&mut self, node: u64) -> LedgerId {
        let home = self.home(node);
        let after = self.ledger(node);
        let replicas = vec![disk_of(node)];
        let index = self.applies(Command::OpenLedger {
            home,
            after,
            replicas,
        });
        LedgerId(index.0)
    }

    fn entry(&self, command: Command) -> Entry {
        Entry {
            index: Index(self.state.applied.0 + 1),
            term: self.term,
            command,
        }
    }

    fn run(&mut self, command: Command) -> Changes {
        let entry = self.entry(command);
        let changes = self.state.apply(&entry).expect("it is the next entry");
        self.state.check_invariants();
        changes
    }

    /// The command changes something, and nothing more when it is in the log once more.
    fn applies(&mut self, command: Command) -> Index {
        let text = format!("{command:?}");
        assert!(!self.run(command.clone()).is_empty(), "void: {text}");
        let index = self.state.applied;
        self.void(command);
        index
    }

    fn void(&mut self, command: Command) {
        let text = format!("{command:?}");
        let before = self.state.clone();
        let changes = self.run(command);
        assert!(changes.is_empty(), "{text} changed {changes:?}");
        let after = ControlState {
            applied: self.state.applied,
            hash: self.state.hash,
            ..before
        };
        assert_eq!(after, self.state, "{text}");
    }

    fn kind(&mut self, name: &str, durability: Durability, shards: u32) -> SpaceId {
        SpaceId(self.applies(deploy(name, "v1", durability, shards)).0)
    }

    fn assign(&mut self, shard: ShardId, node: u64) -> Epoch {
        let command = self.assignment(shard, node);
        Epoch(self.applies(command).0)
    }

    fn assignment(&self, shard: ShardId, node: u64) -> Command {
        let assignment = Assignment {
            shard,
            after: self.shard(shard).epoch,
            home: self.home(node),
        };
        Command::Assign {
            shards: vec![assignment],
        }
    }

    fn beginning(&self, shard: ShardId, from: u64, to: u64) -> Command {
        Command::BeginHandoff {
            transfer: TransferId::default(),
            stamp: Epoch(self.state.applied.0),
            from: self.home(from),
            to: self.home(to),
            shards: vec![(shard, self.shard(shard).epoch)],
        }
    }

    fn begin(&mut self, shard: ShardId, from: u64, to: u64) -> HandoffId {
        let command = self.beginning(shard, from, to);
        HandoffId(self.applies(command).0)
    }

    fn complete(&mut self, handoff: HandoffId, shard: ShardId, ledger: Option<LedgerId>) -> Epoch {
        let shards = vec![(shard, ledger)];
        Epoch(self.applies(Command::CompleteHandoff { handoff, shards }).0)
    }

    fn abort(&mut self, handoff: HandoffId, shard: ShardId) -> Epoch {
        let shards = vec![shard];
        Epoch(self.applies(Command::AbortHandoff { handoff, shards }).0)
    }

    fn down(&mut self, node: u64) -> Index {
        let member = self.home(node);
        self.applies(Command::Down { member })
    }

    fn vote(&mut self, from: &[u64], to: &[u64]) {
        self.applies(voters(from, to));
    }

    fn member(&self, node: u64) -> Option<Home> {
        let member = self.state.members.get(&NodeId(node));
        member.map(|member| member.home())
    }

    fn home(&self, node: u64) -> Home {
        self.member(node).expect("a member")
    }

    fn status(&self, node: u64) -> Status {
        self.state.members[&NodeId(node)].status
    }

    fn ledger(&self, node: u64) -> Option<LedgerId> {
        self.state.members[&NodeId(node)].ledger
    }

    fn shard(&self, shard: ShardId) -> &Shard {
        &self.state.shards[&shard]
    }

    fn owner(&self, shard: ShardId) -> Option<u64> {
        match self.shard(shard).ownership {
            Ownership::Owned { home } => Some(home.node.0),
            _ => None,
        }
    }

    /// The sources of a shard, as (ledger, since).
    fn sources(&self, shard: ShardId) -> Vec<(LedgerId, Epoch)> {
        let sources = self.shard(shard).sources.iter();
        sources
            .map(|&Source { ledger, since }| (ledger, since))
            .collect()
    }
}

fn boot(node: u64, process: u64) -> Boot {
    Boot {
        cluster: ClusterId(7),
        node: NodeId(node),
        process: node * 1_000 + process,
        machine: node,
        directory: node,
        disk: node * 10,
        address: NodeAddress::default(),
        zone: String::new(),
        version: 1,
        protocol: ProtocolRange { min: 1, max: 1 },
    }
}

fn disk_of(node: u64) -> Replica {
    Replica {
        node: NodeId(node),
        disk: node * 10,
    }
}

fn shard(space: SpaceId, number: u32) -> ShardId {
    ShardId { space, number }
}

fn voters(from: &[u64], to: &[u64]) -> Command {
    let nodes = |list: &[u64]| list.iter().copied().map(NodeId).collect();
    Command::Voters {
        from: nodes(from),
        to: nodes(to),
    }
}

fn deploy(name: &str, component: &str, durability: Durability, shards: u32) -> Command {
    Command::DeployKind {
        name: KindName::new(name).unwrap(),
        component: Digest::of(component.as_bytes()),
        durability,
        shards,
    }
}

fn scale(name: &str, component: &str, workers: u32, after: u64) -> Command {
    Command::Scale {
        name: KindName::new(name).unwrap(),
        component: Digest::of(component.as_bytes()),
        durability: Durability::Durable,
        workers,
        after,
    }
}

#[test]
fn an_entry_that_is_not_the_next_changes_nothing() {
    let mut log = Log::of(1);
    let before = log.state.clone();
    for index in [0, before.applied.0, before.applied.0 + 2] {
        let entry = Entry {
            index: Index(index),
            ..log.entry(Command::Coordinate)
        };
        assert_eq!(log.state.apply(&entry), None);
    }
    assert_eq!(log.state, before);
}

#[test]
fn entries_of_an_older_coordinator_are_void_behind_the_first_of_a_newer_one() {
    let mut log = Log::of(1);
    let old = Term {
        number: 4,
        node: NodeId(1),
    };
    let new = Term {
        number: 4,
        node: NodeId(2),
    };
    log.term = new;
    assert!(log.run(Command::Coordinate).coordinator);
    assert_eq!(log.state.coordinator, new);
    let leave = Command::Leave {
        member: log.home(1),
    };
    log.term = old;
    log.void(leave.clone());
    log.void(Command::Coordinate);
    log.term = new;
    log.applies(leave);
}

#[test]
fn the_hash_tells_logs_apart_also_where_an_entry_is_void() {
    let mut one = Log::of(1);
    let mut other = Log::of(1);
    assert_eq!(one.state, other.state);
    let stranger = Home::default();
    one.void(Command::Up { member: stranger });
    other.void(Command::Leave { member: stranger });
    assert_ne!(one.state.hash, other.state.hash);
}

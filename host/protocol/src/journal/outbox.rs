use std::collections::{BTreeMap, VecDeque};

use super::{Action, Query, Write};
use crate::EntityId;
use crate::cluster::{LedgerId, Message, NodeId, Peer, ShardId};

/// What the journal wants done, and what it was for.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    actions: VecDeque<Action>,
    token: u64,
    persisting: BTreeMap<u64, Persisting>,
    reading: BTreeMap<u64, Reading>,
}

/// What a write is for.
#[derive(Debug)]
pub(super) enum Persisting {
    /// The home's own copy of an append.
    Own { ledger: LedgerId, seq: u64 },
    /// A replica's copy.
    Copy {
        from: Peer,
        ledger: LedgerId,
        seq: u64,
    },
    /// A seal.
    Seal { ledger: LedgerId },
    /// A state of a memory kind.
    Stash { shard: ShardId, entity: EntityId },
    /// Nobody waits for it.
    Nothing,
}

/// What a read is for.
#[derive(Debug)]
pub(super) enum Reading {
    /// Another node's takeover.
    Answer {
        to: Peer,
        query: u64,
        ledger: LedgerId,
    },
    /// A lookup of one entity.
    Lookup { shard: ShardId, entity: EntityId },
    /// A page of a sweep.
    Sweep { shard: ShardId },
    /// A page of a scan.
    Scan { id: u64 },
}

impl Outbox {
    pub(super) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.push(Action::Send { to, message });
    }

    pub(super) fn persist(&mut self, why: Persisting, write: Write) -> u64 {
        self.token += 1;
        self.persisting.insert(self.token, why);
        self.push(Action::Persist {
            token: self.token,
            write,
        });
        self.token
    }

    pub(super) fn read(&mut self, why: Reading, query: Query) -> u64 {
        self.token += 1;
        self.reading.insert(self.token, why);
        self.push(Action::Read {
            token: self.token,
            query,
        });
        self.token
    }

    /// A write is on disk: what it was for. Once.
    pub(super) fn persisted(&mut self, token: u64) -> Option<Persisting> {
        self.persisting.remove(&token)
    }

    /// A read is done: what it was for. Once.
    pub(super) fn done(&mut self, token: u64) -> Option<Reading> {
        self.reading.remove(&token)
    }
}

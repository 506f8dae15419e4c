use std::collections::BTreeMap;

use entia_protocol::{EntityId, IdempotencyRecord, KindRecord, StoredState, record};

use crate::commit::{Change, EntityCommit, StateChange};
use crate::engine::{Engine, Table, Write};
use crate::{StoreError, keys};

/// The writes of several commits, folded: of two writes to one key the later counts.
///
/// Folding is needed, since the engine cannot order two writes of one batch to one key. It also saves: of a busy entity's
/// states only the last one of a group is encoded and written. Nobody can tell, as the group is durable as a whole.
#[derive(Default)]
pub(crate) struct Group {
    writes: BTreeMap<(Table, Vec<u8>), (u64, Option<Body>)>,
}

enum Body {
    State(StoredState),
    Command(IdempotencyRecord),
    Kind(Box<KindRecord>),
    /// The record that only carries the sequence.
    Sequence,
}

impl Group {
    /// Adds a commit's writes under its sequence.
    pub(crate) fn add(
        &mut self,
        change: Change,
        sequence: u64,
        engine: &Engine,
    ) -> Result<(), StoreError> {
        match change {
            Change::Entity(commit) => return self.add_entity(commit, sequence, engine),
            Change::PutKind(kind) => {
                let key = kind.name.as_str().as_bytes().to_vec();
                self.put(Table::Kinds, key, sequence, Body::Kind(kind));
            }
            Change::RemoveKind(kind) => {
                self.remove(Table::Kinds, kind.as_str().as_bytes().to_vec(), sequence);
            }
            Change::RemoveKeys {
                states,
                idempotency,
            } => {
                for key in states {
                    self.remove(Table::States, key, sequence);
                }
                for key in idempotency {
                    self.remove(Table::Idempotency, key, sequence);
                }
            }
        }
        Ok(())
    }

    /// The writes, encoded one at a time as the engine takes them.
    pub(crate) fn into_writes(mut self, sequence: u64) -> impl Iterator<Item = Write> {
        let key = keys::SEQUENCE.to_vec();
        self.put(Table::Meta, key, sequence, Body::Sequence);
        self.writes
            .into_iter()
            .map(|((table, key), (sequence, body))| {
                let bytes = body.map(|body| body.seal(&key, sequence));
                (table, key, bytes)
            })
    }

    fn add_entity(
        &mut self,
        commit: EntityCommit,
        sequence: u64,
        engine: &Engine,
    ) -> Result<(), StoreError> {
        let remembered = keys::remembered(&commit.entity);
        match commit.state {
            StateChange::Keep => {}
            StateChange::Put(state) => {
                let key = keys::state(&commit.entity);
                self.put(Table::States, key, sequence, Body::State(state));
            }
            StateChange::Delete => self.delete(&commit.entity, sequence, engine)?,
        }
        for id in &commit.forgotten {
            self.remove(Table::Idempotency, keys::command(&remembered, id), sequence);
        }
        for record in commit.remembered {
            let key = keys::command(&remembered, &record.id);
            self.put(Table::Idempotency, key, sequence, Body::Command(record));
        }
        Ok(())
    }

    /// Removes what is stored and what this group was about to store.
    fn delete(
        &mut self,
        entity: &EntityId,
        sequence: u64,
        engine: &Engine,
    ) -> Result<(), StoreError> {
        let prefix = keys::remembered(entity);
        let stored: Vec<_> = engine
            .view()
            .keys(Table::Idempotency, &prefix)
            .collect::<Result<_, _>>()?;
        let from = (Table::Idempotency, prefix.clone());
        let to = (Table::Idempotency, keys::after_prefix(&prefix));
        for (_, write) in self.writes.range_mut(from..to) {
            *write = (sequence, None);
        }
        for key in stored {
            self.remove(Table::Idempotency, key, sequence);
        }
        self.remove(Table::States, keys::state(entity), sequence);
        Ok(())
    }

    fn put(&mut self, table: Table, key: Vec<u8>, sequence: u64, body: Body) {
        self.writes.insert((table, key), (sequence, Some(body)));
    }

    fn remove(&mut self, table: Table, key: Vec<u8>, sequence: u64) {
        self.writes.insert((table, key), (sequence, None));
    }
}

impl Body {
    fn seal(&self, key: &[u8], sequence: u64) -> Vec<u8> {
        match self {
            Self::State(state) => record::seal(key, sequence, state),
            Self::Command(command) => record::seal(key, sequence, command),
            Self::Kind(kind) => record::seal(key, sequence, kind),
            Self::Sequence => record::seal(key, sequence, &()),
        }
    }
}

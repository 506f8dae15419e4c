use std::collections::BTreeMap;

use entia_protocol::{
    EntityId, IdempotencyRecord, KindRecord, SendRecord, StoredState, TimerRecord, record,
};

use crate::commit::{Change, EntityCommit, StateChange, WakeChange};
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
    Timer(TimerRecord),
    Send(Box<SendRecord>),
    Kind(Box<KindRecord>),
    /// A record that carries its sequence and nothing else.
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
            Change::Entity(commit) => return self.add_entity(*commit, sequence, engine),
            Change::PutKind { kind, previous } => {
                let key = kind.name.as_str().as_bytes().to_vec();
                if let Some(previous) = previous {
                    let previous = Body::Kind(previous);
                    self.put(Table::KindsPrevious, key.clone(), sequence, previous);
                }
                self.put(Table::Kinds, key, sequence, Body::Kind(kind));
            }
            Change::RemoveKind(kind) => {
                for table in [Table::Kinds, Table::KindsPrevious] {
                    self.remove(table, kind.as_str().as_bytes().to_vec(), sequence);
                }
            }
            Change::RemoveKeys(keys) => {
                for (table, key) in keys {
                    self.remove(table, key, sequence);
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
        for (name, timer) in commit.timers {
            let key = keys::timer(&remembered, &name);
            self.set(Table::Timers, key, sequence, timer.map(Body::Timer));
        }
        for (number, send) in commit.sends {
            let key = keys::send(&remembered, number);
            let body = send.map(|send| Body::Send(Box::new(send)));
            self.set(Table::Sends, key, sequence, body);
        }
        self.rewake(&commit.entity, commit.wake, sequence);
        Ok(())
    }

    fn rewake(&mut self, entity: &EntityId, wake: WakeChange, sequence: u64) {
        if wake.before == wake.after {
            return;
        }
        if let Some(before) = wake.before {
            self.remove(Table::Wakes, keys::wake(before, entity), sequence);
        }
        if let Some(after) = wake.after {
            let key = keys::wake(after, entity);
            self.put(Table::Wakes, key, sequence, Body::Sequence);
        }
    }

    /// Removes what is stored and what this group was about to store.
    fn delete(
        &mut self,
        entity: &EntityId,
        sequence: u64,
        engine: &Engine,
    ) -> Result<(), StoreError> {
        let prefix = keys::remembered(entity);
        let view = engine.view();
        let stored = Table::OF_AN_ENTITY.into_iter().flat_map(|table| {
            view.keys(table, &prefix)
                .map(move |key| key.map(|key| (table, key)))
        });
        // All is read before anything is removed: what cannot be read refuses this commit and leaves the group as it was.
        let stored: Vec<_> = stored.collect::<Result<_, _>>()?;
        for table in Table::OF_AN_ENTITY {
            let (from, to) = (prefix.clone(), keys::after_prefix(&prefix));
            for (_, write) in self.writes.range_mut((table, from)..(table, to)) {
                *write = (sequence, None);
            }
        }
        for (table, key) in stored {
            self.remove(table, key, sequence);
        }
        self.remove(Table::States, keys::state(entity), sequence);
        Ok(())
    }

    fn put(&mut self, table: Table, key: Vec<u8>, sequence: u64, body: Body) {
        self.set(table, key, sequence, Some(body));
    }

    fn remove(&mut self, table: Table, key: Vec<u8>, sequence: u64) {
        self.set(table, key, sequence, None);
    }

    fn set(&mut self, table: Table, key: Vec<u8>, sequence: u64, body: Option<Body>) {
        self.writes.insert((table, key), (sequence, body));
    }
}

impl Body {
    fn seal(&self, key: &[u8], sequence: u64) -> Vec<u8> {
        match self {
            Self::State(state) => record::seal(key, sequence, state),
            Self::Command(command) => record::seal(key, sequence, command),
            Self::Timer(timer) => record::seal(key, sequence, timer),
            Self::Send(send) => record::seal(key, sequence, send),
            Self::Kind(kind) => record::seal(key, sequence, kind),
            Self::Sequence => record::seal(key, sequence, &()),
        }
    }
}

//! Whole stores, with the real engine in a temporary directory.

mod commits;
mod damage;
mod deployment;
mod effects;
mod failure;
mod listing;
mod precheck;
mod reopening;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use entia_protocol::{
    Caller, CommandKey, Digest, Durability, EntityId, IdempotencyId, IdempotencyRecord,
    KindDescription, KindName, KindRecord, Limits, Payload, SendRecord, StoredState, TimerRecord,
    wake_ms,
};
use tempfile::TempDir;

use crate::{EntityCommit, StateChange, Store, StoreError, StoreOptions, WakeChange};

fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, StoreOptions::default())
}

fn accept_loss() -> StoreOptions {
    StoreOptions {
        accept_loss: true,
        ..StoreOptions::default()
    }
}

/// A new store and the directory that it lives in, which has to outlive it.
fn new_store() -> (Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()).unwrap(), dir)
}

fn kind(name: &str) -> KindName {
    KindName::new(name).unwrap()
}

fn counter(key: &str) -> EntityId {
    EntityId::new(kind("counter"), key).unwrap()
}

fn state(text: &str) -> StoredState {
    StoredState::new(1, text.as_bytes().to_vec(), 1, 1_700_000_000_000)
}

fn command(key: &str) -> IdempotencyRecord {
    IdempotencyRecord {
        id: IdempotencyId {
            method: "increment".to_owned(),
            key: CommandKey::Client(key.to_owned()),
        },
        arguments: Digest::of(b"arguments"),
        answer: Ok(Payload(key.as_bytes().to_vec())),
        at_ms: 1_700_000_000_000,
    }
}

fn put(key: &str, text: &str) -> EntityCommit {
    EntityCommit::put(counter(key), state(text))
}

/// A commit with a state and one remembered command.
fn turn(key: &str, text: &str, id: &str) -> EntityCommit {
    EntityCommit {
        remembered: vec![command(id)],
        ..put(key, text)
    }
}

fn keep(key: &str) -> EntityCommit {
    EntityCommit::new(counter(key))
}

fn timer(name: &str, due_ms: u64) -> TimerRecord {
    TimerRecord {
        name: name.to_owned(),
        due_ms,
        period_ms: Some(1_000),
        fire: 1,
        key: CommandKey::Derived([1; 16]),
        payload: Payload(name.as_bytes().to_vec()),
    }
}

fn send(number: u64) -> SendRecord {
    SendRecord {
        number,
        target: counter("bob"),
        method: "increment".to_owned(),
        arguments: Payload(number.to_string().into_bytes()),
        caller: Caller::Entity(counter("alice")),
        key: CommandKey::Derived([2; 16]),
        accepted_ms: 1_000,
        dead: None,
    }
}

fn woken(before: impl Into<Option<u64>>, after: impl Into<Option<u64>>) -> WakeChange {
    WakeChange {
        before: before.into(),
        after: after.into(),
    }
}

/// Every entity to wake, whenever.
fn wakes(store: &Store) -> Vec<(u64, EntityId)> {
    store.wakes(None, u64::MAX, usize::MAX).unwrap()
}

/// Queues a commit; the answer comes through the receiver.
fn queue(store: &Store, commit: EntityCommit) -> Receiver<Result<u64, StoreError>> {
    let (sender, receiver) = channel();
    store.commit(
        commit,
        Box::new(move |outcome| sender.send(outcome).unwrap()),
    );
    receiver
}

/// The text of an entity's state.
fn text(store: &Store, key: &str) -> Option<String> {
    let stored = store.load(&counter(key)).unwrap()?;
    Some(String::from_utf8(stored.state?.bytes).unwrap())
}

fn kind_record(name: &str, component: Digest) -> KindRecord {
    KindRecord {
        name: kind(name),
        version: 1,
        component,
        component_bytes: 9,
        durability: Durability::Durable,
        limits: Limits::default(),
        shards: KindRecord::SHARDS_DEFAULT,
        description: KindDescription {
            name: name.to_owned(),
            doc: "Counts.".to_owned(),
            schema_version: 1,
            schema_version_oldest: 1,
            methods: Vec::new(),
        },
        config: [("step".to_owned(), "2".to_owned())].into(),
        deployed_ms: 1_700_000_000_000,
    }
}

/// What a kill at this moment would leave: a copy of the directory of a running store.
fn crash_image(dir: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    copy_dir(dir, image.path());
    image
}

/// Copies a store; the journal's preallocated zeros become a hole again.
fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        fs::write(&target, &bytes[..used(&bytes)]).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&target).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
}

/// The length of a file without the zeros at its end.
fn used(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    let zeros = [0; BLOCK];
    let full = bytes
        .chunks(BLOCK)
        .rposition(|block| *block != zeros[..block.len()]);
    let end = full.map_or(0, |block| ((block + 1) * BLOCK).min(bytes.len()));
    let last = bytes[..end].iter().rposition(|byte| *byte != 0);
    last.map_or(0, |last| last + 1)
}

/// Cuts off the journal's preallocated zeros, which makes copies of the store cheap and means nothing to the engine.
fn trim_journal(dir: &Path) {
    let journal = journal(dir);
    let length = used(&fs::read(&journal).unwrap());
    let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(length as u64).unwrap();
}

/// The one journal of a young store.
fn journal(dir: &Path) -> PathBuf {
    let mut journals: Vec<_> = fs::read_dir(dir.join("engine"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jnl"))
        .collect();
    assert_eq!(journals.len(), 1);
    journals.remove(0)
}

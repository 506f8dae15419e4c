//! Opening a store whose files were damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use entia_protocol::{
    Caller, CommandKey, Digest, Durability, EntityId, IdempotencyId, IdempotencyRecord,
    KindDescription, KindName, KindRecord, Limits, Payload, SendRecord, StoredState, TimerRecord,
};
use entia_storage::{
    EntityCommit, StateChange, Store, StoreError, StoreOptions, StoredEntity, WakeChange,
};
use tempfile::TempDir;

use crate::choices::{Choices, PIECE_BYTES_MAX, damage, overwrite, piece};

/// Damages the files of a store and opens it. It never panics, and it opens with all that was acknowledged, each record right
/// or refused by name when it is read; or it is refused by name.
///
/// What is moved or lost is shorter than any commit, since a whole commit that is missing in the middle is not found out: only
/// the last one is known to the watermark.
pub fn recovery(input: &[u8]) {
    let image = image();
    let mut choices = Choices::new(input);
    let mut files = image.files.clone();
    for _ in 0..=choices.below(DAMAGES_MAX) {
        // Most of them where most of the data is.
        let file = match choices.below(4) {
            0 | 1 => image.journal,
            2 => image.table,
            _ => choices.below(files.len()),
        };
        if choices.below(6) == 0 {
            misdirect(&mut files, file, &mut choices);
        } else {
            damage_end(&mut files[file].1, &mut choices);
        }
    }
    let dir = image.write(&files);
    match Store::open(dir.path(), StoreOptions::default()) {
        Ok(store) => image.check(&store),
        Err(error) => assert!(is_refusal(&error), "not a name for damage: {error:?}"),
    }
}

/// A store that was closed, and what it has acknowledged.
struct Image {
    dirs: Vec<PathBuf>,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// Which of the files is the longest journal, and which the longest table.
    journal: usize,
    table: usize,
    entities: Vec<(EntityId, StoredEntity)>,
    kinds: Vec<KindRecord>,
    component: Digest,
}

/// Made once: all inputs of a process damage the same store.
fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = open(dir.path());
        fill(&store);
        store.close().expect("the disk works");
        drop(store);
        // Opened once more: what was recovered is stored otherwise than what was committed, and both slots of the watermark
        // say the same, so that damage to one of them loses nothing.
        let store = open(dir.path());
        wait_for_a_table(dir.path());
        let entities = (0..ENTITIES).map(entity).map(|id| {
            let stored = store.load(&id).expect("it is whole");
            (id, stored.expect("it was acknowledged"))
        });
        let entities: Vec<_> = entities.collect();
        let kinds = store.kinds().expect("they are whole");
        drop(store);
        let mut image = Image {
            dirs: Vec::new(),
            files: Vec::new(),
            journal: 0,
            table: 0,
            entities,
            kinds,
            component: Digest::of(COMPONENT),
        };
        image.read(dir.path(), Path::new(""));
        image.journal = image.longest(|path| path.extension() == Some(JOURNAL.as_ref()));
        image.table = image.longest(|path| path.starts_with(TABLES));
        image
    })
}

impl Image {
    fn read(&mut self, root: &Path, below: &Path) {
        let mut names: Vec<_> = fs::read_dir(root.join(below))
            .expect("the directory is ours")
            .map(|entry| entry.expect("the directory is ours").file_name())
            .collect();
        names.sort();
        for name in names {
            let path = below.join(name);
            if root.join(&path).is_dir() {
                self.dirs.push(path.clone());
                self.read(root, &path);
                continue;
            }
            let mut bytes = fs::read(root.join(&path)).expect("the file is ours");
            if path.extension() == Some(JOURNAL.as_ref()) {
                // The zeros that are allocated in advance mean nothing.
                let used = bytes.iter().rposition(|byte| *byte != 0);
                bytes.truncate(used.map_or(0, |last| last + 1));
            }
            self.files.push((path, bytes));
        }
    }

    fn longest(&self, of: impl Fn(&Path) -> bool) -> usize {
        let files = self.files.iter().enumerate();
        let longest = files
            .filter(|(_, (path, _))| of(path))
            .max_by_key(|(_, (_, bytes))| bytes.len());
        longest.expect("the engine has such a file").0
    }

    fn write(&self, files: &[(PathBuf, Vec<u8>)]) -> TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for path in &self.dirs {
            fs::create_dir(dir.path().join(path)).expect("the disk has room");
        }
        for (path, bytes) in files {
            fs::write(dir.path().join(path), bytes).expect("the disk has room");
        }
        dir
    }

    /// Reads everything in every way.
    fn check(&self, store: &Store) {
        for (id, expected) in &self.entities {
            match store.load(id) {
                Ok(found) => assert_eq!(found.as_ref(), Some(expected), "{id}"),
                Err(error) => assert!(is_named(&error), "{id}: {error:?}"),
            }
        }
        match store.load(&deleted()) {
            Ok(found) => assert_eq!(found, None, "it was deleted"),
            Err(error) => assert!(is_named(&error), "{error:?}"),
        }
        match store.entities(&name("counter"), "", None, 1_000) {
            Ok(page) => {
                let listed: Vec<_> = page.entities.into_iter().map(|entry| entry.key).collect();
                let expected: Vec<_> = self.entities.iter().map(|(id, _)| id.key()).collect();
                assert_eq!(listed, expected);
            }
            Err(error) => assert!(is_named(&error), "{error:?}"),
        }
        match store.kinds() {
            Ok(kinds) => assert!(kinds == self.kinds, "the kinds are others"),
            Err(error) => assert!(is_named(&error), "{error:?}"),
        }
        match store.component(&self.component) {
            Ok(found) => assert_eq!(found.as_deref(), Some(COMPONENT)),
            Err(error) => assert!(is_named(&error), "{error:?}"),
        }
    }
}

/// Everything that a store has: states, some of them replaced, commands, timers, messages, a deleted entity, kinds, a component.
fn fill(store: &Store) {
    let component = store.put_component(COMPONENT).expect("the disk works");
    for number in 0..KINDS {
        store
            .put_kind(&kind(number, component))
            .expect("the disk works");
    }
    let commit = |commit| store.commit_and_wait(commit).expect("the disk works");
    for round in 0..2 {
        for number in 0..ENTITIES {
            commit(turn(entity(number), number, round));
        }
        commit(turn(deleted(), 0, round));
    }
    commit(EntityCommit::delete(deleted()));
    // The last commit, too, is longer than what is moved or lost.
    commit(turn(entity(0), 0, 2));
}

fn turn(entity: EntityId, number: usize, round: usize) -> EntityCommit {
    let text = format!("state {number} of round {round}; ").repeat(2 * PIECE_BYTES_MAX / 16);
    let remembered = IdempotencyRecord {
        id: IdempotencyId {
            method: "increment".to_owned(),
            key: CommandKey::Client(format!("command {round}")),
        },
        arguments: Digest::of(b"arguments"),
        answer: Ok(Payload(vec![7; 20])),
        at_ms: AT_MS,
    };
    let timer = TimerRecord {
        name: "tick".to_owned(),
        due_ms: AT_MS + round as u64,
        period_ms: Some(1_000),
        fire: round as u64 + 1,
        key: CommandKey::Derived([3; 16]),
        payload: Payload(vec![7; 20]),
    };
    let send = SendRecord {
        number: round as u64 + 1,
        target: entity.clone(),
        method: "increment".to_owned(),
        arguments: Payload(vec![7; 20]),
        caller: Caller::Entity(entity.clone()),
        key: CommandKey::Derived([4; 16]),
        accepted_ms: AT_MS,
        dead: None,
    };
    EntityCommit {
        state: StateChange::Put(StoredState::new(1, text.into_bytes(), 1, AT_MS)),
        remembered: vec![remembered],
        timers: vec![(timer.name.clone(), Some(timer))],
        sends: vec![(send.number, Some(send))],
        wake: WakeChange {
            before: round.checked_sub(1).map(|before| AT_MS + before as u64),
            after: Some(AT_MS + round as u64),
        },
        ..EntityCommit::new(entity)
    }
}

/// A kind whose texts do not compress, so that its record is some of a table.
fn kind(number: usize, component: Digest) -> KindRecord {
    let word = |word: usize| Digest::of(format!("{number} {word}").as_bytes()).to_string();
    KindRecord {
        name: name(&format!("kind-{number:03}")),
        version: 1,
        component,
        component_bytes: COMPONENT.len() as u64,
        durability: Durability::Durable,
        limits: Limits::default(),
        shards: KindRecord::SHARDS_DEFAULT,
        description: KindDescription {
            name: "counter".to_owned(),
            doc: (0..KIND_WORDS).map(word).collect(),
            schema_version: 1,
            schema_version_oldest: 1,
            methods: Vec::new(),
        },
        config: [("step".to_owned(), "2".to_owned())].into(),
        deployed_ms: AT_MS,
    }
}

fn name(name: &str) -> KindName {
    KindName::new(name).expect("it is a name")
}

fn entity(number: usize) -> EntityId {
    EntityId::new(name("counter"), &format!("key-{number:02}")).expect("it is an address")
}

fn deleted() -> EntityId {
    EntityId::new(name("counter"), "key-zz").expect("it is an address")
}

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).expect("the store is whole")
}

/// The engine sorts to disk what it has too much of in memory, on a thread of its own.
fn wait_for_a_table(dir: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while longest_file(&dir.join(TABLES)) < TABLE_BYTES_MIN {
        assert!(Instant::now() < end, "the engine wrote no table for 20 s");
        std::thread::yield_now();
    }
}

fn longest_file(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else {
        return 0;
    };
    let Ok(entries) = fs::read_dir(path) else {
        return metadata.len();
    };
    let lengths = entries
        .map_while(Result::ok)
        .map(|entry| longest_file(&entry.path()));
    lengths.max().unwrap_or(0)
}

/// Damages a file, every other time near its end: there the states are, behind the kinds.
fn damage_end(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let end = match choices.below(2) {
        0 => bytes.len().saturating_sub(END_BYTES),
        _ => 0,
    };
    let mut damaged = bytes.split_off(end);
    damage(&mut damaged, choices);
    bytes.append(&mut damaged);
}

/// Writes a piece of one file into another.
fn misdirect(files: &mut [(PathBuf, Vec<u8>)], to: usize, choices: &mut Choices<'_>) {
    let (_, source) = choices.pick(files);
    let from = choices.below(source.len());
    let piece = piece(source, from, choices).to_vec();
    let at = choices.below(files[to].1.len());
    overwrite(&mut files[to].1, at, &piece);
}

/// Why a store with damaged files is not opened.
fn is_refusal(error: &StoreError) -> bool {
    is_named(error)
        || matches!(
            error,
            StoreError::Truncated { .. }
                | StoreError::WatermarkMissing { .. }
                | StoreError::WatermarkDamaged { .. }
                | StoreError::Unreadable { .. }
                | StoreError::FormatVersion { .. }
        )
}

/// Why a record is not given.
fn is_named(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt { .. } | StoreError::Read { .. })
}

const COMPONENT: &[u8] = b"a component's bytes, of which the store only knows the digest";
const JOURNAL: &str = "jnl";
const TABLES: &str = "engine/keyspaces";
const ENTITIES: usize = 12;
/// Enough for more than a memtable of kinds, which has 4 MiB.
const KINDS: usize = 80;
const KIND_WORDS: usize = 1_000;
const TABLE_BYTES_MIN: u64 = 1 << 20;
const END_BYTES: usize = 64 << 10;
const DAMAGES_MAX: usize = 2;
const AT_MS: u64 = 1_700_000_000_000;

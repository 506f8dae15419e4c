use std::ops::Bound;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use entia_protocol::record;
use fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable,
    Snapshot,
};
use serde::de::DeserializeOwned;

use crate::{StoreError, StoreOptions, keys, precheck};

/// The keyspaces, in the order of [`Engine::keyspaces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    States,
    Idempotency,
    Kinds,
    Meta,
    Timers,
    Sends,
    Wakes,
    KindsPrevious,
}

/// A write: the bytes that a key gets, or `None` to remove it.
pub(crate) type Write = (Table, Vec<u8>, Option<Vec<u8>>);

/// fjall, and nothing of Entia but its record frame. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Engine {
    database: Database,
    keyspaces: Vec<Keyspace>,
    /// Makes every write fail, as a broken disk would.
    #[cfg(test)]
    pub(crate) broken: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// One moment of the store.
pub(crate) struct View<'a> {
    engine: &'a Engine,
    snapshot: Snapshot,
}

impl Table {
    const ALL: [Self; 8] = [
        Self::States,
        Self::Idempotency,
        Self::Kinds,
        Self::Meta,
        Self::Timers,
        Self::Sends,
        Self::Wakes,
        Self::KindsPrevious,
    ];

    /// Where an entity has any number of records, below [`keys::remembered`].
    pub(crate) const OF_AN_ENTITY: [Self; 3] = [Self::Timers, Self::Sends, Self::Idempotency];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Idempotency => "idempotency",
            Self::Kinds => "kinds",
            Self::Meta => "meta",
            Self::Timers => "timers",
            Self::Sends => "sends",
            Self::Wakes => "wakes",
            Self::KindsPrevious => "kinds_previous",
        }
    }

    /// How much of it is kept in memory before it is sorted to disk. `meta` is one record, written by every group.
    fn memtable_bytes_max(self) -> u64 {
        match self {
            Self::States => 32 << 20,
            Self::Idempotency | Self::Timers | Self::Sends => 16 << 20,
            Self::Kinds | Self::KindsPrevious | Self::Meta | Self::Wakes => 4 << 20,
        }
    }
}

impl Engine {
    /// Opens the engine and makes durable what it recovered.
    ///
    /// A killed process leaves records that no fsync covered. They are as good as any, but from here on they count as
    /// committed, so they have to survive the next power loss, too.
    pub(crate) fn open(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let unreadable = |message: String| StoreError::Unreadable {
            dir: dir.to_owned(),
            message,
        };
        precheck::check(dir)?;
        // The engine asserts some of what it reads, so that damaged files can panic.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open(dir, options)));
        match opened {
            Ok(opened) => opened.map_err(|error| unreadable(error.to_string())),
            Err(_) => Err(unreadable("it panicked while reading its files".to_owned())),
        }
    }

    /// Writes all of it or nothing, and returns when it is on disk. A key must not occur twice: the engine gives the
    /// whole batch one number, by which it could not order them.
    pub(crate) fn write(&self, writes: impl Iterator<Item = Write>) -> Result<(), StoreError> {
        let failed = |message: String| StoreError::Failed { message };
        #[cfg(test)]
        if self.broken.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(failed("the test broke the disk".to_owned()));
        }
        let batch = self.database.batch();
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        for (table, key, value) in writes {
            match value {
                Some(value) => batch.insert(self.keyspace(table), key, value),
                None => batch.remove(self.keyspace(table), key),
            }
        }
        batch.commit().map_err(|error| failed(error.to_string()))
    }

    /// Everything that is committed now, and stays so while the view lives.
    pub(crate) fn view(&self) -> View<'_> {
        View {
            engine: self,
            snapshot: self.database.snapshot(),
        }
    }

    /// Moves everything from memory into tables, as size alone does otherwise.
    #[cfg(test)]
    pub(crate) fn flush_to_tables(&self) {
        for keyspace in &self.keyspaces {
            keyspace
                .rotate_memtable_and_wait()
                .expect("the test's disk works");
        }
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        &self.keyspaces[table as usize]
    }
}

impl View<'_> {
    /// One record and its sequence.
    pub(crate) fn record<T: DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<(u64, T)>, StoreError> {
        self.snapshot
            .get(self.engine.keyspace(table), key)
            .map_err(|error| read_failed(table, key, &error))?
            .map(|bytes| open_record(table, key, &bytes))
            .transpose()
    }

    /// The keys and bytes after `start` and before the end of `prefix`, in order.
    pub(crate) fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        start: Bound<Vec<u8>>,
    ) -> impl Iterator<Item = Result<(fjall::Slice, fjall::Slice), StoreError>> + use<> {
        let prefix = prefix.to_vec();
        self.range(table, start, keys::after_prefix(&prefix))
            .map(move |guard| {
                guard
                    .into_inner()
                    .map_err(|error| read_failed(table, &prefix, &error))
            })
    }

    /// The keys and bytes after `start` and before `end`, in order.
    pub(crate) fn between(
        &self,
        table: Table,
        start: Bound<Vec<u8>>,
        end: Vec<u8>,
    ) -> impl Iterator<Item = Result<(fjall::Slice, fjall::Slice), StoreError>> + use<> {
        self.range(table, start, end).map(move |guard| {
            guard
                .into_inner()
                .map_err(|error| read_failed(table, &[], &error))
        })
    }

    /// The keys that begin with `prefix`, in order.
    pub(crate) fn keys(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<> {
        let prefix = prefix.to_vec();
        let start = Bound::Included(prefix.clone());
        self.range(table, start, keys::after_prefix(&prefix))
            .map(move |guard| match guard.key() {
                Ok(key) => Ok(key.to_vec()),
                Err(error) => Err(read_failed(table, &prefix, &error)),
            })
    }

    /// Every key and its bytes.
    pub(crate) fn all(
        &self,
        table: Table,
    ) -> impl Iterator<Item = Result<(fjall::Slice, fjall::Slice), StoreError>> + use<> {
        let guards = self.snapshot.iter(self.engine.keyspace(table));
        guards.map(move |guard| {
            guard
                .into_inner()
                .map_err(|error| read_failed(table, &[], &error))
        })
    }

    fn range(
        &self,
        table: Table,
        start: Bound<Vec<u8>>,
        end: Vec<u8>,
    ) -> impl Iterator<Item = Guard> + use<> {
        self.snapshot
            .range(self.engine.keyspace(table), (start, Bound::Excluded(end)))
    }
}

/// Checks a record's frame and decodes its body.
pub(crate) fn open_record<T: DeserializeOwned>(
    table: Table,
    key: &[u8],
    bytes: &[u8],
) -> Result<(u64, T), StoreError> {
    record::open(key, bytes).map_err(|error| StoreError::Corrupt {
        what: keys::readable(table.name(), key),
        reason: error.to_string(),
    })
}

/// The engine checks the blocks it reads; that one does not match is corruption, not a disk that failed.
fn read_failed(table: Table, key: &[u8], error: &fjall::Error) -> StoreError {
    let what = keys::readable(table.name(), key);
    match error {
        fjall::Error::Io(_) | fjall::Error::Storage(fjall::LsmError::Io(_)) => StoreError::Read {
            action: format!("reading {what}"),
            message: error.to_string(),
        },
        _ => StoreError::Corrupt {
            what,
            reason: error.to_string(),
        },
    }
}

fn open(dir: &Path, options: &StoreOptions) -> fjall::Result<Engine> {
    const JOURNAL_BYTES_MIN: u64 = 64 << 20;
    let database = Database::builder(dir)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes_max.max(JOURNAL_BYTES_MIN))
        // Recovery compresses again to verify a batch, so compressed journals would bind us to the compressor's bytes.
        .journal_compression(CompressionType::None)
        .worker_threads(WORKER_THREADS)
        .open()?;
    // Creates those that an older build did not have.
    let keyspaces = Table::ALL.iter().map(|table| {
        database.keyspace(table.name(), || {
            KeyspaceCreateOptions::default().max_memtable_size(table.memtable_bytes_max())
        })
    });
    let engine = Engine {
        keyspaces: keyspaces.collect::<fjall::Result<_>>()?,
        database,
        #[cfg(test)]
        broken: std::sync::Arc::default(),
    };
    engine.database.persist(PersistMode::SyncAll)?;
    Ok(engine)
}

/// Two, so that a long compaction does not hold up the flush that the journal waits for.
const WORKER_THREADS: usize = 2;

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use entia_protocol::{EntityId, KindName};

use crate::commit::{Change, Job, Reply};
use crate::committer::{Committer, Progress};
use crate::components::Components;
use crate::engine::{Engine, Table};
use crate::home::Home;
use crate::queue::Queue;
use crate::watermark::{Reading, Watermark};
use crate::{Done, EntityCommit, Page, StoreError, StoreOptions, StoredEntity, keys, read};

/// An open store. Cloning shares it; dropping the last handle closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    progress: Arc<Progress>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held while the set of kinds or components changes, so that none is removed between being checked and being used.
    deploying: Mutex<()>,
    components: Components,
    engine: Engine,
    /// Last, so that the directory is unlocked when all else is closed.
    home: Arc<Home>,
}

/// Counters of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// The last durable commit.
    pub sequence: u64,
    /// Groups committed since the store was opened, each with one fdatasync.
    pub groups: u64,
}

impl Store {
    /// Opens the store in `dir`, creating it if there is none.
    ///
    /// Refuses a directory that another process has open, one of another format, one whose engine does not read, and one
    /// that lacks acknowledged commits or cannot prove that it has them all (but see [`StoreOptions::accept_loss`]).
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let home = Arc::new(Home::open(dir)?);
        let engine = Engine::open(&home.engine(), &options)?;
        let have = engine
            .view()
            .record::<()>(Table::Meta, keys::SEQUENCE)?
            .map_or(0, |(sequence, ())| sequence);
        if let Err(loss) = check_watermark(&home, have) {
            if !(options.accept_loss && acceptable(&loss)) {
                return Err(loss);
            }
            tracing::warn!(have, %loss, "the loss was accepted");
        }
        let watermark = Watermark::reset(&home.watermark(), have)?;
        let queue = Arc::new(Queue::new(
            options.queue_commits_max,
            options.queue_bytes_max,
        ));
        let progress = Arc::new(Progress::default());
        progress.sequence.store(have, Ordering::Release);
        let committer = Committer {
            engine: engine.clone(),
            queue: Arc::clone(&queue),
            watermark,
            progress: Arc::clone(&progress),
            _home: Arc::clone(&home),
        };
        let committer = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(StoreError::io("starting the committer of", dir))?;
        Ok(Self(Arc::new(Inner {
            queue,
            progress,
            committer: Mutex::new(Some(committer)),
            deploying: Mutex::new(()),
            components: Components::new(home.components()),
            engine,
            home,
        })))
    }

    /// Reads an entity as of one moment; `None` if nothing is stored of it.
    pub fn load(&self, entity: &EntityId) -> Result<Option<StoredEntity>, StoreError> {
        read::load(&self.0.engine, entity)
    }

    /// Lists a kind's entities whose keys begin with `prefix`, in the order of their keys, from behind the key `after`.
    ///
    /// Only entities with a state are listed. `limit` is taken as 1 to [`crate::PAGE_ENTRIES_MAX`], and large states can
    /// make a page shorter than that: there is more if and only if [`Page::next`] says so.
    pub fn entities(
        &self,
        kind: &KindName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        read::entities(&self.0.engine, kind, prefix, after, limit)
    }

    /// The entities to wake until `until_ms`, each with its time: in the order of (time, entity), from behind `after`, at
    /// most `limit`; fewer only if there are no more.
    ///
    /// Whoever goes through them passes as `after` the last row that it has seen, also after it has removed that row. Removed
    /// rows leave tombstones, which the engine keeps until a compaction, and they gather in front, where all is due: a
    /// scan from there passes over every entity that was ever woken.
    ///
    /// A row is a hint and may be stale: it may name an entity whose kind was removed, or that has nothing to do at that
    /// time. Whoever meets a stale one removes it with a commit whose [`crate::WakeChange::before`] is that row. A commit may
    /// also put a row in front of `after`: whoever commits knows, and tells whoever waits.
    pub fn wakes(
        &self,
        after: Option<(u64, EntityId)>,
        until_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, StoreError> {
        read::wakes(&self.0.engine, after.as_ref(), until_ms, limit)
    }

    /// Queues a commit and returns; `done` says when it is on disk.
    ///
    /// Blocks while the queue is full. That is the backpressure: a turn that has run cannot be refused any more, so its
    /// thread waits for the disk instead of starting another one.
    pub fn commit(&self, commit: EntityCommit, done: Done) {
        self.change(Change::Entity(Box::new(commit)), done);
    }

    /// Commits and waits until it is on disk. Never call it from a [`Done`].
    pub fn commit_and_wait(&self, commit: EntityCommit) -> Result<u64, StoreError> {
        self.change_and_wait(Change::Entity(Box::new(commit)))
    }

    /// The sequence of the last durable commit; 0 if there was none.
    pub fn last_sequence(&self) -> u64 {
        self.0.progress.sequence.load(Ordering::Acquire)
    }

    /// Why the store takes no further commits, once one has failed.
    pub fn failure(&self) -> Option<StoreError> {
        self.0.progress.failure.get().cloned()
    }

    /// The counters.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            sequence: self.last_sequence(),
            groups: self.0.progress.groups.load(Ordering::Relaxed),
        }
    }

    /// Commits what waits and makes the watermark durable. Later commits are answered [`StoreError::Closed`]; reads go
    /// on; the directory stays locked until the last handle is dropped. Never call it from a [`Done`].
    pub fn close(&self) -> Result<(), StoreError> {
        self.0.close()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn components(&self) -> &Components {
        &self.0.components
    }

    pub(crate) fn deploying(&self) -> MutexGuard<'_, ()> {
        self.0
            .deploying
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change_and_wait(&self, change: Change) -> Result<u64, StoreError> {
        let (sender, receiver) = sync_channel(1);
        self.change(
            change,
            Box::new(move |outcome| {
                // The other end waits right below.
                let _ = sender.send(outcome);
            }),
        );
        receiver.recv().unwrap_or(Err(StoreError::Closed))
    }

    fn change(&self, change: Change, done: Done) {
        self.0.queue.push(Job {
            change,
            reply: Reply::new(done),
        });
    }
}

impl Inner {
    fn close(&self) -> Result<(), StoreError> {
        self.queue.close();
        let committer = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A callback may hold the last handle: the committer cannot join itself, but ends by itself, the queue being closed.
        if let Some(committer) = committer
            && committer.thread().id() != thread::current().id()
            && committer.join().is_err()
        {
            return Err(StoreError::Failed {
                message: "the committer panicked, most likely in a callback".to_owned(),
            });
        }
        self.progress.failure.get().cloned().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.0.home.dir())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the store");
        }
    }
}

/// Whether the engine has all that was acknowledged.
fn check_watermark(home: &Home, have: u64) -> Result<(), StoreError> {
    let path = home.watermark();
    match Watermark::read(&path)? {
        Reading::Sequence(expected) if have < expected => Err(StoreError::Truncated {
            dir: home.dir().to_owned(),
            have,
            expected,
        }),
        // A new store, or one whose creation was interrupted.
        Reading::Missing if have == 0 => Ok(()),
        Reading::Missing => Err(StoreError::WatermarkMissing { path, have }),
        Reading::Damaged => Err(StoreError::WatermarkDamaged { path }),
        Reading::Sequence(_) => Ok(()),
    }
}

fn acceptable(loss: &StoreError) -> bool {
    matches!(
        loss,
        StoreError::Truncated { .. }
            | StoreError::WatermarkMissing { .. }
            | StoreError::WatermarkDamaged { .. }
    )
}

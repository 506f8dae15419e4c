use std::thread::JoinHandle;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::cores::Cores;
use crate::load::Caller;
use crate::places;

/// One thread that makes a batch of all who wait, as in LIMITS.md G.
pub(super) struct GroupCommit {
    queue: Sender<Put>,
    committer: JoinHandle<()>,
    /// Removed with it.
    _data: TempDir,
}

struct Put {
    key: [u8; 16],
    done: oneshot::Sender<()>,
}

const VALUE_BYTES: usize = 100;
const GROUP_PUTS_MAX: usize = 4_096;

impl GroupCommit {
    pub(super) fn start(cores: Cores) -> Result<Self> {
        cores.pin_server()?;
        let data = places::scratch()?;
        // Uncompressed, as ours: compressing a batch costs more than it saves.
        let database = Database::builder(data.path())
            .journal_compression(CompressionType::None)
            .open()?;
        let keyspace = database.keyspace("floor", KeyspaceCreateOptions::default)?;
        let (queue, puts) = unbounded();
        let committer = std::thread::Builder::new()
            .name("floor-committer".to_owned())
            .spawn(move || {
                if let Err(error) = commit(&database, &keyspace, &puts) {
                    // Those who wait notice that nobody answers.
                    eprintln!("the floor cannot write: {error}");
                }
            })?;
        Ok(Self {
            queue,
            committer,
            _data: data,
        })
    }

    pub(super) fn callers(&self, count: usize) -> Vec<PutCaller> {
        let caller = |number: usize| {
            let mut key = *b"counter/00000000";
            key[8..].copy_from_slice(&(number as u64).to_be_bytes());
            PutCaller {
                queue: self.queue.clone(),
                key,
            }
        };
        (0..count).map(caller).collect()
    }

    /// After the callers are gone.
    pub(super) fn stop(self) {
        drop(self.queue);
        // A committer that panicked has said so.
        let _ = self.committer.join();
    }
}

fn commit(database: &Database, keyspace: &Keyspace, puts: &Receiver<Put>) -> fjall::Result<()> {
    let mut waiting = Vec::new();
    while let Ok(first) = puts.recv() {
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        for put in std::iter::once(first).chain(puts.try_iter().take(GROUP_PUTS_MAX - 1)) {
            batch.insert(keyspace, put.key, [7; VALUE_BYTES]);
            waiting.push(put.done);
        }
        batch.commit()?;
        for done in waiting.drain(..) {
            // Who has gone does not want an answer.
            let _ = done.send(());
        }
    }
    Ok(())
}

/// Puts its own key again and again.
pub(super) struct PutCaller {
    queue: Sender<Put>,
    key: [u8; 16],
}

impl Caller for PutCaller {
    async fn call(&mut self, _entity: usize) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let put = Put {
            key: self.key,
            done,
        };
        self.queue
            .send(put)
            .context("the floor's committer ended")?;
        answer.await.context("the floor's committer ended")
    }
}

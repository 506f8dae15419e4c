use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use entia_protocol::{TimerRecord, record};

use crate::StoreError;
use crate::commit::{
    Change, Job, Reply, StateChange, kind_cost_bytes, send_cost_bytes, timer_cost_bytes,
};
use crate::engine::Engine;
use crate::group::Group;
use crate::home::Home;
use crate::queue::{Queue, Taken};
use crate::watermark::Watermark;

/// The one thread that writes.
///
/// Everything that waits becomes one batch and one fdatasync. There is no timer that collects: while one group is being
/// synced the next one gathers by itself, and a lone commit waits for nobody.
pub(crate) struct Committer {
    pub(crate) engine: Engine,
    pub(crate) queue: Arc<Queue>,
    pub(crate) watermark: Watermark,
    pub(crate) progress: Arc<Progress>,
    /// The directory stays locked while anything may be written. Last, so that the engine is dropped before.
    pub(crate) _home: Arc<Home>,
}

/// What the other threads see of the committer.
#[derive(Default)]
pub(crate) struct Progress {
    /// The last durable commit.
    pub(crate) sequence: AtomicU64,
    /// Groups written since the store was opened.
    pub(crate) groups: AtomicU64,
    /// Set by the first commit that failed.
    pub(crate) failure: OnceLock<StoreError>,
}

/// The most commits that one batch takes.
const GROUP_COMMITS_MAX: usize = 4_096;
/// The most bytes that one batch takes, unless a single commit has more.
const GROUP_BYTES_MAX: usize = 8 << 20;

impl Committer {
    /// Runs until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        // Also if a callback panics: nobody may wait for a thread that is gone.
        let _abandon = AbandonOnDrop(Arc::clone(&self.queue));
        let mut jobs = Vec::new();
        loop {
            let patience = self.watermark.sync_due();
            let taken = self
                .queue
                .take(&mut jobs, GROUP_COMMITS_MAX, GROUP_BYTES_MAX, patience);
            match taken {
                Taken::Group => self.commit(&mut jobs),
                Taken::Nothing => {}
                Taken::Closed => break,
            }
            if self.watermark.sync_due().is_some_and(|due| due.is_zero()) {
                self.sync_watermark();
            }
        }
        self.sync_watermark();
    }

    /// Makes a group durable, and only then tells anybody.
    fn commit(&mut self, jobs: &mut Vec<Job>) {
        let mut group = Group::default();
        let mut answers = Vec::with_capacity(jobs.len());
        let mut last = self.progress.sequence.load(Ordering::Relaxed);
        let first = last + 1;
        for Job { change, reply } in jobs.drain(..) {
            let answer = self.admit(&mut group, change, last + 1);
            last += u64::from(answer.is_ok());
            answers.push((reply, answer));
        }
        let written = if last < first {
            Ok(())
        } else {
            self.write(group, last)
        };
        for (reply, answer) in answers {
            answer_one(reply, answer, &written);
        }
    }

    /// Adds a commit to the group, unless it is refused; a refused one has no sequence and fails nobody else.
    fn admit(&self, group: &mut Group, change: Change, sequence: u64) -> Result<u64, StoreError> {
        if let Some(failure) = self.progress.failure.get() {
            return Err(failure.clone());
        }
        check_size(&change)?;
        group.add(change, sequence, &self.engine)?;
        Ok(sequence)
    }

    fn write(&mut self, group: Group, last: u64) -> Result<(), StoreError> {
        let written = self
            .engine
            .write(group.into_writes(last))
            .and_then(|()| self.watermark.advance(last));
        match written {
            Ok(()) => {
                self.progress.sequence.store(last, Ordering::Release);
                self.progress.groups.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn sync_watermark(&mut self) {
        if self.progress.failure.get().is_none()
            && let Err(error) = self.watermark.sync()
        {
            self.fail(error);
        }
    }

    /// Ends writing for good. After a failed fsync the kernel may have dropped the dirty pages and report success to the
    /// next one, so that a retry would acknowledge what is not there.
    fn fail(&self, error: StoreError) -> StoreError {
        let error = match error {
            StoreError::Failed { .. } => error,
            other => StoreError::Failed {
                message: other.to_string(),
            },
        };
        tracing::error!(%error, "the store failed");
        self.progress.failure.get_or_init(|| error).clone()
    }
}

fn answer_one(reply: Reply, answer: Result<u64, StoreError>, written: &Result<(), StoreError>) {
    reply.send(answer.and_then(|sequence| match written {
        Ok(()) => Ok(sequence),
        Err(error) => Err(error.clone()),
    }));
}

/// Refuses what could be written and not be read again.
fn check_size(change: &Change) -> Result<(), StoreError> {
    let body_bytes_max = record::BODY_BYTES_MAX - BODY_FIELDS_BYTES_MAX;
    let check_max = |subject: String, bytes: usize, bytes_max: usize| {
        if bytes > bytes_max {
            Err(StoreError::TooLarge {
                subject,
                bytes,
                bytes_max,
            })
        } else {
            Ok(())
        }
    };
    let check = |subject, bytes| check_max(subject, bytes, body_bytes_max);
    match change {
        Change::Entity(commit) => {
            if let StateChange::Put(state) = &commit.state {
                check(format!("the state of {}", commit.entity), state.bytes.len())?;
            }
            for record in &commit.remembered {
                let subject = format!("an answer of {}", commit.entity);
                check(subject, record.cost_bytes())?;
            }
            for (name, timer) in &commit.timers {
                // The name is part of the record's key, which the engine bounds.
                let subject = format!("the name of a timer of {}", commit.entity);
                check_max(subject, name.len(), TimerRecord::NAME_BYTES_MAX)?;
                let subject = format!("the timer `{name}` of {}", commit.entity);
                check(subject, timer.as_ref().map_or(0, timer_cost_bytes))?;
            }
            for (number, send) in &commit.sends {
                let subject = format!("message {number} of {}", commit.entity);
                check(subject, send.as_ref().map_or(0, send_cost_bytes))?;
            }
            Ok(())
        }
        Change::PutKind { kind, .. } => {
            check(format!("the kind `{}`", kind.name), kind_cost_bytes(kind))
        }
        Change::RemoveKind(_) | Change::RemoveKeys(_) => Ok(()),
    }
}

/// The names, numbers and digests that a body has besides its bytes.
const BODY_FIELDS_BYTES_MAX: usize = 32 << 10;

struct AbandonOnDrop(Arc<Queue>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use entia_protocol::{CallError, EntityId};
use entia_storage::EntityCommit;

use super::Shared;
use super::activation::{Activation, Summary};
use super::delivery::{Answer, Delivery, Reply};
use super::outbox::Outbox;
use super::quarantine::Quarantined;
use crate::catalog::Kind;
use crate::observe::Observed;

/// An entity that somebody has called: its mailbox, its activation, and the answers on their way out.
///
/// Each lock is for another pair of threads, and they are never held together but `activation` before the others: `mailbox`
/// between callers and the worker, `outbox` between the worker and the store's committer, `seen` between the worker and
/// those who look, `activation` for the one worker that visits the cell.
pub(super) struct Cell {
    pub(super) id: EntityId,
    mailbox: Mutex<Mailbox>,
    activation: Mutex<Activation>,
    outbox: Mutex<Outbox>,
    /// As of the last turn, so that nobody has to wait for one that runs to look at an entity.
    seen: Mutex<Seen>,
    /// A write of what is only in memory failed; the activation still has it.
    unwritten: AtomicBool,
    last_used: AtomicU64,
}

/// What others see of a cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) summary: Summary,
    pub(crate) last_failure: Option<(u64, String)>,
    pub(crate) quarantined: Option<Quarantined>,
    /// Also of a quarantine whose time has passed and whose trial is to come.
    quarantined_until: Option<Instant>,
}

#[derive(Default)]
struct Mailbox {
    queue: VecDeque<Work>,
    /// In the run-queue, or being visited. Then whoever pushes need not schedule.
    scheduled: bool,
}

/// What a mailbox holds.
pub(super) enum Work {
    Call(Arc<Kind>, Box<Delivery>),
    /// Remove the entity, from memory and disk.
    Forget(Reply),
    /// End the entity's quarantine.
    Release(Reply),
    /// Nothing: answered when all that came before has run.
    Drain(Reply),
}

impl Cell {
    pub(super) fn new(id: EntityId) -> Self {
        Self {
            id,
            mailbox: Mutex::default(),
            activation: Mutex::default(),
            outbox: Mutex::default(),
            seen: Mutex::default(),
            unwritten: AtomicBool::new(false),
            last_used: AtomicU64::new(0),
        }
    }

    /// Adds work. True: the caller has to put the cell into the run-queue.
    pub(super) fn push(&self, work: Work, calls_max: u64) -> Result<bool, CallError> {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.queue.len() as u64 >= calls_max {
            return Err(CallError::Overloaded {
                queue: format!("the mailbox of {}", self.id),
                retry_after_ms: RETRY_AFTER_MS,
            });
        }
        mailbox.queue.push_back(work);
        Ok(!std::mem::replace(&mut mailbox.scheduled, true))
    }

    /// The next work, or none: then the cell is no longer scheduled.
    pub(super) fn pop(&self) -> Option<Work> {
        let mut mailbox = lock(&self.mailbox);
        let work = mailbox.queue.pop_front();
        mailbox.scheduled = work.is_some();
        work
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.mailbox).queue.len()
    }

    /// Whether no worker has anything to do with it.
    pub(super) fn is_idle(&self) -> bool {
        !lock(&self.mailbox).scheduled
            && lock(&self.outbox).is_settled()
            && !self.unwritten.load(Ordering::SeqCst)
    }

    pub(super) fn activation(&self) -> MutexGuard<'_, Activation> {
        lock(&self.activation)
    }

    /// The activation, unless a worker has it.
    pub(super) fn try_activation(&self) -> Option<MutexGuard<'_, Activation>> {
        self.activation.try_lock().ok()
    }

    /// Sends an answer when everything that this entity committed before is on disk.
    pub(super) fn answer(&self, reply: Reply, answer: Answer) {
        lock(&self.outbox).push(reply, answer);
    }

    /// Commits, and sends the answer after it. After a failed commit nothing is submitted: the activation that this one
    /// comes from is about to be discarded.
    pub(super) fn commit(
        self: &Arc<Self>,
        shared: &Shared,
        commit: EntityCommit,
        reply: Reply,
        answer: Answer,
    ) {
        let number = {
            let mut outbox = lock(&self.outbox);
            let failed = outbox.failure().is_some();
            let number = (!failed).then(|| outbox.submit());
            outbox.push(reply, answer);
            number
        };
        let Some(number) = number else { return };
        let cell = Arc::clone(self);
        shared.store.commit(
            commit,
            Box::new(move |outcome| {
                let outcome = outcome
                    .map(|_sequence| ())
                    .map_err(|error| error.to_string());
                lock(&cell.outbox).settle(number, outcome);
            }),
        );
    }

    /// Writes what was only in memory. No answer tells of it, and a failure loses nothing as long as the activation lives.
    pub(super) fn commit_memory(self: &Arc<Self>, shared: &Shared, commit: EntityCommit) {
        let number = lock(&self.outbox).submit();
        let cell = Arc::clone(self);
        shared.store.commit(
            commit,
            Box::new(move |outcome| {
                if let Err(error) = outcome {
                    tracing::error!(entity = ?cell.id, "the entity's state was not written: {error}");
                    cell.unwritten.store(true, Ordering::SeqCst);
                }
                lock(&cell.outbox).settle(number, Ok(()));
            }),
        );
    }

    /// Whether a write of what is only in memory failed since this was last asked.
    pub(super) fn take_unwritten(&self) -> bool {
        self.unwritten.swap(false, Ordering::SeqCst)
    }

    /// After a failed commit: what it said, or none once the activation may start again from the disk.
    pub(super) fn commit_failure(&self, activation: &mut Activation) -> Option<String> {
        let mut outbox = lock(&self.outbox);
        outbox.failure()?;
        activation.discard();
        if outbox.recover() {
            None
        } else {
            outbox.failure().map(ToOwned::to_owned)
        }
    }

    /// Lets others see what a turn or a passivation has made of the activation.
    pub(super) fn show(&self, observed: &Observed, activation: &mut Activation) {
        let until = activation.quarantine.until();
        let quarantine_changed = {
            let mut seen = lock(&self.seen);
            let summary = activation.summary();
            if summary.failures != seen.summary.failures {
                seen.last_failure = activation.last_failure().cloned();
            }
            seen.quarantined = activation.quarantine.refusal(Instant::now());
            seen.summary = summary;
            std::mem::replace(&mut seen.quarantined_until, until) != until
        };
        if quarantine_changed {
            observed.quarantine(activation.quarantine.event(&self.id));
        }
        let unseen = activation.take_unseen();
        observed.noted(&self.id, unseen.log);
        if unseen.starts > 0 {
            observed.counters.activations.add(unseen.starts);
        }
    }

    pub(super) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    pub(super) fn summary(&self) -> Summary {
        lock(&self.seen).summary
    }

    pub(super) fn touch(&self, now: u64) {
        self.last_used.store(now, Ordering::Relaxed);
    }

    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }
}

/// When a caller may try a full mailbox again: a tenth of a second of turns is gone from it.
pub(super) const RETRY_AFTER_MS: u64 = 100;

/// No code panics while it holds one of these locks; a worker that panics ends the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

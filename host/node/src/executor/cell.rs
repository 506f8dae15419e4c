use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Instant;

use crossbeam_channel::Sender;
use entia_protocol::{CallError, CommandKey, EntityId, SendRecord};
use entia_storage::EntityCommit;

use super::Shared;
use super::activation::{Activation, Summary};
use super::agenda::AgendaSummary;
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
    /// Whether a turn that waits is to be polled; see [`Resume`].
    resume: AtomicU8,
    /// Somebody will wake the entity as soon as its commits are settled.
    wake_awaited: AtomicBool,
}

/// What others see of a cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) summary: Summary,
    pub(crate) last_failure: Option<(u64, String)>,
    pub(crate) quarantined: Option<Quarantined>,
    /// What the store has is known to the activation, or older than it.
    pub(crate) loaded: bool,
    /// None if there is nothing.
    pub(crate) agenda: Option<Arc<AgendaSummary>>,
    agenda_revision: u64,
    /// Also of a quarantine whose time has passed and whose trial is to come.
    quarantined_until: Option<Instant>,
}

#[derive(Default)]
struct Mailbox {
    queue: VecDeque<Work>,
    /// In the run-queue, being visited, or in a turn that waits. Then whoever pushes need not schedule.
    scheduled: bool,
    /// The queue has a [`Work::Wake`]: a second one would find nothing to do.
    wakes: bool,
}

/// What a mailbox holds.
pub(super) enum Work {
    Call(Arc<Kind>, Box<Delivery>),
    /// Take over a message, to deliver it later.
    Accept(Arc<Kind>, Box<SendRecord>, Reply),
    /// Look at the agenda: a timer may be due, or a message may leave.
    Wake(Arc<Kind>),
    /// A message that left was answered.
    Delivered(Arc<Kind>, Box<MessageAnswer>),
    /// Remove the entity, from memory and disk.
    Forget(Arc<Kind>, Reply),
    /// End the entity's quarantine.
    Release(Reply),
    /// Nothing: answered when all that came before has run.
    Drain(Reply),
}

/// The answer to a message.
pub(super) struct MessageAnswer {
    pub(super) number: u64,
    pub(super) key: CommandKey,
    pub(super) outcome: Result<(), CallError>,
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
            resume: AtomicU8::new(RUNNING),
            wake_awaited: AtomicBool::new(false),
        }
    }

    /// Adds work. True: the caller has to put the cell into the run-queue.
    pub(super) fn push(&self, work: Work, calls_max: u64) -> Result<bool, CallError> {
        let mut mailbox = lock(&self.mailbox);
        if matches!(work, Work::Wake(_)) && std::mem::replace(&mut mailbox.wakes, true) {
            return Ok(false);
        }
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
        mailbox.wakes &= !matches!(work, Some(Work::Wake(_)));
        work
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.mailbox).queue.len()
    }

    /// Whether no worker has anything to do with it.
    pub(super) fn is_idle(&self) -> bool {
        // One lock at a time: the outbox, settling, gives work to mailboxes.
        let scheduled = lock(&self.mailbox).scheduled;
        let settled = lock(&self.outbox).is_settled();
        !scheduled && settled && !self.unwritten.load(Ordering::SeqCst)
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
        let leaves = lock(&self.outbox).push(reply, answer);
        if let Some((reply, answer)) = leaves {
            reply.send(answer);
        }
    }

    /// Commits, and sends the answer after it, if there is one. After a failed commit nothing is submitted: the activation
    /// that this one comes from is about to be discarded.
    pub(super) fn commit(
        self: &Arc<Self>,
        shared: &Shared,
        commit: EntityCommit,
        answer: Option<(Reply, Answer)>,
    ) {
        let (number, leaves) = {
            let mut outbox = lock(&self.outbox);
            let failed = outbox.failure().is_some();
            let number = (!failed).then(|| outbox.submit());
            let leaves = answer.and_then(|(reply, answer)| outbox.push(reply, answer));
            (number, leaves)
        };
        if let Some((reply, answer)) = leaves {
            reply.send(answer);
        }
        let Some(number) = number else { return };
        let cell = Arc::clone(self);
        shared.store.commit(
            commit,
            Box::new(move |outcome| {
                let outcome = outcome.map_err(|error| error.to_string());
                cell.settle(number, outcome.map(|_sequence| ()));
            }),
        );
    }

    /// The last commit that is on disk, and the number that the next one will get. Only who holds the activation commits.
    pub(super) fn commit_numbers(&self) -> (u64, u64) {
        lock(&self.outbox).numbers()
    }

    /// Wakes the entity as soon as its commits so far are on disk, once however often it is asked for until then.
    pub(super) fn wake_when_settled(self: &Arc<Self>, shared: &Arc<Shared>) {
        if self.wake_awaited.swap(true, Ordering::SeqCst) {
            return;
        }
        let (cell, shared) = (Arc::clone(self), Arc::clone(shared));
        let wake = Reply::within(None, move |answer| {
            cell.wake_awaited.store(false, Ordering::SeqCst);
            if answer.is_ok() {
                // Its kind may be gone; then nobody wants it awake.
                let _woken = shared.wake(&cell.id);
            } else {
                shared.wake_again(&cell.id);
            }
        });
        self.answer(wake, Ok(Default::default()));
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
                cell.settle(number, Ok(()));
            }),
        );
    }

    fn settle(&self, number: u64, outcome: Result<(), String>) {
        let leave = lock(&self.outbox).settle(number, outcome);
        for (reply, answer) in leave {
            reply.send(answer);
        }
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
            let agenda = activation.loaded().map(|loaded| &loaded.agenda);
            seen.loaded = agenda.is_some();
            let revision = agenda.map_or(0, |agenda| agenda.revision());
            if revision != seen.agenda_revision || agenda.is_none() {
                seen.agenda_revision = revision;
                seen.agenda = agenda.and_then(|agenda| agenda.summary()).map(Arc::new);
            }
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

/// Polls a cell's turn that waits, when what it waits for has come.
///
/// ```text
///   RUNNING ──pending──► WAITING ──wake──► RUNNING, in the run-queue
///      └──wake──► WOKEN ──pending──► RUNNING, in the run-queue
/// ```
/// Whoever makes it RUNNING puts the cell into the run-queue, so that it is there once.
pub(super) struct Resume {
    pub(super) cell: Arc<Cell>,
    pub(super) queue: Sender<Arc<Cell>>,
}

const RUNNING: u8 = 0;
const WAITING: u8 = 1;
const WOKEN: u8 = 2;

impl Cell {
    /// The turn waits. False: it was woken meanwhile, and has to be polled again.
    pub(super) fn begin_waiting(&self) -> bool {
        let exchanged =
            self.resume
                .compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire);
        if exchanged.is_err() {
            self.resume.store(RUNNING, Ordering::Release);
        }
        exchanged.is_ok()
    }

    /// A turn begins, or ended: what would have woken the one before does not matter any more.
    pub(super) fn reset_waiting(&self) {
        self.resume.store(RUNNING, Ordering::Release);
    }
}

impl Wake for Resume {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let resume = &self.cell.resume;
        let next = |state| match state {
            WAITING => Some(RUNNING),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        if resume.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(WAITING) {
            // The workers may have ended; then nobody waits for the turn any more.
            let _ = self.queue.send(Arc::clone(&self.cell));
        }
    }
}

/// When a caller may try a full mailbox again: a tenth of a second of turns is gone from it.
pub(super) const RETRY_AFTER_MS: u64 = 100;

/// No code panics while it holds one of these locks; a worker that panics ends the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

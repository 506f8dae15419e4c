//! Runs entities: a queue of those that have something to do, and threads that visit them.
//!
//! ```text
//!   submit ──► cell's mailbox ──► run-queue ──► worker: up to 16 turns a visit
//!                                                  │ durable: commit ──► store ──► fsync
//!                                                  ▼                                 │
//!                                               outbox ◄────────── settled ──────────┘──► caller
//! ```
//! An entity is in the run-queue at most once, so one worker at a time visits it and its calls run in the order in which
//! they came. There is no task and no descriptor per entity. Several turns a visit pay off because a cold entity's first
//! touch costs ten times a warm call.
//!
//! A turn that waits for another entity is a future that its worker polls and leaves; its waker puts the cell into the
//! run-queue again. Messages and timers are an entity's [`agenda`]: committed with its state, and looked at when the entity
//! is woken ([`wakes`]).

mod activation;
mod agenda;
mod calls;
mod cell;
mod delivery;
mod fibers;
mod message;
mod outbox;
mod passivation;
mod pending;
mod quarantine;
mod turn;
mod wakes;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use entia_protocol::{CallError, EntityId, Envelope, KindName, SendRecord, StoredState};
use entia_storage::{EntityCommit, Store};
use entia_wasm::Host;

use crate::catalog::{Catalog, Kind};
use crate::observe::Observed;
use calls::{Waiting, Waits};
use cell::{Cell, MessageAnswer, RETRY_AFTER_MS, Seen, Work};
use delivery::Delivery;
use fibers::Fibers;
use pending::{NotNow, Pending, PendingGuard};
use wakes::Wakes;

pub(crate) use activation::StateSummary;
pub(crate) use agenda::AgendaSummary;
pub use delivery::{Answer, Ticket};
pub(crate) use quarantine::Quarantined;
pub(crate) use turn::now_ms;

/// What bounds an [`Executor`].
#[derive(Debug, Clone)]
pub(crate) struct ExecutorOptions {
    /// Threads that run guests.
    pub workers: usize,
    /// Threads that take over while guests hold workers for long.
    pub spare_workers: usize,
    /// Calls under way on the node, from the mailbox to the answer.
    pub calls_max: usize,
    /// Entities in memory. Over it, those idle longest are passivated.
    pub activations_max: usize,
    /// Linear memory of all entities together. Over it, those idle longest are passivated.
    pub memory_bytes_high: u64,
    /// How long an entity may be idle in memory.
    pub idle: Duration,
}

/// What is known of a last good state without looking into it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateInMemory {
    pub(crate) schema_version: u32,
    pub(crate) bytes: usize,
    /// The instance has answered commands since: it is to be saved, in the version that it writes.
    pub(crate) unsaved: bool,
}

/// Runs the entities of a node.
pub(crate) struct Executor {
    shared: Arc<Shared>,
    workers: Mutex<worker::Workers>,
}

struct Shared {
    store: Store,
    host: Arc<Host>,
    catalog: Arc<Catalog>,
    observed: Arc<Observed>,
    options: ExecutorOptions,
    pending: Arc<Pending>,
    cells: Cells,
    queue: Sender<Arc<Cell>>,
    wakes: Wakes,
    waits: Waits,
    fibers: Fibers,
    /// Whose timers the deadlines of calls between entities use.
    runtime: tokio::runtime::Handle,
    live: AtomicUsize,
    started: Instant,
}

/// The entities in memory, spread over maps so that callers seldom meet.
struct Cells {
    maps: Vec<Mutex<HashMap<EntityId, Arc<Cell>>>>,
    hasher: std::hash::RandomState,
    count: AtomicUsize,
}

impl Executor {
    /// Starts the workers. Within a tokio runtime.
    pub(crate) fn start(
        store: Store,
        host: Arc<Host>,
        catalog: Arc<Catalog>,
        observed: Arc<Observed>,
        options: ExecutorOptions,
    ) -> std::io::Result<Self> {
        let (queue, runnable): (Sender<Arc<Cell>>, Receiver<Arc<Cell>>) =
            crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            store,
            host,
            catalog,
            observed,
            pending: Arc::new(Pending::new(options.calls_max)),
            cells: Cells::new(),
            queue,
            wakes: Wakes::default(),
            waits: Waits::default(),
            fibers: Fibers::default(),
            runtime: tokio::runtime::Handle::current(),
            live: AtomicUsize::new(0),
            started: Instant::now(),
            options,
        });
        let workers = worker::Workers::start(&shared, &runnable)?;
        Ok(Self {
            shared,
            workers: Mutex::new(workers),
        })
    }

    /// Puts a call into its entity's mailbox.
    pub(crate) fn submit(
        &self,
        kind: &Arc<Kind>,
        envelope: Envelope,
        deadline: Instant,
    ) -> Result<Ticket, CallError> {
        let let_in = self.shared.let_in();
        let submitted =
            let_in.and_then(|pending| self.shared.submit(kind, envelope, deadline, pending, None));
        if submitted.is_err() {
            kind.counters.called(&submitted);
        }
        submitted
    }

    /// Gives a message to an entity, to be delivered to itself. Ends when the message cannot be lost any more: in memory
    /// for kinds in memory, else on disk.
    pub(crate) async fn send(&self, kind: &Arc<Kind>, send: SendRecord) -> Result<(), CallError> {
        let (reply, answer) = delivery::reply(self.shared.let_in()?);
        let calls_max = kind.current().record.limits.mailbox_calls_max;
        let entity = send.target.clone();
        let work = Work::Accept(Arc::clone(kind), Box::new(send), reply);
        self.shared.push(Some(kind), entity, work, calls_max)?;
        delivery::received(answer).await.map(|_empty| ())
    }

    /// Removes an entity from memory and disk, after the calls that came before.
    pub(crate) async fn forget(&self, kind: &Arc<Kind>, entity: EntityId) -> Result<(), CallError> {
        let (reply, answer) = delivery::reply(self.shared.let_in()?);
        let work = Work::Forget(Arc::clone(kind), reply);
        self.shared.push(Some(kind), entity, work, u64::MAX)?;
        delivery::received(answer).await.map(|_empty| ())
    }

    /// Ends an entity's quarantine, after the calls that came before.
    pub(crate) async fn release(
        &self,
        kind: &Arc<Kind>,
        entity: EntityId,
    ) -> Result<(), CallError> {
        let (reply, answer) = delivery::reply(self.shared.let_in()?);
        self.shared
            .push(Some(kind), entity, Work::Release(reply), u64::MAX)?;
        delivery::received(answer).await.map(|_empty| ())
    }

    /// Waits until a closed kind's calls have run. Blocks.
    pub(crate) fn drain_kind(&self, kind: &Arc<Kind>) -> Result<(), CallError> {
        self.all_of_kind(kind, |_, reply| Work::Drain(reply))
    }

    /// Removes a closed kind's entities that are in memory, from there and from disk. Blocks.
    pub(crate) fn forget_kind(&self, kind: &Arc<Kind>) -> Result<(), CallError> {
        self.all_of_kind(kind, Work::Forget)
    }

    /// Gives all entities of a closed kind the same work, and waits until it is done.
    fn all_of_kind(
        &self,
        kind: &Arc<Kind>,
        work: fn(Arc<Kind>, delivery::Reply) -> Work,
    ) -> Result<(), CallError> {
        debug_assert!(
            kind.is_closed(),
            "a call that came now would bring an entity back"
        );
        let mut answers = Vec::new();
        for cell in self.shared.cells.of_kind(&kind.name()) {
            // Not bounded as calls are: half of it done would be worse than a moment of too much.
            let pending = self
                .shared
                .pending
                .begin_unbounded()
                .map_err(|_| CallError::ShuttingDown)?;
            let (reply, answer) = delivery::reply(pending);
            let work = work(Arc::clone(kind), reply);
            self.shared.push(None, cell.id.clone(), work, u64::MAX)?;
            answers.push(answer);
        }
        answers
            .into_iter()
            .try_for_each(|answer| delivery::received_blocking(answer).map(|_| ()))
    }

    /// The entities of a kind that have a state, an instance, timers or messages in memory, and whether they have an instance.
    pub(crate) fn entities(&self, kind: &KindName) -> BTreeMap<EntityId, bool> {
        let cells = self.shared.cells.of_kind(kind).into_iter();
        cells
            .filter_map(|cell| {
                let Seen {
                    summary, agenda, ..
                } = cell.seen();
                let there = summary.live || summary.state.is_some() || agenda.is_some();
                there.then(|| (cell.id.clone(), summary.live))
            })
            .collect()
    }

    /// The last good states in memory of a kind's entities, as of their last turns.
    pub(crate) fn states(&self, kind: &KindName) -> BTreeMap<EntityId, StateInMemory> {
        let cells = self.shared.cells.of_kind(kind).into_iter();
        cells
            .filter_map(|cell| {
                let summary = cell.summary();
                let state = StateInMemory {
                    schema_version: summary.state?.schema_version,
                    bytes: summary.state?.bytes,
                    unsaved: summary.unsaved,
                };
                Some((cell.id.clone(), state))
            })
            .collect()
    }

    /// An entity's last good state, if it is in memory and no worker has the entity.
    pub(crate) fn last_good(&self, entity: &EntityId) -> Option<StoredState> {
        let cell = Arc::clone(self.shared.cells.map(entity).get(entity)?);
        let activation = cell.try_activation()?;
        activation.loaded()?.state.clone()
    }

    /// Entities with an instance.
    pub(crate) fn live(&self) -> usize {
        self.shared.live.load(Ordering::Relaxed)
    }

    /// Entities of which anything is in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.shared.cells.count.load(Ordering::Relaxed)
    }

    /// Calls under way.
    pub(crate) fn pending(&self) -> usize {
        self.shared.pending.calls()
    }

    /// What is seen of an entity in memory, as of its last turn, and how many calls wait for it.
    pub(crate) fn status(&self, entity: &EntityId) -> Option<(Seen, usize)> {
        let cell = Arc::clone(self.shared.cells.map(entity).get(entity)?);
        Some((cell.seen(), cell.waiting()))
    }

    /// Takes no new calls, finishes those under way, writes what is only in memory, and ends the workers.
    ///
    /// Returns how many calls were still under way after `patience`; their callers are told that they may have run.
    pub(crate) fn shut_down(&self, patience: Duration) -> usize {
        self.shared.pending.close();
        let finished = self.shared.pending.wait_for_none(patience);
        let cut_off = if finished {
            0
        } else {
            self.shared.pending.calls()
        };
        self.workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end();
        passivation::passivate_all(&self.shared);
        cut_off
    }
}

impl Shared {
    fn let_in(&self) -> Result<PendingGuard, CallError> {
        self.pending.begin().map_err(|not_now| match not_now {
            NotNow::Closed => CallError::ShuttingDown,
            NotNow::Full => overloaded(),
        })
    }

    fn submit(
        &self,
        kind: &Arc<Kind>,
        envelope: Envelope,
        deadline: Instant,
        pending: PendingGuard,
        waiting: Option<Arc<Waiting>>,
    ) -> Result<Ticket, CallError> {
        let version = kind.current();
        let query = version.is_query(&envelope.method);
        let calls_max = version.record.limits.mailbox_calls_max;
        let entity = envelope.entity.clone();
        let (mut delivery, ticket) = Delivery::new(envelope, deadline, query, pending);
        delivery.count_for(kind);
        if let Some(waiting) = waiting {
            delivery.ends(waiting);
        }
        let work = Work::Call(Arc::clone(kind), Box::new(delivery));
        self.push(Some(kind), entity, work, calls_max)?;
        Ok(ticket)
    }

    /// Puts a call that a turn makes into its entity's mailbox.
    fn submit_nested(
        &self,
        kind: &Arc<Kind>,
        envelope: Envelope,
        deadline: Instant,
        waiting: Arc<Waiting>,
    ) -> Result<Ticket, CallError> {
        let pending = self.pending.begin_nested().map_err(|_full| overloaded())?;
        self.submit(kind, envelope, deadline, pending, Some(waiting))
    }

    /// Lets an entity look at its agenda; later, if its kind is closed. An error says that there is no such kind.
    fn wake(&self, entity: &EntityId) -> Result<(), CallError> {
        let kind = self.catalog.find(entity.kind())?;
        let work = Work::Wake(Arc::clone(&kind));
        if self
            .push(Some(&kind), entity.clone(), work, u64::MAX)
            .is_err()
        {
            // The kind is on its way out, or is opened again after a rollback.
            self.wakes.at(now_ms() + CLOSED_WAIT_MS, entity, false);
        }
        Ok(())
    }

    /// Wakes an entity after something failed: what it has to do is on disk, and its row in the index has been read.
    fn wake_again(&self, entity: &EntityId) {
        self.wakes.at(now_ms() + WAKE_AGAIN_MS, entity, false);
    }

    /// Gives an entity the answer to a message.
    fn delivered(&self, sender: &EntityId, answer: MessageAnswer) {
        // A sender whose kind is gone has forgotten its messages.
        if let Ok(kind) = self.catalog.find(sender.kind()) {
            let work = Work::Delivered(kind, Box::new(answer));
            // Not bounded: there is one at most for each message that was let out.
            let _never_full = self.push(None, sender.clone(), work, u64::MAX);
        }
    }

    /// Removes a row of the store's index that means nothing any more.
    fn forget_wake(&self, due_ms: u64, entity: EntityId) {
        let mut commit = EntityCommit::new(entity);
        commit.wake.before = Some(due_ms);
        // Whether it worked does not matter: the row is a hint.
        self.store.commit(commit, Box::new(|_outcome| ()));
    }

    /// Puts work into an entity's mailbox, unless the kind that it is given for is closed.
    fn push(
        &self,
        kind: Option<&Arc<Kind>>,
        entity: EntityId,
        work: Work,
        calls_max: u64,
    ) -> Result<(), CallError> {
        let schedule = {
            // Under the map's lock, so that no cell is removed between being found and being given work.
            let mut map = self.cells.map(&entity);
            // Under it too: who closes a kind and then looks for its cells sees all that were let in before.
            if let Some(kind) = kind.filter(|kind| kind.is_closed()) {
                return Err(CallError::Overloaded {
                    queue: format!(
                        "the kind `{}` is closed while it is deleted or rolled back: its queue",
                        kind.name()
                    ),
                    retry_after_ms: RETRY_AFTER_MS,
                });
            }
            let cell = map.entry(entity.clone()).or_insert_with(|| {
                self.cells.count.fetch_add(1, Ordering::Relaxed);
                Arc::new(Cell::new(entity))
            });
            cell.push(work, calls_max)?.then(|| Arc::clone(cell))
        };
        if let Some(cell) = schedule {
            // While the node goes down the last commits settle without workers. What they would have woken is on disk.
            let _ = self.queue.send(cell);
        }
        Ok(())
    }
}

impl Shared {
    /// The time by which entities are idle longer or shorter, in milliseconds.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count_live(&self, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.live.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.live.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

/// When an entity is woken again after it could not be read or written.
const WAKE_AGAIN_MS: u64 = 1_000;
/// After this time it is tried again to wake an entity of a closed kind.
const CLOSED_WAIT_MS: u64 = 200;

fn overloaded() -> CallError {
    CallError::Overloaded {
        queue: "the node's queue of calls".to_owned(),
        retry_after_ms: RETRY_AFTER_MS,
    }
}

impl Cells {
    const MAPS: usize = 64;

    fn new() -> Self {
        Self {
            maps: (0..Self::MAPS).map(|_| Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }

    fn map(&self, entity: &EntityId) -> MutexGuard<'_, HashMap<EntityId, Arc<Cell>>> {
        let place = self.hasher.hash_one(entity) as usize % Self::MAPS;
        self.maps[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn of_kind(&self, kind: &KindName) -> Vec<Arc<Cell>> {
        let mut found = Vec::new();
        for map in &self.maps {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(map.values().filter(|cell| cell.id.kind() == kind).cloned());
        }
        found
    }
}

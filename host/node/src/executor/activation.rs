use std::pin::Pin;
use std::time::{Duration, Instant};

use entia_protocol::{
    CallError, Durability, EntityId, IdempotencyId, IdempotencyRecord, IdempotencyWindow,
    StoredState,
};
use entia_storage::{EntityCommit, StateChange, Store};
use entia_wasm::{Host, Instance, LogLevel};

use super::agenda::Agenda;
use super::delivery::Answer;
use super::quarantine::Quarantine;
use super::turn::Job;
use crate::catalog::KindVersion;
use crate::observe::Noted;

/// An entity in memory: what the store knows of it, and its instance if it has one.
#[derive(Default)]
pub(super) struct Activation {
    /// What was read from the store and has changed since; none before the first call.
    loaded: Option<Loaded>,
    live: Option<Live>,
    /// A turn that waits for another entity. It has the instance; nothing else runs before it ends.
    waiting: Option<WaitingTurn>,
    pub(super) calls: u64,
    failures: u64,
    last_failure: Option<(u64, String)>,
    pub(super) quarantine: Quarantine,
    /// When a timer that failed is tried again, in milliseconds since 1970, and how often it has failed in a row.
    retry: (u64, u32),
    /// Since [`Activation::take_unseen`].
    unseen: Unseen,
}

/// What happened to an activation and nobody has been shown yet.
#[derive(Default)]
pub(super) struct Unseen {
    pub(super) log: Noted,
    /// Instances started.
    pub(super) starts: u64,
}

pub(super) struct Loaded {
    /// The last good state: a failed turn goes back to it.
    pub(super) state: Option<StoredState>,
    pub(super) window: IdempotencyWindow,
    pub(super) agenda: Agenda,
    pub(super) durability: Durability,
    /// `state`, `window` or `agenda` are ahead of the store. Only kinds in memory are.
    dirty: bool,
    /// The records that the store has, of kinds in memory: those that leave the window have to leave it too.
    on_disk: Vec<IdempotencyId>,
}

/// A turn that runs on a fiber, from its first wait to its end.
pub(super) struct WaitingTurn {
    pub(super) job: Job,
    /// Ends with the instance that it was given.
    pub(super) run: Pin<Box<dyn Future<Output = (Instance, Answer)> + Send>>,
    /// The instance's memory when it began, for those who look.
    memory_bytes: u64,
    kept: Live<()>,
}

/// What people see of an activation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) live: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) state: Option<StateSummary>,
    /// Commands ran since that state was taken.
    pub(crate) unsaved: bool,
}

/// What people see of the last good state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateSummary {
    pub(crate) kind_version: u64,
    pub(crate) schema_version: u32,
    pub(crate) bytes: usize,
}

/// A running instance, and what is known of it.
struct Live<I = Instance> {
    instance: I,
    kind_version: u64,
    saved_at: Instant,
    /// Commands since `state` was taken, and which of them are remembered.
    unsaved: u64,
    unsaved_ids: Vec<IdempotencyId>,
}

impl Loaded {
    /// The agenda may have changed: for kinds in memory it is then ahead of the store.
    pub(super) fn agenda_changed(&mut self) {
        self.dirty |= self.durability == Durability::Memory && self.agenda.has_changes();
    }
}

impl Activation {
    /// Reads what the store knows, once.
    pub(super) fn load(
        &mut self,
        store: &Store,
        id: &EntityId,
        durability: Durability,
    ) -> Result<&mut Loaded, CallError> {
        if self.loaded.is_none() {
            let stored = store.load(id).map_err(|error| CallError::StoreFailed {
                message: error.to_string(),
                may_have_run: false,
            })?;
            let (state, records, agenda) = match stored {
                Some(stored) => (
                    stored.state,
                    stored.idempotency,
                    Agenda::restore(stored.timers, stored.sends),
                ),
                None => (None, Vec::new(), Agenda::default()),
            };
            let on_disk = match durability {
                Durability::Memory => records.iter().map(|record| record.id.clone()).collect(),
                Durability::Durable => Vec::new(),
            };
            let window = IdempotencyWindow::restore(records);
            self.loaded = Some(Loaded {
                state,
                window,
                agenda,
                durability,
                dirty: false,
                on_disk,
            });
        }
        let loaded = self.loaded.as_mut().expect("it was just set");
        // A kind that was deleted may have come back with another durability.
        loaded.durability = durability;
        Ok(loaded)
    }

    pub(super) fn last_failure(&self) -> Option<&(u64, String)> {
        self.last_failure.as_ref()
    }

    pub(super) fn loaded(&self) -> Option<&Loaded> {
        self.loaded.as_ref()
    }

    /// The instance, started if there is none of this version of the kind. True: one was started.
    pub(super) fn start(
        &mut self,
        host: &Host,
        id: &EntityId,
        version: &KindVersion,
    ) -> Result<bool, CallError> {
        let current = version.record.version;
        if self
            .live
            .as_ref()
            .is_some_and(|live| live.kind_version == current)
        {
            return Ok(false);
        }
        if self.live.is_some() {
            self.save_unsaved(host)?;
            self.live = None;
        }
        let state = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.state.as_ref());
        let instance = host.activate(&version.component, id, &version.config, state)?;
        self.unseen.starts += 1;
        self.live = Some(Live {
            instance,
            kind_version: current,
            saved_at: Instant::now(),
            unsaved: 0,
            unsaved_ids: Vec::new(),
        });
        Ok(true)
    }

    pub(super) fn instance(&mut self) -> Option<&mut Instance> {
        self.live.as_mut().map(|live| &mut live.instance)
    }

    /// What happened since this was last asked.
    pub(super) fn take_unseen(&mut self) -> Unseen {
        std::mem::take(&mut self.unseen)
    }

    pub(super) fn loaded_mut(&mut self) -> Option<&mut Loaded> {
        self.loaded.as_mut()
    }

    /// Gives the instance to a turn that waits, until [`Activation::end_waiting`].
    pub(super) fn begin_waiting(
        &mut self,
        job: Job,
        run: impl FnOnce(Instance, &Job) -> Pin<Box<dyn Future<Output = (Instance, Answer)> + Send>>,
    ) {
        let live = self.live.take().expect("it was just started");
        let memory_bytes = live.instance.memory_bytes();
        let (instance, kept) = live.split();
        self.waiting = Some(WaitingTurn {
            run: run(instance, &job),
            job,
            memory_bytes,
            kept,
        });
    }

    /// The turn that waits.
    pub(super) fn waiting(&mut self) -> Option<&mut WaitingTurn> {
        self.waiting.as_mut()
    }

    /// Takes the instance back from the turn that waited.
    pub(super) fn end_waiting(&mut self, instance: Instance) -> Job {
        let waiting = self.waiting.take().expect("it was just polled");
        self.live = Some(waiting.kept.join(instance));
        waiting.job
    }

    /// Gives up a turn that waits, and its instance with it: as if it had not begun.
    pub(super) fn give_up_waiting(&mut self) {
        self.waiting = None;
    }

    /// The instance of a turn that is about to run, and the entity's agenda.
    pub(super) fn instance_and_agenda(&mut self) -> (&mut Instance, &Agenda) {
        let live = self.live.as_mut().expect("it was just started");
        let loaded = self.loaded.as_ref().expect("it was loaded to start");
        (&mut live.instance, &loaded.agenda)
    }

    /// Until when no timer fires, because one failed.
    pub(super) fn retry_at_ms(&self) -> u64 {
        self.retry.0
    }

    /// A timer's turn failed: the next try waits, longer each time.
    pub(super) fn retry_later(&mut self, now_ms: u64) {
        let (_, failures) = self.retry;
        let wait_ms = (RETRY_FIRST_MS << failures.min(10)).min(RETRY_LONGEST_MS);
        self.retry = (now_ms + wait_ms, failures + 1);
    }

    /// A turn ended well.
    pub(super) fn retry_now(&mut self) {
        self.retry = (0, 0);
    }

    /// Whether an answer to a message is awaited.
    pub(super) fn awaits_delivery(&self) -> bool {
        self.loaded
            .as_ref()
            .is_some_and(|loaded| loaded.agenda.in_flight())
    }

    /// What the store does not have of the agenda, to be committed; for kinds in memory only that messages are done with.
    pub(super) fn flush(&mut self, id: &EntityId) -> Option<EntityCommit> {
        let loaded = self.loaded.as_mut()?;
        let mut commit = EntityCommit::new(id.clone());
        let anything = match loaded.durability {
            Durability::Memory => loaded.agenda.take_done(&mut commit),
            Durability::Durable => {
                let changes = loaded.agenda.has_changes();
                loaded.agenda.take_changes(&mut commit);
                changes
            }
        };
        anything.then_some(commit)
    }

    /// What people see of it.
    pub(super) fn summary(&self) -> Summary {
        let state = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.state.as_ref());
        let waiting = self
            .waiting
            .as_ref()
            .map_or(0, |waiting| waiting.memory_bytes);
        Summary {
            live: self.is_live(),
            memory_bytes: self
                .live
                .as_ref()
                .map_or(waiting, |live| live.instance.memory_bytes()),
            calls: self.calls,
            failures: self.failures,
            state: state.map(|state| StateSummary {
                kind_version: state.kind_version,
                schema_version: state.schema_version,
                bytes: state.bytes.len(),
            }),
            unsaved: self.live.as_ref().is_some_and(|live| live.unsaved > 0),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some() || self.waiting.is_some()
    }

    /// Takes note that what was thought to be written was not.
    pub(super) fn set_dirty(&mut self) {
        if let Some(loaded) = &mut self.loaded {
            loaded.dirty = true;
        }
    }

    /// Whether dropping it would lose something: saved state or commands, or commands since.
    pub(super) fn holds_more_than_the_store(&self) -> bool {
        self.is_dirty() || self.live.as_ref().is_some_and(|live| live.unsaved > 0)
    }

    /// Whether it holds what the store does not have.
    pub(super) fn is_dirty(&self) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.dirty)
    }

    /// After a command: takes the state. True if it differs from the last good one.
    ///
    /// The large state of a kind in memory is taken at most every 100 ms: a failure then undoes the commands since, and says
    /// so. Not with `effects`: they leave, and must not be undone.
    pub(super) fn save(
        &mut self,
        host: &Host,
        durability: Durability,
        effects: bool,
    ) -> Result<bool, CallError> {
        let (Some(live), Some(loaded)) = (&mut self.live, &mut self.loaded) else {
            return Ok(false);
        };
        let large = loaded
            .state
            .as_ref()
            .is_some_and(|state| state.bytes.len() > LARGE_STATE_BYTES);
        let recent = live.saved_at.elapsed() < LARGE_STATE_EVERY;
        if durability == Durability::Memory && large && recent && !effects {
            live.unsaved += 1;
            return Ok(false);
        }
        let (schema_version, bytes) = host.snapshot(&mut live.instance)?;
        live.unsaved = 0;
        live.unsaved_ids.clear();
        live.saved_at = Instant::now();
        let same = loaded
            .state
            .as_ref()
            .is_some_and(|old| old.schema_version == schema_version && old.bytes == bytes);
        if !same {
            let now_ms = live.instance.now_ms();
            loaded.state = Some(StoredState::new(
                schema_version,
                bytes,
                live.kind_version,
                now_ms,
            ));
            loaded.dirty |= durability == Durability::Memory;
        }
        Ok(!same)
    }

    /// Remembers a command. For durable kinds the caller commits what this returns.
    pub(super) fn remember(
        &mut self,
        record: IdempotencyRecord,
        durability: Durability,
    ) -> Vec<IdempotencyId> {
        let Some(loaded) = &mut self.loaded else {
            return Vec::new();
        };
        if let Some(live) = self.live.as_mut().filter(|live| live.unsaved > 0) {
            live.unsaved_ids.push(record.id.clone());
        }
        loaded.dirty |= durability == Durability::Memory;
        loaded.window.insert(record)
    }

    /// Drops an instance that failed and notes why. The next call starts from the last good state.
    ///
    /// Commands since that state go with it, and so does the memory of their keys: repeated, they run again.
    pub(super) fn fail(&mut self, id: &EntityId, error: CallError, now_ms: u64) -> CallError {
        self.log(id);
        // It may have wanted a single page when the node had none.
        let nodes_fault = matches!(error, CallError::Overloaded { .. });
        let lost = self.live.take().filter(|live| live.unsaved > 0);
        let error = match lost {
            None => error,
            Some(live) => {
                if let Some(loaded) = &mut self.loaded {
                    loaded.window.forget(&live.unsaved_ids);
                }
                CallError::UndoneSince {
                    cause: Box::new(error),
                    commands: live.unsaved,
                }
            }
        };
        tracing::warn!(entity = ?id, "the turn was undone: {error}");
        if nodes_fault {
            return error;
        }
        self.failures += 1;
        let reason = error.to_string();
        self.quarantine.failed(Instant::now(), &reason);
        self.last_failure = Some((now_ms, reason));
        error
    }

    /// Forgets everything that the store does not know.
    pub(super) fn discard(&mut self) {
        self.live = None;
        self.loaded = None;
    }

    /// Becomes an entity that never was, without asking the store: there the deletion is still on its way.
    pub(super) fn forget(&mut self, durability: Durability) {
        let nothing = Loaded {
            state: None,
            window: IdempotencyWindow::default(),
            agenda: Agenda::default(),
            durability,
            dirty: false,
            on_disk: Vec::new(),
        };
        *self = Self {
            loaded: Some(nothing),
            ..Self::default()
        };
    }

    /// Ends the instance and returns what has to be written first. Without loss: on an error the instance stays.
    pub(super) fn passivate(
        &mut self,
        host: &Host,
        id: &EntityId,
    ) -> Result<Option<EntityCommit>, CallError> {
        self.save_unsaved(host)?;
        self.live = None;
        let Some(loaded) = self.loaded.as_mut().filter(|loaded| loaded.dirty) else {
            return Ok(None);
        };
        loaded.dirty = false;
        let kept: Vec<_> = loaded
            .window
            .iter()
            .map(|record| record.id.clone())
            .collect();
        let mut forgotten = std::mem::replace(&mut loaded.on_disk, kept);
        forgotten.retain(|id| !loaded.window.contains(id));
        let mut commit = EntityCommit {
            state: loaded
                .state
                .clone()
                .map_or(StateChange::Keep, StateChange::Put),
            remembered: loaded.window.iter().cloned().collect(),
            forgotten,
            ..EntityCommit::new(id.clone())
        };
        loaded.agenda.take_changes(&mut commit);
        Ok(Some(commit))
    }

    /// Writes the guest's lines to the node's log, and keeps them for whoever asks for the entity's.
    pub(super) fn log(&mut self, id: &EntityId) {
        let Some(live) = &self.live else { return };
        let log = live.instance.take_log();
        for line in log.lines {
            let text = &line.text;
            match line.level {
                LogLevel::Trace => tracing::trace!(target: "entity", entity = ?id, "{text}"),
                LogLevel::Debug => tracing::debug!(target: "entity", entity = ?id, "{text}"),
                LogLevel::Info => tracing::info!(target: "entity", entity = ?id, "{text}"),
                LogLevel::Warn => tracing::warn!(target: "entity", entity = ?id, "{text}"),
                LogLevel::Error => tracing::error!(target: "entity", entity = ?id, "{text}"),
            }
            self.unseen.log.lines.push((live.kind_version, line));
        }
        self.unseen.log.dropped += log.dropped;
        if log.dropped > 0 {
            tracing::warn!(entity = ?id, dropped = log.dropped, "log lines over log_bytes_max were dropped");
        }
    }

    fn save_unsaved(&mut self, host: &Host) -> Result<(), CallError> {
        if self.live.as_ref().is_some_and(|live| live.unsaved > 0) {
            // As if durable: no state is too large or too young to be taken now.
            self.save(host, Durability::Durable, false)?;
            if let Some(loaded) = &mut self.loaded {
                loaded.dirty = true;
            }
        }
        Ok(())
    }
}

impl Live {
    fn split(self) -> (Instance, Live<()>) {
        let kept = Live {
            instance: (),
            kind_version: self.kind_version,
            saved_at: self.saved_at,
            unsaved: self.unsaved,
            unsaved_ids: self.unsaved_ids,
        };
        (self.instance, kept)
    }
}

impl Live<()> {
    fn join(self, instance: Instance) -> Live {
        Live {
            instance,
            kind_version: self.kind_version,
            saved_at: self.saved_at,
            unsaved: self.unsaved,
            unsaved_ids: self.unsaved_ids,
        }
    }
}

/// How long a timer that failed waits until it is tried again.
const RETRY_FIRST_MS: u64 = 100;
const RETRY_LONGEST_MS: u64 = 60_000;
/// States above this are taken less often for kinds in memory.
const LARGE_STATE_BYTES: usize = 64 << 10;
const LARGE_STATE_EVERY: Duration = Duration::from_millis(100);

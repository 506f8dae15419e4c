use std::time::{Duration, Instant};

use entia_protocol::{
    CallError, Durability, EntityId, IdempotencyId, IdempotencyRecord, IdempotencyWindow,
    StoredState,
};
use entia_storage::{EntityCommit, StateChange, Store};
use entia_wasm::{Host, Instance, LogLevel};

use super::quarantine::Quarantine;
use crate::catalog::KindVersion;
use crate::observe::Noted;

/// An entity in memory: what the store knows of it, and its instance if it has one.
#[derive(Default)]
pub(super) struct Activation {
    /// What was read from the store and has changed since; none before the first call.
    loaded: Option<Loaded>,
    live: Option<Live>,
    pub(super) calls: u64,
    failures: u64,
    last_failure: Option<(u64, String)>,
    pub(super) quarantine: Quarantine,
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

#[derive(Default)]
pub(super) struct Loaded {
    /// The last good state: a failed turn goes back to it.
    pub(super) state: Option<StoredState>,
    pub(super) window: IdempotencyWindow,
    /// `state` and `window` are ahead of the store. Only kinds in memory are.
    dirty: bool,
    /// The records that the store has, of kinds in memory: those that leave the window have to leave it too.
    on_disk: Vec<IdempotencyId>,
}

/// What people see of an activation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) live: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) state: Option<StateSummary>,
}

/// What people see of the last good state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateSummary {
    pub(crate) kind_version: u64,
    pub(crate) schema_version: u32,
    pub(crate) bytes: usize,
}

/// A running instance.
struct Live {
    instance: Instance,
    kind_version: u64,
    saved_at: Instant,
    /// Commands since `state` was taken, and which of them are remembered.
    unsaved: u64,
    unsaved_ids: Vec<IdempotencyId>,
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
            let (state, records) = match stored {
                Some(stored) => (stored.state, stored.idempotency),
                None => (None, Vec::new()),
            };
            let on_disk = match durability {
                Durability::Memory => records.iter().map(|record| record.id.clone()).collect(),
                Durability::Durable => Vec::new(),
            };
            let window = IdempotencyWindow::restore(records);
            self.loaded = Some(Loaded {
                state,
                window,
                dirty: false,
                on_disk,
            });
        }
        Ok(self.loaded.as_mut().expect("it was just set"))
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

    /// What people see of it.
    pub(super) fn summary(&self) -> Summary {
        let state = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.state.as_ref());
        Summary {
            live: self.live.is_some(),
            memory_bytes: self
                .live
                .as_ref()
                .map_or(0, |live| live.instance.memory_bytes()),
            calls: self.calls,
            failures: self.failures,
            state: state.map(|state| StateSummary {
                kind_version: state.kind_version,
                schema_version: state.schema_version,
                bytes: state.bytes.len(),
            }),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
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
    /// so.
    pub(super) fn save(&mut self, host: &Host, durability: Durability) -> Result<bool, CallError> {
        let (Some(live), Some(loaded)) = (&mut self.live, &mut self.loaded) else {
            return Ok(false);
        };
        let large = loaded
            .state
            .as_ref()
            .is_some_and(|state| state.bytes.len() > LARGE_STATE_BYTES);
        if durability == Durability::Memory && large && live.saved_at.elapsed() < LARGE_STATE_EVERY
        {
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
    pub(super) fn forget(&mut self) {
        *self = Self {
            loaded: Some(Loaded::default()),
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
        Ok(Some(EntityCommit {
            entity: id.clone(),
            state: loaded
                .state
                .clone()
                .map_or(StateChange::Keep, StateChange::Put),
            remembered: loaded.window.iter().cloned().collect(),
            forgotten,
        }))
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
            self.save(host, Durability::Durable)?;
            if let Some(loaded) = &mut self.loaded {
                loaded.dirty = true;
            }
        }
        Ok(())
    }
}

/// States above this are taken less often for kinds in memory.
const LARGE_STATE_BYTES: usize = 64 << 10;
const LARGE_STATE_EVERY: Duration = Duration::from_millis(100);

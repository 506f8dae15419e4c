//! The new version on states of entities that there are, before it is anybody's.
//!
//! Each entity of a sample is started from a copy of its last good state, and the state that it then has is taken. Nothing
//! of it leaves: instances are dropped with what they logged. It shows that states can be read and written, and nothing
//! about calls.

use std::io;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use entia_api::ApiError;
use entia_api::body::{DryRunBody, DryRunFailureBody};
use entia_protocol::{CallError, EntityId, KindDescription, StoredState};
use entia_wasm::engine::THREAD_STACK_BYTES;

use super::census::{Census, Until};
use super::{Target, unreadable};
use crate::catalog::KindVersion;
use crate::executor::StateInMemory;

/// Entities of a sample.
const SAMPLE_MAX: usize = 100;
/// How long states are looked at, and how long they are tried. A guest that runs then ends first.
const LOOK_MAX: Duration = Duration::from_secs(2);
const TRY_MAX: Duration = Duration::from_secs(5);
/// States that are tried, in bytes, but at least one.
const TRY_BYTES_MAX: usize = 256 << 20;
/// Failures that are told. There may be more of the same.
const FAILURES_MAX: usize = 10;

/// Which states a version reads, and which one the version before does.
pub(super) struct Reads<'a> {
    new: &'a KindDescription,
    old: Option<&'a KindDescription>,
}

/// What a dry run found.
#[derive(Debug)]
pub(super) struct Tried {
    census: Census,
    tried: u64,
    failures: Vec<DryRunFailureBody>,
    versions: RangeInclusive<u32>,
}

impl<'a> Reads<'a> {
    pub(super) fn of(new: &'a KindVersion, old: Option<&'a KindVersion>) -> Self {
        Self {
            new: &new.record.description,
            old: old.map(|old| &old.record.description),
        }
    }

    /// Whether the new version reads what the old one does. What neither reads is nobody's loss.
    pub(super) fn goes_on_with(&self, version: u32) -> bool {
        versions(self.new).contains(&version)
            || self
                .old
                .is_some_and(|old| !versions(old).contains(&version))
    }

    /// The version that a state in memory has or, while the instance is ahead of it, will have.
    pub(super) fn written(&self, state: &StateInMemory) -> u32 {
        match self.old {
            Some(old) if state.unsaved => old.schema_version,
            _ => state.schema_version,
        }
    }
}

/// Tries `new` on a sample of the states that `old` has left. Blocks.
///
/// Looks at as many states as there is time for, or at all, and then fails if one cannot be read.
pub(super) fn dry_run(
    target: &Target<'_>,
    new: &KindVersion,
    old: Option<&KindVersion>,
    all: bool,
) -> Result<Tried, ApiError> {
    let kind = &new.record.name;
    let until = if all {
        Until::All
    } else {
        Until::Time(Instant::now() + LOOK_MAX)
    };
    let census = Census::take(target, kind, &Reads::of(new, old), until).map_err(unreadable)?;
    let sample = census.sample(target, kind, SAMPLE_MAX);
    let mut tried = Tried {
        census,
        tried: 0,
        failures: Vec::new(),
        versions: versions(&new.record.description),
    };
    // Guests need more stack than this thread may have.
    let ran = std::thread::scope(|scope| {
        let run = || tried.run(target, new, old, &sample);
        let thread = std::thread::Builder::new()
            .name("entia-dry-run".into())
            .stack_size(THREAD_STACK_BYTES)
            .spawn_scoped(scope, run);
        Ok(thread?.join().is_ok())
    });
    // One that found nothing because it did not run would let everything pass.
    match ran {
        Ok(true) => Ok(tried),
        Ok(false) => Err(untried("it ended early".to_owned())),
        Err::<_, io::Error>(error) => Err(untried(error.to_string())),
    }
}

fn untried(why: String) -> ApiError {
    ApiError::Internal {
        message: format!("the new version was not tried, and nothing was changed: {why}"),
    }
}

impl Tried {
    fn run(
        &mut self,
        target: &Target<'_>,
        new: &KindVersion,
        old: Option<&KindVersion>,
        sample: &[EntityId],
    ) {
        let end = Instant::now() + TRY_MAX;
        let mut bytes = 0;
        for entity in sample {
            if Instant::now() >= end || bytes > TRY_BYTES_MAX || self.failures.len() >= FAILURES_MAX
            {
                return;
            }
            let Some(state) = state(target, entity) else {
                continue;
            };
            bytes += state.bytes.len();
            self.tried += 1;
            if let Err(message) = start(target, new, entity, &state) {
                let already = old.is_some_and(|old| start(target, old, entity, &state).is_err());
                self.failures.push(DryRunFailureBody {
                    entity: entity.clone(),
                    message,
                    already,
                });
            }
        }
    }

    /// Why the new version must not be switched to, if so.
    pub(super) fn refusal(&self, new: &KindVersion) -> Option<ApiError> {
        let refused = |entity: &EntityId, message: String| {
            Some(ApiError::StateRefused {
                kind: new.record.name.clone(),
                entity: entity.clone(),
                message,
            })
        };
        if let Some((entity, version, entities)) = &self.census.unreadable {
            let mut message = unread(*version, &self.versions);
            if *entities > 1 {
                message += &format!("; {entities} entities have such states");
            }
            return refused(entity, message);
        }
        let failed: Vec<_> = (self.failures.iter())
            .filter(|failure| !failure.already)
            .collect();
        let first = failed.first()?;
        let mut message = first.message.clone();
        if failed.len() > 1 {
            let (failed, tried) = (failed.len(), self.tried);
            message += &format!("; {failed} of {tried} entities that were tried fail");
        }
        refused(&first.entity, message)
    }

    pub(super) fn body(self) -> DryRunBody {
        DryRunBody {
            tried: self.tried,
            entities: self.census.entities,
            more: self.census.cut_short,
            failures: self.failures,
        }
    }
}

/// An entity's last good state. One in memory that a worker has is as the disk knows it; one that cannot be read is nothing
/// that another version could be tried on.
fn state(target: &Target<'_>, entity: &EntityId) -> Option<StoredState> {
    target.executor.last_good(entity).or_else(|| {
        let stored = target.store.load(entity);
        let stored =
            stored.inspect_err(|error| tracing::warn!(entity = ?entity, "not tried: {error}"));
        stored.ok()?.and_then(|stored| stored.state)
    })
}

/// Starts an entity from a copy of its state, and takes the state that it has then.
fn start(
    target: &Target<'_>,
    version: &KindVersion,
    entity: &EntityId,
    state: &StoredState,
) -> Result<(), String> {
    let description = &version.record.description;
    let versions = versions(description);
    if !versions.contains(&state.schema_version) {
        return Err(unread(state.schema_version, &versions));
    }
    let (component, config) = (&version.component, &version.config);
    let started = target.host.activate(component, entity, config, Some(state));
    let mut instance = started.map_err(|error| match error {
        CallError::ActivationFailed { message, .. } => {
            format!("it cannot start from its stored state: {message}")
        }
        error => error.to_string(),
    })?;
    let taken = target.host.snapshot(&mut instance);
    let (written, _) = taken.map_err(|error| error.to_string())?;
    if written == description.schema_version {
        return Ok(());
    }
    Err(format!(
        "its state has schema version {written} then, and the component describes {}",
        description.schema_version
    ))
}

fn versions(description: &KindDescription) -> RangeInclusive<u32> {
    description.schema_version_oldest..=description.schema_version
}

fn unread(version: u32, versions: &RangeInclusive<u32>) -> String {
    let (oldest, newest) = (versions.start(), versions.end());
    let reads = if oldest == newest {
        format!("{newest} only")
    } else {
        format!("{oldest} to {newest}")
    };
    format!(
        "its state has schema version {version}; the version that was to take over reads {reads}"
    )
}

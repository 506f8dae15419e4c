//! Deploying a component: compile, check, try on stored states, store, switch.

mod census;
mod dry_run;
mod rollback;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use entia_api::ApiError;
use entia_api::body::{ChangeBody, DeployOptions, DeployedBody, Event, KindBody, PlanBody};
use entia_api::convert::MethodSchema;
use entia_protocol::{Durability, KindDescription, KindName, KindRecord, Limits};
use entia_storage::{Store, StoreError};
use entia_wasm::{GuestConfig, Host, Refusal};

use crate::catalog::{Catalog, KindVersion};
use crate::executor::{Executor, now_ms};
use crate::observe::Observed;
use dry_run::{Reads, dry_run};

/// Deploys one component at a time.
#[derive(Debug, Default)]
pub(crate) struct Deployer {
    /// Held from reading a kind's version to switching it.
    one_at_a_time: Mutex<()>,
}

/// Where a deployment takes effect.
pub(crate) struct Target<'a> {
    pub(crate) store: &'a Store,
    pub(crate) host: &'a Host,
    pub(crate) catalog: &'a Catalog,
    pub(crate) executor: &'a Executor,
    pub(crate) observed: &'a Observed,
}

impl Deployer {
    /// Keeps deployments and deletions apart as long as the guard lives.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `wasm` the current version of `name`. Blocks while it compiles.
    ///
    /// Everything that can refuse comes first; then the component and the kind are on disk before the switch, so that a
    /// crash leaves the old version or the new one.
    pub(crate) fn deploy(
        &self,
        target: &Target<'_>,
        name: &KindName,
        wasm: &[u8],
        options: &DeployOptions,
    ) -> Result<DeployedBody, ApiError> {
        let _alone = self.alone();
        let existing = target.current(name);
        let existing = existing.as_deref();
        let new = prepare(target, name, wasm, options, existing)?;
        if let Some(existing) = existing.filter(|existing| same(existing, &new)) {
            return Ok(DeployedBody {
                changed: false,
                ..deployed(&existing.record, None)
            });
        }
        let tried = dry_run(target, &new, existing, false)?;
        if let Some(refusal) = tried.refusal(&new) {
            forget_if_new(target, &new);
            return Err(refusal);
        }
        target.store.put_component(wasm).map_err(stored)?;
        let new = install(target, new)?;
        remove_unused(target);
        tracing::info!(kind = %name, version = new.record.version, component = %new.record.component.short(), "deployed");
        target.observed.events.push(Event::KindDeployed {
            kind: name.clone(),
            version: new.record.version,
            digest: new.record.component.to_string(),
        });
        Ok(deployed(
            &new.record,
            existing.map(|version| &version.record),
        ))
    }

    /// Says what [`Deployer::deploy`] would do, and changes nothing. Blocks while it compiles.
    pub(crate) fn plan(
        &self,
        target: &Target<'_>,
        name: &KindName,
        wasm: &[u8],
        options: &DeployOptions,
    ) -> Result<PlanBody, ApiError> {
        let _alone = self.alone();
        let existing = target.current(name);
        let existing = existing.as_deref();
        let new = prepare(target, name, wasm, options, existing)?;
        let tried = dry_run(target, &new, existing, false)?;
        forget_if_new(target, &new);
        let (from, refusal) = (existing.map(|version| &version.record), tried.refusal(&new));
        let unchanged = existing.filter(|existing| same(existing, &new));
        Ok(PlanBody {
            kind: name.clone(),
            from: from.map(Into::into),
            to: (&unchanged.unwrap_or(&new).record).into(),
            changes: from.map_or_else(Vec::new, |from| ChangeBody::between(from, &new.record)),
            // What would not be deployed again would not be refused either.
            refusal: refusal
                .filter(|_| unchanged.is_none())
                .as_ref()
                .map(Into::into),
            dry_run: tried.body(),
        })
    }
}

impl Target<'_> {
    fn current(&self, name: &KindName) -> Option<Arc<KindVersion>> {
        self.catalog.find(name).ok().map(|kind| kind.current())
    }
}

/// Compiles and checks what is to be deployed.
fn prepare(
    target: &Target<'_>,
    name: &KindName,
    wasm: &[u8],
    options: &DeployOptions,
    existing: Option<&KindVersion>,
) -> Result<KindVersion, ApiError> {
    let existing = existing.map(|version| &version.record);
    let durability = durability(name, options, existing)?;
    let base = existing.map_or_else(Limits::default, |record| record.limits.clone());
    let limits = options.limits_over(&base)?;
    let config = match existing {
        Some(record) if options.config.is_empty() => record.config.clone(),
        _ => options.config.clone(),
    };
    let component = target.host.prepare(wasm).map_err(refused)?;
    let kinds = target.host.describe(&component).map_err(refused)?;
    let description = choose(name, kinds)?;
    let record = KindRecord {
        name: name.clone(),
        version: existing.map_or(0, |record| record.version) + 1,
        component: component.digest(),
        component_bytes: wasm.len() as u64,
        durability,
        limits,
        shards: existing.map_or(KindRecord::SHARDS_DEFAULT, |record| record.shards),
        description,
        config,
        deployed_ms: now_ms(),
    };
    version(record, component)
}

/// Writes a version's record and switches to it. Its component is on disk.
fn install(target: &Target<'_>, new: KindVersion) -> Result<Arc<KindVersion>, ApiError> {
    target.store.put_kind(&new.record).map_err(stored)?;
    Ok(target.catalog.switch(new))
}

fn deployed(record: &KindRecord, before: Option<&KindRecord>) -> DeployedBody {
    DeployedBody {
        changed: true,
        kind: KindBody::new(record, 0),
        changes: before.map_or_else(Vec::new, |before| ChangeBody::between(before, record)),
    }
}

/// Removes the machine code of a version that was not deployed, unless it is that of one that was.
fn forget_if_new(target: &Target<'_>, version: &KindVersion) {
    let digest = version.record.component;
    if matches!(target.store.component(&digest), Ok(None)) {
        target.host.forget(&digest);
    }
}

/// Loads the kinds that were deployed before.
pub(crate) fn restore(store: &Store, host: &Host, catalog: &Catalog) -> Result<(), RestoreError> {
    for record in store.kinds()? {
        catalog.switch(load(store, host, record)?);
    }
    Ok(())
}

/// Makes a version of its record, from the component on disk.
fn load(store: &Store, host: &Host, record: KindRecord) -> Result<KindVersion, RestoreError> {
    let kind = record.name.clone();
    let damaged = |message: String| RestoreError::Kind {
        kind: kind.clone(),
        message,
    };
    let digest = record.component;
    let wasm = store
        .component(&digest)?
        .ok_or_else(|| damaged(format!("its component {} is missing", digest.short())))?;
    let component = host
        .prepare(&wasm)
        .map_err(|refusal| damaged(refusal.to_string()))?;
    version(record, component).map_err(|error| damaged(error.to_string()))
}

/// Why the kinds on disk cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A kind cannot be loaded.
    #[error("the kind `{kind}` cannot be loaded: {message}")]
    Kind {
        /// Which.
        kind: KindName,
        /// Why.
        message: String,
    },
}

/// Makes a component's description usable: its schemas compile.
fn version(record: KindRecord, component: entia_wasm::Component) -> Result<KindVersion, ApiError> {
    let mut schemas = HashMap::new();
    for method in &record.description.methods {
        let schema = MethodSchema::compile(method).map_err(|error| ApiError::ComponentRefused {
            message: error.to_string(),
            hint: "change the method's types; maps need text keys, integers at most 64 bits"
                .to_owned(),
        })?;
        schemas.insert(method.name.clone(), schema);
    }
    let config = GuestConfig {
        limits: record.limits.clone(),
        settings: Arc::new(record.config.clone()),
    };
    Ok(KindVersion {
        record,
        component,
        config,
        schemas,
    })
}

/// What survives a crash is fixed for a kind's life: its states are where they are.
fn durability(
    name: &KindName,
    options: &DeployOptions,
    existing: Option<&KindRecord>,
) -> Result<Durability, ApiError> {
    let words = |durability| match durability {
        Durability::Memory => "durability `memory`".to_owned(),
        Durability::Durable => "durability `durable`".to_owned(),
    };
    match (options.durability, existing.map(|record| record.durability)) {
        (Some(requested), Some(existing)) if requested != existing => {
            Err(ApiError::KindExistsDifferently {
                kind: name.clone(),
                existing: words(existing),
                requested: words(requested),
            })
        }
        (requested, existing) => Ok(existing.or(requested).unwrap_or(Durability::Memory)),
    }
}

/// The described kind that is deployed as `name`: the one of that name, or the only one.
fn choose(name: &KindName, mut kinds: Vec<KindDescription>) -> Result<KindDescription, ApiError> {
    if let Some(place) = kinds.iter().position(|kind| kind.name == name.as_str()) {
        return Ok(kinds.swap_remove(place));
    }
    if kinds.len() == 1 {
        return Ok(kinds.swap_remove(0));
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.name.as_str()).collect();
    Err(ApiError::ComponentRefused {
        message: format!("it has no kind `{name}`; it has {}", names.join(", ")),
        hint: "deploy it under one of these names".to_owned(),
    })
}

/// Whether a deployment would change nothing.
fn same(existing: &KindVersion, new: &KindVersion) -> bool {
    let (existing, new) = (&existing.record, &new.record);
    existing.component == new.component
        && existing.limits == new.limits
        && existing.config == new.config
}

fn refused(refusal: Refusal) -> ApiError {
    let message = refusal.to_string();
    match refusal {
        Refusal::TooLarge { bytes_max, .. } => entia_protocol::CallError::TooLarge {
            subject: entia_protocol::Subject::Component,
            bytes_max,
        }
        .into(),
        Refusal::CompileFailed { .. } => ApiError::Internal { message },
        _ => ApiError::ComponentRefused {
            message,
            hint: refusal.hint().to_owned(),
        },
    }
}

/// Removes the components that no kind uses any more, and their machine code.
pub(crate) fn remove_unused(target: &Target<'_>) {
    match target.store.remove_unused_components() {
        Ok(removed) => removed.iter().for_each(|digest| target.host.forget(digest)),
        Err(error) => tracing::warn!("components that no kind uses any more stay: {error}"),
    }
}

/// What was to be read could not be; nothing was changed.
pub(crate) fn unreadable(error: StoreError) -> ApiError {
    entia_protocol::CallError::StoreFailed {
        message: error.to_string(),
        may_have_run: false,
    }
    .into()
}

/// What was to be written may or may not be on disk.
pub(crate) fn stored(error: StoreError) -> ApiError {
    entia_protocol::CallError::StoreFailed {
        message: error.to_string(),
        may_have_run: true,
    }
    .into()
}

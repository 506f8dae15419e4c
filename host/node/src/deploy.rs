//! Deploying a component: compile, check, store, switch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use entia_api::ApiError;
use entia_api::body::{DeployOptions, DeployedBody, Event, KindBody};
use entia_api::convert::MethodSchema;
use entia_protocol::{Durability, KindDescription, KindName, KindRecord, Limits};
use entia_storage::{Store, StoreError};
use entia_wasm::{GuestConfig, Host, Refusal};

use crate::catalog::{Catalog, KindVersion};
use crate::executor::now_ms;
use crate::observe::Observed;

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
        let existing = target.catalog.find(name).ok().map(|kind| kind.current());
        let existing = existing.as_ref().map(|version| &version.record);
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
        if let Some(existing) = existing.filter(|existing| same(existing, &record)) {
            return Ok(DeployedBody {
                changed: false,
                kind: KindBody::new(existing, 0),
            });
        }
        let version = version(record, component)?;
        target.store.put_component(wasm).map_err(stored)?;
        target.store.put_kind(&version.record).map_err(stored)?;
        let version = target.catalog.switch(version);
        remove_unused(target);
        tracing::info!(kind = %name, version = version.record.version, component = %version.record.component.short(), "deployed");
        target.observed.events.push(Event::KindDeployed {
            kind: name.clone(),
            version: version.record.version,
            digest: version.record.component.to_string(),
        });
        Ok(DeployedBody {
            changed: true,
            kind: KindBody::new(&version.record, 0),
        })
    }

    /// Loads the kinds that were deployed before.
    pub(crate) fn restore(&self, target: &Target<'_>) -> Result<(), RestoreError> {
        for record in target.store.kinds()? {
            let kind = record.name.clone();
            let damaged = |message: String| RestoreError::Kind {
                kind: kind.clone(),
                message,
            };
            let wasm = target.store.component(&record.component)?.ok_or_else(|| {
                damaged(format!(
                    "its component {} is missing",
                    record.component.short()
                ))
            })?;
            let component = target
                .host
                .prepare(&wasm)
                .map_err(|refusal| damaged(refusal.to_string()))?;
            let version = version(record, component).map_err(|error| damaged(error.to_string()))?;
            target.catalog.switch(version);
        }
        Ok(())
    }
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
        settings: std::sync::Arc::new(record.config.clone()),
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
fn same(existing: &KindRecord, new: &KindRecord) -> bool {
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

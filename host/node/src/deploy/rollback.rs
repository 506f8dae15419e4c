//! Going back to the version before.

use std::sync::Arc;

use entia_api::ApiError;
use entia_api::body::{DeployedBody, Event};
use entia_protocol::{KindName, KindRecord};

use super::dry_run::dry_run;
use super::{Deployer, Target, deployed, install, load, unreadable};
use crate::catalog::{Kind, KindVersion};
use crate::executor::now_ms;

impl Deployer {
    /// Makes the version before current again, under the next number: its component, limits and settings. Blocks.
    ///
    /// What the current version writes meanwhile may be what the one before cannot read. Then, and only then, the kind is
    /// closed while its states are looked at once more: after the calls under way have ended nothing writes, so what holds
    /// for the states holds until the switch. It costs callers a refusal that says to try again, and only kinds whose
    /// states have not changed since the deployment come so far: any command would have left a state that refuses this.
    pub(crate) fn roll_back(
        &self,
        target: &Target<'_>,
        name: &KindName,
    ) -> Result<DeployedBody, ApiError> {
        let _alone = self.alone();
        let kind = target.catalog.find(name)?;
        let current = kind.current();
        let (new, from_version) = version_before(target, &current)?;
        check(target, &new, &current)?;
        let reads = &new.record.description;
        let writes = current.record.description.schema_version;
        let new = if (reads.schema_version_oldest..=reads.schema_version).contains(&writes) {
            install(target, new)?
        } else {
            closed(target, &kind, &current, new)?
        };
        tracing::info!(kind = %name, version = new.record.version, component = %new.record.component.short(), "rolled back");
        target.observed.events.push(Event::KindRolledBack {
            kind: name.clone(),
            version: new.record.version,
            from_version,
        });
        Ok(deployed(&new.record, Some(&current.record)))
    }
}

/// The version before under its new number, and the number that it had.
fn version_before(
    target: &Target<'_>,
    current: &KindVersion,
) -> Result<(KindVersion, u64), ApiError> {
    let kind = &current.record.name;
    let before = target.store.previous_kind(kind).map_err(unreadable)?;
    let before = before.ok_or_else(|| ApiError::NoPreviousVersion { kind: kind.clone() })?;
    let from_version = before.version;
    let record = KindRecord {
        version: current.record.version + 1,
        deployed_ms: now_ms(),
        ..before
    };
    let loaded = load(target.store, target.host, record).map_err(|error| ApiError::Internal {
        message: error.to_string(),
    })?;
    Ok((loaded, from_version))
}

/// Refuses if a state is there that the version does not read.
fn check(target: &Target<'_>, new: &KindVersion, current: &KindVersion) -> Result<(), ApiError> {
    let tried = dry_run(target, new, Some(current), true)?;
    tried.refusal(new).map_or(Ok(()), Err)
}

/// As [`install`], if what [`check`] found still holds when nothing writes any more.
fn closed(
    target: &Target<'_>,
    kind: &Arc<Kind>,
    current: &KindVersion,
    new: KindVersion,
) -> Result<Arc<KindVersion>, ApiError> {
    kind.set_closed(true);
    let drained = target.executor.drain_kind(kind).map_err(ApiError::from);
    let installed = drained
        .and_then(|()| check(target, &new, current))
        .and_then(|()| install(target, new));
    kind.set_closed(false);
    installed
}

use std::time::Instant;

use entia_protocol::{CallError, Digest, Envelope, IdempotencyId, IdempotencyWindow, Lookup};

use super::super::Shared;
use super::super::activation::Activation;
use super::super::cell::Cell;
use super::super::delivery::Answer;
use super::{left_ms, now_ms};
use crate::catalog::KindVersion;

/// What is to be done with a call.
pub(super) enum Prepared {
    /// It ran before.
    Answered(Answer),
    Run {
        id: Option<(IdempotencyId, Digest)>,
        query: bool,
        now_ms: u64,
    },
}

/// Decides whether a call runs, and starts the entity for it. An error means that nothing ran.
pub(super) fn prepare(
    shared: &Shared,
    cell: &Cell,
    activation: &mut Activation,
    version: &KindVersion,
    envelope: &Envelope,
) -> Result<Prepared, CallError> {
    let method = version.record.description.method(&envelope.method);
    let method = method.ok_or_else(|| unknown_method(version, &envelope.method))?;
    admit(cell, activation)?;
    let now_ms = now_ms();
    let loaded = activation.load(&shared.store, &cell.id, version.record.durability)?;
    let id = (!method.query && envelope.key.repeatable()).then(|| {
        let id = IdempotencyId {
            method: envelope.method.clone(),
            key: envelope.key.clone(),
        };
        (id, envelope.arguments.digest())
    });
    if let Some((id, arguments)) = &id {
        match loaded.window.lookup(id, arguments, now_ms) {
            Lookup::Replay(answer) => {
                let answer = answer.clone().map_err(CallError::Rejected);
                return Ok(Prepared::Answered(answer));
            }
            Lookup::Reused => return Err(IdempotencyWindow::reused(id)),
            Lookup::New => {}
        }
    }
    start(shared, cell, activation, version, now_ms)?;
    Ok(Prepared::Run {
        id,
        query: method.query,
        now_ms,
    })
}

/// Starts the entity, if it is not there.
pub(super) fn start(
    shared: &Shared,
    cell: &Cell,
    activation: &mut Activation,
    version: &KindVersion,
    now_ms: u64,
) -> Result<(), CallError> {
    match activation.start(&shared.host, &cell.id, version) {
        Ok(_started) => Ok(()),
        Err(error) => Err(activation.fail(&cell.id, error, now_ms)),
    }
}

/// Refuses an entity in quarantine.
pub(super) fn admit(cell: &Cell, activation: &Activation) -> Result<(), CallError> {
    match activation.quarantine.refusal(Instant::now()) {
        None => Ok(()),
        Some(quarantined) => Err(CallError::Quarantined {
            entity: cell.id.clone(),
            reason: quarantined.reason,
            retry_after_ms: left_ms(quarantined.until),
        }),
    }
}

pub(in crate::executor) fn unknown_method(version: &KindVersion, method: &str) -> CallError {
    let methods = &version.record.description.methods;
    CallError::UnknownMethod {
        kind: version.record.name.clone(),
        method: method.to_owned(),
        known: methods.iter().map(|method| method.name.clone()).collect(),
    }
}

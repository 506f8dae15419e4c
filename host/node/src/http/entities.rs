//! `/v1/entities`: call, inspect, list, delete.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use entia_api::ApiError;
use entia_api::body::{
    Activation, DeadLetterBody, EntitiesBody, EntityBody, EntityEntryBody, EntityName, FailureBody,
    ListQuery, QuarantineBody, SentBody, TimerBody,
};
use entia_api::convert::{json_bytes_max, json_from_payload};
use entia_api::path::{
    DEADLINE_MS, ENTITIES, EntityPath, IDEMPOTENCY_KEY, RELEASE, parse_entity_path,
};
use entia_protocol::{
    CallError, Caller, CommandKey, EntityId, Envelope, KEY_BYTES_MAX, KindName, Payload,
    SendRecord, Subject, TimerRecord,
};

use entia_storage::StoredEntity;

use super::openapi::Operation;
use super::respond::{Answered, allowed, json, json_text, no_query};
use super::{Api, Route, blocking, body, header};
use crate::Inner;
use crate::catalog::{Kind, KindVersion};
use crate::deploy::unreadable;
use crate::executor::{AgendaSummary, Quarantined, StateSummary, now_ms};

/// Without `Entia-Deadline-Ms`.
const DEADLINE_MS_DEFAULT: u64 = 10_000;
/// The longest that a client may wait.
const DEADLINE_MS_MAX: u64 = 600_000;
/// What is converted without leaving the connection's thread, in bytes.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// The most entries of a page, and how many there are without `limit`.
const PAGE_ENTRIES_MAX: usize = 1_000;
const PAGE_ENTRIES_DEFAULT: usize = 100;

pub(super) fn routes() -> Vec<Route> {
    let path = "/v1/entities/{kind}/{key}";
    vec![
        Route {
            pattern: ENTITIES,
            handler: any(list),
            operations: vec![
                Operation::get(ENTITIES, "Lists entities by kind and key")
                    .answers::<EntitiesBody>()
                    .query("kind", "Only this kind")
                    .query("prefix", "Only keys that begin so")
                    .query("limit", "Entries of a page: 1 to 1000, 100 if not given")
                    .query("cursor", "`next` of the page before"),
            ],
        },
        Route {
            pattern: "/v1/entities/{*rest}",
            handler: any(one),
            operations: vec![
                Operation::get(path, "Shows an entity").answers::<EntityBody>(),
                Operation::delete(
                    path,
                    "Forgets an entity and its state, after the calls that came before",
                )
                .answers::<EntityName>(),
                Operation::post(
                    "/v1/entities/{kind}/{key}/release",
                    "Ends an entity's quarantine",
                )
                .answers::<EntityBody>(),
                calling("/v1/entities/{kind}/{key}/{method}", "Calls a method")
                    .takes_json("The arguments by name")
                    .answers_any_json(),
            ],
        },
    ]
}

/// The description of a call, without its arguments and result.
pub(super) fn calling(path: impl Into<String>, summary: impl Into<String>) -> Operation {
    let key = "1 to 256 bytes of printable ASCII. A command repeated with it takes effect once";
    let deadline = "How long the client waits: 1 to 600000, 10000 if not given";
    Operation::post(path, summary)
        .query(
            "mode",
            "`send`: answered as soon as the call cannot be lost any more; it runs later",
        )
        .header(IDEMPOTENCY_KEY, key)
        .header(DEADLINE_MS, deadline)
        .accepts_with::<SentBody>()
}

/// `/v1/entities/{kind}/{key}` and `.../{method}`.
pub(super) async fn one(State(api): State<Api>, request: Request) -> Answered {
    let EntityPath { entity, method } = parse_entity_path(request.uri().path())?;
    match method {
        Some(method) if method == RELEASE => {
            allowed(&request, &["POST"])?;
            no_query(&request)?;
            release(api, entity).await
        }
        Some(method) => {
            allowed(&request, &["POST"])?;
            call(&api, entity, method, request).await
        }
        None => {
            allowed(&request, &["GET", "DELETE"])?;
            no_query(&request)?;
            if request.method() == "DELETE" {
                delete(api, entity).await
            } else {
                inspect(api, entity).await
            }
        }
    }
}

async fn call(api: &Api, entity: EntityId, method: String, request: Request) -> Answered {
    let arrived = Instant::now();
    let send = is_send(&request)?;
    let kind = api.node.kind_of(&entity)?;
    let version = kind.current();
    if !version.schemas.contains_key(&method) {
        return Err(CallError::UnknownMethod {
            kind: version.record.name.clone(),
            method: method.clone(),
            known: version
                .record
                .description
                .methods
                .iter()
                .map(|m| m.name.clone())
                .collect(),
        }
        .into());
    }
    let key = command_key(&request)?;
    let deadline_ms = deadline_ms(&request)?;
    let deadline = arrived + Duration::from_millis(deadline_ms);
    let payload_bytes_max = version.record.limits.payload_bytes_max;
    let read = body(
        request.into_body(),
        json_bytes_max(payload_bytes_max),
        Subject::Arguments,
    );
    let json = tokio::time::timeout_at(deadline.into(), read)
        .await
        .map_err(|_elapsed| CallError::DeadlineExceeded {
            may_have_run: false,
        })??;
    let arguments = arguments(&version, &method, json, payload_bytes_max).await?;
    if send {
        let send = SendRecord {
            number: 0,
            target: entity,
            method,
            arguments,
            caller: Caller::Anonymous,
            key: repeatable(key),
            accepted_ms: now_ms(),
            dead: None,
        };
        return accept(api, &kind, send, deadline).await;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let envelope = Envelope {
        entity,
        method,
        arguments,
        caller: Caller::Anonymous,
        key,
        attempt: 1,
        deadline_left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        chain: Vec::new(),
    };
    let answer = api
        .node
        .executor
        .submit(&kind, envelope, deadline)?
        .answer()
        .await?;
    Ok(json_text(result(answer).await?))
}

/// Hands a message to its entity. Its answer comes when the message cannot be lost any more, before it is executed.
async fn accept(api: &Api, kind: &Arc<Kind>, send: SendRecord, deadline: Instant) -> Answered {
    let key = send.key.to_string();
    let accepted = api.node.executor.send(kind, send);
    tokio::time::timeout_at(deadline.into(), accepted)
        .await
        .map_err(|_elapsed| CallError::DeadlineExceeded { may_have_run: true })??;
    let mut response = json(&SentBody {
        accepted: true,
        key,
    });
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// A message may be delivered more than once, so its key has to be remembered whoever drew it.
fn repeatable(key: CommandKey) -> CommandKey {
    match key {
        CommandKey::Random(drawn) => CommandKey::Derived(drawn),
        key => key,
    }
}

/// Whether the caller does not want to wait for the result.
fn is_send(request: &Request) -> Result<bool, ApiError> {
    match request.uri().query() {
        None | Some("" | "mode=call") => Ok(false),
        Some("mode=send") => Ok(true),
        Some(query) => Err(ApiError::BadQuery {
            name: query.split(['=', '&']).next().unwrap_or(query).to_owned(),
            message: "there is `mode`, which is call or send".to_owned(),
        }),
    }
}

/// Converts a call's arguments; many of them away from the connections, which would wait.
async fn arguments(
    version: &Arc<KindVersion>,
    method: &str,
    json: Bytes,
    payload_bytes_max: u64,
) -> Result<Payload, ApiError> {
    if json.len() <= INLINE_BYTES_MAX {
        return version.schemas[method].arguments_from_json(&json, payload_bytes_max);
    }
    let (version, method) = (Arc::clone(version), method.to_owned());
    blocking(move || version.schemas[&method].arguments_from_json(&json, payload_bytes_max)).await?
}

/// Converts a call's result.
async fn result(payload: Payload) -> Result<Vec<u8>, ApiError> {
    if payload.0.len() <= INLINE_BYTES_MAX {
        return Ok(json_from_payload(&payload)?);
    }
    Ok(blocking(move || json_from_payload(&payload)).await??)
}

/// The client's idempotency key, or a random one.
fn command_key(request: &Request) -> Result<CommandKey, ApiError> {
    match header(request, IDEMPOTENCY_KEY)? {
        None => Ok(CommandKey::Random(rand::random())),
        Some("") => Err(ApiError::BadHeader {
            name: IDEMPOTENCY_KEY.to_owned(),
            message: "it is empty".to_owned(),
        }),
        Some(key) if key.len() > KEY_BYTES_MAX => Err(CallError::TooLarge {
            subject: Subject::IdempotencyKey,
            bytes_max: KEY_BYTES_MAX as u64,
        }
        .into()),
        Some(key) => Ok(CommandKey::Client(key.to_owned())),
    }
}

fn deadline_ms(request: &Request) -> Result<u64, ApiError> {
    let Some(text) = header(request, DEADLINE_MS)? else {
        return Ok(DEADLINE_MS_DEFAULT);
    };
    text.parse()
        .ok()
        .filter(|ms| (1..=DEADLINE_MS_MAX).contains(ms))
        .ok_or_else(|| ApiError::BadHeader {
            name: DEADLINE_MS.to_owned(),
            message: format!("it is a number of milliseconds from 1 to {DEADLINE_MS_MAX}"),
        })
}

async fn inspect(api: Api, entity: EntityId) -> Answered {
    let kind = api.node.kind_of(&entity)?;
    let version = kind.current().record.version;
    let found = blocking(move || entity_body(&api.node, &entity, version)).await??;
    Ok(json(&found))
}

/// What memory and disk know of an entity. Memory is newer.
fn entity_body(node: &Inner, entity: &EntityId, version: u64) -> Result<EntityBody, ApiError> {
    let (seen, mailbox) = node.executor.status(entity).unwrap_or_default();
    let on_disk = node.store.load(entity).map_err(unreadable)?;
    let disk_state = on_disk.as_ref().and_then(|stored| stored.state.as_ref());
    let summary = seen.summary;
    let has_agenda = |stored: &StoredEntity| !(stored.timers.is_empty() && stored.sends.is_empty());
    let has_state = summary.state.is_some()
        || disk_state.is_some()
        || seen.agenda.is_some()
        || on_disk.as_ref().is_some_and(has_agenda);
    if !(has_state || summary.live || summary.failures > 0) {
        return Err(ApiError::UnknownEntity {
            entity: entity.clone(),
        });
    }
    let agenda = match (seen.agenda, on_disk.as_ref()) {
        (Some(agenda), _) => agenda,
        (None, Some(stored)) if !seen.loaded => {
            Arc::new(AgendaSummary::new(stored.timers.clone(), &stored.sends))
        }
        _ => Arc::default(),
    };
    let state = summary.state.or(disk_state.map(|state| StateSummary {
        kind_version: state.kind_version,
        schema_version: state.schema_version,
        bytes: state.bytes.len(),
    }));
    Ok(EntityBody {
        kind: entity.kind().clone(),
        key: entity.key().to_owned(),
        activation: if summary.live {
            Activation::Live
        } else {
            Activation::Cold
        },
        kind_version: state.map_or(version, |state| state.kind_version),
        schema_version: state.map(|state| state.schema_version),
        sequence: disk_state
            .and(on_disk.as_ref())
            .map(|stored| stored.sequence),
        state_bytes: state.map_or(0, |state| state.bytes as u64),
        memory_bytes: summary.memory_bytes,
        mailbox: mailbox as u64,
        calls: summary.calls,
        failures: summary.failures,
        quarantine: seen.quarantined.and_then(quarantine_body),
        last_failure: seen
            .last_failure
            .map(|(at_ms, message)| FailureBody { at_ms, message }),
        timers: agenda.timers.iter().map(timer_body).collect(),
        sends_pending: agenda.sends_pending as u64,
        dead_letters: agenda.dead.iter().filter_map(dead_letter_body).collect(),
    })
}

fn timer_body(timer: &TimerRecord) -> TimerBody {
    TimerBody {
        name: timer.name.clone(),
        due_ms: timer.due_ms,
        period_ms: timer.period_ms,
        fire: timer.fire,
    }
}

fn dead_letter_body(send: &SendRecord) -> Option<DeadLetterBody> {
    let dead = send.dead.clone()?;
    Some(DeadLetterBody {
        target: send.target.to_string(),
        method: send.method.clone(),
        key: send.key.to_string(),
        accepted_ms: send.accepted_ms,
        at_ms: dead.at_ms,
        code: dead.code,
        message: dead.message,
    })
}

/// As of the entity's last turn, so its time may have passed.
fn quarantine_body(quarantined: Quarantined) -> Option<QuarantineBody> {
    let left = quarantined.until.checked_duration_since(Instant::now())?;
    let retry_after_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    Some(QuarantineBody {
        reason: quarantined.reason,
        retry_after_ms,
    })
}

async fn delete(api: Api, entity: EntityId) -> Answered {
    let kind = api.node.kind_of(&entity)?;
    let version = kind.current().record.version;
    let (node, id) = (api.node.clone(), entity.clone());
    // An entity whose state cannot be read is there, too.
    let found = blocking(move || entity_body(&node, &id, version)).await?;
    if let Err(unknown @ ApiError::UnknownEntity { .. }) = found {
        return Err(unknown.into());
    }
    api.node.executor.forget(&kind, entity.clone()).await?;
    Ok(json(&EntityName::from(&entity)))
}

/// Ends a quarantine, if there is one.
async fn release(api: Api, entity: EntityId) -> Answered {
    let kind = api.node.kind_of(&entity)?;
    let version = kind.current().record.version;
    let (node, id) = (api.node.clone(), entity.clone());
    blocking(move || entity_body(&node, &id, version)).await??;
    api.node.executor.release(&kind, entity.clone()).await?;
    inspect(api, entity).await
}

/// `/v1/entities`.
pub(super) async fn list(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
    let query = ListQuery::parse(request.uri().query().unwrap_or(""))?;
    let cursor = query
        .cursor
        .as_deref()
        .map(str::parse::<EntityId>)
        .transpose()
        .map_err(|_| ApiError::BadQuery {
            name: "cursor".to_owned(),
            message: "it is not one that a page ended with".to_owned(),
        })?;
    let kinds: Vec<KindName> = match &query.kind {
        Some(kind) => vec![api.node.catalog.find(kind).map(|kind| kind.name())?],
        None => api
            .node
            .catalog
            .all()
            .iter()
            .map(|kind| kind.name())
            .collect(),
    };
    let limit = query
        .limit
        .map_or(PAGE_ENTRIES_DEFAULT, |limit| limit as usize);
    let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
    let page = blocking(move || {
        let prefix = query.prefix.unwrap_or_default();
        page(&api.node, &kinds, &prefix, cursor.as_ref(), limit)
    });
    Ok::<Response, _>(json(&page.await??))
}

/// A page of entities in the order of kind and key, from memory and disk together: a kind in memory may have nothing on
/// disk yet.
fn page(
    node: &Inner,
    kinds: &[KindName],
    prefix: &str,
    cursor: Option<&EntityId>,
    limit: usize,
) -> Result<EntitiesBody, ApiError> {
    let mut entries: Vec<EntityEntryBody> = Vec::new();
    let mut truncated = false;
    for kind in kinds {
        let after = match cursor {
            Some(cursor) if cursor.kind() > kind => continue,
            Some(cursor) if cursor.kind() == kind => Some(cursor.key()),
            _ => None,
        };
        // One more than fits tells whether there is a next page.
        let wanted = limit + 1 - entries.len();
        let in_memory = node.executor.entities(kind);
        let on_disk = node
            .store
            .entities(kind, prefix, after, wanted)
            .map_err(unreadable)?;
        let mut keys: std::collections::BTreeSet<String> = on_disk
            .entities
            .into_iter()
            .map(|entity| entity.key)
            .collect();
        // What the store's page left out for its size comes with the next one, and so does what follows in memory.
        let end = on_disk.next;
        keys.extend(
            in_memory
                .keys()
                .map(EntityId::key)
                .filter(|key| key.starts_with(prefix))
                .filter(|key| after.is_none_or(|after| *key > after))
                .filter(|key| end.as_deref().is_none_or(|end| *key <= end))
                .map(ToOwned::to_owned),
        );
        for key in keys.into_iter().take(wanted) {
            let id = EntityId::new(kind.clone(), &key)?;
            let live = in_memory.get(&id).copied().unwrap_or(false);
            let activation = if live {
                Activation::Live
            } else {
                Activation::Cold
            };
            entries.push(EntityEntryBody {
                kind: kind.clone(),
                key,
                activation,
            });
        }
        truncated = end.is_some();
        if entries.len() > limit || truncated {
            break;
        }
    }
    let more = entries.len() > limit || truncated;
    entries.truncate(limit);
    let next = entries
        .last()
        .filter(|_| more)
        .map(|last| format!("{}/{}", last.kind, last.key));
    Ok(EntitiesBody { entries, next })
}

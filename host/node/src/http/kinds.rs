//! `/v1/kinds`: deploy, roll back, list, show, delete.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::routing::any;
use entia_api::ApiError;
use entia_api::body::{
    DeployOptions, DeployedBody, Event, KindBody, KindDeletedBody, KindSummaryBody, KindsBody,
    PlanBody,
};
use entia_api::path::{KINDS, parse_kind_path};
use entia_protocol::{CallError, KindName, Subject};
use entia_storage::StoreError;

use super::openapi::Operation;
use super::respond::{Answered, allowed, json, no_query};
use super::{Api, Route, blocking, body};
use crate::Inner;
use crate::catalog::Kind;
use crate::deploy::{remove_unused, stored, unreadable};

/// How long the upload of a component may take.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn routes() -> Vec<Route> {
    let path = "/v1/kinds/{kind}";
    let limit = "Sets a limit; limits not named stay as they are";
    let setting = "Sets a setting. If any is given, these are all; if none is given, they stay";
    vec![
        Route {
            pattern: KINDS,
            handler: any(list),
            operations: vec![Operation::get(KINDS, "Lists kinds").answers::<KindsBody>()],
        },
        Route {
            pattern: "/v1/kinds/{*rest}",
            handler: any(one),
            operations: vec![
                Operation::get(
                    path,
                    "Shows a kind, with its limits and its methods' schemas",
                )
                .answers::<KindBody>(),
                Operation::put(path, "Deploys: the body is the component")
                    .query(
                        "durability",
                        "`memory` or `durable`, fixed for the kind's life",
                    )
                    .query("limits.NAME", limit)
                    .query("config.NAME", setting)
                    .query("plan", "`true` says what would change, and changes nothing")
                    .takes("application/wasm", "The component")
                    .answers::<DeployedBody>()
                    .answers::<PlanBody>(),
                Operation::post(
                    "/v1/kinds/{kind}/rollback",
                    "Makes the version before current again",
                )
                .answers::<DeployedBody>(),
                Operation::delete(path, "Deletes a kind without entities")
                    .query(
                        "with_entities",
                        "`true` deletes its entities and their states, too",
                    )
                    .answers::<KindDeletedBody>(),
            ],
        },
    ]
}

/// `/v1/kinds`.
pub(super) async fn list(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
    no_query(&request)?;
    let summaries = blocking(move || {
        let kinds = api.node.catalog.all();
        let summary = |kind: &Arc<Kind>| {
            let version = kind.current();
            KindSummaryBody::new(&version.record, live(&api.node, &version.record.name))
        };
        kinds.iter().map(summary).collect()
    });
    Ok(json(&KindsBody {
        kinds: summaries.await?,
    }))
}

/// `/v1/kinds/{kind}`.
pub(super) async fn one(State(api): State<Api>, request: Request) -> Answered {
    let (name, rollback) = parse_kind_path(request.uri().path())?;
    if rollback {
        allowed(&request, &["POST"])?;
        return roll_back(api, name, request).await;
    }
    allowed(&request, &["GET", "PUT", "DELETE"])?;
    match request.method().as_str() {
        "PUT" => deploy(api, name, request).await,
        "DELETE" => delete(api, name, request).await,
        _ => {
            no_query(&request)?;
            let version = api.node.catalog.find(&name)?.current();
            let live = blocking(move || live(&api.node, &name)).await?;
            Ok(json(&KindBody::new(&version.record, live)))
        }
    }
}

async fn deploy(api: Api, name: KindName, request: Request) -> Answered {
    let options = DeployOptions::parse(request.uri().query().unwrap_or(""))?;
    // Before the component is read: only so many are in memory at once.
    let deployments = Arc::clone(&api.deployments);
    let _turn = deployments
        .acquire()
        .await
        .map_err(|_closed| CallError::ShuttingDown)?;
    let component_bytes_max = api.node.host.component_bytes_max();
    let read = body(request.into_body(), component_bytes_max, Subject::Component);
    let wasm = tokio::time::timeout(UPLOAD_PATIENCE, read)
        .await
        .map_err(|_elapsed| ApiError::ComponentRefused {
            message: format!("it did not arrive within {} s", UPLOAD_PATIENCE.as_secs()),
            hint: "upload it from nearer by, or build it smaller".to_owned(),
        })??;
    let node = Arc::clone(&api.node);
    if options.plan {
        let plan = move || node.deployer.plan(&node.target(), &name, &wasm, &options);
        return Ok(json(&blocking(plan).await??));
    }
    let deployed = blocking(move || {
        let deployed = node
            .deployer
            .deploy(&node.target(), &name, &wasm, &options)?;
        Ok::<_, ApiError>(with_live(&node, deployed))
    });
    Ok(json(&deployed.await??))
}

async fn roll_back(api: Api, name: KindName, request: Request) -> Answered {
    if let Some(parameters) = request.uri().query().filter(|query| !query.is_empty()) {
        let name = parameters.split(['=', '&']).next().unwrap_or(parameters);
        return Err(ApiError::BadQuery {
            name: name.to_owned(),
            message: "a rollback takes no parameters".to_owned(),
        }
        .into());
    }
    // Not dropped half way when the client goes: what blocks runs to its end.
    let rolled_back = blocking(move || {
        let node = &api.node;
        let rolled_back = node.deployer.roll_back(&node.target(), &name)?;
        Ok::<_, ApiError>(with_live(node, rolled_back))
    });
    Ok(json(&rolled_back.await??))
}

fn with_live(node: &Inner, mut deployed: DeployedBody) -> DeployedBody {
    deployed.kind.entities_live = live(node, &deployed.kind.name);
    deployed
}

async fn delete(api: Api, name: KindName, request: Request) -> Answered {
    let with_entities = with_entities(request.uri().query().unwrap_or(""))?;
    // Not dropped half way when the client goes: what blocks runs to its end.
    let deleted = blocking(move || delete_kind(&api.node, &name, with_entities)).await??;
    Ok(json(&deleted))
}

/// Deletes a kind; one with entities only if asked to delete them too. Blocks.
///
/// The kind is closed first, so that no call brings an entity back; if it then turns out to be in use it is opened again.
fn delete_kind(
    node: &Inner,
    name: &KindName,
    with_entities: bool,
) -> Result<KindDeletedBody, ApiError> {
    let _alone = node.deployer.alone();
    let kind = node.catalog.find(name)?;
    kind.set_closed(true);
    let deleted = delete_closed(node, &kind, with_entities);
    if deleted.is_err() {
        kind.set_closed(false);
    }
    let entities_deleted = deleted?;
    node.observed.events.push(Event::KindDeleted {
        kind: name.clone(),
        entities_deleted,
    });
    Ok(KindDeletedBody {
        entities_deleted,
        kind: name.clone(),
    })
}

fn delete_closed(node: &Inner, kind: &Arc<Kind>, with_entities: bool) -> Result<u64, ApiError> {
    let name = kind.name();
    node.executor.drain_kind(kind)?;
    let entities = if with_entities {
        // Counting reads every state; what is to go with its kind need not be readable.
        count(node, &name).unwrap_or(0)
    } else {
        count(node, &name)?
    };
    // Messages and remembered commands count as well, though an entity that has nothing else is not listed.
    let used = || node.store.kind_in_use(&name).map_err(unreadable);
    if !with_entities && (entities > 0 || used()?) {
        return Err(ApiError::KindInUse { kind: name });
    }
    node.executor.forget_kind(kind)?;
    node.store
        .remove_kind(&name, with_entities)
        .map_err(|error| match error {
            StoreError::KindInUse { kind } => ApiError::KindInUse { kind },
            error => stored(error),
        })?;
    node.catalog.remove(&name);
    remove_unused(&node.target());
    Ok(entities)
}

/// The entities of a kind, in memory and on disk.
fn count(node: &Inner, kind: &KindName) -> Result<u64, ApiError> {
    let mut in_memory = node.executor.entities(kind);
    let mut count = 0;
    let mut after: Option<String> = None;
    loop {
        let page = node
            .store
            .entities(kind, "", after.as_deref(), entia_storage::PAGE_ENTRIES_MAX)
            .map_err(unreadable)?;
        for entity in &page.entities {
            in_memory.remove(&entia_protocol::EntityId::new(kind.clone(), &entity.key)?);
        }
        count += page.entities.len() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count + in_memory.len() as u64),
        }
    }
}

fn live(node: &Inner, kind: &KindName) -> u64 {
    node.executor
        .entities(kind)
        .values()
        .filter(|live| **live)
        .count() as u64
}

fn with_entities(raw_query: &str) -> Result<bool, ApiError> {
    match raw_query {
        "" | "with_entities=false" => Ok(false),
        "with_entities=true" => Ok(true),
        _ => Err(ApiError::BadQuery {
            name: raw_query
                .split(['=', '&'])
                .next()
                .unwrap_or(raw_query)
                .to_owned(),
            message: "there is `with_entities`, which is true or false".to_owned(),
        }),
    }
}

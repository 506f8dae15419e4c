//! `/v1/kinds`: deploy, list, show, delete.

use std::sync::Arc;

use axum::extract::{Request, State};
use entia_api::ApiError;
use entia_api::body::{
    DeployOptions, DeployedBody, KindBody, KindDeletedBody, KindSummaryBody, KindsBody,
};
use entia_api::path::parse_kind_path;
use entia_protocol::{KindName, Subject};
use entia_storage::StoreError;

use super::respond::{Answered, allowed, json};
use super::{Api, blocking, body};
use crate::Inner;
use crate::catalog::Kind;
use crate::deploy::{remove_unused, stored, unreadable};

/// `/v1/kinds`.
pub(super) async fn list(State(api): State<Api>, request: Request) -> Answered {
    allowed(&request, &["GET"])?;
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
    let name = parse_kind_path(request.uri().path())?;
    allowed(&request, &["GET", "PUT", "DELETE"])?;
    match request.method().as_str() {
        "PUT" => deploy(api, name, request).await,
        "DELETE" => delete(api, name, request).await,
        _ => {
            let version = api.node.catalog.find(&name)?.current();
            let live = blocking(move || live(&api.node, &name)).await?;
            Ok(json(&KindBody::new(&version.record, live)))
        }
    }
}

async fn deploy(api: Api, name: KindName, request: Request) -> Answered {
    let options = DeployOptions::parse(request.uri().query().unwrap_or(""))?;
    let wasm = body(
        request.into_body(),
        api.node.host.component_bytes_max(),
        Subject::Component,
    )
    .await?;
    let deployed = blocking(move || {
        let node = &api.node;
        let mut deployed = node
            .deployer
            .deploy(&node.target(), &name, &wasm, &options)?;
        deployed.kind.entities_live = live(node, &name);
        Ok::<DeployedBody, ApiError>(deployed)
    });
    Ok(json(&deployed.await??))
}

/// Deletes a kind; one with entities only if asked to delete them too.
///
/// The kind is closed first, so that no call brings an entity back; if it then turns out to be in use it is opened again.
async fn delete(api: Api, name: KindName, request: Request) -> Answered {
    let with_entities = with_entities(request.uri().query().unwrap_or(""))?;
    let kind = api.node.catalog.find(&name)?;
    kind.set_closed(true);
    let deleted = delete_closed(&api, &kind, &name, with_entities).await;
    if deleted.is_err() {
        kind.set_closed(false);
    }
    Ok(json(&KindDeletedBody {
        entities_deleted: deleted?,
        kind: name,
    }))
}

async fn delete_closed(
    api: &Api,
    kind: &Arc<Kind>,
    name: &KindName,
    with_entities: bool,
) -> Result<u64, ApiError> {
    let (node, kind_name) = (Arc::clone(&api.node), name.clone());
    let entities = blocking(move || count(&node, &kind_name)).await??;
    if entities > 0 && !with_entities {
        return Err(ApiError::KindInUse { kind: name.clone() });
    }
    api.node.executor.forget_kind(kind).await?;
    let (node, kind_name) = (Arc::clone(&api.node), name.clone());
    blocking(move || match node.store.remove_kind(&kind_name, true) {
        Ok(_) => {
            node.catalog.remove(&kind_name);
            remove_unused(&node.target());
            Ok(())
        }
        Err(StoreError::KindInUse { kind }) => Err(ApiError::KindInUse { kind }),
        Err(error) => Err(stored(error)),
    })
    .await??;
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

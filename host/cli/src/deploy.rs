use std::path::{Path, PathBuf};
use std::time::Duration;

use entia_api::body::{DeployOptions, DeployedBody};
use entia_api::client::{Client, ClientError};
use entia_protocol::{Durability, KindName};
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Deploy;
use crate::build::{self, Cargo};
use crate::failure::Failure;
use crate::kinds::{durability, signature};
use crate::output::{Output, bytes};
use crate::plan::{changes, planned};
use crate::sample;

pub(crate) async fn run(client: Client, deploy: Deploy, output: &Output) -> anyhow::Result<()> {
    let options = options(&deploy);
    let (path, name) = component(&deploy.source).await?;
    let kind = match deploy.kind {
        Some(kind) => kind,
        None => kind_of(&name)?,
    };
    if !options.plan {
        let deployed = upload(&client, &kind, &path, &options).await?;
        return output.result(&deployed, deployed_text);
    }
    let (file, bar) = open(&kind, &path).await?;
    let plan = client.plan(&kind, file, &options, shown(&bar)).await;
    bar.finish_and_clear();
    let plan = plan?;
    output.result(&plan, planned)?;
    // As the deployment would end, so that a script can go by the exit code.
    match plan.refusal {
        Some(refusal) => Err(ClientError::planned(refusal).into()),
        None => Ok(()),
    }
}

/// Uploads a component and shows how far it is.
pub(crate) async fn upload(
    client: &Client,
    kind: &KindName,
    path: &Path,
    options: &DeployOptions,
) -> anyhow::Result<DeployedBody> {
    let (file, bar) = open(kind, path).await?;
    let deployed = client.deploy(kind, file, options, shown(&bar)).await;
    bar.finish_and_clear();
    Ok(deployed?)
}

/// A component's file, and the bar of its upload.
async fn open(kind: &KindName, path: &Path) -> anyhow::Result<(tokio::fs::File, ProgressBar)> {
    let file = tokio::fs::File::open(path).await.map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(message, "name a component's file, or a project's directory")
    })?;
    let bytes = file.metadata().await?.len();
    // Drawn on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(bytes).with_style(upload_style());
    bar.set_message(format!("uploading {kind}"));
    Ok((file, bar))
}

/// Lets a bar follow an upload, and then wait for the node.
fn shown(bar: &ProgressBar) -> impl FnMut(u64) + Send + Sync + use<> {
    let told = bar.clone();
    move |sent| {
        told.inc(sent);
        if told.position() >= told.length().unwrap_or_default() {
            told.set_style(ProgressStyle::default_spinner());
            told.set_message("the node compiles and checks it");
            told.enable_steady_tick(TICK);
        }
    }
}

pub(crate) async fn roll_back(
    client: Client,
    kind: &KindName,
    output: &Output,
) -> anyhow::Result<()> {
    let rolled_back = client.rollback(kind).await?;
    output.result(&rolled_back, deployed_text)
}

fn options(deploy: &Deploy) -> DeployOptions {
    DeployOptions {
        durability: deploy.durable.then_some(Durability::Durable),
        limits: deploy.limits.iter().cloned().collect(),
        config: deploy.config.iter().cloned().collect(),
        plan: deploy.plan,
    }
}

/// The component's file, and the name that it has.
async fn component(source: &Path) -> anyhow::Result<(PathBuf, String)> {
    if source.is_dir() {
        let built = build::build(source, Cargo::Talks).await?;
        return Ok((built.path, built.name));
    }
    let name = source.file_stem().and_then(|stem| stem.to_str());
    Ok((source.to_owned(), name.unwrap_or_default().to_owned()))
}

/// Cargo writes `chat_room` for the crate `chat-room`.
pub(crate) fn kind_of(name: &str) -> anyhow::Result<KindName> {
    let kind = KindName::new(&name.replace('_', "-"));
    Ok(kind.map_err(|error| Failure::new(error.to_string(), "name the kind with --kind NAME"))?)
}

fn deployed_text(deployed: &DeployedBody) -> String {
    let kind = &deployed.kind;
    let unchanged = if deployed.changed { "" } else { ", as before" };
    let mut text = format!(
        "{} version {}{unchanged} ({}, {}, {})\n",
        kind.name,
        kind.version,
        durability(kind.durability),
        kind.digest.short(),
        bytes(kind.component_bytes),
    );
    text += &changes(&deployed.changes);
    if !deployed.changes.is_empty() {
        text.push('\n');
    }
    for method in &kind.methods {
        text += &format!("  {}\n", signature(method));
    }
    if let Some(call) = sample::call(kind, None) {
        text += &format!("\n{call}\n");
    }
    text
}

fn upload_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use entia_api::body::{KindBody, MethodBody};
    use entia_protocol::{Digest, Limits};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_files_name_is_the_kinds_unless_it_cannot_be() {
        assert_eq!(kind_of("chat_room").unwrap().as_str(), "chat-room");
        let error = kind_of("My App").unwrap_err();
        assert!(
            error
                .downcast_ref::<Failure>()
                .unwrap()
                .hint
                .contains("--kind")
        );
        let (path, name) = component(Path::new("x/chat_room.wasm")).await.unwrap();
        assert_eq!(
            (path.to_str(), name.as_str()),
            (Some("x/chat_room.wasm"), "chat_room")
        );
    }

    #[test]
    fn success_ends_with_a_call_to_try() {
        let method = |name: &str, query, arguments| MethodBody {
            name: name.to_owned(),
            doc: String::new(),
            query,
            arguments,
            result: json!({"type": "integer"}),
            rejection: None,
        };
        let by = json!({"type": "object", "properties": {"by": {"type": "integer"}}, "required": ["by"]});
        let kind = KindBody {
            name: KindName::new("counter").unwrap(),
            doc: String::new(),
            version: 2,
            digest: Digest::of(b""),
            component_bytes: 70_000,
            durability: Durability::Durable,
            shards: 64,
            limits: Limits::default(),
            schema_version: 1,
            config: vec![],
            methods: vec![
                method("value", true, json!({})),
                method("increment", false, by),
            ],
            deployed_ms: 0,
            entities_live: 0,
        };
        let deployed = DeployedBody {
            changed: true,
            kind,
            changes: Vec::new(),
        };
        assert_eq!(
            deployed_text(&deployed),
            "counter version 2 (durable, af1349b9f5f9, 68 KiB)\n  value() -> integer\n  increment(by: integer) -> integer\n\nentia call counter/mine increment '{\"by\": 1}'\n"
        );
    }
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use entia_api::body::{DeployOptions, DeployedBody};
use entia_api::client::{Client, ClientError};
use entia_protocol::{Durability, KindName};
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Deploy;
use crate::build;
use crate::failure::Failure;
use crate::kinds::{durability, example, signature};
use crate::output::{Output, bytes};
use crate::plan::{changes, planned};

pub(crate) async fn run(client: Client, deploy: Deploy, output: &Output) -> anyhow::Result<()> {
    let options = options(&deploy);
    let (path, name) = component(&deploy.source)?;
    let kind = match deploy.kind {
        Some(kind) => kind,
        None => kind_of(&name)?,
    };
    let file = tokio::fs::File::open(&path).await.map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(message, "name a component's file, or a project's directory")
    })?;
    let bytes = file.metadata().await?.len();
    // Drawn on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(bytes).with_style(upload_style());
    bar.set_message(format!("uploading {kind}"));
    let told = bar.clone();
    let progress = move |sent| {
        told.inc(sent);
        if told.position() >= bytes {
            told.set_style(ProgressStyle::default_spinner());
            told.set_message("the node compiles and checks it");
            told.enable_steady_tick(TICK);
        }
    };
    if deploy.plan {
        let plan = client.plan(&kind, file, &options, progress).await;
        bar.finish_and_clear();
        let plan = plan?;
        output.result(&plan, planned)?;
        // As the deployment would end, so that a script can go by the exit code.
        return match plan.refusal {
            Some(refusal) => Err(ClientError::planned(refusal).into()),
            None => Ok(()),
        };
    }
    let deployed = client.deploy(&kind, file, &options, progress).await;
    bar.finish_and_clear();
    output.result(&deployed?, deployed_text)
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
fn component(source: &Path) -> anyhow::Result<(PathBuf, String)> {
    if source.is_dir() {
        let built = build::build(source)?;
        return Ok((built.path, built.name));
    }
    let name = source.file_stem().and_then(|stem| stem.to_str());
    Ok((source.to_owned(), name.unwrap_or_default().to_owned()))
}

/// Cargo writes `chat_room` for the crate `chat-room`.
fn kind_of(name: &str) -> anyhow::Result<KindName> {
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
    // A command shows more than a query of an entity that does not exist yet.
    let methods = || kind.methods.iter();
    if let Some(method) = methods().find(|method| !method.query).or(methods().next()) {
        let (name, arguments) = (&method.name, example(method));
        text += &format!("\nentia call {}/mine {name} '{arguments}'\n", kind.name);
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

    #[test]
    fn a_files_name_is_the_kinds_unless_it_cannot_be() {
        assert_eq!(kind_of("chat_room").unwrap().as_str(), "chat-room");
        let error = kind_of("My App").unwrap_err();
        assert!(
            error
                .downcast_ref::<Failure>()
                .unwrap()
                .hint
                .contains("--kind")
        );
        let (path, name) = component(Path::new("x/chat_room.wasm")).unwrap();
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
            "counter version 2 (durable, af1349b9f5f9, 68 KiB)\n  value() -> integer\n  increment(by: integer) -> integer\n\nentia call counter/mine increment '{\"by\":1}'\n"
        );
    }
}

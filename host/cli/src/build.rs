//! `entia build`: cargo, for the target that components have.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;

/// A component that was built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    /// The library's name, which the kind has unless another is given.
    pub(crate) name: String,
}

pub(crate) fn run(dir: &Path, output: &Output) -> anyhow::Result<()> {
    let built = build(dir)?;
    let path = built.path.display().to_string();
    output.result(&json!({"component": path}), |_| path.clone())
}

/// Builds the project in `dir`. What cargo has to say goes to standard error.
pub(crate) fn build(dir: &Path) -> anyhow::Result<Built> {
    let manifest = dir.join("Cargo.toml");
    if !manifest.is_file() {
        let message = format!("{} is not a project: it has no Cargo.toml", dir.display());
        return Err(Failure::new(message, "`entia new NAME` makes one").into());
    }
    let manifest = std::fs::canonicalize(manifest)?;
    check_target(dir)?;
    let mut cargo = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(no_rust)?;
    let stdout = cargo.stdout.take().context("cargo's output is piped")?;
    let mut components = Vec::new();
    for line in BufReader::new(stdout).lines() {
        components.extend(component(&line?, &manifest));
    }
    if !cargo.wait()?.success() {
        let hint = "correct what cargo says above, and try again";
        return Err(Failure::new("the project does not build", hint).into());
    }
    match <[Built; 1]>::try_from(components) {
        Ok([built]) => Ok(built),
        Err(components) => {
            let message = format!("{} components came of it, not one", components.len());
            let hint =
                "an entity's crate has crate-type = [\"cdylib\"] under [lib] in its Cargo.toml";
            Err(Failure::new(message, hint).into())
        }
    }
}

/// Asks rustc itself, so that toolchains that rustup did not install count, too.
fn check_target(dir: &Path) -> anyhow::Result<()> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .output()
        .map_err(no_rust)?;
    let libdir = String::from_utf8_lossy(&asked.stdout);
    if asked.status.success() && Path::new(libdir.trim()).is_dir() {
        return Ok(());
    }
    let message = format!("Rust cannot build for {TARGET} here");
    Err(Failure::new(message, format!("rustup target add {TARGET}")).into())
}

fn no_rust(error: std::io::Error) -> anyhow::Error {
    let message = format!("Rust's tools do not start: {error}");
    Failure::new(message, "install Rust from https://rustup.rs").into()
}

/// The part of cargo's messages that names what was built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The component that a line tells of, if it is one of the project's own: dependencies may be `cdylib`s as well.
fn component(line: &str, manifest: &Path) -> Option<Built> {
    let message: Message = serde_json::from_str(line).ok()?;
    let target = message.target?;
    let own = message.reason == "compiler-artifact"
        && message.manifest_path.as_deref() == Some(manifest)
        && target.kind.iter().any(|kind| kind == "cdylib");
    let is_wasm = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    };
    let path = message
        .filenames
        .into_iter()
        .find(is_wasm)
        .filter(|_| own)?;
    Some(Built {
        path,
        name: target.name,
    })
}

const TARGET: &str = "wasm32-wasip2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_component_is_found_among_cargos_messages() {
        let artifact = |manifest: &str, kind: &str| {
            json!({
                "reason": "compiler-artifact", "package_id": "x", "manifest_path": manifest,
                "target": {"name": "chat_room", "kind": [kind, "rlib"]},
                "filenames": ["/t/libchat_room.rlib", "/t/chat_room.wasm"],
            })
            .to_string()
        };
        let own = Path::new("/p/Cargo.toml");
        let built = component(&artifact("/p/Cargo.toml", "cdylib"), own).unwrap();
        assert_eq!(built.path, Path::new("/t/chat_room.wasm"));
        assert_eq!(built.name, "chat_room");
        assert_eq!(
            component(&artifact("/other/Cargo.toml", "cdylib"), own),
            None
        );
        assert_eq!(component(&artifact("/p/Cargo.toml", "lib"), own), None);
        assert_eq!(
            component("{\"reason\":\"build-finished\",\"success\":true}", own),
            None
        );
        assert_eq!(component("not JSON", own), None);
    }

    #[test]
    fn a_directory_without_a_project_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = build(dir.path()).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert!(failure.message.contains("has no Cargo.toml"));
        assert!(failure.hint.contains("entia new"));
    }
}

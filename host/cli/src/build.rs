//! `entia build`: cargo, for the target that components have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::failure::Failure;
use crate::output::Output;

/// A component that was built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    /// The library's name, which the kind has unless another is given.
    pub(crate) name: String,
    /// The directories of the packages that it was built of and that lie on this machine as sources.
    pub(crate) packages: BTreeSet<PathBuf>,
}

/// What cargo shows on standard error, besides what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// What it does.
    Talks,
    /// Nothing.
    Quiet,
}

pub(crate) async fn run(dir: &Path, output: &Output) -> anyhow::Result<()> {
    let built = build(dir, Cargo::Talks).await?;
    let path = built.path.display().to_string();
    output.result(&json!({"component": path}), |_| path.clone())
}

/// Whether `dir` is a project that can be built here.
pub(crate) async fn check(dir: &Path) -> anyhow::Result<()> {
    if !dir.join("Cargo.toml").is_file() {
        let message = format!("{} is not a project: it has no Cargo.toml", dir.display());
        return Err(Failure::new(message, "`entia new NAME` makes one").into());
    }
    check_target(dir).await
}

/// Builds the project in `dir`. What cargo has to say goes to standard error. Dropped, it stops cargo.
pub(crate) async fn build(dir: &Path, talk: Cargo) -> anyhow::Result<Built> {
    check(dir).await?;
    let manifest = std::fs::canonicalize(dir.join("Cargo.toml"))?;
    let mut cargo = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .args((talk == Cargo::Quiet).then_some("--quiet"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(no_rust)?;
    let stdout = cargo.stdout.take().context("cargo's output is piped")?;
    let mut components = Vec::new();
    let mut packages = BTreeSet::new();
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        packages.extend(message.local());
        components.extend(message.component(&manifest));
    }
    if !cargo.wait().await?.success() {
        let hint = "correct what cargo says above, and try again";
        return Err(Failure::new("the project does not build", hint).into());
    }
    match <[(PathBuf, String); 1]>::try_from(components) {
        Ok([(path, name)]) => Ok(Built {
            path,
            name,
            packages,
        }),
        Err(components) => {
            let message = format!("{} components came of it, not one", components.len());
            let hint =
                "an entity's crate has crate-type = [\"cdylib\"] under [lib] in its Cargo.toml";
            Err(Failure::new(message, hint).into())
        }
    }
}

/// Asks rustc itself, so that toolchains that rustup did not install count, too.
pub(crate) async fn check_target(dir: &Path) -> anyhow::Result<()> {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(dir)
        .output()
        .await
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
    #[serde(default)]
    package_id: String,
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

impl Message {
    /// The directory of a package that is not one of a registry's.
    fn local(&self) -> Option<PathBuf> {
        let local = self.package_id.starts_with("path+file://");
        let manifest = self.manifest_path.as_deref().filter(|_| local)?;
        manifest.parent().map(Path::to_owned)
    }

    /// The component's file and name, if it is the project's own: dependencies may be `cdylib`s as well.
    fn component(self, manifest: &Path) -> Option<(PathBuf, String)> {
        let target = self.target?;
        let own = self.reason == "compiler-artifact"
            && self.manifest_path.as_deref() == Some(manifest)
            && target.kind.iter().any(|kind| kind == "cdylib");
        let is_wasm = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        };
        let path = self.filenames.into_iter().find(is_wasm).filter(|_| own)?;
        Some((path, target.name))
    }
}

/// The name that the component is going to have, also while the project does not build.
pub(crate) fn name(dir: &Path) -> Option<String> {
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    let manifest: Manifest = toml::from_str(&manifest).ok()?;
    let library = manifest.lib.and_then(|library| library.name);
    Some(library.unwrap_or(manifest.package.name))
}

#[derive(Deserialize)]
struct Manifest {
    package: Package,
    lib: Option<Library>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

#[derive(Deserialize)]
struct Library {
    name: Option<String>,
}

/// What components are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_component_is_found_among_cargos_messages() {
        let artifact = |manifest: &str, kind: &str| {
            json!({
                "reason": "compiler-artifact", "package_id": "path+file:///p#0.1.0", "manifest_path": manifest,
                "target": {"name": "chat_room", "kind": [kind, "rlib"]},
                "filenames": ["/t/libchat_room.rlib", "/t/chat_room.wasm"],
            })
        };
        let message = |json| serde_json::from_value::<Message>(json).unwrap();
        let component = |json| message(json).component(Path::new("/p/Cargo.toml"));
        let (path, name) = component(artifact("/p/Cargo.toml", "cdylib")).unwrap();
        assert_eq!(path, Path::new("/t/chat_room.wasm"));
        assert_eq!(name, "chat_room");
        assert_eq!(component(artifact("/other/Cargo.toml", "cdylib")), None);
        assert_eq!(component(artifact("/p/Cargo.toml", "lib")), None);
        let finished = json!({"reason": "build-finished", "success": true});
        assert_eq!(component(finished), None);
    }

    #[test]
    fn packages_of_this_machine_are_told_from_those_of_registries() {
        let local = |id: &str| {
            let message = json!({"reason": "compiler-artifact", "package_id": id, "manifest_path": "/p/Cargo.toml"});
            serde_json::from_value::<Message>(message).unwrap().local()
        };
        assert_eq!(local("path+file:///p#0.1.0"), Some("/p".into()));
        assert_eq!(local("registry+https://github.com/x#serde@1.0.0"), None);
    }

    #[test]
    fn the_name_is_known_before_the_project_builds() {
        let dir = tempfile::tempdir().unwrap();
        let named = |manifest: &str| {
            std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
            name(dir.path())
        };
        assert_eq!(
            named("[package]\nname = \"a-b\"\n[lib]\n"),
            Some("a-b".into())
        );
        let library = "[package]\nname = \"a\"\n[lib]\nname = \"c\"\n";
        assert_eq!(named(library), Some("c".into()));
        assert_eq!(named("not TOML"), None);
    }

    #[tokio::test]
    async fn a_directory_without_a_project_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = build(dir.path(), Cargo::Talks).await.unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert!(failure.message.contains("has no Cargo.toml"));
        assert!(failure.hint.contains("entia new"));
    }
}

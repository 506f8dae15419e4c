//! Builds the host and the guests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{finish, foreign};

/// The target of guests.
const GUEST_TARGET: &str = "wasm32-wasip2";
/// The packages that are guests. Those that are not written in Rust are in [`foreign`].
const GUESTS: [&str; 10] = [
    "account",
    "caller",
    "chat-inbox",
    "chat-room",
    "counter",
    "courier",
    "entia-hostile",
    "entia-hostile-waiting",
    "entia-undescribable",
    "entia-versioned",
];
/// A guest of several versions, and the features that make them: `v2` is built as `entia_versioned_v2.wasm`.
const VERSIONED: &str = "entia-versioned";
const VERSIONS: [&str; 5] = ["again", "v2", "v2_refuses", "v2_traps", "v3"];

/// Where things are after a build.
pub(crate) struct Built {
    /// The `entia` binary.
    pub(crate) entia: PathBuf,
    /// The directory of the guests' components.
    pub(crate) guests: PathBuf,
}

/// Builds the guests and all binaries.
pub(crate) fn everything() -> Result<Built> {
    let guests = entities()?;
    let entia = programs()?;
    Ok(Built { entia, guests })
}

/// Builds all binaries, and says where `entia` is: the others are beside it.
pub(crate) fn programs() -> Result<PathBuf> {
    finish(cargo().args(["build", "--workspace", "--profile", "ci"]))?;
    Ok(target_dir()?.join("ci/entia"))
}

/// Builds the guests, into a target directory of their own: their flags would spoil the host's cache.
pub(crate) fn entities() -> Result<PathBuf> {
    ensure_guest_target()?;
    let target = target_dir()?;
    let target_dir = target.join("guests");
    let built = target_dir.join(GUEST_TARGET).join("guest");
    // Before the others: they all have one name, and it is to be left with the version that has no feature.
    for version in VERSIONS {
        finish(build(&target_dir).args(["--package", VERSIONED, "--features", version]))?;
        let name = VERSIONED.replace('-', "_");
        let from = built.join(&name).with_extension("wasm");
        let to = built.join(format!("{name}_{version}.wasm"));
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let packages = GUESTS.iter().flat_map(|package| ["--package", package]);
    finish(build(&target_dir).args(packages))?;
    foreign::counter_js(root(), &target, &built)?;
    Ok(built)
}

/// A cargo that builds guests, of which packages are still to be said.
fn build(target_dir: &Path) -> Command {
    let mut cargo = cargo();
    cargo
        .args(["build", "--profile", "guest", "--target", GUEST_TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    cargo
}

/// A cargo in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate is in tests/xtask")
}

/// Cargo's target directory. This program lies in it: target/ci/entia-xtask.
fn target_dir() -> Result<PathBuf> {
    let here = env::current_exe().context("where this program is")?;
    let dir = here
        .ancestors()
        .nth(2)
        .context("this program is not in a target directory")?;
    Ok(dir.to_owned())
}

/// Installs the guests' target where rustup manages the toolchain and it is not there.
fn ensure_guest_target() -> Result<()> {
    let sysroot = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", GUEST_TARGET])
        .current_dir(root())
        .output()
        .context("rustc did not start; install Rust from https://rustup.rs")?;
    if Path::new(String::from_utf8_lossy(&sysroot.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup")
        .args(["target", "add", GUEST_TARGET])
        .current_dir(root())
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("the target {GUEST_TARGET} is missing: run `rustup target add {GUEST_TARGET}`"),
    }
}

//! Where the guests, the `entia` binary and room for data are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// The counter's component.
pub(crate) fn counter() -> Result<PathBuf> {
    let dir = match env::var_os("ENTIA_GUESTS") {
        Some(dir) => dir.into(),
        None => beside()?.join("../guests/wasm32-wasip2/guest"),
    };
    found(
        dir.join("counter.wasm"),
        "build it with `cargo xtask build-entities`",
    )
}

/// The `entia` binary.
pub(crate) fn entia() -> Result<PathBuf> {
    let path = match env::var_os("ENTIA_BIN") {
        Some(path) => path.into(),
        None => beside()?.join("entia"),
    };
    found(path, "build it with `cargo build --workspace --profile ci`")
}

/// A directory on the disk of the build, removed when dropped. A file system in memory has no fsync to measure.
pub(crate) fn scratch() -> Result<TempDir> {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    let parent = beside()?;
    let kind = rustix::fs::statfs(&parent).context("the build's file system")?;
    ensure!(
        u64::try_from(kind.f_type)? != TMPFS_MAGIC,
        "{} is in memory, where a sync costs nothing: set CARGO_TARGET_DIR to a directory on a disk",
        parent.display()
    );
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&parent)
        .with_context(|| format!("a directory in {}", parent.display()))
}

/// The directory of this program: `target/ci`.
fn beside() -> Result<PathBuf> {
    let here = env::current_exe().context("where this program is")?;
    Ok(here.parent().unwrap_or(Path::new("/")).to_owned())
}

fn found(path: PathBuf, remedy: &str) -> Result<PathBuf> {
    ensure!(path.is_file(), "{} is not there: {remedy}", path.display());
    Ok(path)
}

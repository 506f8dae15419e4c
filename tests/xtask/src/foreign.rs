//! Builds the guests that are not written in Rust, with their own language's toolchain.
//!
//! A guest is copied to target/foreign and built there: its toolchain is installed beside it by the lock file, and neither
//! the machine nor the source tree is changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{fs, io};

use anyhow::{Context, Result};

use crate::finish;

/// The guest in JavaScript.
const COUNTER: &str = "counter-js";
/// What npm needs to install the same again.
const LOCK: &str = "package-lock.json";
/// A copy of the lock file by which the toolchain was installed, written when that was done, and lost when it begins again.
const INSTALLED: &str = "node_modules/installed.json";

/// Builds the JavaScript counter into `guests`, if it is older than its source.
pub(crate) fn counter_js(root: &Path, target_dir: &Path, guests: &Path) -> Result<()> {
    let source = root.join("entities").join(COUNTER);
    let component = guests.join(COUNTER).with_extension("wasm");
    let files = files(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let is_current = is_newer_than_all(&component, &source, &files);
    if is_current.with_context(|| format!("cannot read {}", source.display()))? {
        return Ok(());
    }
    let dir = target_dir.join("foreign").join(COUNTER);
    copy(&source, &files, &dir).with_context(|| format!("cannot write {}", dir.display()))?;
    install(&dir)?;
    finish(npm(&dir).args(["run", "--silent", "build"]))?;
    let built = dir.join("build").join(COUNTER).with_extension("wasm");
    // In one step: a component cut off half way would pass for a current one.
    fs::rename(&built, &component).with_context(|| format!("{} was not built", built.display()))?;
    Ok(())
}

/// Installs the toolchain, unless it was installed by the same lock file before.
fn install(dir: &Path) -> Result<()> {
    let cannot_read = || format!("cannot read {}", dir.display());
    let locked = fs::read(dir.join(LOCK)).with_context(cannot_read)?;
    let installed = dir.join(INSTALLED);
    if fs::read(&installed).is_ok_and(|lock| lock == locked) {
        return Ok(());
    }
    // The packages' own install scripts are not needed, and not run.
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    finish(npm(dir).args(install)).context(
        "the JavaScript toolchain was not installed: this needs Node.js 20 or later with npm (https://nodejs.org), and once, \
         for about 200 MB, a registry that npm reaches (`npm ping` tells, `npm config set registry URL` names another)",
    )?;
    fs::write(&installed, locked).with_context(|| format!("cannot write {}", dir.display()))
}

fn npm(dir: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(dir);
    npm
}

/// The files of a guest's source, as paths in it, without what a build by hand leaves there.
fn files(source: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(source.join(&dir))? {
            let path = dir.join(entry?.file_name());
            if ["build", "node_modules"]
                .iter()
                .any(|left| path == Path::new(left))
            {
                continue;
            }
            // Follows links: the contract is one.
            if source.join(&path).is_dir() {
                dirs.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn is_newer_than_all(component: &Path, source: &Path, files: &[PathBuf]) -> io::Result<bool> {
    let modified = |path: &Path| -> io::Result<SystemTime> { fs::metadata(path)?.modified() };
    let built = match modified(component) {
        Ok(built) => built,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for file in files {
        if modified(&source.join(file))? >= built {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy(source: &Path, files: &[PathBuf], dir: &Path) -> io::Result<()> {
    for file in files {
        let to = dir.join(file);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(source.join(file), to)?;
    }
    Ok(())
}

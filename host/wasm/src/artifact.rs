//! Machine code on disk, so that a node compiles a component once.
//!
//! ```text
//!   "ENTIACWA"   8 bytes
//!   digest       32 bytes   BLAKE3 of the code
//!   code         what wasmtime serialised
//! ```
//! A file's name is the component's digest and the hash of everything that the code depends on (wasmtime's version, the
//! configuration, the processor), so that another build looks for another file.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use entia_protocol::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Refusal;
use crate::compile::Compiler;

/// Compiles components, one at a time, and keeps the code.
#[derive(Debug)]
pub(crate) struct Artifacts {
    dir: PathBuf,
    compatibility: u64,
    /// Held while compiling: two deployments of one component compile it once, and the machine is not flooded.
    compiler: Mutex<Compiler>,
}

impl Artifacts {
    pub(crate) fn open(dir: &Path, engine: &Engine, compiler: Compiler) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        remove_leftovers(dir);
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = hasher.finish();
        Ok(Self {
            dir: dir.to_owned(),
            compatibility,
            compiler: Mutex::new(compiler),
        })
    }

    /// The component, from its artifact or freshly compiled.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        digest: &Digest,
        wasm: &[u8],
    ) -> Result<Component, Refusal> {
        let compiler = self
            .compiler
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.path(digest);
        if let Some(component) = load(engine, &path) {
            return Ok(component);
        }
        let io = |error: io::Error| Refusal::CompileFailed {
            message: format!("the artifact cache {} failed: {error}", self.dir.display()),
        };
        // Named after this process: a compiler that outlived another node writes elsewhere.
        let process = std::process::id();
        let input = path.with_extension(format!("{process}.wasm"));
        let output = path.with_extension(format!("{process}.raw"));
        fs::write(&input, wasm).map_err(io)?;
        let compiled = compiler.run(&input, &output);
        let code = compiled.and_then(|()| fs::read(&output).map_err(io));
        for leftover in [&input, &output] {
            // One that stays is overwritten by the next attempt.
            let _ = fs::remove_file(leftover);
        }
        store(&path, &code?).map_err(io)?;
        load(engine, &path).ok_or_else(|| Refusal::CompileFailed {
            message: format!("{} cannot be read back", path.display()),
        })
    }

    /// Removes what this engine compiled of a component.
    pub(crate) fn forget(&self, digest: &Digest) {
        let path = self.path(digest);
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!(artifact = %path.display(), "not removed: {error}");
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir
            .join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }
}

/// Removes what a node that died while it compiled has left.
fn remove_leftovers(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path
            .extension()
            .is_some_and(|extension| extension != "cwasm")
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn store(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + code.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(Digest::of(code).as_bytes());
    bytes.extend_from_slice(code);
    let whole = path.with_extension("new");
    fs::write(&whole, bytes)?;
    fs::rename(whole, path)
}

/// The component in an artifact, or none if it is not there, not whole, or made for another engine.
fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let bytes = fs::read(path).ok()?;
    let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
    let (digest, code) = rest.split_at_checked(HEADER_BYTES - MAGIC.len())?;
    if magic != MAGIC || digest != Digest::of(code).as_bytes() {
        tracing::warn!(artifact = %path.display(), "a damaged artifact is compiled again");
        return None;
    }
    // SAFETY: wasmtime trusts what it deserialises. These bytes are those that our own child process wrote into our own data
    // directory. The digest covers all of them against damage; against an attacker the directory is as trusted as the node.
    let component = unsafe { Component::deserialize(engine, code) };
    component
        .inspect_err(
            |error| tracing::debug!(artifact = %path.display(), "not for this engine: {error:#}"),
        )
        .ok()
}

const MAGIC: &[u8] = b"ENTIACWA";
const HEADER_BYTES: usize = 8 + 32;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use entia_protocol::Digest;

use crate::{StoreError, home};

/// The largest component, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 256 << 20;

/// The components, one file each.
///
/// Files and not records: a component of some megabytes would go through the journal and then through every compaction,
/// is never changed, and as a file people can inspect it with their own tools. The name is the digest, so that writing is
/// idempotent and reading can prove what it got.
pub(crate) struct Components {
    dir: PathBuf,
}

impl Components {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(StoreError::TooLarge {
                subject: "the component".to_owned(),
                bytes: bytes.len(),
                bytes_max: COMPONENT_BYTES_MAX,
            });
        }
        let digest = Digest::of(bytes);
        // Read and not just looked at: putting a component again repairs a damaged file.
        if !matches!(self.read(&digest), Ok(Some(_))) {
            home::replace(&self.path(&digest), bytes)?;
        }
        Ok(digest)
    }

    pub(crate) fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("reading", &path)(error)),
        };
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(Some(bytes))
        } else {
            Err(StoreError::Corrupt {
                what: format!("the component {}", path.display()),
                reason: format!("the digest of its bytes is {}", found.short()),
            })
        }
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Removes all but those in `used`, and what a crash left half written. Returns what it removed.
    pub(crate) fn retain(&self, used: &BTreeSet<Digest>) -> Result<Vec<Digest>, StoreError> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(StoreError::io("listing", &self.dir))? {
            let path = entry.map_err(StoreError::io("listing", &self.dir))?.path();
            let digest = digest_of(&path);
            let unused = digest.is_some_and(|digest| !used.contains(&digest));
            let unfinished = path.extension().is_some_and(|end| end == home::TEMPORARY);
            if unused || unfinished {
                fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
                removed.extend(digest);
            }
        }
        home::sync_dir(&self.dir)?;
        Ok(removed)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.{COMPONENT}"))
    }
}

const COMPONENT: &str = "wasm";

fn digest_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    Digest::from_hex(name.strip_suffix(COMPONENT)?.strip_suffix('.')?)
}

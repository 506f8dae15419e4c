use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::StoreError;

/// The version of the store's directory that this build writes and reads. Records have a version of their own.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const LOCK: &str = "lock";
const ENGINE: &str = "engine";
const FORMAT_WORD: &str = "entia-store";
/// More than any version's line has.
const FORMAT_BYTES_MAX: u64 = 64;

/// A store's directory, locked against every other process while this value lives.
pub(crate) struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Locks the directory, creating it if need be, and checks its format.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        // Other users of the machine have no business in it.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(StoreError::io("creating", dir))?;
        let home = Self {
            dir: dir.to_owned(),
            _lock: lock(dir)?,
        };
        if !has_format(dir)? {
            let line = format!("{FORMAT_WORD} {FORMAT_VERSION}\n");
            replace(&dir.join("format"), line.as_bytes())?;
        }
        fs::create_dir_all(home.components())
            .map_err(StoreError::io("creating", &home.components()))?;
        sync_dir(dir)?;
        Ok(home)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn watermark(&self) -> PathBuf {
        self.dir.join("watermark")
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.dir.join(ENGINE)
    }

    pub(crate) fn components(&self) -> PathBuf {
        self.dir.join("components")
    }
}

/// Whether the directory has a store of this build's format. False: it is new.
///
/// The format is written before anything else, so a directory without one is new unless it has an engine's files.
pub(crate) fn has_format(dir: &Path) -> Result<bool, StoreError> {
    let path = dir.join("format");
    let corrupt = |reason| StoreError::Corrupt {
        what: format!("the file {}", path.display()),
        reason,
    };
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => file
            .take(FORMAT_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("reading", &path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if dir.join(ENGINE).exists() {
                return Err(corrupt("it is missing".to_owned()));
            }
            return Ok(false);
        }
        Err(error) => return Err(StoreError::io("opening", &path)(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let version = text.trim_end().strip_prefix(FORMAT_WORD);
    match version.map(|version| version.trim_start().parse()) {
        Some(Ok(FORMAT_VERSION)) => Ok(true),
        Some(Ok(found)) => Err(StoreError::FormatVersion {
            dir: dir.to_owned(),
            found,
            known: FORMAT_VERSION,
        }),
        _ => Err(corrupt(format!(
            "it says {text:?}, not `{FORMAT_WORD} {FORMAT_VERSION}`"
        ))),
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("opening", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked {
            dir: dir.to_owned(),
        }),
        Err(error) => Err(StoreError::io("locking", &path)(error.into())),
    }
}

/// Writes a file that afterwards is there as a whole, or not at all: a temporary name, fsync, rename, fsync of the
/// directory.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension(TEMPORARY);
    File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(StoreError::io("writing", &temporary))?;
    fs::rename(&temporary, path).map_err(StoreError::io("renaming to", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The extension of files that [`replace`] has not finished.
pub(crate) const TEMPORARY: &str = "tmp";

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::io("syncing", dir))
}

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entia_protocol::{Digest, KindName};

/// Why the store did not do what was asked: the operation, its subject, the effect, and what to do next.
///
/// Cloneable, because one failed group commit answers every command in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store.
    #[error(
        "the store {} is open in another process; nothing was read or changed: stop that node, or give this one its own data directory", dir.display()
    )]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The layout was written by another version of Entia.
    #[error(
        "the store {} has format version {found}, this build reads version {known}; nothing was changed: start the version of Entia that wrote it", dir.display()
    )]
    FormatVersion {
        /// The store's directory.
        dir: PathBuf,
        /// What the `format` file says.
        found: u32,
        /// What this build reads.
        known: u32,
    },
    /// Acknowledged commits are missing.
    #[error(
        "the store {} ends at commit {have}, yet commit {expected} was acknowledged; the store was not opened: restore it from a backup, or accept the loss of the commits between (--accept-loss)", dir.display()
    )]
    Truncated {
        /// The store's directory.
        dir: PathBuf,
        /// The last commit that is there.
        have: u64,
        /// The last commit that was acknowledged.
        expected: u64,
    },
    /// The watermark file is gone although the store has commits, so a truncation would go unnoticed.
    #[error(
        "{} is missing, yet the store has commits up to {have}; the store was not opened: restore the file, or accept that lost commits would go unnoticed (--accept-loss)", path.display()
    )]
    WatermarkMissing {
        /// The file.
        path: PathBuf,
        /// The last commit that is there.
        have: u64,
    },
    /// The watermark file does not read, so a truncation would go unnoticed.
    #[error(
        "{} is damaged: neither of its two slots reads; the store was not opened: restore the file, or accept that lost commits would go unnoticed (--accept-loss)", path.display()
    )]
    WatermarkDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The engine refuses its own files.
    #[error(
        "the engine cannot open {}: {message}; the store was not opened: restore its directory from a backup", dir.display()
    )]
    Unreadable {
        /// The engine's directory.
        dir: PathBuf,
        /// The engine's words.
        message: String,
    },
    /// Something stored is not what was written.
    #[error("{what} is corrupt: {reason}; it was not used: delete it, or restore it from a backup")]
    Corrupt {
        /// The keyspace and the key, or the file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine failed to read.
    #[error("{action} failed: {message}; nothing was changed: see the disk's health, then retry")]
    Read {
        /// What was read.
        action: String,
        /// The engine's words.
        message: String,
    },
    /// The operating system refused a file operation.
    #[error("{action} {} failed: {source}; the operation was abandoned: see the disk's space, rights and health", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: Arc<io::Error>,
    },
    /// A commit failed, now or earlier. What of it is on disk is unknown, so the store takes no further ones.
    #[error(
        "the store takes no commits since one failed: {message}; whether that one is on disk is unknown, reads go on: repair the disk and restart the node"
    )]
    Failed {
        /// Why the first one failed.
        message: String,
    },
    /// The store was closed before the commit.
    #[error("the store is closed; nothing was written: open it again")]
    Closed,
    /// Larger than its bound.
    #[error("{subject} has {bytes} bytes, {bytes_max} are allowed; nothing was written")]
    TooLarge {
        /// What is too large.
        subject: String,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The kind still has entities.
    #[error(
        "kind `{kind}` still has stored entities; nothing was removed: remove it together with them, or delete them first"
    )]
    KindInUse {
        /// The kind.
        kind: KindName,
    },
    /// A kind names a component that is not stored.
    #[error(
        "component {component} is not in the store; the kind was not written: put the component first"
    )]
    ComponentMissing {
        /// The component.
        component: Digest,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

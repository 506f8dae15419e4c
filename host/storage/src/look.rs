use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::StoreError;
use crate::home::{LOCK, has_format};

/// What a directory is to a store, seen without opening one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// There is no store.
    Absent,
    /// A process has it open.
    InUse,
    /// One that nobody has open, and that this build reads.
    Closed,
}

/// Looks at a store from outside and changes nothing. Whether its records are whole is seen when it is opened.
///
/// While it looks, for microseconds, a store that is being opened finds the directory locked.
pub fn look(dir: &Path) -> Result<Look, StoreError> {
    let lock = dir.join(LOCK);
    let lock = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Look::Absent),
        Err(error) => return Err(StoreError::io("opening", &lock)(error)),
    };
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Look::InUse),
        Err(error) => return Err(StoreError::io("locking", dir)(error.into())),
    }
    Ok(if has_format(dir)? {
        Look::Closed
    } else {
        Look::Absent
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Store, StoreOptions};

    #[test]
    fn a_store_is_seen_from_outside() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        assert_eq!(look(&dir).unwrap(), Look::Absent);
        let store = Store::open(&dir, StoreOptions::default()).unwrap();
        assert_eq!(look(&dir).unwrap(), Look::InUse);
        store.close().unwrap();
        drop(store);
        assert_eq!(look(&dir).unwrap(), Look::Closed);
        fs::write(dir.join("format"), "entia-store 999\n").unwrap();
        let error = look(&dir).unwrap_err();
        assert!(matches!(
            error,
            StoreError::FormatVersion { found: 999, .. }
        ));
        fs::remove_file(dir.join("format")).unwrap();
        assert!(look(&dir).is_err(), "an engine without its format");
    }
}

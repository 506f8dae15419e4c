use std::fs::File;
use std::path::Path;

use entia_storage::{Look, look};

use crate::doctor::Finding;
use crate::output::bytes;

/// A node's directory, from outside: whether its records are whole is seen when a node opens it.
pub(crate) fn check(dir: &Path) -> Vec<Finding> {
    vec![store(dir), disk(dir), artifacts(dir)]
}

fn store(dir: &Path) -> Finding {
    let shown = dir.display();
    match look(dir) {
        Ok(Look::InUse) => Finding::ok("store", format!("{shown} is open in a running node")),
        Ok(Look::Closed) => Finding::ok(
            "store",
            format!("{shown} has a store that no node has open"),
        ),
        Ok(Look::Absent) => Finding::warn(
            "store",
            format!("{shown} has no store"),
            "a node that is started on it makes one; is it the right directory?",
        ),
        Err(error) => Finding::fail(
            "store",
            error.to_string(),
            "restore it from a copy, or name another directory; nothing was changed",
        ),
    }
}

fn disk(dir: &Path) -> Finding {
    let free = match rustix::fs::statvfs(existing(dir)) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let message = format!("it is not known what is free: {error}");
            return Finding::warn("disk", message, "check that the directory can be read");
        }
    };
    enough(free)
}

fn enough(free: u64) -> Finding {
    let message = format!("{} free", bytes(free));
    let next = "make room: without it no command of a durable kind is answered";
    match free {
        ..FREE_BYTES_MIN => Finding::fail("disk", message, next),
        FREE_BYTES_MIN..FREE_BYTES_GOOD => Finding::warn("disk", message, next),
        _ => Finding::ok("disk", message),
    }
}

/// The compiled components are a cache beside the store, and the node writes there with every deployment.
fn artifacts(dir: &Path) -> Finding {
    let dir = existing(&dir.join("artifacts")).to_owned();
    let probe = dir.join(format!(".entia-doctor-{}", std::process::id()));
    let written = File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    match written {
        Ok(()) => Finding::ok("artifacts", format!("{} can be written", dir.display())),
        Err(error) => Finding::fail(
            "artifacts",
            format!("{} cannot be written: {error}", dir.display()),
            "give the node's user the right to write there",
        ),
    }
}

/// The directory, or the one above it that there is already.
fn existing(dir: &Path) -> &Path {
    let above = dir.ancestors().find(|dir| dir.is_dir());
    above.unwrap_or(Path::new("."))
}

/// The largest component and what is compiled of it.
const FREE_BYTES_MIN: u64 = 256 << 20;
const FREE_BYTES_GOOD: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_the_one_above() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        let findings = check(&dir);
        assert_eq!(findings[0].status, Status::Warn);
        assert_eq!(findings[2].status, Status::Ok);
        assert_eq!(
            std::fs::read_dir(parent.path()).unwrap().count(),
            0,
            "nothing is left"
        );
    }

    #[test]
    fn a_store_of_another_format_and_a_disk_that_is_full_fail() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        std::fs::write(dir.path().join("format"), "entia-store 999\n").unwrap();
        let finding = store(dir.path());
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.message.contains("999"), "{}", finding.message);

        let statuses = [0, FREE_BYTES_MIN, FREE_BYTES_GOOD].map(|free| enough(free).status);
        assert_eq!(statuses, [Status::Fail, Status::Warn, Status::Ok]);
    }
}

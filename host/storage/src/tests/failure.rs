use std::process::Command;
use std::sync::atomic::Ordering;

use super::*;

#[test]
fn after_one_failed_commit_none_is_taken_and_reads_go_on() {
    let (store, dir) = new_store();
    store.commit_and_wait(put("alice", "one")).unwrap();
    store.engine().broken.store(true, Ordering::SeqCst);
    let error = store.commit_and_wait(put("alice", "two")).unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");

    store.engine().broken.store(false, Ordering::SeqCst);
    let error = store.commit_and_wait(put("alice", "three")).unwrap_err();
    assert!(
        error.to_string().contains("the test broke the disk"),
        "{error}"
    );
    assert!(
        store
            .put_kind(&kind_record("counter", store.put_component(b"c").unwrap()))
            .is_err()
    );
    assert_eq!(text(&store, "alice").as_deref(), Some("one"));
    assert_eq!(store.last_sequence(), 1);
    assert!(store.failure().is_some());
    assert!(store.close().is_err());

    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.commit_and_wait(put("alice", "two")).unwrap(), 2);
}

#[test]
fn a_closed_store_answers_every_commit_and_still_reads() {
    let (store, _dir) = new_store();
    let waiting = queue(&store, put("alice", "one"));
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(waiting.recv().unwrap().unwrap(), 1);
    let error = store.commit_and_wait(put("alice", "two")).unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
    assert_eq!(text(&store, "alice").as_deref(), Some("one"));
}

#[test]
fn a_callback_that_panics_leaves_nobody_waiting() {
    let (store, _dir) = new_store();
    store.commit(
        put("alice", "one"),
        Box::new(|_| panic!("a bug in a callback")),
    );
    while !matches!(
        store.commit_and_wait(put("alice", "two")),
        Err(StoreError::Closed)
    ) {}
    assert!(store.close().is_err());
}

/// A tmpfs that is unmounted at the end of the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "entia-small-disk"])
            .arg(dir.path())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_fails_the_store_and_loses_nothing_acknowledged() {
    let Some(disk) = SmallDisk::mount("size=4m") else {
        eprintln!("SKIPPED: a full disk needs a tmpfs, and only root can mount one");
        return;
    };
    let store = open(disk.0.path()).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let commit = put(&format!("key-{acknowledged}"), &"x".repeat(100 << 10));
        match store.commit_and_wait(commit) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100, "4 MiB hold less");
    };
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    assert!(acknowledged > 5);
    assert!(store.commit_and_wait(put("alice", "one")).is_err());
    assert!(text(&store, "key-0").is_some(), "reads go on");
    drop(store);

    let remount = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(disk.0.path())
        .status();
    assert!(remount.unwrap().success());
    let store = open(disk.0.path()).unwrap();
    assert!(store.last_sequence() >= acknowledged);
    for number in 0..acknowledged {
        assert!(text(&store, &format!("key-{number}")).is_some(), "{number}");
    }
}

use entia_protocol::record;

use super::*;
use crate::home::Home;
use crate::keys;
use crate::watermark::{Reading, Watermark};

fn watermark(dir: &Path) -> Reading {
    Watermark::read(&dir.join("watermark")).unwrap()
}

#[test]
fn a_closed_store_reopens_with_everything_and_goes_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for number in 0..100 {
        let key = format!("key-{number}");
        store.commit_and_wait(turn(&key, &key, "a")).unwrap();
    }
    store.close().unwrap();
    drop(store);
    assert_eq!(watermark(dir.path()), Reading::Sequence(100));

    let store = open(dir.path()).unwrap();
    assert_eq!(store.last_sequence(), 100);
    for number in 0..100 {
        let key = format!("key-{number}");
        assert_eq!(text(&store, &key), Some(key));
    }
    assert_eq!(store.commit_and_wait(put("alice", "one")).unwrap(), 101);
}

#[test]
fn a_killed_store_reopens_with_everything_acknowledged() {
    let (store, dir) = new_store();
    let answers: Vec<_> = (0..200)
        .map(|number| queue(&store, turn(&format!("key-{number}"), "x", "a")))
        .collect();
    for answer in answers {
        answer.recv().unwrap().unwrap();
    }
    let image = crash_image(dir.path());
    assert_eq!(watermark(image.path()), Reading::Sequence(200));
    let killed = open(image.path()).unwrap();
    assert_eq!(killed.last_sequence(), 200);
    for number in 0..200 {
        assert_eq!(
            text(&killed, &format!("key-{number}")).as_deref(),
            Some("x")
        );
    }
}

#[test]
fn the_watermark_is_never_ahead_of_what_is_durable() {
    let (store, dir) = new_store();
    for number in 1..=20u64 {
        let (sender, receiver) = channel();
        let path = dir.path().join("watermark");
        store.commit(
            put("alice", "x"),
            // Within the callback: acknowledged is written, and nothing is written before it is durable.
            Box::new(move |outcome| {
                let reading = Watermark::read(&path).unwrap();
                sender.send((outcome.unwrap(), reading)).unwrap();
            }),
        );
        assert_eq!(
            receiver.recv().unwrap(),
            (number, Reading::Sequence(number))
        );
    }
}

#[test]
fn a_watermark_that_is_behind_catches_up() {
    let (store, dir) = new_store();
    store.commit_and_wait(put("alice", "one")).unwrap();
    let old = fs::read(dir.path().join("watermark")).unwrap();
    store.commit_and_wait(put("alice", "two")).unwrap();
    store.commit_and_wait(put("alice", "three")).unwrap();
    let image = crash_image(dir.path());
    fs::write(image.path().join("watermark"), old).unwrap();

    let killed = open(image.path()).unwrap();
    assert_eq!(killed.last_sequence(), 3);
    assert_eq!(watermark(image.path()), Reading::Sequence(3));
    assert_eq!(text(&killed, "alice").as_deref(), Some("three"));
}

#[test]
fn two_stores_in_one_process_do_not_meet() {
    let (one, _one) = new_store();
    let (other, _other) = new_store();
    one.commit_and_wait(put("alice", "one")).unwrap();
    assert_eq!(text(&other, "alice"), None);
}

#[test]
fn a_store_is_open_once() {
    let (store, dir) = new_store();
    assert!(matches!(open(dir.path()), Err(StoreError::Locked { .. })));
    store.close().unwrap();
    assert!(
        matches!(open(dir.path()), Err(StoreError::Locked { .. })),
        "a closed store still reads"
    );
    drop(store);
    open(dir.path()).unwrap();
}

#[test]
fn another_format_is_refused_by_its_number_and_nonsense_by_its_text() {
    let (store, dir) = new_store();
    store.commit_and_wait(put("alice", "one")).unwrap();
    drop(store);
    let format = dir.path().join("format");

    fs::write(&format, "entia-store 7\n").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::FormatVersion {
                found: 7,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    for nonsense in [&[0xff, 0xfe][..], b"hello", b"entia-store one", b""] {
        fs::write(&format, nonsense).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    fs::remove_file(&format).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt { .. })));

    fs::write(&format, "entia-store 1\n").unwrap();
    assert_eq!(
        text(&open(dir.path()).unwrap(), "alice").as_deref(),
        Some("one")
    );
}

#[test]
fn the_last_handle_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let other = store.clone();
    drop(store);
    let answer = queue(&other, put("alice", "one"));
    drop(other);
    assert_eq!(answer.recv().unwrap().unwrap(), 1);
    assert_eq!(
        text(&open(dir.path()).unwrap(), "alice").as_deref(),
        Some("one")
    );
}

#[test]
fn a_callback_may_hold_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (sender, receiver) = channel();
    let (dropped, is_dropped) = channel::<()>();
    let held = store.clone();
    store.commit(
        put("alice", "one"),
        Box::new(move |outcome| {
            is_dropped.recv().unwrap();
            drop(held);
            sender.send(outcome).unwrap();
        }),
    );
    drop(store);
    dropped.send(()).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap(), 1);
    // The committer is on its way out and unlocks the directory last.
    let started = std::time::Instant::now();
    while let Err(error) = open(dir.path()) {
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        assert!(started.elapsed().as_secs() < 60, "{error}");
    }
}

/// The directory of a build that had four keyspaces, with one entity.
fn older_store() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let database = fjall::Database::builder(home.engine())
        .journal_compression(fjall::CompressionType::None)
        .open()
        .unwrap();
    let [states, _, _, meta] = ["states", "idempotency", "kinds", "meta"]
        .map(|name| database.keyspace(name, Default::default).unwrap());
    let alice = keys::state(&counter("alice"));
    let mut batch = database
        .batch()
        .durability(Some(fjall::PersistMode::SyncAll));
    batch.insert(&states, &*alice, record::seal(&alice, 1, &state("one")));
    let sequence = record::seal(keys::SEQUENCE, 1, &());
    batch.insert(&meta, keys::SEQUENCE, sequence);
    batch.commit().unwrap();
    Watermark::reset(&home.watermark(), 1).unwrap();
    dir
}

#[test]
fn a_store_of_a_build_without_timers_and_messages_opens_and_gets_them() {
    let dir = older_store();
    let store = open(dir.path()).unwrap();
    let stored = store.load(&counter("alice")).unwrap().unwrap();
    assert_eq!(stored.state, Some(state("one")));
    assert!(stored.timers.is_empty() && stored.sends.is_empty());
    assert!(wakes(&store).is_empty());
    assert_eq!(store.previous_kind(&kind("counter")).unwrap(), None);

    let commit = EntityCommit {
        timers: vec![("tick".to_owned(), Some(timer("tick", 5)))],
        sends: vec![(1, Some(send(1)))],
        wake: woken(None, 5),
        ..keep("alice")
    };
    assert_eq!(store.commit_and_wait(commit).unwrap(), 2);
    let image = crash_image(dir.path());
    drop(store);
    for dir in [dir.path(), image.path()] {
        let store = open(dir).unwrap();
        let stored = store.load(&counter("alice")).unwrap().unwrap();
        assert_eq!(stored.state, Some(state("one")));
        assert_eq!(stored.timers, [timer("tick", 5)]);
        assert_eq!(stored.sends, [send(1)]);
        assert_eq!(wakes(&store), [(5, counter("alice"))]);
    }
}

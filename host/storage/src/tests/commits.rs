use std::collections::BTreeSet;
use std::sync::mpsc::channel;

use super::*;

#[test]
fn what_was_committed_is_loaded() {
    let (store, _dir) = new_store();
    assert_eq!(store.load(&counter("alice")).unwrap(), None);
    let sequence = store
        .commit_and_wait(turn("alice", "one", "order-1"))
        .unwrap();
    assert_eq!(sequence, 1);
    let stored = store.load(&counter("alice")).unwrap().unwrap();
    assert_eq!(stored.sequence, 1);
    assert_eq!(stored.state, Some(state("one")));
    assert_eq!(stored.idempotency, [command("order-1")]);
    assert_eq!(store.last_sequence(), 1);
}

#[test]
fn an_entity_may_remember_commands_without_having_a_state() {
    let (store, _dir) = new_store();
    let commit = EntityCommit {
        remembered: vec![command("order-1")],
        ..keep("alice")
    };
    store.commit_and_wait(commit).unwrap();
    let stored = store.load(&counter("alice")).unwrap().unwrap();
    assert_eq!((stored.sequence, stored.state), (1, None));
    assert_eq!(stored.idempotency, [command("order-1")]);
}

#[test]
fn an_entitys_sequence_is_that_of_its_newest_record() {
    let (store, _dir) = new_store();
    store.commit_and_wait(put("alice", "one")).unwrap();
    store.commit_and_wait(put("bob", "one")).unwrap();
    let commit = EntityCommit {
        remembered: vec![command("order-1")],
        ..keep("alice")
    };
    store.commit_and_wait(commit).unwrap();
    let stored = store.load(&counter("alice")).unwrap().unwrap();
    assert_eq!(stored.sequence, 3);
    assert_eq!(stored.state, Some(state("one")), "kept");
}

#[test]
fn a_command_leaves_when_it_is_forgotten() {
    let (store, _dir) = new_store();
    store.commit_and_wait(turn("alice", "one", "a")).unwrap();
    let commit = EntityCommit {
        forgotten: vec![command("a").id],
        ..turn("alice", "two", "b")
    };
    store.commit_and_wait(commit).unwrap();
    let stored = store.load(&counter("alice")).unwrap().unwrap();
    assert_eq!(stored.idempotency, [command("b")]);
}

#[test]
fn deleting_removes_the_state_and_every_remembered_command_and_nothing_of_others() {
    let (store, _dir) = new_store();
    for key in ["alice", "alic", "alice\0", "alicea"] {
        store.commit_and_wait(turn(key, key, "a")).unwrap();
        store.commit_and_wait(turn(key, key, "b")).unwrap();
    }
    store
        .commit_and_wait(EntityCommit::delete(counter("alice")))
        .unwrap();
    assert_eq!(store.load(&counter("alice")).unwrap(), None);
    for key in ["alic", "alice\0", "alicea"] {
        let stored = store.load(&counter(key)).unwrap().unwrap();
        assert_eq!(stored.idempotency.len(), 2, "{key:?}");
    }
}

#[test]
fn callbacks_run_in_the_order_of_the_sequences() {
    let (store, _dir) = new_store();
    let (sender, receiver) = channel();
    for number in 0..500u64 {
        let sender = sender.clone();
        store.commit(
            put("alice", &number.to_string()),
            Box::new(move |outcome| sender.send((number, outcome.unwrap())).unwrap()),
        );
    }
    for number in 0..500 {
        assert_eq!(receiver.recv().unwrap(), (number, number + 1));
    }
    assert_eq!(text(&store, "alice").as_deref(), Some("499"));
}

/// Holds the committer in a callback until the returned sender is dropped or used, so that what is queued meanwhile is
/// one group.
pub(super) fn hold_the_committer(store: &Store) -> std::sync::mpsc::Sender<()> {
    let (held, is_held) = channel();
    let (release, released) = channel::<()>();
    store.commit(
        put("gate", "closed"),
        Box::new(move |_| {
            held.send(()).unwrap();
            let _ = released.recv();
        }),
    );
    is_held.recv().unwrap();
    release
}

#[test]
fn what_waits_becomes_one_group() {
    let (store, _dir) = new_store();
    let release = hold_the_committer(&store);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let store = &store;
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    (0..50)
                        .map(|number| queue(store, put(&format!("{thread}-{number}"), "x")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    drop(release);
    let sequences: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.recv().unwrap().unwrap())
        .collect();
    assert_eq!(sequences, (2..=401).collect());
    assert_eq!(store.stats().groups, 2, "the gate and all the others");
    assert_eq!(store.stats().sequence, 401);
}

#[test]
fn within_one_group_the_last_write_to_a_key_counts() {
    let (store, _dir) = new_store();
    store.commit_and_wait(turn("bob", "old", "stored")).unwrap();
    let release = hold_the_committer(&store);
    let answers = [
        queue(&store, turn("alice", "one", "a")),
        queue(&store, turn("alice", "two", "b")),
        queue(&store, turn("bob", "new", "waiting")),
        queue(&store, EntityCommit::delete(counter("bob"))),
        queue(&store, EntityCommit::delete(counter("carol"))),
        queue(&store, turn("carol", "again", "c")),
    ];
    drop(release);
    let sequences = answers.map(|answer| answer.recv().unwrap().unwrap());
    assert_eq!(sequences, [3, 4, 5, 6, 7, 8]);

    let alice = store.load(&counter("alice")).unwrap().unwrap();
    assert_eq!((alice.sequence, alice.state), (4, Some(state("two"))));
    assert_eq!(alice.idempotency.len(), 2);
    assert_eq!(store.load(&counter("bob")).unwrap(), None);
    let carol = store.load(&counter("carol")).unwrap().unwrap();
    assert_eq!((carol.sequence, carol.state), (8, Some(state("again"))));
}

#[test]
fn a_commit_that_is_too_large_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let roomy = StoreOptions {
        queue_bytes_max: 1 << 30,
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), roomy).unwrap();
    let release = hold_the_committer(&store);
    let before = queue(&store, put("alice", "one"));
    let mut large = put("bob", "");
    large.state = StateChange::Put(StoredState {
        bytes: vec![0; entia_protocol::record::BODY_BYTES_MAX],
        ..state("")
    });
    let refused = queue(&store, large);
    let after = queue(&store, put("carol", "one"));
    drop(release);
    assert_eq!(before.recv().unwrap().unwrap(), 2);
    let error = refused.recv().unwrap().unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    assert_eq!(after.recv().unwrap().unwrap(), 3);
    assert!(store.failure().is_none());
}

#[test]
fn the_largest_state_reads_back() {
    let (store, _dir) = new_store();
    let largest = StoredState::new(1, vec![7; 64 << 20], 1, 0);
    store
        .commit_and_wait(EntityCommit::put(counter("alice"), largest.clone()))
        .unwrap();
    let stored = store.load(&counter("alice")).unwrap().unwrap();
    assert!(stored.state == Some(largest));
}

use super::*;

fn with_component() -> (Store, TempDir, Digest) {
    let (store, dir) = new_store();
    let digest = store.put_component(b"component").unwrap();
    (store, dir, digest)
}

#[test]
fn kinds_are_listed_by_name_and_survive() {
    let (store, dir, digest) = with_component();
    for name in ["counter", "account"] {
        store.put_kind(&kind_record(name, digest)).unwrap();
    }
    let mut second = kind_record("counter", digest);
    second.version = 2;
    store.put_kind(&second).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(
        store.kinds().unwrap(),
        [kind_record("account", digest), second]
    );
}

#[test]
fn a_kind_with_entities_goes_only_together_with_them() {
    let (store, _dir, digest) = with_component();
    for name in ["counter", "counter-2"] {
        store.put_kind(&kind_record(name, digest)).unwrap();
    }
    let other = EntityId::new(kind("counter-2"), "bob").unwrap();
    store
        .commit_and_wait(EntityCommit::put(other.clone(), state("x")))
        .unwrap();
    let answers: Vec<_> = (0..1_500)
        .map(|number| queue(&store, turn(&number.to_string(), "x", "a")))
        .collect();
    for answer in answers {
        answer.recv().unwrap().unwrap();
    }

    let error = store.remove_kind(&kind("counter"), false).unwrap_err();
    assert!(matches!(error, StoreError::KindInUse { .. }), "{error}");
    assert_eq!(store.kinds().unwrap().len(), 2);
    store.remove_kind(&kind("counter"), true).unwrap();
    assert_eq!(store.kinds().unwrap(), [kind_record("counter-2", digest)]);
    assert_eq!(store.load(&counter("7")).unwrap(), None);
    assert!(store.load(&other).unwrap().is_some());
}

#[test]
fn a_kind_whose_entities_only_remember_commands_is_in_use() {
    let (store, _dir, digest) = with_component();
    store.put_kind(&kind_record("counter", digest)).unwrap();
    let commit = EntityCommit {
        remembered: vec![command("a")],
        ..keep("bob")
    };
    store.commit_and_wait(commit).unwrap();
    let error = store.remove_kind(&kind("counter"), false).unwrap_err();
    assert!(matches!(error, StoreError::KindInUse { .. }), "{error}");
    store.remove_kind(&kind("counter"), true).unwrap();
    assert_eq!(store.load(&counter("bob")).unwrap(), None);
}

#[test]
fn a_kind_whose_entities_only_have_timers_or_messages_is_in_use() {
    let (store, _dir, digest) = with_component();
    let timers = EntityCommit {
        timers: vec![("tick".to_owned(), Some(timer("tick", 5)))],
        wake: woken(None, 5),
        ..keep("alice")
    };
    let sends = EntityCommit {
        sends: vec![(1, Some(send(1)))],
        wake: woken(None, 1_000),
        ..keep("alice")
    };
    for commit in [timers, sends] {
        store.put_kind(&kind_record("counter", digest)).unwrap();
        let due_ms = commit.wake.after.unwrap();
        store.commit_and_wait(commit).unwrap();
        let error = store.remove_kind(&kind("counter"), false).unwrap_err();
        assert!(matches!(error, StoreError::KindInUse { .. }), "{error}");
        assert!(store.load(&counter("alice")).unwrap().is_some());
        store.remove_kind(&kind("counter"), true).unwrap();
        assert_eq!(store.load(&counter("alice")).unwrap(), None);

        // The hint stays, and goes as any stale one.
        assert_eq!(wakes(&store), [(due_ms, counter("alice"))]);
        let stale = EntityCommit {
            wake: woken(due_ms, None),
            ..keep("alice")
        };
        store.commit_and_wait(stale).unwrap();
        assert!(wakes(&store).is_empty());
        assert_eq!(store.load(&counter("alice")).unwrap(), None);
    }
}

#[test]
fn a_kind_keeps_the_last_record_that_ran_differently() {
    let (store, dir, digest) = with_component();
    let previous = |store: &Store| store.previous_kind(&kind("counter")).unwrap();
    let first = kind_record("counter", digest);
    store.put_kind(&first).unwrap();
    assert_eq!(previous(&store), None);

    let mut last = first;
    let changes: [fn(&mut KindRecord, Digest); 3] = [
        |kind, digest| kind.component = digest,
        |kind, _| kind.limits.payload_bytes_max += 1,
        |kind, _| drop(kind.config.insert("step".to_owned(), "3".to_owned())),
    ];
    let other = store.put_component(b"other").unwrap();
    for change in changes {
        let before = last.clone();
        last.version += 1;
        change(&mut last, other);
        store.put_kind(&last).unwrap();
        assert_eq!(previous(&store), Some(before.clone()));
        // Deployed again without a difference.
        last.version += 1;
        store.put_kind(&last).unwrap();
        assert_eq!(previous(&store), Some(before));
        assert_eq!(store.kinds().unwrap(), [last.clone()]);
    }

    let before = previous(&store).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(previous(&store), Some(before.clone()));
    assert_eq!(store.previous_kind(&kind("other")).unwrap(), None);
    // Going back is a deployment like any other.
    store.put_kind(&before).unwrap();
    assert_eq!(previous(&store), Some(last));
}

#[test]
fn the_previous_record_goes_with_its_kind_and_keeps_its_component_until_then() {
    let (store, _dir, first) = with_component();
    store.put_kind(&kind_record("counter", first)).unwrap();
    let second = store.put_component(b"second").unwrap();
    store.put_kind(&kind_record("counter", second)).unwrap();
    assert!(store.remove_unused_components().unwrap().is_empty());

    store.remove_kind(&kind("counter"), false).unwrap();
    assert_eq!(store.previous_kind(&kind("counter")).unwrap(), None);
    let mut removed = store.remove_unused_components().unwrap();
    removed.sort();
    let mut both = [first, second];
    both.sort();
    assert_eq!(removed, both);
}

#[test]
fn a_kind_needs_its_component() {
    let (store, _dir) = new_store();
    let error = store
        .put_kind(&kind_record("counter", Digest::of(b"other")))
        .unwrap_err();
    assert!(
        matches!(error, StoreError::ComponentMissing { .. }),
        "{error}"
    );
    assert!(store.kinds().unwrap().is_empty());
}

#[test]
fn a_component_is_stored_by_its_digest() {
    let (store, dir, digest) = with_component();
    assert_eq!(digest, Digest::of(b"component"));
    assert_eq!(store.put_component(b"component").unwrap(), digest);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(
        store.component(&digest).unwrap().as_deref(),
        Some(&b"component"[..])
    );
    assert_eq!(store.component(&Digest::of(b"other")).unwrap(), None);
}

#[test]
fn a_damaged_component_is_named_and_repaired_by_storing_it_again() {
    let (store, dir, digest) = with_component();
    let file = dir.path().join(format!("components/{digest}.wasm"));
    fs::write(&file, b"compOnent").unwrap();
    let error = store.component(&digest).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    store.put_component(b"component").unwrap();
    assert!(store.component(&digest).unwrap().is_some());
}

#[test]
fn components_that_no_kind_names_are_removed() {
    let (store, dir, used) = with_component();
    store.put_kind(&kind_record("counter", used)).unwrap();
    let unused = store.put_component(b"unused").unwrap();
    let unfinished = dir.path().join("components/half.tmp");
    let foreign = dir.path().join("components/README");
    fs::write(&unfinished, b"half").unwrap();
    fs::write(&foreign, b"not ours").unwrap();

    assert_eq!(store.remove_unused_components().unwrap(), [unused]);
    assert_eq!(store.component(&unused).unwrap(), None);
    assert!(store.component(&used).unwrap().is_some());
    assert!(!unfinished.exists() && foreign.exists());
}

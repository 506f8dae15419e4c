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

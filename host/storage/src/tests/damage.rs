use super::*;

/// The image of a killed store with 20 entities, each as long as its neighbours.
pub(super) fn image_of_twenty() -> TempDir {
    let (store, dir) = new_store();
    for number in 0..20 {
        store.commit_and_wait(entity(number)).unwrap();
    }
    let image = crash_image(dir.path());
    trim_journal(image.path());
    image
}

pub(super) fn entity(number: usize) -> EntityCommit {
    turn(&key(number), &format!("state of {number:02}"), "a")
}

pub(super) fn key(number: usize) -> String {
    format!("key-{number:02}")
}

/// Opens a damaged store and reads all of it: what comes is right, or an error by name.
pub(super) fn read_all(dir: &Path) -> Result<(), StoreError> {
    let store = open(dir)?;
    for number in 0..20 {
        let stored = store.load(&counter(&key(number)))?;
        let stored = stored.expect("an entity is gone without an error");
        assert_eq!(stored.state, Some(state(&format!("state of {number:02}"))));
        assert_eq!(stored.idempotency, [command("a")]);
    }
    let page = store.entities(&kind("counter"), "", None, 100)?;
    assert_eq!(page.entities.len(), 20);
    Ok(())
}

pub(super) fn flip(path: &Path, byte: usize, bit: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut value = [0];
    file.read_exact_at(&mut value, byte as u64).unwrap();
    file.write_all_at(&[value[0] ^ (1 << bit)], byte as u64)
        .unwrap();
}

#[test]
fn a_journal_cut_short_is_refused_until_the_loss_is_accepted() {
    let image = image_of_twenty();
    let journal = journal(image.path());
    let whole = used(&fs::read(&journal).unwrap());
    let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(whole as u64 - 10).unwrap();

    for _ in 0..2 {
        let error = open(image.path()).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Truncated {
                    have: 19,
                    expected: 20,
                    ..
                }
            ),
            "{error}"
        );
    }
    let store = Store::open(image.path(), accept_loss()).unwrap();
    assert_eq!(store.last_sequence(), 19);
    assert_eq!(text(&store, &key(18)).as_deref(), Some("state of 18"));
    assert_eq!(text(&store, &key(19)), None);
    assert_eq!(store.commit_and_wait(entity(19)).unwrap(), 20);
    drop(store);
    read_all(image.path()).unwrap();
}

#[test]
fn an_engine_that_is_gone_is_a_truncation() {
    let image = image_of_twenty();
    fs::remove_dir_all(image.path().join("engine")).unwrap();
    let error = open(image.path()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Truncated {
                have: 0,
                expected: 20,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_damaged_or_missing_watermark_is_refused_until_the_loss_is_accepted() {
    let image = image_of_twenty();
    let watermark = image.path().join("watermark");
    for bytes in [&b"neither slot"[..], &[0; 64], b""] {
        fs::write(&watermark, bytes).unwrap();
        let error = open(image.path()).unwrap_err();
        assert!(
            matches!(error, StoreError::WatermarkDamaged { .. }),
            "{error}"
        );
    }
    fs::remove_file(&watermark).unwrap();
    let error = open(image.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::WatermarkMissing { have: 20, .. }),
        "{error}"
    );
    drop(Store::open(image.path(), accept_loss()).unwrap());
    read_all(image.path()).unwrap();
}

#[test]
fn a_store_whose_creation_was_interrupted_opens() {
    let (store, dir) = new_store();
    drop(store);
    fs::remove_file(dir.path().join("watermark")).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn a_flipped_bit_in_the_journal_never_yields_wrong_data() {
    let image = image_of_twenty();
    let length = used(&fs::read(journal(image.path())).unwrap());
    let mut noticed = 0;
    // A prime step meets every field of the journal's entries; all bits of all bytes would take minutes.
    for byte in (0..length).step_by(151) {
        let damaged = crash_image(image.path());
        flip(&journal(damaged.path()), byte, byte % 8);
        match read_all(damaged.path()) {
            Ok(()) => {}
            Err(
                StoreError::Truncated { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Corrupt { .. },
            ) => noticed += 1,
            Err(other) => panic!("byte {byte}: {other}"),
        }
    }
    assert!(noticed > 0);
}

#[test]
fn a_flipped_bit_in_a_table_never_yields_wrong_data() {
    let (store, dir) = new_store();
    for number in 0..20 {
        store.commit_and_wait(entity(number)).unwrap();
    }
    store.engine().flush_to_tables();
    drop(store);
    trim_journal(dir.path());
    let tables = files_below(&dir.path().join("engine/keyspaces"));
    let mut noticed = 0;
    for (index, table) in tables.iter().enumerate() {
        let relative = table.strip_prefix(dir.path()).unwrap();
        let length = used(&fs::read(table).unwrap());
        for byte in (index % 7..length).step_by(211) {
            let damaged = crash_image(dir.path());
            flip(&damaged.path().join(relative), byte, byte % 8);
            match read_all(damaged.path()) {
                Ok(()) => {}
                Err(
                    StoreError::Truncated { .. }
                    | StoreError::Unreadable { .. }
                    | StoreError::Corrupt { .. }
                    | StoreError::Read { .. },
                ) => noticed += 1,
                Err(other) => panic!("{} byte {byte}: {other}", relative.display()),
            }
        }
    }
    assert!(noticed > 0);
}

pub(super) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn a_record_that_is_not_what_was_written_is_named() {
    use crate::engine::Table;
    use entia_protocol::record;

    let (store, _dir) = new_store();
    let alice = crate::keys::state(&counter("alice"));
    let write = |bytes: Vec<u8>| {
        let write = (Table::States, alice.clone(), Some(bytes));
        store.engine().write(std::iter::once(write)).unwrap();
        store.load(&counter("alice")).unwrap_err()
    };
    let sealed = record::seal(&alice, 1, &state("one"));
    for bit in [0, 77, sealed.len() * 8 - 1] {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = write(flipped).to_string();
        assert!(error.contains(r#"states "counter/alice""#), "{error}");
    }
    // A right frame around a state that is not the one of its digest.
    let mut other = state("one");
    other.bytes = b"two".to_vec();
    let error = write(record::seal(&alice, 1, &other)).to_string();
    assert!(error.contains("digest"), "{error}");
    // Another entity's record.
    let bob = crate::keys::state(&counter("bob"));
    let error = write(record::seal(&bob, 1, &state("one"))).to_string();
    assert!(error.contains("checksum"), "{error}");
}

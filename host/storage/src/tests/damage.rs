use entia_protocol::record;

use super::*;
use crate::engine::Table;

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

/// A commit with a record in every table of entities.
pub(super) fn entity(number: usize) -> EntityCommit {
    EntityCommit {
        timers: vec![("tick".to_owned(), Some(timer("tick", due_ms(number))))],
        sends: vec![(7, Some(send(7)))],
        wake: woken(None, due_ms(number)),
        ..turn(&key(number), &format!("state of {number:02}"), "a")
    }
}

fn due_ms(number: usize) -> u64 {
    100 + number as u64
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
        assert_eq!(stored.timers, [timer("tick", due_ms(number))]);
        assert_eq!(stored.sends, [send(7)]);
    }
    let wakes = store.wakes(None, u64::MAX, 100)?;
    let expected = (0..20).map(|number| (due_ms(number), counter(&key(number))));
    assert!(wakes.into_iter().eq(expected));
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
    for byte in (0..length).step_by(307) {
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
        for byte in (index % 7..length).step_by(421) {
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

/// Reads what the table in question has, and names what is wrong with it.
type Read = fn(&Store) -> Result<(), StoreError>;

#[test]
fn a_flipped_bit_in_a_record_of_any_table_is_named() {
    let (store, _dir) = new_store();
    let mut kind_record = kind_record("counter", store.put_component(b"component").unwrap());
    store.put_kind(&kind_record).unwrap();
    kind_record.config.clear();
    store.put_kind(&kind_record).unwrap();
    store.commit_and_wait(entity(1)).unwrap();

    let load: Read = |store| store.load(&counter(&key(1))).map(drop);
    let wakes: Read = |store| store.wakes(None, u64::MAX, 1).map(drop);
    let kinds: Read = |store| store.kinds().map(drop);
    let previous: Read = |store| store.previous_kind(&kind("counter")).map(drop);
    let unused: Read = |store| store.remove_unused_components().map(drop);
    for (table, read, name) in [
        (Table::States, load, r#"states "counter/key-01""#),
        (Table::Idempotency, load, r#"idempotency "counter/key-01""#),
        (Table::Timers, load, r#"timers "counter/key-01 tick""#),
        (Table::Sends, load, r#"sends "counter/key-01 7""#),
        (Table::Wakes, wakes, r#"wakes "counter/key-01 101""#),
        (Table::Kinds, kinds, r#"kinds "counter""#),
        (
            Table::KindsPrevious,
            previous,
            r#"kinds_previous "counter""#,
        ),
        (Table::KindsPrevious, unused, r#"kinds_previous "counter""#),
    ] {
        let (key, whole) = store.engine().view().all(table).next().unwrap().unwrap();
        let write = |bytes: &[u8]| {
            let write = (table, key.to_vec(), Some(bytes.to_vec()));
            store.engine().write(std::iter::once(write)).unwrap();
        };
        read(&store).unwrap();
        for bit in [0, 77, whole.len() * 8 - 1] {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            write(&flipped);
            let error = read(&store).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        write(&whole);
        read(&store).unwrap();
    }
}

#[test]
fn a_wake_that_is_found_under_another_key_is_named() {
    let (store, _dir) = new_store();
    let alice = counter("alice");
    let row = record::seal(&crate::keys::wake(5, &alice), 1, &());
    for key in [
        crate::keys::wake(6, &alice),
        crate::keys::wake(5, &counter("bob")),
        b"no wake".to_vec(),
    ] {
        let write = |bytes| {
            let write = (Table::Wakes, key.clone(), bytes);
            store.engine().write(std::iter::once(write)).unwrap();
        };
        write(Some(row.clone()));
        let error = store.wakes(None, u64::MAX, 1).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
        write(None);
    }
    let key = b"no wake".to_vec();
    let write = (Table::Wakes, key.clone(), Some(record::seal(&key, 1, &())));
    store.engine().write(std::iter::once(write)).unwrap();
    let error = store.wakes(None, u64::MAX, 1).unwrap_err().to_string();
    assert!(error.contains("not an entity's"), "{error}");
}

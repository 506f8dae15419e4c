use super::damage::{entity, files_below, flip, image_of_twenty, read_all};
use super::*;

/// Where the batches of a journal begin: Start markers of batches whose first item follows.
fn batches(journal: &[u8]) -> Vec<usize> {
    (0..used(journal) - START_BYTES)
        .filter(|at| *at == 0 || journal[..*at].ends_with(b"FJL\x03"))
        .filter(|at| journal[*at] == 1 && journal[at + START_BYTES] == 2)
        .collect()
}

fn seqno(journal: &[u8], batch: usize) -> u64 {
    let bytes = &journal[batch + SEQNO_AT..batch + START_BYTES];
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// The refusal of a store, which names the file and the place.
fn assert_refused(dir: &Path, words: &[&str]) {
    let before = contents(dir);
    let error = open(dir).unwrap_err();
    let StoreError::Unreadable { message, .. } = &error else {
        panic!("{error:?}");
    };
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(contents(dir) == before, "a file was changed");
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files_below(&dir.join("engine"));
    files.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    files.into_iter().map(read).collect()
}

#[test]
fn a_batch_whose_number_a_flipped_bit_lowered_is_refused_by_its_place() {
    let image = image_of_twenty();
    let path = journal(image.path());
    let bytes = fs::read(&path).unwrap();
    let batches = batches(&bytes);
    assert!(batches.len() >= 20, "{batches:?}");
    for batch in [batches[batches.len() / 2], batches[batches.len() - 1]] {
        let damaged = crash_image(image.path());
        let bit = seqno(&bytes, batch).ilog2() as usize;
        flip(
            &journal(damaged.path()),
            batch + SEQNO_AT + bit / 8,
            bit % 8,
        );
        let place = format!("the batch at {batch} has number");
        assert_refused(damaged.path(), &[".jnl", &place, " after one with "]);
    }
    read_all(image.path()).unwrap();
}

#[test]
fn a_batch_whose_number_or_count_a_flipped_bit_raised_is_refused() {
    let image = image_of_twenty();
    let bytes = fs::read(journal(image.path())).unwrap();
    let batches = batches(&bytes);
    let (middle, next) = (batches[batches.len() / 2], batches[batches.len() / 2 + 1]);
    let last = batches[batches.len() - 1];
    for (byte, bit, place) in [
        (middle + SEQNO_AT + 4, 3, next),
        (last + START_BYTES - 1, 7, last),
        (middle + 1, 6, middle),
    ] {
        let damaged = crash_image(image.path());
        flip(&journal(damaged.path()), byte, bit);
        let place = format!("the batch at {place} ");
        assert_refused(damaged.path(), &[".jnl", &place]);
    }
}

#[test]
fn numbers_rise_across_flushes_compactions_restarts_and_kills() {
    let mut dir = tempfile::tempdir().unwrap();
    for round in 0..12 {
        let store = open(dir.path()).unwrap();
        for number in 0..20 {
            store.commit_and_wait(entity(number)).unwrap();
            if number == round {
                store.engine().flush_to_tables();
                let delete = EntityCommit::delete(counter("key-00"));
                store.commit_and_wait(delete).unwrap();
            }
        }
        store.commit_and_wait(entity(0)).unwrap();
        // Later, a compaction might change the files while they are copied.
        let image = (round == 1).then(|| crash_image(dir.path()));
        drop(store);
        dir = image.unwrap_or(dir);
        read_all(dir.path()).unwrap();
    }
}

#[test]
fn numbers_rise_from_one_journal_to_the_next() {
    let image = image_of_twenty();
    let path = journal(image.path());
    let bytes = fs::read(&path).unwrap();
    let batches = batches(&bytes);
    let split = batches[batches.len() / 2];
    let id: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let next = path.with_file_name(format!("{}.jnl", id + 9));
    fs::write(&path, &bytes[..split]).unwrap();
    fs::write(&next, &bytes[split..]).unwrap();

    let damaged = crash_image(image.path());
    let bit = seqno(&bytes, split).ilog2() as usize;
    let copy = damaged
        .path()
        .join(next.strip_prefix(image.path()).unwrap());
    flip(&copy, SEQNO_AT + bit / 8, bit % 8);
    let file = format!("{}.jnl", id + 9);
    assert_refused(damaged.path(), &[&file, "the batch at 0 has number"]);
    read_all(image.path()).unwrap();
}

#[test]
fn a_flipped_bit_in_a_list_of_tables_or_in_its_hash_is_refused_by_the_name_of_the_list() {
    let (store, dir) = new_store();
    for number in 0..20 {
        store.commit_and_wait(entity(number)).unwrap();
    }
    store.engine().flush_to_tables();
    drop(store);
    trim_journal(dir.path());
    let files = files_below(&dir.path().join("engine/keyspaces"));
    let currents = files.iter().filter(|path| path.ends_with("current"));
    // Versions before the current one may lie around, and mean nothing.
    let lists: Vec<_> = currents
        .flat_map(|current| {
            let id = fs::read(current).unwrap()[..8].try_into().unwrap();
            let list = format!("v{}", u64::from_le_bytes(id));
            [current.clone(), current.with_file_name(list)]
        })
        .collect();
    assert!(lists.len() >= 10, "{lists:?}");
    for (index, list) in lists.iter().enumerate() {
        let damaged = crash_image(dir.path());
        let copy = damaged.path().join(list.strip_prefix(dir.path()).unwrap());
        let length = fs::read(&copy).unwrap().len();
        let keyspace = copy.parent().unwrap().display().to_string();
        for byte in (index % 3..length).step_by(7) {
            flip(&copy, byte, byte % 8);
            assert_refused(damaged.path(), &[&keyspace]);
            flip(&copy, byte, byte % 8);
        }
        let file = fs::OpenOptions::new().write(true).open(&copy).unwrap();
        file.set_len(length as u64 - 1).unwrap();
        assert_refused(damaged.path(), &[&keyspace]);
        fs::remove_file(&copy).unwrap();
        // Without tables, it is a keyspace whose creation was interrupted.
        let tables = copy.with_file_name("tables");
        if !copy.ends_with("current") || fs::read_dir(tables).unwrap().next().is_some() {
            assert_refused(damaged.path(), &[&keyspace, "missing"]);
        }
    }
    read_all(dir.path()).unwrap();
}

const SEQNO_AT: usize = 5;
const START_BYTES: usize = 13;

//! A node on a disk that is damaged, full or read-only names what is wrong, loses nothing acknowledged in silence, and serves
//! what it can.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use entia_tests::{Answer, Node, NodeOptions, Wire, guest};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_its_watermark_is_refused_until_the_loss_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let options = NodeOptions::new(&data);
    let node = start_with_counter(&options);
    count(&node, 1..=3).await;
    assert!(node.stop().success());
    let older = dir.path().join("older");
    copy(&data.join("engine"), &older);
    let node = options.start();
    count(&node, 4..=5).await;
    assert!(node.stop().success());
    fs::remove_dir_all(data.join("engine")).unwrap();
    fs::rename(&older, data.join("engine")).unwrap();

    for _ in 0..2 {
        let said = refusal(&options);
        assert_eq!(commits_lost(&said), Some(2), "{said}");
        assert!(said.contains("--accept-loss"), "{said}");
    }
    let node = options.clone().flag("--accept-loss").start();
    assert_eq!(value(&node).await, 3);
    count(&node, 4..=4).await;
    assert!(node.stop().success());
    let node = options.start();
    assert_eq!(value(&node).await, 4, "the loss is accepted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_with_a_torn_tail_is_refused_by_the_commits_that_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let options = NodeOptions::new(&data);
    let node = start_with_counter(&options);
    count(&node, 1..=5).await;
    node.kill();
    let journal = trimmed_journal(&data);
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();

    let said = refusal(&options);
    assert_eq!(commits_lost(&said), Some(1), "{said}");
    let node = options.clone().flag("--accept-loss").start();
    assert_eq!(value(&node).await, 4);
    count(&node, 5..=5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_field_of_a_stored_record_never_yields_wrong_data() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = start_with_counter(&NodeOptions::new(&data));
    count(&node, 1..=3).await;
    let other = increment(&node.wire(), "counter/other", "1").await;
    assert_eq!(other.body, 1);
    node.kill();
    let journal = trimmed_journal(&data);
    let name = journal.strip_prefix(&data).unwrap();
    let fields = fields_of_a_record(&fs::read(&journal).unwrap());
    assert!(fields.len() > 14, "{fields:?}");

    let mut noticed = 0;
    for (index, (field, byte)) in fields.iter().enumerate() {
        let damaged = tempfile::tempdir().unwrap();
        let image = damaged.path().join("data");
        copy(&data, &image);
        flip(&image.join(name), *byte, index % 8);
        match try_start(&NodeOptions::new(&image)) {
            Err(said) => {
                assert!(names_damage(&said), "{field}: {said}");
                noticed += 1;
            }
            Ok(node) => {
                let mut refused = 0;
                for (entity, expected) in [("counter/a", 3), ("counter/other", 1)] {
                    let answer = node.wire().call(&format!("{entity}/value"), "").await;
                    let right = answer.status == 200 && answer.body == expected;
                    assert!(right || is_refused(&answer), "{field}: {answer:?}");
                    refused += usize::from(!right);
                }
                noticed += refused.min(1);
            }
        }
    }
    assert_eq!(noticed, fields.len(), "every flipped bit is noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_number_in_the_journal_was_lowered_is_not_lost_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let options = NodeOptions::new(&data);
    let node = start_with_counter(&options);
    count(&node, 1..=3).await;
    let other = increment(&node.wire(), "counter/other", "1").await;
    assert_eq!(other.body, 1);
    node.kill();
    let journal = trimmed_journal(&data);
    let bytes = fs::read(&journal).unwrap();
    let key = b"counter\0a\x01\0";
    let keys = (0..bytes.len() - key.len()).filter(|at| bytes[*at..].starts_with(key));
    // The engine's markers before the third state: of a batch (tag, count, number), and of an item.
    let batch = keys.collect::<Vec<_>>()[2] - 21 - 13;
    assert_eq!(bytes[batch], 1, "a batch begins here");
    let number = u64::from_le_bytes(bytes[batch + 5..batch + 13].try_into().unwrap());
    let bit = number.ilog2() as usize;
    flip(&journal, batch + 5 + bit / 8, bit % 8);

    let said = refusal(&options);
    assert!(names_damage(&said), "{said}");
    let name = journal.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(name), "{said}");
    let place = format!("the batch at {batch} has number");
    assert!(said.contains(&place), "{said}");
    flip(&journal, batch + 5 + bit / 8, bit % 8);
    assert_eq!(value(&options.start()).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_costs_the_entities_in_that_place_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let node = NodeOptions::new(&data).start();
    let generous = [
        "--durable",
        "--kind",
        "hostile",
        "--limit",
        "cpu_ms_max=60000",
    ];
    node.deploy(&guest("entia_hostile"), &generous);
    let wire = node.wire();
    for number in 0..LARGE_ENTITIES {
        let entity = format!("hostile/{number:02}");
        let by = format!(r#"{{"by": {}}}"#, number + 1);
        let answer = wire.call(&format!("{entity}/increment"), &by).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let bytes = format!(r#"{{"bytes": {LARGE_STATE_BYTES}}}"#);
        let answer = wire.call(&format!("{entity}/big_state"), &bytes).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    wait_for_a_table(&data);
    assert!(node.stop().success());
    trimmed_journal(&data);
    let (length, table) = longest_file(&data.join("engine/keyspaces"));
    let name = table.strip_prefix(&data).unwrap();

    let mut contained = 0;
    for place in 0..PLACES {
        let damaged = tempfile::tempdir().unwrap();
        let image = damaged.path().join("data");
        copy(&data, &image);
        let byte = length * (2 * place + 1) / (2 * PLACES);
        flip(&image.join(name), usize::try_from(byte).unwrap(), 3);
        match try_start(&NodeOptions::new(&image)) {
            Err(said) => assert!(names_damage(&said), "byte {byte}: {said}"),
            Ok(node) => {
                let refused = refused_of_the_large(&node.wire(), byte).await;
                contained += usize::from(refused > 0 && refused < LARGE_ENTITIES);
            }
        }
    }
    assert!(contained > 0, "no flipped bit cost one entity alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_durable_commands_by_name_and_loses_none_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount("a full disk") else {
        return;
    };
    let options = NodeOptions::new(&disk.path().join("data"));
    let node = start_with_counter(&options);
    node.deploy(&guest("counter"), &["--kind", "tally"]);
    let wire = node.wire();
    count(&node, 1..=20).await;
    let ballast = disk.path().join("ballast");
    fill(&ballast);

    // The journal's last page has room for some more.
    let mut acknowledged = 20;
    let failed = loop {
        let answer = increment(&wire, "counter/a", &(acknowledged + 1).to_string()).await;
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert_eq!(answer.body, acknowledged);
        assert!(acknowledged < 500, "the disk is not full");
    };
    assert!(is_refused(&failed), "{failed:?}");
    assert_eq!(failed.body["error"]["may_have_run"], true, "{failed:?}");
    for key in ["later 1", "later 2"] {
        let later = increment(&wire, "counter/a", key).await;
        assert!(is_refused(&later), "{later:?}");
        let elsewhere = increment(&wire, "counter/b", key).await;
        assert!(is_refused(&elsewhere), "{elsewhere:?}");
    }
    let ready = wire.send("GET", "/readyz", &[], "").await;
    assert!(is_refused(&ready), "{ready:?}");
    assert_eq!(wire.send("GET", "/healthz", &[], "").await.status, 200);
    for expected in 1..=3 {
        let tally = increment(&wire, "tally/a", &expected.to_string()).await;
        assert_eq!(tally.body, expected, "kinds in memory go on: {tally:?}");
    }
    assert_eq!(value(&node).await, acknowledged, "queries go on");
    node.kill();

    fs::remove_file(ballast).unwrap();
    assert!(disk.remount("size=64m"));
    let node = options.start();
    let ready = node.wire().send("GET", "/readyz", &[], "").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    // Under their keys: what was acknowledged is remembered, and the one that failed takes effect once.
    count(&node, 1..=acknowledged + 1).await;
    assert_eq!(value(&node).await, acknowledged + 1);
    assert!(node.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_directory_is_refused_by_name_and_left_as_it_is() {
    let Some(disk) = SmallDisk::mount("a read-only disk") else {
        return;
    };
    let options = NodeOptions::new(&disk.path().join("data"));
    let node = start_with_counter(&options);
    count(&node, 1..=2).await;
    assert!(node.stop().success());

    assert!(disk.remount("ro"));
    let said = refusal(&options);
    assert!(said.contains("Read-only file system"), "{said}");
    let data = disk.path().join("data").display().to_string();
    assert!(said.contains(&data), "it names the file: {said}");
    assert!(disk.remount("rw"));
    assert_eq!(value(&options.start()).await, 2);
}

fn start_with_counter(options: &NodeOptions) -> Node {
    let node = options.start();
    node.deploy(&guest("counter"), &["--durable"]);
    node
}

/// Increments `counter/a` under each number as the key; each answer is its key.
async fn count(node: &Node, keys: std::ops::RangeInclusive<u64>) {
    let wire = node.wire();
    for key in keys {
        let answer = increment(&wire, "counter/a", &key.to_string()).await;
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
        assert_eq!(answer.body, key);
    }
}

async fn increment(wire: &Wire, entity: &str, key: &str) -> Answer {
    let path = format!("/v1/entities/{entity}/increment");
    let headers = [("idempotency-key", key)];
    wire.send("POST", &path, &headers, r#"{"by": 1}"#).await
}

async fn value(node: &Node) -> u64 {
    let answer = node.wire().call("counter/a/value", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.as_u64().unwrap()
}

/// The store's refusal of a command or a read, which says whether it may have run.
fn is_refused(answer: &Answer) -> bool {
    answer.status == 503 && answer.code() == "store_failed" && answer.is_well_formed_error()
}

/// Reads all large entities: each is right, or refused by its name. Returns how many were refused.
async fn refused_of_the_large(wire: &Wire, byte: u64) -> usize {
    let mut refused = 0;
    for number in 0..LARGE_ENTITIES {
        let entity = format!("hostile/{number:02}");
        let answer = wire.call(&format!("{entity}/value"), "").await;
        if answer.status == 200 {
            assert_eq!(answer.body, number + 1, "byte {byte}: {entity}");
            continue;
        }
        assert!(is_refused(&answer), "byte {byte}: {answer:?}");
        assert!(
            answer.message().contains(&entity),
            "byte {byte}: {answer:?}"
        );
        refused += 1;
    }
    refused
}

/// A node, or what it said when it refused to start.
fn try_start(options: &NodeOptions) -> Result<Node, String> {
    panic::catch_unwind(AssertUnwindSafe(|| options.start()))
        .map_err(|panic| *panic.downcast::<String>().unwrap())
}

fn refusal(options: &NodeOptions) -> String {
    match try_start(options) {
        Ok(_) => panic!("the node started"),
        Err(said) => said,
    }
}

/// How many commits a refused store lacks, by its words.
fn commits_lost(said: &str) -> Option<u64> {
    let number = |before: &str| {
        let (_, rest) = said.split_once(before)?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse::<u64>().ok()
    };
    number("yet commit ")?.checked_sub(number("ends at commit ")?)
}

/// Whether a node that did not start says which damage it found.
fn names_damage(said: &str) -> bool {
    let opened = said.contains("the store was not opened");
    commits_lost(said).is_some() || said.contains("is corrupt") || opened
}

/// Copies a stopped or killed node's files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Cuts the zeros that the engine allocates in advance off all journals, and returns the longest.
fn trimmed_journal(data: &Path) -> PathBuf {
    let entries = fs::read_dir(data.join("engine")).unwrap();
    let journals = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    let trimmed = journals.map(|path| {
        let bytes = fs::read(&path).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0);
        let used = last.map_or(0, |last| last as u64 + 1);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(used).unwrap();
        (used, path)
    });
    trimmed.max().unwrap().1
}

fn flip(path: &Path, byte: usize, bit: usize) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut value = [0];
    file.read_exact_at(&mut value, byte as u64).unwrap();
    file.write_all_at(&[value[0] ^ (1 << bit)], byte as u64)
        .unwrap();
}

/// A byte of each field of the second state of `counter/a`, and of its key.
///
/// The journal has records as they are: the key, then the frame of `entia_protocol::record`.
fn fields_of_a_record(journal: &[u8]) -> Vec<(String, usize)> {
    let key = b"counter\0a\x01\0";
    let starts = (0..journal.len() - key.len()).filter(|at| journal[*at..].starts_with(key));
    let at = starts.collect::<Vec<_>>()[1] + key.len() - 2;
    let length: [u8; 4] = journal[at + 10..at + 14].try_into().unwrap();
    let end = at + 14 + u32::from_le_bytes(length) as usize;
    let mut fields: Vec<_> = [
        ("the key", at - 1),
        ("the format version", at),
        ("the sequence", at + 2),
        ("the length", at + 10),
        ("the body", at + 14),
        ("the checksum", end),
    ]
    .map(|(field, byte)| (field.to_owned(), byte))
    .into();
    let body = &journal[at + 14..end];
    for name in [
        "schema_version",
        "digest",
        "bytes",
        "kind_version",
        "taken_ms",
    ] {
        let marked = [&[0xa0 | name.len() as u8][..], name.as_bytes()].concat();
        let found = body.windows(marked.len()).position(|part| part == marked);
        let found = at + 14 + found.unwrap();
        fields.push((format!("the name {name}"), found + 1));
        fields.push((format!("the value of {name}"), found + marked.len()));
    }
    fields
}

/// The engine sorts to disk what it has too much of in memory, on a thread of its own.
fn wait_for_a_table(data: &Path) {
    let end = Instant::now() + Duration::from_secs(30);
    while longest_file(&data.join("engine/keyspaces")).0 < TABLE_BYTES_MIN {
        assert!(Instant::now() < end, "the engine wrote no table for 30 s");
        std::thread::yield_now();
    }
}

fn longest_file(path: &Path) -> (u64, PathBuf) {
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let Ok(entries) = fs::read_dir(path) else {
        return (length, path.to_owned());
    };
    let files = entries
        .map_while(Result::ok)
        .map(|entry| longest_file(&entry.path()));
    files.max().unwrap_or_default()
}

fn fill(path: &Path) {
    let mut ballast = File::create(path).unwrap();
    let error = loop {
        if let Err(error) = ballast.write_all(&[1; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
}

/// A file system of its own, unmounted at the end of the test.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where nobody may mount, which is said even if the test's output is not shown.
    fn mount(what: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "entia-small-disk"])
            .arg(dir.path())
            .output();
        let reason = match mounted {
            Ok(output) if output.status.success() => return Some(Self(dir)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let mut visible = std::io::stderr();
        writeln!(visible, "SKIPPED: {what} needs a tmpfs: {}", reason.trim()).unwrap();
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, option: &str) -> bool {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(self.path())
            .status();
        status.unwrap().success()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: a node that a failed test leaves may still have it open.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

/// Together more than a memtable of states, which has 32 MiB.
const LARGE_ENTITIES: usize = 40;
const LARGE_STATE_BYTES: usize = 1_000_000;
/// A table of large states; compressed, each is some KiB.
const TABLE_BYTES_MIN: u64 = 64 << 10;
/// Where in the table a bit is flipped, one at a time.
const PLACES: u64 = 8;

//! What fjall believes without checking. Found out before it reads, since it repairs (cuts, deletes) what it takes for the
//! leftovers of a crash. Nothing here writes.
//!
//! ```text
//!   engine/ID.jnl                 batches, then zeros that are allocated in advance; the highest ID is the newest
//!     Start   1, items 4, seqno 8                                           not in the batch's checksum
//!     Item    2, value type 1, compression 1, keyspace 8, lengths of key 2, of value 4, of value stored 4; key, value
//!     Clear   4, keyspace 8
//!     End     3, checksum 8, "FJL" 3
//!   engine/keyspaces/ID/current   id 8, xxh3-128 of the file v{id} 16, type of the hash 1; neither hash nor type is looked at
//!   engine/keyspaces/ID/v{id}     the list of the keyspace's tables
//! ```
//! All integers are little-endian.
//!
//! - Among the versions of a key the highest seqno counts, so a batch whose seqno a flipped bit lowered is silently
//!   shadowed by older ones. Seqnos are given out under the journal's lock and never again, also after a restart: each
//!   batch is above all before it.
//! - A damaged list of tables is decoded all the same, into an allocation of gigabytes or other tables.
//!
//! Not found out here: a lowered first batch of the oldest journal, which has no batch before it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::StoreError;

/// Checks the files of the engine in `dir`, which may be new.
pub(crate) fn check(dir: &Path) -> Result<(), StoreError> {
    let check = Check { dir };
    let mut seqno_last = None;
    for journal in check.journals()? {
        check.journal(&journal, &mut seqno_last)?;
    }
    for keyspace in names(&dir.join("keyspaces"))? {
        check.keyspace(&keyspace)?;
    }
    Ok(())
}

struct Check<'a> {
    dir: &'a Path,
}

impl Check<'_> {
    /// The journals, the oldest first. A name that is none is left to the engine, which refuses it.
    fn journals(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut journals: Vec<(u64, PathBuf)> = names(self.dir)?
            .into_iter()
            .filter_map(|path| {
                let id = path.file_name()?.to_str()?.strip_suffix(".jnl")?;
                Some((id.parse().ok()?, path))
            })
            .collect();
        journals.sort();
        Ok(journals.into_iter().map(|(_, path)| path).collect())
    }

    /// Reads whole batches up to the first byte that belongs to none: a torn tail is the engine's to cut and the
    /// watermark's to miss.
    fn journal(&self, path: &Path, seqno_last: &mut Option<u64>) -> Result<(), StoreError> {
        let reading = StoreError::io("reading", path);
        let mut journal = match Journal::open(path) {
            Ok(journal) => journal,
            Err(error) => return Err(reading(error)),
        };
        loop {
            let offset = journal.offset;
            let batch = match journal.batch() {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(()),
                Err(error) => return Err(reading(error)),
            };
            let at = |what: String| self.unreadable(path, &format!("the batch at {offset} {what}"));
            if batch.items != batch.items_found {
                let Batch {
                    items, items_found, ..
                } = batch;
                return Err(at(format!("says {items} items and has {items_found}")));
            }
            let seqno = batch.seqno;
            if seqno >= SEQNO_RESERVED {
                return Err(at(format!("has number {seqno}, which is reserved")));
            }
            if let Some(last) = seqno_last.filter(|last| seqno <= *last) {
                return Err(at(format!("has number {seqno} after one with {last}")));
            }
            *seqno_last = Some(seqno);
        }
    }

    /// Checks a keyspace's list of tables.
    fn keyspace(&self, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join("current");
        let current = match fs::read(&path) {
            Ok(current) => current,
            Err(error) if is_absent(&error) => {
                // A keyspace whose creation was interrupted has no tables. The engine would delete either.
                return match names(&dir.join("tables"))?.is_empty() {
                    true => Ok(()),
                    false => Err(self.unreadable(&path, "it is missing, yet there are tables")),
                };
            }
            Err(error) => return Err(StoreError::io("reading", &path)(error)),
        };
        let Some((id, hash)) = decode_current(&current) else {
            return Err(self.unreadable(&path, "it is no version, hash and type of hash"));
        };
        let path = dir.join(format!("v{id}"));
        match hash_of(&path) {
            Ok(found) if found == hash => Ok(()),
            Ok(_) => Err(self.unreadable(&path, "its hash is not the one in `current`")),
            Err(error) if is_absent(&error) => {
                Err(self.unreadable(&path, "it is missing, yet `current` names it"))
            }
            Err(error) => Err(StoreError::io("reading", &path)(error)),
        }
    }

    fn unreadable(&self, path: &Path, what: &str) -> StoreError {
        StoreError::Unreadable {
            dir: self.dir.to_owned(),
            message: format!("{}: {what}", path.display()),
        }
    }
}

/// A journal that is read in order.
struct Journal {
    reader: BufReader<File>,
    offset: u64,
    length: u64,
}

/// What a batch says of itself outside its checksum, and the items that it has.
struct Batch {
    seqno: u64,
    items: u32,
    items_found: u32,
}

impl Journal {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            reader: BufReader::new(file),
            offset: 0,
            length,
        })
    }

    /// The next batch, if it is whole.
    fn batch(&mut self) -> io::Result<Option<Batch>> {
        let Some([START]) = self.take()? else {
            return Ok(None);
        };
        let (Some(items), Some(seqno)) = (self.take()?, self.take()?) else {
            return Ok(None);
        };
        let mut batch = Batch {
            seqno: u64::from_le_bytes(seqno),
            items: u32::from_le_bytes(items),
            items_found: 0,
        };
        loop {
            let whole = match self.take()? {
                Some([ITEM]) => self.skip_item()?,
                Some([CLEAR]) => self.skip(KEYSPACE_BYTES)?,
                Some([END]) => {
                    let is_end = self.skip(CHECKSUM_BYTES)? && self.take()? == Some(*TRAILER);
                    return Ok(is_end.then_some(batch));
                }
                _ => false,
            };
            if !whole {
                return Ok(None);
            }
            batch.items_found = batch.items_found.saturating_add(1);
        }
    }

    /// Skips what follows an item's tag; false if the file ends before.
    fn skip_item(&mut self) -> io::Result<bool> {
        if !self.skip(VALUE_TYPE_BYTES + COMPRESSION_BYTES + KEYSPACE_BYTES)? {
            return Ok(false);
        }
        let Some(key) = self.take()? else {
            return Ok(false);
        };
        if !self.skip(VALUE_LENGTH_BYTES)? {
            return Ok(false);
        }
        let Some(stored) = self.take()? else {
            return Ok(false);
        };
        self.skip(u64::from(u16::from_le_bytes(key)) + u64::from(u32::from_le_bytes(stored)))
    }

    /// The next bytes; none if the file ends before.
    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => {
                self.offset += N as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Passes over bytes without reading them; false if the file ends before.
    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        let Some(by) = i64::try_from(bytes)
            .ok()
            .filter(|_| bytes <= self.length.saturating_sub(self.offset))
        else {
            return Ok(false);
        };
        self.reader.seek_relative(by)?;
        self.offset += bytes;
        Ok(true)
    }
}

/// The version that counts and the hash of its file.
fn decode_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (hash, kind) = rest.split_first_chunk()?;
    (kind == [XXH3]).then(|| (u64::from_le_bytes(*id), u128::from_le_bytes(*hash)))
}

fn hash_of(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hasher = Xxh3::new();
    let mut piece = [0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hasher.digest128()),
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What is in a directory; nothing if there is none.
fn names(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("listing", dir)(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(StoreError::io("listing", dir))
}

/// A stray file where a directory is looked for has nothing below it.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";
const VALUE_TYPE_BYTES: u64 = 1;
const COMPRESSION_BYTES: u64 = 1;
const KEYSPACE_BYTES: u64 = 8;
const VALUE_LENGTH_BYTES: u64 = 4;
const CHECKSUM_BYTES: u64 = 8;
/// The highest bit is that of a transaction's own writes; the engine gives no such number to a batch.
const SEQNO_RESERVED: u64 = 1 << 63;
const XXH3: u8 = 0;
const PIECE_BYTES: usize = 8 << 10;

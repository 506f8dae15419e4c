use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use entia_protocol::Digest;

use crate::StoreError;
use crate::home;

/// The last acknowledged sequence, outside the engine, so that an engine that lost its tail is found out.
///
/// ```text
///   two slots of 32 bytes: magic and version 8, sequence 8 LE, digest of both 16; the higher valid one counts
/// ```
/// It is written after a group is durable and before the group is acknowledged, so after a kill it is never ahead of the
/// engine, and behind by one group at most. The slots are written in turn: a torn write leaves the other.
///
/// The file is synced at most once a second and at close, since syncing it with each group would double the cost of
/// one. After a loss of power it may thus be as old as the last sync: it still never accuses a whole engine, but a
/// journal that lost only what was acknowledged since then passes for whole.
pub(crate) struct Watermark {
    file: File,
    path: PathBuf,
    slot_next: u64,
    synced: Instant,
    unsynced: bool,
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Sequence(u64),
    Missing,
    Damaged,
}

impl Watermark {
    /// What is written between two syncs is at most this old when the power fails.
    pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(1);

    /// Reads the file without changing it.
    pub(crate) fn read(path: &Path) -> Result<Reading, StoreError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Missing),
            Err(error) => return Err(StoreError::io("opening", path)(error)),
        };
        let mut newest = None;
        for slot in 0..SLOTS {
            let mut bytes = [0; SLOT_BYTES];
            match file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64) {
                Ok(()) => newest = newest.max(decode(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(StoreError::io("reading", path)(error)),
            }
        }
        Ok(newest.map_or(Reading::Damaged, Reading::Sequence))
    }

    /// Opens the file for writing and sets both slots, since the higher one counts.
    pub(crate) fn reset(path: &Path, sequence: u64) -> Result<Self, StoreError> {
        home::replace(path, &[encode(sequence), encode(sequence)].concat())?;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(StoreError::io("opening", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            slot_next: 0,
            synced: Instant::now(),
            unsynced: false,
        })
    }

    /// Writes the sequence of a group that is durable.
    pub(crate) fn advance(&mut self, sequence: u64) -> Result<(), StoreError> {
        self.file
            .write_all_at(&encode(sequence), self.slot_next * SLOT_BYTES as u64)
            .map_err(StoreError::io("writing", &self.path))?;
        self.slot_next = (self.slot_next + 1) % SLOTS;
        self.unsynced = true;
        Ok(())
    }

    /// How long the next sync can wait; `None` if there is nothing to sync.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        self.unsynced
            .then(|| Self::SYNC_EVERY.saturating_sub(self.synced.elapsed()))
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.file
            .sync_data()
            .map_err(StoreError::io("syncing", &self.path))?;
        self.synced = Instant::now();
        self.unsynced = false;
        Ok(())
    }
}

const SLOTS: u64 = 2;
const SLOT_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"entiawm\x01";

fn encode(sequence: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[0..8].copy_from_slice(MAGIC);
    slot[8..16].copy_from_slice(&sequence.to_le_bytes());
    let digest = Digest::of(&slot[0..16]);
    slot[16..32].copy_from_slice(&digest.as_bytes()[..16]);
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<u64> {
    let mut sequence = [0; 8];
    sequence.copy_from_slice(&slot[8..16]);
    let sequence = u64::from_le_bytes(sequence);
    (encode(sequence) == *slot).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_higher_slot_counts_and_one_of_them_may_be_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        assert_eq!(Watermark::read(&path).unwrap(), Reading::Missing);
        let mut watermark = Watermark::reset(&path, 5).unwrap();
        watermark.advance(6).unwrap();
        watermark.advance(9).unwrap();
        assert_eq!(Watermark::read(&path).unwrap(), Reading::Sequence(9));

        let whole = fs::read(&path).unwrap();
        for bit in SLOT_BYTES * 8..SLOT_BYTES * 16 {
            let mut torn = whole.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &torn).unwrap();
            assert_eq!(Watermark::read(&path).unwrap(), Reading::Sequence(6));
            torn[0] ^= 1;
            fs::write(&path, &torn).unwrap();
            assert_eq!(Watermark::read(&path).unwrap(), Reading::Damaged);
        }
        fs::write(&path, &whole[..SLOT_BYTES + 3]).unwrap();
        assert_eq!(Watermark::read(&path).unwrap(), Reading::Sequence(6));
        fs::write(&path, b"").unwrap();
        assert_eq!(Watermark::read(&path).unwrap(), Reading::Damaged);
    }

    #[test]
    fn a_reset_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watermark");
        Watermark::reset(&path, 9).unwrap();
        Watermark::reset(&path, 3).unwrap();
        assert_eq!(Watermark::read(&path).unwrap(), Reading::Sequence(3));
    }

    #[test]
    fn a_sync_is_due_only_after_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut watermark = Watermark::reset(&dir.path().join("watermark"), 0).unwrap();
        assert_eq!(watermark.sync_due(), None);
        watermark.advance(1).unwrap();
        assert!(watermark.sync_due().is_some());
        watermark.sync().unwrap();
        assert_eq!(watermark.sync_due(), None);
    }
}

//! The frame around everything that is stored.
//!
//! ```text
//!   format version  u16 LE
//!   sequence        u64 LE    the store's commit that wrote it
//!   body length     u32 LE
//!   body            MessagePack, named fields
//!   checksum        u64 LE    xxh3-64 of everything above, seeded with xxh3-64 of the record's key
//! ```
//! The key is part of the checksum so that a record found under another key is not believed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The version that [`seal`] writes. [`open`] reads this one and, when there are older ones, those.
pub const FORMAT_VERSION: u16 = 1;
/// The longest body, in bytes: the largest state that a kind may have, and room for the fields around it.
pub const BODY_BYTES_MAX: usize = (64 << 20) + (64 << 10);

const HEADER_BYTES: usize = 2 + 8 + 4;
const CHECKSUM_BYTES: usize = 8;

/// Frames `body` for storing under `key`.
pub fn seal<T: Serialize>(key: &[u8], sequence: u64, body: &T) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[0..2].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[2..10].copy_from_slice(&sequence.to_le_bytes());
    rmp_serde::encode::write_named(&mut bytes, body)
        .expect("our own types always encode into memory");
    let length =
        u32::try_from(bytes.len() - HEADER_BYTES).expect("bodies are bounded far below 4 GiB");
    bytes[10..14].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(key, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Checks the frame and returns the sequence and the body.
pub fn open<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<(u64, T), RecordError> {
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES {
        return Err(RecordError::Truncated { bytes: bytes.len() });
    }
    let version = u16::from_le_bytes(array(&bytes[0..2]));
    if version != FORMAT_VERSION {
        return Err(RecordError::Version { found: version });
    }
    let sequence = u64::from_le_bytes(array(&bytes[2..10]));
    let length = u32::from_le_bytes(array(&bytes[10..14])) as usize;
    let framed = bytes.len() - HEADER_BYTES - CHECKSUM_BYTES;
    if length != framed || length > BODY_BYTES_MAX {
        return Err(RecordError::Length {
            said: length,
            found: framed,
        });
    }
    let (sealed, trailer) = bytes.split_at(HEADER_BYTES + length);
    if checksum(key, sealed) != u64::from_le_bytes(array(trailer)) {
        return Err(RecordError::Checksum);
    }
    let body =
        rmp_serde::from_slice(&sealed[HEADER_BYTES..]).map_err(|error| RecordError::Body {
            message: error.to_string(),
        })?;
    Ok((sequence, body))
}

/// Why stored bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Shorter than the smallest frame.
    #[error("it has {bytes} bytes, fewer than a frame")]
    Truncated {
        /// What was found.
        bytes: usize,
    },
    /// Written by another version of Entia.
    #[error("its format version is {found}; this build reads version {FORMAT_VERSION}")]
    Version {
        /// What was found.
        found: u16,
    },
    /// The body's length is not the one that the header says.
    #[error("its header says {said} bytes of body, it has {found}")]
    Length {
        /// The header's word.
        said: usize,
        /// What is there.
        found: usize,
    },
    /// The bytes are not those that were written, or were written under another key.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, yet the body does not decode.
    #[error("its body does not decode: {message}")]
    Body {
        /// The decoder's words.
        message: String,
    },
}

fn checksum(key: &[u8], sealed: &[u8]) -> u64 {
    xxh3_64_with_seed(sealed, xxh3_64(key))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller slices exactly N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoredState;

    fn state() -> StoredState {
        StoredState::new(1, b"forty-two".to_vec(), 3, 1_700_000_000_000)
    }

    #[test]
    fn a_record_reads_back_with_its_sequence() {
        let bytes = seal(b"key", 42, &state());
        assert_eq!(open::<StoredState>(b"key", &bytes), Ok((42, state())));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = seal(b"key", 42, &state());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<StoredState>(b"key", &flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(
                open::<StoredState>(b"key", &bytes[..length]).is_err(),
                "cut to {length}"
            );
        }
    }

    #[test]
    fn a_record_under_another_key_is_not_believed() {
        let bytes = seal(b"key", 42, &state());
        assert_eq!(
            open::<StoredState>(b"other", &bytes),
            Err(RecordError::Checksum)
        );
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let mut bytes = seal(b"key", 42, &state());
        bytes[0] = 9;
        assert_eq!(
            open::<StoredState>(b"key", &bytes),
            Err(RecordError::Version { found: 9 })
        );
    }
}

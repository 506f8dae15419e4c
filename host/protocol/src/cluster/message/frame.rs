use serde::{Deserialize, Serialize};

use super::Message;
use crate::cluster::{ClusterId, Incarnation};

/// A message as it crosses the wire: named MessagePack maps, so that a later version may add fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The version of the wire format that the sender speaks.
    pub version: u32,
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// The life of the receiver that it is for; 0 is any.
    pub to: Incarnation,
    /// What is said.
    pub message: Message,
}

/// Why some bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than any message.
    #[error("a frame of {bytes} bytes; {max} are allowed", max = Frame::BYTES_MAX)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Of a version that this program does not speak.
    #[error("a frame of version {version}; this program speaks {min} to {max}", min = Frame::VERSION_MIN, max = Frame::VERSION)]
    Version {
        /// Its version.
        version: u32,
    },
    /// Not a frame at all.
    #[error("not a frame: {message}")]
    Malformed {
        /// What is wrong.
        message: String,
    },
}

impl Frame {
    /// The version that this program speaks.
    pub const VERSION: u32 = 1;
    /// The oldest that it understands.
    pub const VERSION_MIN: u32 = 1;
    /// The longest frame, in bytes.
    pub const BYTES_MAX: usize = 64 << 20;

    /// Appends the frame to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
        let begin = buffer.len();
        self.serialize(&mut rmp_serde::Serializer::new(&mut *buffer).with_struct_map())
            .map_err(|error| FrameError::Malformed {
                message: error.to_string(),
            })?;
        let bytes = buffer.len() - begin;
        if bytes > Self::BYTES_MAX {
            buffer.truncate(begin);
            return Err(FrameError::TooLong { bytes });
        }
        Ok(())
    }

    /// Reads a frame. Whatever the bytes are, this does not panic, and allocates no more than a small multiple of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(FrameError::TooLong { bytes: bytes.len() });
        }
        let malformed = |error: rmp_serde::decode::Error| FrameError::Malformed {
            message: error.to_string(),
        };
        // The version first: of another one the rest may have any shape.
        let Version { version } = rmp_serde::from_slice(bytes).map_err(malformed)?;
        if !(Self::VERSION_MIN..=Self::VERSION).contains(&version) {
            return Err(FrameError::Version { version });
        }
        rmp_serde::from_slice(bytes).map_err(malformed)
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

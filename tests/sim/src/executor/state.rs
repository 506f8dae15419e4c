//! An entity's record: a small head that is written anew each time, and a log that only grows.
//!
//! ```text
//!   head length  u32 LE
//!   head         MessagePack: timers, pending messages, ticks
//!   log          MessagePack, one after the other: a serial, a remembered command, or both
//! ```
//! The log is kept encoded, so that a commit costs one copy and not the encoding of all that was ever remembered.

use std::collections::VecDeque;

use entia_protocol::cluster::Blob;
use entia_protocol::{CommandKey, EntityId, IdempotencyRecord, IdempotencyWindow};
use serde::{Deserialize, Serialize};

/// All that there is of an entity.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What changes in place.
    pub(super) head: Head,
    /// All serials, oldest first.
    pub(super) serials: Vec<u64>,
    /// The real window of `entia-protocol`.
    pub(super) window: IdempotencyWindow,
    /// Deleted, and nothing has come since.
    pub(super) deleted: bool,
    /// What a list that begins here is told apart by.
    pub(super) draw: u32,
    log: Vec<u8>,
}

/// The part of the state that changes in place.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// Drawn where the list began: a list that is lost may begin anew with the same serial.
    pub(super) born: u32,
    /// Of a worker: its steps.
    pub(super) ticks: u64,
    /// Messages that are not delivered, in the order of their promise.
    pub(super) pending: VecDeque<Pending>,
    /// Timers that have not fired.
    pub(super) timers: Vec<Timer>,
}

/// A message that is promised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Whom it is for.
    pub(super) target: EntityId,
    /// Under which key it is executed once.
    pub(super) key: CommandKey,
    /// What the target appends.
    pub(super) serial: u64,
    /// Not before.
    pub(super) retry_ms: u64,
}

/// A timer that is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Timer {
    /// When.
    pub(super) due_ms: u64,
    /// What is appended then.
    pub(super) serial: u64,
}

#[derive(Serialize, Deserialize)]
struct Logged {
    serial: Option<u64>,
    command: Option<IdempotencyRecord>,
}

impl State {
    /// Reads a record's bytes; nothing if they are not what [`State::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (head, log) = rest.split_at_checked(length)?;
        let mut state = Self {
            head: rmp_serde::from_slice(head).ok()?,
            log: log.to_vec(),
            ..Self::default()
        };
        let mut commands = Vec::new();
        let mut left = log;
        while !left.is_empty() {
            let entry = Logged::deserialize(&mut rmp_serde::Deserializer::new(&mut left)).ok()?;
            state.serials.extend(entry.serial);
            commands.extend(entry.command);
        }
        state.window = IdempotencyWindow::restore(commands);
        Some(state)
    }

    /// The record's bytes.
    pub(super) fn encode(&self) -> Blob {
        let mut bytes = vec![0; 4];
        bytes.reserve(64 + self.log.len());
        rmp_serde::encode::write(&mut bytes, &self.head)
            .expect("our own types always encode into memory");
        let length = u32::try_from(bytes.len() - 4).expect("a head is far below 4 GiB");
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.log);
        Blob::from(bytes)
    }

    /// Appends to the log.
    pub(super) fn push(&mut self, serial: Option<u64>, command: Option<IdempotencyRecord>) {
        let entry = Logged { serial, command };
        self.write(&entry);
        if let Some(serial) = serial {
            if self.serials.is_empty() {
                self.head.born = self.draw;
            }
            self.serials.push(serial);
            self.deleted = false;
        }
        if let Some(command) = entry.command
            && !self.window.insert(command).is_empty()
        {
            self.rewrite();
        }
    }

    /// The name of the list: where it began, and with what. `first` is what it begins with if it is empty.
    pub(super) fn life(&self, first: u64) -> u64 {
        let (born, first) = match self.serials.first() {
            Some(&first) => (self.head.born, first),
            None => (self.draw, first),
        };
        u64::from(born) << 32 | (first & 0xffff_ffff)
    }

    /// Forgets everything but the commands, which may still be repeated.
    pub(super) fn clear(&mut self) {
        self.head = Head::default();
        self.serials.clear();
        self.deleted = true;
        self.rewrite();
    }

    /// Encodes the whole log anew: something in its middle is gone.
    fn rewrite(&mut self) {
        self.log.clear();
        for serial in self.serials.clone() {
            self.write(&Logged {
                serial: Some(serial),
                command: None,
            });
        }
        let commands: Vec<_> = self.window.iter().cloned().collect();
        for command in commands {
            self.write(&Logged {
                serial: None,
                command: Some(command),
            });
        }
    }

    fn write(&mut self, entry: &Logged) {
        rmp_serde::encode::write(&mut self.log, entry)
            .expect("our own types always encode into memory");
    }
}

//! Decisions and damage, from a fuzzer's bytes.

use std::array;

/// Decisions read from an input, so that a small change of the input is a small change of the case.
///
/// One that is used up decides for zero.
#[derive(Debug)]
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(array::from_fn(|_| self.byte()))
    }

    /// A number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = match end {
            0 | 1 => 0,
            2..=256 => u32::from(self.byte()),
            _ => u32::from_le_bytes(array::from_fn(|_| self.byte())),
        };
        number as usize % end.max(1)
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// At most so many bytes of the input.
    pub(crate) fn bytes(&mut self, bytes_max: usize) -> &'a [u8] {
        let length = self.below(bytes_max + 1).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    pub(crate) fn text(&mut self, bytes_max: usize) -> String {
        String::from_utf8_lossy(self.bytes(bytes_max)).into_owned()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// What disks and controllers do: flips a bit, cuts the end off, writes a piece to the wrong place, or loses one.
pub(crate) fn damage(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = choices.below(bytes.len());
    match choices.below(6) {
        0..=2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << choices.below(8);
            }
        }
        3 => bytes.truncate(at),
        4 => {
            let from = choices.below(bytes.len());
            let piece = piece(bytes, from, choices).to_vec();
            overwrite(bytes, at, &piece);
        }
        _ => {
            let length = piece(bytes, at, choices).len();
            bytes[at..at + length].fill(0);
        }
    }
}

/// What people and programs do besides: pieces that are new, missing or there twice.
pub(crate) fn edit(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = choices.below(bytes.len() + 1);
    match choices.below(6) {
        0 => {
            let length = piece(bytes, at, choices).len();
            bytes.drain(at..at + length);
        }
        1 => {
            let piece = piece(bytes, at, choices).to_vec();
            bytes.splice(at..at, piece);
        }
        2 => {
            let new = choices.bytes(EDIT_BYTES_MAX);
            bytes.splice(at..at, new.iter().copied());
        }
        3 => {
            let new = choices.bytes(EDIT_BYTES_MAX);
            overwrite(bytes, at, new);
        }
        _ => damage(bytes, choices),
    }
}

/// Writes a piece at a place, as far as there is room.
pub(crate) fn overwrite(bytes: &mut [u8], at: usize, piece: &[u8]) {
    let room = bytes.get_mut(at..).unwrap_or_default();
    let length = piece.len().min(room.len());
    room[..length].copy_from_slice(&piece[..length]);
}

/// A piece of some bytes that begins at `from`.
pub(crate) fn piece<'b>(bytes: &'b [u8], from: usize, choices: &mut Choices<'_>) -> &'b [u8] {
    let length = 1 + choices.below(PIECE_BYTES_MAX);
    let rest = bytes.get(from..).unwrap_or_default();
    &rest[..length.min(rest.len())]
}

/// The longest piece that is moved or lost, in bytes.
pub(crate) const PIECE_BYTES_MAX: usize = 512;
const EDIT_BYTES_MAX: usize = 16;

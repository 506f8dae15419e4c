//! What happened: always as one number, and as lines if somebody wants to read them.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
    /// Lines before this true time are left out.
    from: u64,
}

impl Trace {
    /// A trace that is only a number.
    pub fn hashed() -> Self {
        Self::default()
    }

    /// A trace that is also lines, from a true time on.
    pub fn read_from(from: u64) -> Self {
        Self {
            hash: 0,
            lines: Some(Vec::new()),
            from,
        }
    }

    /// Something happened.
    pub fn mix(&mut self, parts: [u64; 4]) {
        let mut bytes = [0; 32];
        for (at, part) in bytes.chunks_exact_mut(8).zip(parts) {
            at.copy_from_slice(&part.to_le_bytes());
        }
        self.hash = xxh3_64_with_seed(&bytes, self.hash);
    }

    /// Says it in words. The words are made only if somebody reads.
    pub fn line(&mut self, true_time: u64, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines
            && true_time >= self.from
        {
            lines.push(format!("{:>11.6} {}", true_time as f64 / 1e9, words()));
        }
    }

    /// Whether somebody reads.
    pub fn is_read(&self) -> bool {
        self.lines.is_some()
    }

    /// All that happened, as a number.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// A debug output cut to a length that a line can bear.
pub fn short(value: &dyn fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if text.len() > 300 {
        let mut end = 300;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

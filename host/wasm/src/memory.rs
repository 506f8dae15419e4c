use std::sync::atomic::{AtomicU64, Ordering};

/// The linear memory of all guests of a host together, and its bound.
///
/// The first [`FREE_BYTES`] of each guest are not counted: a small guest touches a few pages of them only, so that counting
/// them would let few guests live where many fit. Their number is bounded elsewhere.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: AtomicU64,
    bytes_max: u64,
}

/// What a guest has without being counted, in bytes. Compiled Rust starts with 17 pages of 64 KiB.
pub const FREE_BYTES: u64 = 2 << 20;

impl Memory {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            bytes_max,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Lets one guest grow from so many bytes to so many, if there is room.
    pub(crate) fn grow(&self, from: u64, to: u64) -> bool {
        let more = counted(to) - counted(from);
        let room = |bytes: u64| bytes.checked_add(more).filter(|sum| *sum <= self.bytes_max);
        more == 0
            || self
                .bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
                .is_ok()
    }

    /// A guest that had so many bytes is gone.
    pub(crate) fn free(&self, bytes: u64) {
        self.bytes.fetch_sub(counted(bytes), Ordering::Relaxed);
    }
}

fn counted(bytes: u64) -> u64 {
    bytes.saturating_sub(FREE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_share_a_bound_and_what_they_have_at_first_is_free() {
        const MIB: u64 = 1 << 20;
        let memory = Memory::new(3 * MIB);
        assert!(memory.grow(0, 2 * MIB), "the first is free");
        assert!(memory.grow(2 * MIB, 4 * MIB));
        assert!(memory.grow(0, 3 * MIB), "another guest");
        assert!(!memory.grow(3 * MIB, 4 * MIB), "one too many");
        assert_eq!(memory.bytes(), 3 * MIB);
        memory.free(4 * MIB);
        assert!(memory.grow(3 * MIB, 5 * MIB));
    }
}

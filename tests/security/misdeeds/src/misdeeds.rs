//! What no entity should do. `black_box` keeps the optimiser from noticing that it comes to nothing.

use std::hint::black_box;

/// Loops for ever, without a call of the host.
pub fn spin() -> ! {
    loop {
        black_box(());
    }
}

/// Recurses until the stack is full. Frames are small, so that it is the engine's stack that runs out and not the
/// guest's own, which is memory like any other.
#[inline(never)]
pub fn recurse(depth: u64) -> u64 {
    match black_box(depth) {
        u64::MAX => 0,
        depth => recurse(depth + 1) ^ depth,
    }
}

/// Allocates until nothing is left, and touches every page.
pub fn allocate() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// A MessagePack list of that many bytes, all nil.
pub(crate) fn list(bytes: u64) -> Vec<u8> {
    const ARRAY_32: u8 = 0xdd;
    const NIL: u8 = 0xc0;
    let items = u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut list = Vec::with_capacity(items as usize + 5);
    list.push(ARRAY_32);
    list.extend(items.to_be_bytes());
    list.resize(items as usize + 5, NIL);
    list
}

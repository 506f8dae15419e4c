//! Randomness that is the same everywhere: a generator per purpose, so that one more draw here changes nothing there.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};

use crate::plan::nanos;

/// Portable, small and fast.
pub type Rng = rand_pcg::Pcg64Mcg;

/// The generator of a seed for a purpose.
pub fn rng(seed: u64, purpose: u64) -> Rng {
    Rng::seed_from_u64(mixed(seed, purpose))
}

/// A number that has nothing to do with its neighbours (splitmix64).
pub fn mixed(seed: u64, purpose: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(purpose.wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from `min` to `max`, both included.
pub fn within(rng: &mut Rng, min: u64, max: u64) -> u64 {
    if min >= max {
        return min;
    }
    rng.random_range(min..=max)
}

/// A duration from `min` to `max`, in nanoseconds.
pub fn between(rng: &mut Rng, min: Duration, max: Duration) -> u64 {
    within(rng, nanos(min), nanos(max))
}

/// True once in `n` times; never if `n` is 0.
pub fn one_in(rng: &mut Rng, n: u32) -> bool {
    n != 0 && rng.random_range(0..n) == 0
}

/// True `ppm` of a million times.
pub fn chance(rng: &mut Rng, ppm: u32) -> bool {
    ppm != 0 && rng.random_range(0..1_000_000) < ppm
}

/// One of several.
pub fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

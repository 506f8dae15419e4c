/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Endlessly many others.
    pub(super) fn split(mut self) -> impl Iterator<Item = Self> {
        std::iter::repeat_with(move || Self(self.next()))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_paper_and_stay_below_their_end() {
        assert_eq!(Random::new(0).next(), 0xe220_a839_7b1d_cdaf);
        let mut random = Random::new(7);
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[random.below(10)] = true;
        }
        assert_eq!(seen, [true; 10]);
    }
}

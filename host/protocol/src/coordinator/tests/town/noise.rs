//! A network that is not perfect.

use super::Town;
use crate::cluster::{Home, Message};

/// A network that loses, repeats and holds back messages.
pub(in super::super) struct Noise {
    state: u64,
    late: Vec<(Home, Message)>,
}

impl Noise {
    pub(in super::super) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            late: Vec::new(),
        }
    }

    /// SplitMix64.
    pub(in super::super) fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % limit).unwrap()
    }
}

impl Town {
    /// Loses one message in eight, repeats one, and lets one wait for a later one.
    pub(super) fn disturb(&mut self, from: Home, message: Message) -> Option<(Home, Message)> {
        let Some(noise) = &mut self.noise else {
            return Some((from, message));
        };
        match noise.below(8) {
            0 => None,
            1 => {
                noise.late.push((from, message.clone()));
                Some((from, message))
            }
            2 => {
                noise.late.push((from, message));
                let other = noise.below(noise.late.len());
                Some(noise.late.swap_remove(other))
            }
            _ => Some((from, message)),
        }
    }
}

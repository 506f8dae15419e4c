//! What will happen, by true time; what is due at one instant happens in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The queue. The heap has only numbers: what waits lies still.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    planned: u64,
}

impl<T> Queue<T> {
    /// Nothing will happen.
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            planned: 0,
        }
    }

    /// Plans something.
    pub fn push(&mut self, due: u64, what: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(what);
                slot
            }
            None => {
                self.slots.push(Some(what));
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 things wait")
            }
        };
        self.planned += 1;
        self.heap.push(Reverse((due, self.planned, slot)));
    }

    /// When the next thing is due.
    pub fn due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due, _, _))| *due)
    }

    /// The next thing.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((due, _, slot)) = self.heap.pop()?;
        let what = self.slots[slot as usize]
            .take()
            .expect("what is in the heap has a slot");
        self.free.push(slot);
        Some((due, what))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

use super::{ControlState, Entry};

impl ControlState {
    /// Applies the next entry. An entry that does not follow the last one changes nothing and returns `false`.
    pub fn apply(&mut self, entry: &Entry) -> bool {
        if entry.index.0 != self.applied.0 + 1 {
            return false;
        }
        self.applied = entry.index;
        true
    }
}

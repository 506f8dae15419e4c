use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Versioned {
    sum: u64,
}

/// Counts, and knows nothing of those who did before.
#[entity(schema = 3, schema_oldest = 3)]
impl Versioned {
    /// Adds to the count and returns it.
    fn add(&mut self, by: u64) -> u64 {
        self.sum += by;
        self.sum
    }
}

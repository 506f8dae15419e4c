use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Clone for Counter {
    fn clone(&self) -> Self {
        Self { value: self.value }
    }
}

fn main() {}

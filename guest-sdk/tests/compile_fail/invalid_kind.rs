use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity(kind = "My Counter")]
impl Counter {
    fn value(&self) -> u64 {
        self.value
    }
}

fn main() {}

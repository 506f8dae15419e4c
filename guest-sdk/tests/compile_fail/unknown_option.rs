use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity(name = "count")]
impl Counter {
    fn value(&self) -> u64 {
        self.value
    }
}

fn main() {}

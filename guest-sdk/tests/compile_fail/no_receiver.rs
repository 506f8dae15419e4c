use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add(by: u64) -> u64 {
        by
    }
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    async fn increment(&mut self) {}
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn release(&mut self) {}

    fn send(&mut self) {}
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add(&mut self, (by, times): (u64, u64)) {
        self.value += by * times;
    }
}

fn main() {}

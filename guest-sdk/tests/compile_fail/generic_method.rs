use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add<T: Into<u64>>(&mut self, by: T) {
        self.value += by.into();
    }
}

fn main() {}

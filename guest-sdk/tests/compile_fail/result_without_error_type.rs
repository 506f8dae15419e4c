use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add(&mut self) -> std::io::Result<u64> {
        Ok(self.value)
    }
}

fn main() {}

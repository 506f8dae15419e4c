use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn rename(&mut self, name: &str) -> usize {
        name.len()
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn list(&mut self, names: &Vec<String>) -> usize {
        names.len()
    }
}

fn main() {}

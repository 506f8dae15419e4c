use entia_sdk::prelude::*;

#[entity_ref]
trait Account {
    const MAX: u64;

    fn deposit(&mut self, amount: u64) -> u64 {
        amount
    }

    fn open();

    fn pay(&mut self, amount: impl Into<u64>);
}

fn main() {}

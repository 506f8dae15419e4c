use entia_sdk::prelude::*;

#[entity_ref]
trait Account {
    fn deposit(&mut self, amount: u64) -> u64;
}

fn main() {
    let alice = AccountRef::new("alice");
    alice.deposit("5");
    alice.withdraw(5);
}

use entia_sdk::prelude::*;

#[entity_ref(kind = "Bank Account")]
trait Account {
    fn balance(&self) -> u64;
}

#[entity_ref(name = "account")]
trait Savings {
    fn balance(&self) -> u64;
}

fn main() {}

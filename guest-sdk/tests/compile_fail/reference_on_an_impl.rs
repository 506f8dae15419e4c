use entia_sdk::prelude::*;

struct Account;

#[entity_ref]
impl Account {
    fn open(&mut self) {}
}

fn main() {}

use entia_sdk::prelude::*;

#[entity_ref]
trait Account {}

#[entity_ref]
trait Store<T>: Send {
    fn put(&mut self, item: u64);
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add(&mut self, by: u64, ctx: &mut Context) {
        ctx.info(by);
    }
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn value(&self, ctx: &mut Context) -> u64 {
        ctx.info("read");
        self.value
    }
}

fn main() {}

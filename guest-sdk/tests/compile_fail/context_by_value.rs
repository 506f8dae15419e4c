use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add(&mut self, ctx: Context) {
        ctx.info(self.value);
    }
}

fn main() {}

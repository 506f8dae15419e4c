use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn value(&self, ctx: &Context) -> Result<u64, EffectError> {
        ctx.cancel("tick")?;
        Ok(self.value)
    }
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Step {
    by: u64,
}

/// Counts.
#[entity(kind = "count", schema = 2, schema_oldest = 1)]
impl Counter {
    const STEP: u64 = 1;

    pub fn step(&mut self) {
        self.value += Self::STEP;
    }

    fn add(&mut self, ctx: &mut Context, mut step: Step, r#type: Option<String>) -> Result<u64, String> {
        step.by += 1;
        self.value = self.value.checked_add(step.by).ok_or("full")?;
        ctx.info(r#type.unwrap_or_default());
        Ok(self.value)
    }

    fn borrowed(&self) -> &u64 {
        &self.value
    }

    fn context(&self, context: Bytes, arguments: u8, method: u8) -> usize {
        context.len() + usize::from(arguments) + usize::from(method)
    }

    #[cfg(any())]
    fn only_elsewhere(&self, missing: NotThere) {}

    #[timer]
    fn on_timer(&mut self, _name: &str, fire: u64) {
        self.value += fire;
    }

    #[upgrade]
    fn upgrade(_from: u32, bytes: &[u8]) -> Result<Self, DecodeFailure> {
        let value = decode(bytes).map_err(|_| DecodeFailure)?;
        Ok(Self { value })
    }
}

struct DecodeFailure;

impl std::fmt::Display for DecodeFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a number")
    }
}

fn main() {}

use entia_sdk::prelude::*;

#[derive(Serialize, JsonSchema)]
struct View {
    value: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn view(&self) -> View {
        View { value: self.value }
    }
}

fn main() {
    CounterRef::new("visits").view();
}

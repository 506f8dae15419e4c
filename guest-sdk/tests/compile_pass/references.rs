use entia_sdk::prelude::*;

/// Neither can be sent: their entity still compiles, and so do references to its other methods.
#[derive(Deserialize, JsonSchema)]
struct Incoming {
    by: u64,
}

#[derive(Serialize, JsonSchema)]
struct Outgoing {
    value: u64,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Counter {
    value: u64,
}

#[entity]
impl Counter {
    fn add(&mut self, incoming: Incoming) {
        self.value += incoming.by;
    }

    fn show(&self) -> Outgoing {
        Outgoing { value: self.value }
    }

    fn borrowed(&self) -> Option<&u64> {
        Some(&self.value)
    }

    fn merge(&mut self, ctx: &mut Context, message: Self, name: String) -> Result<Self, String> {
        ctx.info(name);
        self.value += message.value;
        Ok(Self { value: self.value })
    }

    fn copy(&mut self, from: EntityId) -> Result<u64, CallFailure> {
        let value = CounterRef::at(from).borrowed()?.unwrap_or_default();
        CounterRef::new("other").merge(Counter { value }, "copy".to_owned())?;
        Ok(value)
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Refusal {
    Closed,
}

#[entity_ref(kind = "chat-room")]
pub(crate) trait Room {
    /// Says something.
    fn say(&mut self, ctx: &mut Context, text: &str, tags: &[&str]) -> Result<u64, Refusal>;
    fn r#type(&self) -> Option<String>;
    #[cfg(any())]
    fn only_elsewhere(&self, missing: NotThere);
}

fn main() {
    let room = RoomRef::new("lobby");
    assert_eq!(room.id(), &EntityId::new("chat-room", "lobby"));
    let _ = || {
        let _: Result<(), EffectError> = room.send().say("hello", &["a"]);
        let failure: Option<CallFailure> = room.say("hello", &[]).err();
        let _: Option<Refusal> = failure?.details();
        room.r#type().ok()?
    };
}

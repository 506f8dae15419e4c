//! The keys of a turn's effects.

use entia_protocol::cluster::Mutant;
use entia_protocol::{CommandKey, EntityId, Envelope};

/// Makes the keys of effects.
#[derive(Debug, Default)]
pub struct Keys {
    counter: Option<u64>,
}

impl Keys {
    /// Keys that are derived from the command; with [`Mutant::CounterKeys`], from a counter in memory.
    pub fn new(mutant: Option<Mutant>) -> Self {
        Self {
            counter: (mutant == Some(Mutant::CounterKeys)).then_some(0),
        }
    }

    /// The key of the one effect that each command of the virtual entity has.
    pub fn derive(&mut self, entity: &EntityId, envelope: &Envelope) -> CommandKey {
        let Some(counter) = &mut self.counter else {
            return CommandKey::derive(entity, &envelope.method, &envelope.key, 0);
        };
        *counter += 1;
        CommandKey::derive(
            entity,
            "effect",
            &CommandKey::Client(String::new()),
            *counter,
        )
    }

    /// The process is gone, and what it counted.
    pub fn crash(&mut self) {
        self.counter = self.counter.map(|_| 0);
    }
}

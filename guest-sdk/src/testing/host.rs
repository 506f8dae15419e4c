use std::time::Duration;

use serde_json::Value;

use crate::context::Turn;
use crate::describe::Kind;
use crate::testing::json::{from_messagepack, to_messagepack};
use crate::testing::{Fake, Timer};
use crate::{Caller, Context, Entity, EntityId, Rejection, Snapshot};

/// One entity, driven as the platform does it. Everything passes through MessagePack; after every command there is a
/// snapshot, and a query that changes it fails the test.
///
/// A panic in a method fails the test; on the platform it would undo the turn.
pub struct Host<E> {
    entity: E,
    context: Context,
    kind: Kind,
    stored: Option<Snapshot>,
    turns: u64,
}

/// A fire of a timer, and how the entity answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// The timer.
    pub name: String,
    /// Counts its fires from 1.
    pub fire: u64,
    /// Ok, unless the `#[timer]` function refused.
    pub outcome: Result<(), Rejection>,
}

impl<E: Entity> Host<E> {
    /// An entity that nobody has called before.
    pub fn new(key: &str) -> Self {
        Self::activate(key, None).expect("a fresh entity needs no state")
    }

    /// An entity with the state that an earlier version of the code left.
    pub fn restore(key: &str, stored: Snapshot) -> Result<Self, Rejection> {
        Self::activate(key, Some(stored))
    }

    /// Calls a method; `arguments` is an object, as in the HTTP API.
    pub fn call(&mut self, method: &str, arguments: Value) -> Result<Value, Rejection> {
        self.call_as(Caller::Anonymous, method, arguments)
    }

    /// [`Host::call`] by somebody.
    ///
    /// # Panics
    /// If a query changes the state, or the result is nothing that JSON can say.
    pub fn call_as(
        &mut self,
        caller: Caller,
        method: &str,
        arguments: Value,
    ) -> Result<Value, Rejection> {
        let known = self.kind.methods.iter().find(|known| known.name == method);
        let query = known.is_some_and(|known| known.query);
        let schema = known.map_or(Ok(Value::Null), |known| {
            serde_json::from_str(&known.arguments)
        });
        let schema = schema.expect("the SDK writes schemas as JSON");
        let arguments = to_messagepack(&arguments, &schema)
            .map_err(|message| Rejection::new("bad_arguments", message))?;
        self.turns += 1;
        let turn = Turn::of_test(caller, format!("call/{}", self.turns));
        self.context.begin(turn);
        let before = self.entity.snapshot();
        let running = self.context.fake().enter(query);
        let outcome = self.entity.handle(&mut self.context, method, &arguments);
        drop(running);
        if query {
            let unchanged = self.entity.snapshot() == before;
            assert!(
                unchanged,
                "the query `{method}` changed the state: take `&mut self`"
            );
        } else {
            self.store();
        }
        outcome.map(|bytes| {
            from_messagepack(&bytes)
                .unwrap_or_else(|error| panic!("the result of `{method}` is not JSON: {error}"))
        })
    }

    /// Moves the clock, and fires the timers that become due, in order.
    ///
    /// # Panics
    /// If there are more than 100,000 fires: a timer that starts itself again at once never ends.
    pub fn advance(&mut self, by: Duration) -> Vec<Fired> {
        let until_ms = self.fake().after_ms(by);
        let mut fired = Vec::new();
        while let Some(timer) = self.fake_mut().next_fire(until_ms) {
            fired.push(self.fire(timer));
            assert!(fired.len() <= FIRES_MAX, "the timers do not come to an end");
        }
        self.fake_mut().set_now_ms(until_ms);
        fired
    }

    /// Forgets the entity and makes it again from its last snapshot, as after a passivation or a crash.
    ///
    /// # Panics
    /// If the state cannot be read, or does not give the same bytes again.
    pub fn restart(&mut self) {
        self.entity = E::restore(self.stored.clone())
            .unwrap_or_else(|rejection| panic!("the entity does not restart: {rejection}"));
        let Some(stored) = &self.stored else {
            return;
        };
        let same = stored.schema_version != E::SCHEMA_VERSION || self.entity.snapshot() == *stored;
        assert!(
            same,
            "the same state gives other bytes after a restart: keep maps in a `BTreeMap`, not in a `HashMap`"
        );
    }

    /// The entity itself.
    pub fn entity(&self) -> &E {
        &self.entity
    }

    /// The last snapshot. `None` until the first command.
    pub fn stored(&self) -> Option<&Snapshot> {
        self.stored.as_ref()
    }

    /// What the entity did to the world.
    pub fn fake(&self) -> &Fake {
        self.context.fake()
    }

    /// The world, to script answers and settings.
    pub fn fake_mut(&mut self) -> &mut Fake {
        self.context.fake_mut()
    }

    fn activate(key: &str, stored: Option<Snapshot>) -> Result<Self, Rejection> {
        let entity = E::restore(stored.clone())?;
        Ok(Self {
            entity,
            context: Context::test().me(E::KIND, key).build(),
            kind: Kind::of::<E>(),
            stored,
            turns: 0,
        })
    }

    fn fire(&mut self, timer: Timer) -> Fired {
        let Timer {
            name,
            fires: fire,
            payload_bytes,
            ..
        } = timer;
        let me: &EntityId = self.context.me();
        let turn = Turn::of_timer(me, &name, fire);
        self.context.begin(turn);
        let running = self.context.fake().enter(false);
        let outcome = self
            .entity
            .on_timer(&mut self.context, &name, fire, &payload_bytes);
        drop(running);
        self.store();
        Fired {
            name,
            fire,
            outcome,
        }
    }

    fn store(&mut self) {
        self.stored = Some(self.entity.snapshot());
    }
}

const FIRES_MAX: usize = 100_000;

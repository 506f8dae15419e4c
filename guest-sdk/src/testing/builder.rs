use std::time::Duration;

use serde::Serialize;

use crate::context::Turn;
use crate::testing::Fake;
use crate::{CallFailure, Caller, Context, EntityId};

/// A context in the making. What is not said is: entity `test/test`, an anonymous caller, the first attempt, ten seconds
/// left, and the beginning of 2026.
pub struct ContextBuilder {
    me: EntityId,
    turn: Turn,
    fake: Fake,
}

impl Context {
    /// A context for calling a method directly in a test. Only in native builds.
    pub fn test() -> ContextBuilder {
        ContextBuilder {
            me: EntityId::new("test", "test"),
            turn: Turn::of_test(Caller::Anonymous, "test".to_owned()),
            fake: Fake::new(),
        }
    }

    /// What the entity did to the world. Only in native builds.
    pub fn fake(&self) -> &Fake {
        self.world()
    }

    /// Calls methods directly that use references to other entities, such as `AccountRef`: a reference has no context and
    /// finds this one's world while the turn runs. Only in native builds.
    ///
    /// ```
    /// # use entia_sdk::prelude::*;
    /// #[entity_ref]
    /// trait Account {
    ///     fn deposit(&mut self, amount: u64) -> u64;
    /// }
    ///
    /// let alice = EntityId::new("account", "alice");
    /// let mut ctx = Context::test().answer(&alice, "deposit", Ok(12)).build();
    /// let balance = ctx.turn(|_ctx| AccountRef::new("alice").deposit(5));
    /// assert_eq!(balance, Ok(12));
    /// ```
    pub fn turn<T>(&mut self, method: impl FnOnce(&mut Self) -> T) -> T {
        let _turn = self.fake().enter(false);
        method(self)
    }

    /// The world, to change it between two calls. Only in native builds.
    pub fn fake_mut(&mut self) -> &mut Fake {
        self.world_mut()
    }
}

impl ContextBuilder {
    /// The address of the entity under test.
    #[must_use]
    pub fn me(mut self, kind: &str, key: &str) -> Self {
        self.me = EntityId::new(kind, key);
        self
    }

    /// Who calls.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.turn.caller = caller;
        self
    }

    /// The call's idempotency key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.turn.key = key.to_owned();
        self
    }

    /// The number of the delivery, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.turn.attempt = attempt;
        self
    }

    /// How long the caller waits.
    #[must_use]
    pub fn deadline_left(mut self, left: Duration) -> Self {
        self.turn.deadline_left = left;
        self
    }

    /// What the entity's clock shows.
    #[must_use]
    pub fn now_ms(mut self, now_ms: u64) -> Self {
        self.fake.set_now_ms(now_ms);
        self
    }

    /// A setting of the kind.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.fake.set_config(name, value);
        self
    }

    /// What the next call of another entity's method answers: see [`Fake::answer`].
    #[must_use]
    pub fn answer(
        mut self,
        target: &EntityId,
        method: &str,
        outcome: Result<impl Serialize, CallFailure>,
    ) -> Self {
        self.fake.answer(target, method, outcome);
        self
    }

    /// The context.
    pub fn build(self) -> Context {
        Context::new(self.me, self.turn, self.fake)
    }
}

impl Turn {
    pub(crate) fn of_test(caller: Caller, key: String) -> Self {
        Self {
            caller,
            key,
            attempt: 1,
            deadline_left: Duration::from_secs(10),
        }
    }
}

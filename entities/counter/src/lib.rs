//! The smallest entity worth having: a number that is added to.
//!
//! ```text
//! entia deploy counter.wasm
//! entia call counter/visits increment '{"by": 5}'
//! ```

use std::fmt;

use entia_sdk::prelude::*;

/// What survives between calls. `Default` is a counter that nobody has called before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counter {
    value: u64,
}

/// A number that is added to.
#[entity]
impl Counter {
    /// Adds to the counter and returns its new value.
    pub fn increment(&mut self, by: u64) -> Result<u64, Refusal> {
        let left = u64::MAX - self.value;
        self.value = self.value.checked_add(by).ok_or(Refusal::Full { left })?;
        Ok(self.value)
    }

    /// The current value.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Sets the counter to 0 and returns the value that it had.
    pub fn reset(&mut self, ctx: &mut Context) -> u64 {
        ctx.info(format_args!("reset from {}", self.value));
        std::mem::take(&mut self.value)
    }
}

/// Why the counter refuses. The variant, in snake case, is the code that a caller sees.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Refusal {
    /// The value would be greater than the greatest number.
    Full {
        /// What can still be added.
        left: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Full { left } = self;
        write!(f, "the counter is full: {left} can still be added")
    }
}

#[cfg(test)]
mod tests {
    use entia_sdk::testing::{Host, json};

    use super::*;

    #[test]
    fn a_counter_counts_across_restarts() {
        let mut host = Host::<Counter>::new("visits");
        assert_eq!(host.call("increment", json!({"by": 2})), Ok(json!(2)));
        host.restart();
        assert_eq!(host.call("increment", json!({"by": 3})), Ok(json!(5)));
        assert_eq!(host.call("value", json!({})), Ok(json!(5)));
    }

    #[test]
    fn a_full_counter_refuses_and_keeps_its_value() {
        let mut counter = Counter {
            value: u64::MAX - 1,
        };
        assert_eq!(counter.increment(2), Err(Refusal::Full { left: 1 }));
        assert_eq!(counter.value(), u64::MAX - 1);
    }

    #[test]
    fn a_refusal_reaches_the_caller_with_its_code_and_details() {
        let mut host = Host::<Counter>::new("visits");
        let filled = host.call("increment", json!({"by": u64::MAX}));
        assert_eq!(filled, Ok(json!(u64::MAX)));
        let rejection = host
            .call("increment", json!({"by": 1}))
            .expect_err("a full counter refuses");
        assert_eq!(rejection.code, "full");
        assert_eq!(rejection.details(), Some(Refusal::Full { left: 0 }));
    }

    #[test]
    fn a_reset_says_what_was_lost() {
        let mut context = Context::test().build();
        let mut counter = Counter { value: 7 };
        assert_eq!(counter.reset(&mut context), 7);
        assert_eq!(counter.value(), 0);
        assert_eq!(context.fake().logs()[0].message, "reset from 7");
    }
}

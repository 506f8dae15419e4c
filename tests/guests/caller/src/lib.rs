//! An entity for tests that calls others and waits. It imports `call`, and so runs on a fiber.

use std::time::Duration;

use entia_sdk::prelude::*;

/// A number, and what came of the last call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CallerState {
    value: u64,
    log: Vec<String>,
}

#[derive(Serialize)]
struct Relay {
    path: Vec<EntityId>,
    by: u64,
}

#[derive(Serialize)]
struct Spin {
    ms: u64,
}

/// Calls others and waits.
#[entity(kind = "caller")]
impl CallerState {
    /// Adds to its own number, then lets the first of `path` do the same with the rest, and returns the sum of all.
    pub fn relay(
        &mut self,
        ctx: &mut Context,
        path: Vec<EntityId>,
        by: u64,
    ) -> Result<u64, Failed> {
        self.value += by;
        let Some((next, rest)) = path.split_first() else {
            return Ok(self.value);
        };
        let arguments = Relay {
            path: rest.to_vec(),
            by,
        };
        let answer: u64 = ctx.call(next, "relay", &arguments)?;
        Ok(self.value + answer)
    }

    /// As `relay`, but fails where a call has no answer: the turn is undone, and can be repeated under its key.
    pub fn insist(&mut self, ctx: &mut Context, path: Vec<EntityId>, by: u64) -> u64 {
        self.value += by;
        let Some((next, rest)) = path.split_first() else {
            return self.value;
        };
        let arguments = Relay {
            path: rest.to_vec(),
            by,
        };
        let answer: Result<u64, CallFailure> = ctx.call(next, "insist", &arguments);
        self.value + answer.expect("the other answers")
    }

    /// Calls another's `spin` and waits at most `within_ms` for it; says how that ended.
    pub fn call_slow(
        &mut self,
        ctx: &mut Context,
        target: EntityId,
        ms: u64,
        within_ms: u64,
    ) -> String {
        let within = Duration::from_millis(within_ms);
        let answer = ctx.call_within::<u64>(within, &target, "spin", &Spin { ms });
        let text = match answer {
            Ok(ms) => format!("answered {ms}"),
            Err(CallFailure::Failed(error)) => format!("{} {}", error.code, error.may_have_run),
            Err(CallFailure::Rejected(rejection)) => rejection.code,
        };
        self.log.push(text.clone());
        text
    }

    /// Keeps its thread busy for a time.
    pub fn spin(&mut self, ctx: &mut Context, ms: u64) -> u64 {
        let until = ctx.now_ms() + ms;
        while ctx.now_ms() < until {
            std::hint::spin_loop();
        }
        self.value += 1;
        ms
    }

    /// Calls another, and then fails: what it did itself is undone.
    pub fn call_and_fail(
        &mut self,
        ctx: &mut Context,
        target: EntityId,
        by: u64,
    ) -> Result<u64, Failed> {
        self.value += by;
        let arguments = Relay {
            path: Vec::new(),
            by,
        };
        let _: u64 = ctx.call(&target, "relay", &arguments)?;
        panic!("after the call")
    }

    /// Its number.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// What came of its calls.
    pub fn log(&self) -> Vec<String> {
        self.log.clone()
    }

    /// Calls itself from a timer, which cannot be.
    pub fn later(
        &mut self,
        ctx: &mut Context,
        delay_ms: u64,
        target: EntityId,
    ) -> Result<(), Failed> {
        ctx.after("later", Duration::from_millis(delay_ms), &target)?;
        Ok(())
    }

    #[timer]
    fn on_timer(
        &mut self,
        ctx: &mut Context,
        _name: &str,
        _fire: u64,
        target: EntityId,
    ) -> Result<(), Failed> {
        let arguments = Relay {
            path: Vec::new(),
            by: 1,
        };
        let answer = ctx.call::<u64>(&target, "relay", &arguments);
        self.log.push(match answer {
            Ok(value) => value.to_string(),
            Err(error) => Failed::from(error).to_string(),
        });
        Ok(())
    }
}

/// Why a call of another has no result.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// The code of the failure.
    pub code: String,
    /// For people.
    pub message: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<CallFailure> for Failed {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Rejected(rejection) => Self {
                code: rejection.code,
                message: rejection.message,
            },
            CallFailure::Failed(error) => Self {
                code: error.code,
                message: error.message,
            },
        }
    }
}

impl From<EffectError> for Failed {
    fn from(error: EffectError) -> Self {
        Self {
            code: "effect".to_owned(),
            message: format!("{error:?}"),
        }
    }
}

//! An entity for tests: sends, sets timers, and remembers what came. It imports `send` and `timers`, and so runs on a plain
//! thread.

use std::collections::BTreeMap;
use std::time::Duration;

use entia_sdk::prelude::*;

/// What a courier has seen.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Courier {
    received: Vec<u64>,
    fires: Vec<String>,
    refuses: bool,
    sent: u64,
    heard: Heard,
}

/// What a courier was told as a member of chat rooms, in which each author counts what it says from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heard {
    /// How much it was told.
    pub messages: u64,
    /// The number that came last from each author in each room.
    pub last: BTreeMap<String, u64>,
    /// The first of those that did not follow the one before.
    pub out_of_turn: Vec<OutOfTurn>,
}

/// A message whose number is not the next one: something is missing, or came twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutOfTurn {
    /// The room and the author.
    pub from: String,
    /// The number that had come before.
    pub last: u64,
    /// The number that came.
    pub came: u64,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

#[derive(Serialize)]
struct Parcel {
    number: u64,
}

/// Sends, sets timers, and remembers what came.
#[entity]
impl Courier {
    /// Sends `count` parcels, numbered from `first`.
    pub fn dispatch(
        &mut self,
        ctx: &mut Context,
        target: EntityId,
        first: u64,
        count: u64,
    ) -> Result<u64, Refusal> {
        for number in first..first + count {
            ctx.send(&target, "receive", &Parcel { number })?;
        }
        self.sent += count;
        Ok(self.sent)
    }

    /// Sends a parcel and fails: neither happens.
    pub fn dispatch_and_fail(
        &mut self,
        ctx: &mut Context,
        target: EntityId,
    ) -> Result<u64, Refusal> {
        ctx.send(&target, "receive", &Parcel { number: 0 })?;
        self.sent += 1;
        panic!("after sending")
    }

    /// Sends a parcel to each of `count` couriers.
    pub fn fan_out(&mut self, ctx: &mut Context, count: u64) -> Result<u64, Refusal> {
        for number in 0..count {
            let target = EntityId::new(ctx.me().kind().to_owned(), format!("fan-{number}"));
            ctx.send(&target, "receive", &Parcel { number })?;
        }
        Ok(count)
    }

    /// Takes a parcel.
    pub fn receive(&mut self, number: u64) -> Result<u64, Refusal> {
        if self.refuses {
            return Err(Refusal::Unwanted);
        }
        self.received.push(number);
        Ok(number)
    }

    /// The parcels in the order in which they came.
    pub fn received(&self) -> Vec<u64> {
        self.received.clone()
    }

    /// How many parcels were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// As a member of a chat room whose authors say nothing but numbers.
    pub fn deliver(&mut self, ctx: &mut Context, room: String, author: String, text: String) {
        self.heard.messages += 1;
        let from = format!("{room} {author}");
        let came = text.parse().unwrap_or_default();
        let last = self.heard.last.insert(from.clone(), came);
        let last = last.unwrap_or_default();
        if came != last + 1 && self.heard.out_of_turn.len() < OUT_OF_TURN_MAX {
            let at_ms = ctx.now_ms();
            let out_of_turn = &mut self.heard.out_of_turn;
            out_of_turn.push(OutOfTurn {
                from,
                last,
                came,
                at_ms,
            });
        }
    }

    /// What was said in the rooms of which it is a member.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// From now on no parcel is taken.
    pub fn refuse(&mut self) {
        self.refuses = true;
    }

    /// Sets a timer that fires once. Its payload says how often it then sets itself anew.
    pub fn after(
        &mut self,
        ctx: &mut Context,
        name: String,
        delay_ms: u64,
        again: u64,
    ) -> Result<(), Refusal> {
        Ok(ctx.after(&name, Duration::from_millis(delay_ms), &again)?)
    }

    /// Sets a timer that repeats.
    pub fn every(
        &mut self,
        ctx: &mut Context,
        name: String,
        period_ms: u64,
    ) -> Result<(), Refusal> {
        Ok(ctx.every(&name, Duration::from_millis(period_ms), &0u64)?)
    }

    /// Ends a timer.
    pub fn cancel(&mut self, ctx: &mut Context, name: String) -> Result<bool, Refusal> {
        Ok(ctx.cancel(&name)?)
    }

    /// The fires so far, as `name#fire`.
    pub fn fires(&self) -> Vec<String> {
        self.fires.clone()
    }

    #[timer]
    fn on_timer(
        &mut self,
        ctx: &mut Context,
        name: &str,
        fire: u64,
        again: u64,
    ) -> Result<(), Refusal> {
        self.fires.push(format!("{name}#{fire}"));
        if name == "trap" {
            panic!("in a timer");
        }
        if name == "send" {
            let target = EntityId::new(ctx.me().kind().to_owned(), "timed".to_owned());
            ctx.send(&target, "receive", &Parcel { number: fire })?;
        }
        if again > 0 {
            ctx.after(name, Duration::from_millis(20), &(again - 1))?;
        }
        Ok(())
    }
}

/// What is kept of what went wrong: a courier's state is written with every message.
const OUT_OF_TURN_MAX: usize = 50;

/// Why a courier refuses.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Refusal {
    /// It takes no parcels.
    Unwanted,
    /// The platform refused a message or a timer.
    Effect(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unwanted => f.write_str("no parcels are taken here"),
            Self::Effect(reason) => f.write_str(reason),
        }
    }
}

impl From<EffectError> for Refusal {
    fn from(error: EffectError) -> Self {
        Self::Effect(format!("{error:?}"))
    }
}

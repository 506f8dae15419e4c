//! Messages and timers beyond what is allowed. The host's own functions: the SDK's types would forbid most of it.

use std::collections::BTreeMap;

use entia_sdk::__private::bindings::entia::entity::{send, timers, types};
use entia_sdk::__private::reply;
use entia_sdk::Rejection;

/// What the host refuses an effect with.
type Refused = types::EffectError;

/// Sends a message without arguments.
pub(crate) fn message(kind: &str, key: &str, method: &str) -> Result<(), Refused> {
    let target = types::EntityId {
        kind: kind.to_owned(),
        key: key.to_owned(),
    };
    send::send(&target, method, &NOTHING)
}

/// Sends so many messages, as long as none is refused.
pub(crate) fn messages(kind: &str, key: &str, method: &str, count: u64) -> Result<(), Rejection> {
    (0..count).try_for_each(|_| message(kind, key, method).map_err(rejection))
}

/// Sends for ever, refused or not.
pub(crate) fn flood(kind: &str) -> ! {
    loop {
        let _refused = message(kind, "nobody", "value");
    }
}

/// Sends two messages that each do the same, as far as they are let.
pub(crate) fn bomb(kind: &str, key: &str) {
    let target = types::EntityId {
        kind: kind.to_owned(),
        key: key.to_owned(),
    };
    let same = BTreeMap::from([("kind", kind), ("key", key)]);
    let same = reply(&same).unwrap_or_default();
    for _ in 0..2 {
        let _refused = send::send(&target, "bomb", &same);
    }
}

/// Sets so many timers with payloads of so many bytes, as long as none is refused.
pub(crate) fn set_timers(count: u64, bytes: u64) -> Result<(), Rejection> {
    let payload = vec![0; bytes as usize];
    (0..count).try_for_each(|number| {
        timers::after(&format!("t{number}"), HOUR_MS, &payload).map_err(rejection)
    })
}

/// Sets timers for ever, each instead of the one before, with a large payload.
pub(crate) fn replace_timers(bytes: u64) -> ! {
    let payload = vec![0; bytes as usize];
    loop {
        let _refused = timers::after("t", HOUR_MS, &payload);
        let _cancelled = timers::cancel("t");
    }
}

/// Sets a timer that repeats.
pub(crate) fn beat(name: &str, period_ms: u64) -> Result<(), Rejection> {
    timers::every(name, period_ms, &reply(&0)?).map_err(rejection)
}

/// Tries effects where there are none, and says how each is refused.
pub(crate) fn outside() -> Vec<String> {
    let refused = [
        message("hostile", "nobody", "value"),
        timers::after("t", HOUR_MS, &NOTHING),
        timers::every("t", HOUR_MS, &NOTHING),
        timers::cancel("t").map(|_found| ()),
    ];
    let words = refused.into_iter().map(|refused| match refused {
        Ok(()) => "done".to_owned(),
        Err(error) => word(error),
    });
    words.collect()
}

fn rejection(refused: Refused) -> Rejection {
    Rejection::new("refused", word(refused))
}

fn word(refused: Refused) -> String {
    match refused {
        Refused::InQuery => "in-query".to_owned(),
        Refused::Limit(reason) | Refused::Invalid(reason) => reason,
    }
}

/// An empty MessagePack map.
const NOTHING: [u8; 1] = [0x80];
const HOUR_MS: u64 = 3_600_000;

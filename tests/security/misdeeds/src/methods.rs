//! The methods: how they are declared, and what they do.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use entia_sdk::__private::bindings::entia::entity::{config, log};
use entia_sdk::__private::{Arguments, Method, MethodBuilder, reply};
use entia_sdk::{Bytes, Rejection};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::effects;
use crate::misdeeds::{allocate, list, recurse, spin};

/// What a call ends in.
pub type Outcome<R = Rejection> = Result<Vec<u8>, R>;

/// What survives between calls.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    value: u64,
    ballast: Bytes,
    /// Snapshots taken, of an entity whose snapshots differ.
    pub(crate) snapshots: u64,
    /// Fires of timers.
    pub(crate) fires: u64,
    /// What came of effects outside of turns.
    pub(crate) outside: Vec<String>,
}

/// How the methods are declared. `int_keys` and `gigabyte` lie about their results.
pub(crate) fn declared() -> Vec<Method> {
    let mut methods = behaving();
    methods.extend(misbehaving());
    methods.extend(flooding());
    methods
}

fn command(name: &str, doc: &str) -> MethodBuilder {
    MethodBuilder::new(name, doc, false)
}

fn query(name: &str, doc: &str) -> MethodBuilder {
    MethodBuilder::new(name, doc, true)
}

fn behaving() -> Vec<Method> {
    vec![
        query("echo", "Returns the text.")
            .argument::<String>("text")
            .result::<String>()
            .build(),
        command("increment", "Adds to the value and returns it.")
            .argument::<u64>("by")
            .result::<u64>()
            .build(),
        query("value", "The value.").result::<u64>().build(),
        query(
            "snapshots",
            "How many snapshots there were when they differ.",
        )
        .result::<u64>()
        .build(),
        query("fires", "How many timers fired and did no harm.")
            .result::<u64>()
            .build(),
        query(
            "outside",
            "What came of effects in `activate` and `snapshot`.",
        )
        .result::<Vec<String>>()
        .build(),
    ]
}

fn misbehaving() -> Vec<Method> {
    vec![
        command("spin", "Loops for ever.").build(),
        command("clock_loop", "Asks WASI for the time, for ever.").build(),
        command("recurse", "Recurses without end.")
            .result::<u64>()
            .build(),
        command("allocate", "Allocates without end.").build(),
        command(
            "hoard",
            "Allocates so many bytes, touches them and keeps them.",
        )
        .argument::<u64>("bytes")
        .build(),
        command("panic", "Panics.").build(),
        command(
            "gigabyte",
            "Returns a list of so many bytes, a gigabyte if not said.",
        )
        .argument::<Option<u64>>("bytes")
        .result::<Vec<()>>()
        .build(),
        command("sleep", "Waits for a second instead of using a timer.").build(),
        command("big_state", "Makes the state so many bytes long.")
            .argument::<u64>("bytes")
            .build(),
        command("nan", "Returns a number that JSON does not have.")
            .result::<f64>()
            .build(),
        command(
            "int_keys",
            "Returns a map whose keys are numbers, and says otherwise.",
        )
        .result::<BTreeMap<String, u64>>()
        .build(),
        query("effects_in_query", "Sends and sets timers in a query.")
            .result::<Vec<String>>()
            .build(),
    ]
}

fn flooding() -> Vec<Method> {
    vec![
        command("noise", "Writes so many lines to the log.")
            .argument::<u64>("lines")
            .build(),
        command("host_calls", "Calls the host so many times.")
            .argument::<u64>("count")
            .build(),
        command("send_flood", "Sends to a kind for ever, refused or not.")
            .argument::<String>("kind")
            .build(),
        command("send", "Sends so many messages, until one is refused.")
            .argument::<String>("kind")
            .argument::<String>("key")
            .argument::<String>("method")
            .argument::<u64>("count")
            .build(),
        command("bomb", "Sends itself, as which it is told, two of these.")
            .argument::<String>("kind")
            .argument::<String>("key")
            .build(),
        command("timers", "Sets so many timers with so large payloads.")
            .argument::<u64>("count")
            .argument::<u64>("bytes")
            .build(),
        command(
            "timer_flood",
            "Sets and ends a timer with so large a payload, for ever.",
        )
        .argument::<u64>("bytes")
        .build(),
        command("beat", "Sets a timer that repeats.")
            .argument::<String>("name")
            .argument::<u64>("period_ms")
            .build(),
    ]
}

impl State {
    /// An `activate` that takes whatever it is given.
    pub(crate) fn of_garbage(bytes: &[u8]) -> Self {
        Self {
            value: bytes.len() as u64,
            ..Self::default()
        }
    }

    pub(crate) fn call(&mut self, method: &str, given: &[u8]) -> Outcome {
        let given = &mut arguments(given)?;
        match method {
            "spin" => spin(),
            "clock_loop" => clock_loop(),
            "recurse" => reply(&recurse(0)),
            "allocate" => allocate(),
            "hoard" => reply(&hoard(argument(given, "bytes")?)),
            "panic" => panic!("told to panic with the value at {}", self.value),
            "gigabyte" => {
                let bytes: Option<u64> = argument(given, "bytes")?;
                Ok(list(bytes.unwrap_or(1 << 30)))
            }
            "sleep" => reply(&std::thread::sleep(Duration::from_secs(1))),
            "big_state" => reply(&self.grow(argument(given, "bytes")?)),
            "nan" => reply(&f64::NAN),
            "int_keys" => reply(&BTreeMap::from([(1_u64, 2_u64)])),
            "effects_in_query" => reply(&effects::outside()),
            "echo" => reply(&argument::<String>(given, "text")?),
            "increment" => {
                self.value = self.value.wrapping_add(argument(given, "by")?);
                reply(&self.value)
            }
            "value" => reply(&self.value),
            "snapshots" => reply(&self.snapshots),
            "fires" => reply(&self.fires),
            "outside" => reply(&self.outside),
            _ => flood(method, given),
        }
    }

    fn grow(&mut self, bytes: u64) {
        self.ballast = Bytes(vec![1; bytes as usize]);
    }
}

fn flood(method: &str, given: &mut Arguments<'_>) -> Outcome {
    match method {
        "noise" => reply(&noise(argument(given, "lines")?)),
        "host_calls" => reply(&host_calls(argument(given, "count")?)),
        "send_flood" => effects::flood(&argument::<String>(given, "kind")?),
        "send" => {
            let kind: String = argument(given, "kind")?;
            let key: String = argument(given, "key")?;
            let to: String = argument(given, "method")?;
            reply(&effects::messages(
                &kind,
                &key,
                &to,
                argument(given, "count")?,
            )?)
        }
        "bomb" => {
            let kind: String = argument(given, "kind")?;
            let key: String = argument(given, "key")?;
            reply(&effects::bomb(&kind, &key))
        }
        "timers" => {
            let count = argument(given, "count")?;
            reply(&effects::set_timers(count, argument(given, "bytes")?)?)
        }
        "timer_flood" => effects::replace_timers(argument(given, "bytes")?),
        "beat" => {
            let name: String = argument(given, "name")?;
            reply(&effects::beat(&name, argument(given, "period_ms")?)?)
        }
        _ => Err(Rejection::new("unknown_method", method)),
    }
}

/// A call's arguments.
pub fn arguments(bytes: &[u8]) -> Result<Arguments<'_>, Rejection> {
    Arguments::read(bytes)
}

/// One of a call's arguments.
pub fn argument<T: DeserializeOwned>(
    given: &mut Arguments<'_>,
    name: &'static str,
) -> Result<T, Rejection> {
    given.take(name)
}

fn clock_loop() -> ! {
    loop {
        std::hint::black_box(SystemTime::now());
    }
}

/// Only what is touched is resident; what is leaked stays as long as the instance.
fn hoard(bytes: u64) {
    std::hint::black_box(vec![1_u8; bytes as usize].leak());
}

fn noise(lines: u64) {
    for line in 0..lines {
        log::write(log::Level::Info, &format!("noise {line}"));
    }
}

fn host_calls(count: u64) {
    for _ in 0..count {
        config::read("nothing");
    }
}

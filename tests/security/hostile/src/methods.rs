//! The methods: how they are declared, and what they do.

use std::collections::BTreeMap;
use std::time::Duration;

use entia_sdk::__private::bindings::entia::entity::{config, log};
use entia_sdk::__private::{Arguments, Method, MethodBuilder, reply};
use entia_sdk::{Bytes, Rejection};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::misdeeds::{allocate, list, recurse, spin};

/// What survives between calls.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    value: u64,
    ballast: Bytes,
}

/// How the methods are declared. `int_keys` and `gigabyte` lie about their results.
pub(crate) fn declared() -> Vec<Method> {
    let command = |name, doc| MethodBuilder::new(name, doc, false);
    let query = |name, doc| MethodBuilder::new(name, doc, true);
    vec![
        command("spin", "Loops for ever.").build(),
        command("recurse", "Recurses without end.")
            .result::<u64>()
            .build(),
        command("allocate", "Allocates without end.").build(),
        command("panic", "Panics.").build(),
        command(
            "gigabyte",
            "Returns a list of so many bytes, a gigabyte if not said.",
        )
        .argument::<Option<u64>>("bytes")
        .result::<Vec<()>>()
        .build(),
        command("noise", "Writes so many lines to the log.")
            .argument::<u64>("lines")
            .build(),
        command("host_calls", "Calls the host so many times.")
            .argument::<u64>("count")
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
        query("echo", "Returns the text.")
            .argument::<String>("text")
            .result::<String>()
            .build(),
        command("increment", "Adds to the value and returns it.")
            .argument::<u64>("by")
            .result::<u64>()
            .build(),
        query("value", "The value.").result::<u64>().build(),
    ]
}

impl State {
    pub(crate) fn call(&mut self, method: &str, arguments: &[u8]) -> Result<Vec<u8>, Rejection> {
        match method {
            "spin" => spin(),
            "recurse" => reply(&recurse(0)),
            "allocate" => allocate(),
            "panic" => panic!("told to panic with the value at {}", self.value),
            "gigabyte" => {
                let bytes: Option<u64> = argument(arguments, "bytes")?;
                Ok(list(bytes.unwrap_or(1 << 30)))
            }
            "noise" => reply(&noise(argument(arguments, "lines")?)),
            "host_calls" => reply(&host_calls(argument(arguments, "count")?)),
            "sleep" => reply(&std::thread::sleep(Duration::from_secs(1))),
            "big_state" => reply(&self.grow(argument(arguments, "bytes")?)),
            "nan" => reply(&f64::NAN),
            "int_keys" => reply(&BTreeMap::from([(1_u64, 2_u64)])),
            "echo" => reply(&argument::<String>(arguments, "text")?),
            "increment" => {
                self.value = self.value.wrapping_add(argument(arguments, "by")?);
                reply(&self.value)
            }
            "value" => reply(&self.value),
            _ => Err(Rejection::new("unknown_method", method)),
        }
    }

    fn grow(&mut self, bytes: u64) {
        self.ballast = Bytes(vec![1; bytes as usize]);
    }
}

fn argument<T: DeserializeOwned>(bytes: &[u8], name: &'static str) -> Result<T, Rejection> {
    let mut arguments = Arguments::read(bytes)?;
    let value = arguments.take(name)?;
    arguments.finish()?;
    Ok(value)
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

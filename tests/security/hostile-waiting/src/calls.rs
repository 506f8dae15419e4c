use entia_misdeeds::{Others, Outcome, allocate, argument, arguments, recurse, spin};
use entia_sdk::__private::bindings::entia::entity::{call, types};
use entia_sdk::__private::{Method, MethodBuilder, reply};
use serde::Serialize;

/// All other entities can be called.
pub(crate) struct Everybody;

#[derive(Serialize)]
struct Chain<'a> {
    kind: &'a str,
    depth: u64,
}

#[derive(Serialize)]
struct Nothing {}

impl Others for Everybody {
    fn declared() -> Vec<Method> {
        let command = |name, doc| MethodBuilder::new(name, doc, false);
        vec![
            command(
                "call",
                "Calls a method without arguments and says what came; `then` it may `panic`, `spin`, `recurse` or `allocate`.",
            )
            .argument::<String>("kind")
            .argument::<String>("key")
            .argument::<String>("method")
            .argument::<String>("then")
            .result::<String>()
            .build(),
            command(
                "chain",
                "Lets so many entities call the next one, and says what came of the last call.",
            )
            .argument::<String>("kind")
            .argument::<u64>("depth")
            .result::<String>()
            .build(),
            command("call_loop", "Calls itself for ever, which is refused each time.")
                .argument::<String>("kind")
                .argument::<String>("key")
                .build(),
        ]
    }

    fn handle(method: &str, given: &[u8]) -> Option<Outcome> {
        Some(match method {
            "call" => call_then(given),
            "chain" => chain(given),
            "call_loop" => call_loop(given),
            _ => return None,
        })
    }

    fn outside() -> Option<String> {
        Some(ask("hostile", "nobody", "value", &Nothing {}))
    }
}

fn call_then(given: &[u8]) -> Outcome {
    let mut given = arguments(given)?;
    let kind: String = argument(&mut given, "kind")?;
    let key: String = argument(&mut given, "key")?;
    let method: String = argument(&mut given, "method")?;
    let then: String = argument(&mut given, "then")?;
    let answer = ask(&kind, &key, &method, &Nothing {});
    match then.as_str() {
        "panic" => panic!("told to panic after a call: {answer}"),
        "spin" => spin(),
        "recurse" => reply(&recurse(0)),
        "allocate" => allocate(),
        _ => reply(&answer),
    }
}

fn chain(given: &[u8]) -> Outcome {
    let mut given = arguments(given)?;
    let kind: String = argument(&mut given, "kind")?;
    let depth: u64 = argument(&mut given, "depth")?;
    let Some(depth) = depth.checked_sub(1) else {
        return reply("end");
    };
    let target = types::EntityId {
        key: format!("chain-{depth}"),
        kind: kind.clone(),
    };
    let next = Chain { kind: &kind, depth };
    match call::call(&target, "chain", &reply(&next)?, None) {
        Ok(answer) => Ok(answer),
        Err(failure) => reply(&code(failure)),
    }
}

fn call_loop(given: &[u8]) -> Outcome {
    let mut given = arguments(given)?;
    let kind: String = argument(&mut given, "kind")?;
    let key: String = argument(&mut given, "key")?;
    loop {
        ask(&kind, &key, "value", &Nothing {});
    }
}

/// Calls, and says in a word what came.
fn ask(kind: &str, key: &str, method: &str, given: &impl Serialize) -> String {
    let target = types::EntityId {
        kind: kind.to_owned(),
        key: key.to_owned(),
    };
    let given = reply(given).unwrap_or_default();
    match call::call(&target, method, &given, None) {
        Ok(_answer) => "answered".to_owned(),
        Err(failure) => code(failure),
    }
}

fn code(failure: call::CallFailure) -> String {
    match failure {
        call::CallFailure::Rejected(rejection) => rejection.code,
        call::CallFailure::Failed(error) => format!("{}: {}", error.code, error.message),
    }
}

//! The exports.

use std::cell::RefCell;

use entia_sdk::__private::bindings;
use entia_sdk::__private::bindings::entia::entity::types;
use entia_sdk::__private::bindings::exports::entia::entity::guest::Guest;
use entia_sdk::__private::reply;
use entia_sdk::describe::Kind;
use entia_sdk::{Rejection, decode};

use crate::methods::{State, declared};
use crate::misdeeds::{allocate, recurse, spin};

struct Hostile;

bindings::export!(Hostile with_types_in entia_sdk::__private::bindings);

#[derive(Default)]
struct Instance {
    key: String,
    state: State,
}

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
}

impl Guest for Hostile {
    fn describe() -> Vec<types::Kind> {
        let kind = Kind {
            name: "hostile".to_owned(),
            doc: "Misbehaves when told to.".to_owned(),
            schema_version: SCHEMA_VERSION,
            schema_version_oldest: SCHEMA_VERSION,
            methods: declared(),
        };
        vec![kind.into()]
    }

    fn activate(me: types::EntityId, stored: Option<types::State>) -> Result<(), types::Rejection> {
        match me.key.as_str() {
            "trap-in-activate" => panic!("told to panic in activate"),
            "spin-in-activate" => spin(),
            "recurse-in-activate" => {
                recurse(0);
            }
            "allocate-in-activate" => allocate(),
            "refuse-activate" => return Err(refusal("told to refuse").into()),
            _ => {}
        }
        let state = match stored {
            Some(stored) => decode(&stored.bytes).map_err(|error| refusal(&error.to_string()))?,
            None => State::default(),
        };
        INSTANCE.with_borrow_mut(|instance| *instance = Instance { key: me.key, state });
        Ok(())
    }

    fn handle(
        _: types::Context,
        method: String,
        arguments: Vec<u8>,
    ) -> Result<Vec<u8>, types::Rejection> {
        INSTANCE.with_borrow_mut(|instance| Ok(instance.state.call(&method, &arguments)?))
    }

    fn snapshot() -> types::State {
        INSTANCE.with_borrow(|instance| match instance.key.as_str() {
            "trap-in-snapshot" => panic!("told to panic in snapshot"),
            "spin-in-snapshot" => spin(),
            _ => types::State {
                schema_version: SCHEMA_VERSION,
                bytes: reply(&instance.state).unwrap_or_default(),
            },
        })
    }

    fn on_timer(_: String, _: u64, _: Vec<u8>) -> Result<(), types::Rejection> {
        Err(refusal("there are no timers").into())
    }
}

fn refusal(message: &str) -> Rejection {
    Rejection::new("hostile", message)
}

const SCHEMA_VERSION: u32 = 1;

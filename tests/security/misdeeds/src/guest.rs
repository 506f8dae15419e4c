//! The exports.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::SystemTime;

use entia_sdk::__private::bindings::entia::entity::types;
use entia_sdk::__private::bindings::exports::entia::entity::guest::Guest;
use entia_sdk::__private::{Method, reply};
use entia_sdk::describe::Kind;
use entia_sdk::{Rejection, decode};

use crate::effects;
use crate::methods::{Outcome, State, declared};
use crate::misdeeds::{allocate, recurse, spin};

/// The component whose entities misbehave, and call others as `C` says.
pub struct Hostile<C>(PhantomData<C>);

/// What a component can do because it imports `call`, or nothing.
pub trait Others {
    /// More methods.
    fn declared() -> Vec<Method>;
    /// Carries one of them out; none if it is not one of them.
    fn handle(method: &str, arguments: &[u8]) -> Option<Outcome>;
    /// Calls somebody where nobody can be called, and says what came.
    fn outside() -> Option<String>;
}

/// No entity can be called: the component does not import `call`.
pub struct Nobody;

impl Others for Nobody {
    fn declared() -> Vec<Method> {
        Vec::new()
    }

    fn handle(_: &str, _: &[u8]) -> Option<Outcome> {
        None
    }

    fn outside() -> Option<String> {
        None
    }
}

#[derive(Default)]
struct Instance {
    key: String,
    state: State,
}

thread_local! {
    static INSTANCE: RefCell<Instance> = RefCell::default();
}

impl<C: Others> Guest for Hostile<C> {
    fn describe() -> Vec<types::Kind> {
        let kind = Kind {
            name: "hostile".to_owned(),
            doc: "Misbehaves when told to.".to_owned(),
            schema_version: SCHEMA_VERSION,
            schema_version_oldest: SCHEMA_VERSION,
            methods: declared().into_iter().chain(C::declared()).collect(),
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
            "sometimes-in-activate" if !lucky() => panic!("no luck in activate"),
            _ => {}
        }
        let mut state = match stored {
            Some(stored) if me.key == GARBAGE => State::of_garbage(&stored.bytes),
            Some(stored) => decode(&stored.bytes).map_err(|error| refusal(&error.to_string()))?,
            None => State::default(),
        };
        if me.key == OUTSIDE {
            state.outside = effects::outside();
            state.outside.extend(C::outside());
        }
        INSTANCE.with_borrow_mut(|instance| *instance = Instance { key: me.key, state });
        Ok(())
    }

    fn handle(_: types::Context, method: String, arguments: Vec<u8>) -> Outcome<types::Rejection> {
        if let Some(outcome) = C::handle(&method, &arguments) {
            return Ok(outcome?);
        }
        INSTANCE.with_borrow_mut(|instance| Ok(instance.state.call(&method, &arguments)?))
    }

    fn snapshot() -> types::State {
        INSTANCE.with_borrow_mut(|Instance { key, state }| {
            match key.as_str() {
                "trap-in-snapshot" => panic!("told to panic in snapshot"),
                "spin-in-snapshot" => spin(),
                "changing-snapshot" => state.snapshots += 1,
                OUTSIDE => {
                    state.outside.extend(effects::outside());
                    state.outside.extend(C::outside());
                }
                _ => {}
            }
            let bytes = match key.as_str() {
                GARBAGE => vec![0xc1; 100],
                _ => reply(state).unwrap_or_default(),
            };
            types::State {
                schema_version: SCHEMA_VERSION,
                bytes,
            }
        })
    }

    fn on_timer(name: String, _: u64, _: Vec<u8>) -> Result<(), types::Rejection> {
        match name.as_str() {
            "trap" => panic!("told to panic in on-timer"),
            "spin" => spin(),
            "refuse" => return Err(refusal("told to refuse in on-timer").into()),
            _ => INSTANCE.with_borrow_mut(|instance| instance.state.fires += 1),
        }
        Ok(())
    }
}

/// True one time in four: nothing else that a guest sees differs from one try to the next.
fn lucky() -> bool {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.is_ok_and(|time| time.subsec_micros() % 4 == 0)
}

fn refusal(message: &str) -> Rejection {
    Rejection::new("hostile", message)
}

const SCHEMA_VERSION: u32 = 1;
const GARBAGE: &str = "garbage-in-snapshot";
const OUTSIDE: &str = "effects-outside";

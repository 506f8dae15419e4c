//! A component whose `describe` never ends: deploying it is refused, within its bound.
//!
//! The other exports have misdeeds in `entia-hostile`; `describe` is called before there is a key that could choose one.

#[cfg(target_arch = "wasm32")]
mod guest {
    use entia_sdk::__private::bindings;
    use entia_sdk::__private::bindings::entia::entity::types;
    use entia_sdk::__private::bindings::exports::entia::entity::guest::Guest;

    struct Undescribable;

    bindings::export!(Undescribable with_types_in entia_sdk::__private::bindings);

    impl Guest for Undescribable {
        fn describe() -> Vec<types::Kind> {
            loop {
                std::hint::black_box(());
            }
        }

        fn activate(_: types::EntityId, _: Option<types::State>) -> Result<(), types::Rejection> {
            Ok(())
        }

        fn handle(_: types::Context, _: String, _: Vec<u8>) -> Result<Vec<u8>, types::Rejection> {
            Ok(Vec::new())
        }

        fn snapshot() -> types::State {
            types::State {
                schema_version: 1,
                bytes: Vec::new(),
            }
        }

        fn on_timer(_: String, _: u64, _: Vec<u8>) -> Result<(), types::Rejection> {
            Ok(())
        }
    }
}

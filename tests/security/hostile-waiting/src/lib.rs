//! A hostile entity that imports `call` and so runs on a fiber. It can do all that `entia-hostile` can, and more:
//!
//! `call` calls another's method and then behaves or not, `chain` calls as many others, one within the other, `call_loop`
//! calls the host's `call` for ever. With the key `calls-outside` it calls from `activate` and `snapshot`.

#[cfg(target_arch = "wasm32")]
mod calls;

#[cfg(target_arch = "wasm32")]
mod guest {
    use entia_misdeeds::Hostile;
    use entia_sdk::__private::bindings;

    type Guest = Hostile<crate::calls::Everybody>;

    bindings::export!(Guest with_types_in entia_sdk::__private::bindings);
}

//! A hostile entity that runs on a plain thread: what it can do is in `entia-misdeeds`.

#[cfg(target_arch = "wasm32")]
mod guest {
    use entia_misdeeds::{Hostile, Nobody};
    use entia_sdk::__private::bindings;

    type Guest = Hostile<Nobody>;

    bindings::export!(Guest with_types_in entia_sdk::__private::bindings);
}

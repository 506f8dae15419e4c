use std::path::PathBuf;

/// The directory of the guests' components.
pub fn guests() -> PathBuf {
    std::env::var_os("ENTIA_GUESTS").map_or_else(
        || target().join("guests/wasm32-wasip2/guest"),
        PathBuf::from,
    )
}

/// A guest's component, such as `counter`.
///
/// # Panics
/// If it was not built.
pub fn guest(name: &str) -> PathBuf {
    let path = guests().join(name).with_extension("wasm");
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask build-entities`",
        path.display()
    );
    path
}

/// The `entia` binary.
///
/// # Panics
/// If it was not built.
pub fn entia() -> PathBuf {
    let path =
        std::env::var_os("ENTIA_BIN").map_or_else(|| target().join("ci/entia"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --profile ci`",
        path.display()
    );
    path
}

fn target() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
}

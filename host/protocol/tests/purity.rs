//! What this crate may depend on. The rest of the rule, no clock, lock, task, I/O or hash order, is in its `clippy.toml`.

/// Each is pure: codecs, hashes, derives. One more belongs here only if it reads no clock, draws no number, does no I/O and
/// spawns nothing.
const ALLOWED: [&str; 6] = [
    "blake3",
    "rmp-serde",
    "serde",
    "serde_bytes",
    "thiserror",
    "xxhash-rust",
];

#[test]
fn the_machines_depend_on_nothing_that_could_read_a_clock_or_do_io() {
    let manifest =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let (_, after) = manifest.split_once("[dependencies]\n").unwrap();
    let (dependencies, _) = after.split_once("\n[").unwrap_or((after, ""));
    let names: Vec<_> = dependencies
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect();
    assert_eq!(names, ALLOWED, "see the list's comment before it grows");
    assert!(!manifest.contains("build-dependencies") && !manifest.contains("[target"));
}

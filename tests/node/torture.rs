//! Everything at once, for a while: see `entia_tests::torture`. `cargo xtask torture --minutes M` runs it for longer.

use std::time::Duration;

use entia_tests::torture::Torture;

/// What `cargo xtask test` gives it.
const SECONDS_DEFAULT: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_everything_at_once_loses_and_doubles_nothing() {
    let seconds = std::env::var("ENTIA_TORTURE_SECONDS");
    let seconds = seconds.map_or(SECONDS_DEFAULT, |text| text.parse().unwrap());
    let dir = tempfile::Builder::new().prefix("entia-torture-").tempdir();
    // It stays if anything goes wrong: the data and the log say how.
    let dir = dir.unwrap().keep();
    println!("the node's data and log are in {}", dir.display());
    let done = Torture::of(Duration::from_secs(seconds)).run(&dir).await;
    println!("{seconds} s: {done}");
    std::fs::remove_dir_all(&dir).unwrap();
}

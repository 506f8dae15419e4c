//! Everything at once, for a while: see `entia_tests::torture`. `cargo xtask torture --minutes M` runs it for longer.

use std::time::Duration;

use entia_tests::NodeOptions;
use entia_tests::torture::Torture;

/// What `cargo xtask test` gives it.
const SECONDS_DEFAULT: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_everything_at_once_loses_and_doubles_nothing() {
    let seconds = std::env::var("ENTIA_TORTURE_SECONDS");
    let seconds = seconds.map_or(SECONDS_DEFAULT, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(&dir.path().join("data"));
    let done = Torture::of(Duration::from_secs(seconds))
        .run(&options)
        .await;
    println!("{seconds} s: {done}");
}

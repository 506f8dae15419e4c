use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::build::{self, TARGET};
use crate::doctor::Finding;
use crate::failure::Failure;

/// What `entia build` and `entia dev` need. A machine that only runs a node does without.
pub(crate) async fn check() -> Vec<Finding> {
    let (cargo, rustc) = (version("cargo").await, version("rustc").await);
    let (Some(cargo), Some(rustc)) = (cargo, rustc) else {
        return vec![Finding::warn(
            "rust",
            "cargo or rustc is not found: entities cannot be built here, a node runs all the same",
            "install Rust from https://rustup.rs",
        )];
    };
    let rustup = version("rustup").await;
    let rustup = rustup.unwrap_or_else(|| "no rustup".to_owned());
    let mut findings = vec![rust(&cargo, &rustc, &rustup)];
    findings.push(match build::check_target(Path::new(".")).await {
        Ok(()) => Finding::ok("target", format!("{TARGET} is installed")),
        Err(error) => {
            let next = error.downcast_ref::<Failure>().map(|error| &error.hint);
            Finding::fail("target", error.to_string(), next.map_or("", String::as_str))
        }
    });
    findings
}

fn rust(cargo: &str, rustc: &str, rustup: &str) -> Finding {
    let message = format!("{cargo}, {rustc}, {rustup}");
    match minor(rustc) {
        Some(minor) if minor < RUST_MINOR_MIN => {
            let message = format!("{message}: entities need Rust 1.{RUST_MINOR_MIN}");
            Finding::fail("rust", message, "rustup update")
        }
        _ => Finding::ok("rust", message),
    }
}

/// The name and number that a tool says it is, such as `cargo 1.95.0`.
async fn version(tool: &str) -> Option<String> {
    let mut asked = Command::new(tool);
    let asked = asked.arg("--version").stdin(Stdio::null()).output();
    let said = asked.await.ok().filter(|said| said.status.success())?;
    let said = String::from_utf8_lossy(&said.stdout);
    let words: Vec<_> = said.split_whitespace().take(2).collect();
    Some(words.join(" "))
}

/// The second number of `rustc 1.95.0`.
fn minor(version: &str) -> Option<u32> {
    let number = version.split(' ').nth(1)?.strip_prefix("1.")?;
    number.split('.').next()?.parse().ok()
}

/// As in the Cargo.toml of the SDK.
const RUST_MINOR_MIN: u32 = 95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_compiler_that_is_too_old_fails() {
        let status = |rustc| rust("cargo 1.95.0", rustc, "no rustup").status;
        assert_eq!(status("rustc 1.95.0"), Status::Ok);
        assert_eq!(status("rustc 1.120.1-nightly"), Status::Ok);
        assert_eq!(status("rustc 1.94.9"), Status::Fail);
        let sdk = include_str!("../../../../Cargo.toml");
        assert!(sdk.contains(&format!("rust-version = \"1.{RUST_MINOR_MIN}\"")));
    }
}

//! `entia doctor`: what Entia needs on this machine, one line a check.
//!
//! A check changes nothing, but for a file in the data directory that it takes away again. Nothing is repaired: a line
//! that is not `ok` says what to do.

mod machine;
mod node;
mod rust;
mod store;

use std::path::{Path, PathBuf};

use entia_api::client::Client;
use serde::Serialize;

use crate::arguments::{self, ApiFrom};
use crate::dev;
use crate::failure::Failure;
use crate::node_options::File;
use crate::output::Output;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    check: &'static str,
    status: Status,
    /// What is so.
    message: String,
    /// What to do next; none if all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Ok,
    /// Something works only in part, or is going to end.
    Warn,
    /// Something does not work.
    Fail,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            message: message.into(),
            next: None,
        }
    }

    fn warn(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            next: Some(next.into()),
            ..Self::ok(check, message)
        }
    }

    fn fail(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(check, message, next)
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

pub(crate) async fn run(
    api: &str,
    from: ApiFrom,
    doctor: &arguments::Doctor,
    output: &Output,
) -> anyhow::Result<()> {
    let file = doctor.config.as_deref().map(File::read).transpose()?;
    let file = file.unwrap_or_default();
    let data_dir = doctor.data_dir.clone().or(file.data_dir);
    let data_dir = data_dir.or_else(|| data_dir_of_project(Path::new("")));

    let mut findings = rust::check().await;
    findings.extend(node::check(&Client::new(api)?, from).await);
    findings.extend(machine::check(&file.tuning));
    if let Some(dir) = data_dir {
        findings.extend(store::check(&dir));
    }
    let failed = |finding: &&Finding| finding.status == Status::Fail;
    let failures = findings.iter().filter(failed).count();
    let checks = findings.len();
    output.result(&Report { findings }, |report| {
        text(&report.findings, output)
    })?;
    if failures > 0 {
        let message = format!("{failures} of {checks} checks failed");
        return Err(Failure::new(message, "do what the lines above say, and ask again").into());
    }
    Ok(())
}

/// Where `entia dev` keeps the data of the project in `dir`, if it has any.
fn data_dir_of_project(dir: &Path) -> Option<PathBuf> {
    Some(dir.join(dev::DATA_DIR)).filter(|dir| dir.is_dir())
}

fn text(findings: &[Finding], output: &Output) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let status = match finding.status {
            Status::Ok => output.green("ok  "),
            Status::Warn => output.yellow("warn"),
            Status::Fail => output.red("fail"),
        };
        let (check, message) = (finding.check, &finding.message);
        text += &format!("{status}  {check:width$}  {message}\n");
        if let Some(next) = &finding.next {
            let indent = width + 8;
            text += &format!("{:indent$}{} {next}\n", "", output.bold("next:"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_what_is_not_well_says_what_to_do() {
        let findings = [
            Finding::ok("rust", "cargo 1.95.0"),
            Finding::warn("open files", "1024", "ulimit -n 20000"),
        ];
        assert_eq!(
            text(&findings, &Output::plain()),
            "ok    rust        cargo 1.95.0\nwarn  open files  1024\n                  next: ulimit -n 20000\n"
        );
    }

    #[test]
    fn the_data_of_a_project_is_found_where_dev_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(data_dir_of_project(dir.path()), None);
        std::fs::create_dir(dir.path().join(".entia")).unwrap();
        assert_eq!(
            data_dir_of_project(dir.path()),
            Some(dir.path().join(".entia"))
        );
    }
}

//! What went wrong, for people and scripts.

use std::process::ExitCode;

use entia_api::body::{ErrorBody, ErrorDetail};
use entia_api::client::ClientError;

use crate::output::{Format, Output};

/// What a command that fails by itself says, besides what the node says.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// Shown at the end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed, here or on the node; or no node was reached
  2  the command line is wrong
  3  the entity refused the call (its own answer is in `rejection`)
  4  there is no such kind, method or entity
  5  the node refused the request as it is: arguments, component, limits, conflicts
  6  not now: the node is overloaded or shutting down; nothing ran, try again
  7  unknown: a deadline passed or a connection broke, and the call may have run";

/// Writes an error to standard error and returns its exit code.
pub(crate) fn report(error: &anyhow::Error, output: &Output) -> ExitCode {
    let detail = detail(error);
    let code = exit_code(error);
    match output.format() {
        Format::Json => {
            let body = serde_json::to_string_pretty(&ErrorBody { error: detail });
            output.complain(&body.unwrap_or_else(|error| error.to_string()));
        }
        Format::Text => output.complain(&text(&detail, output)),
    }
    ExitCode::from(code)
}

/// Three lines: what happened, whether it may have run, and what to do next.
pub(crate) fn text(detail: &ErrorDetail, output: &Output) -> String {
    let mut text = format!("{} {}", output.red("error:"), detail.message);
    if let Some(rejection) = &detail.rejection {
        text = format!(
            "{} {} ({})",
            output.red("refused:"),
            rejection.message,
            rejection.code
        );
        if let Some(data) = &rejection.data {
            text += &format!("\n  data: {data}");
        }
    } else if detail.may_have_run {
        text += "\n  the call may have run";
    }
    if let Some(retry_after_ms) = detail.retry_after_ms {
        text += &format!("\n  try again after {retry_after_ms} ms");
    }
    if !detail.hint.is_empty() {
        text += &format!("\n  {} {}", output.bold("next:"), detail.hint);
    }
    text
}

/// The error as the API shows errors.
pub(crate) fn detail(error: &anyhow::Error) -> ErrorDetail {
    let client = error.downcast_ref::<ClientError>();
    if let Some(ClientError::Api { body, .. }) = client {
        return body.error.clone();
    }
    let local = error.downcast_ref::<Failure>();
    let hint = match (client, local) {
        (Some(client), _) => client.hint(),
        (None, Some(local)) => &local.hint,
        (None, None) => "",
    };
    ErrorDetail {
        code: client.map_or("failed", ClientError::code).to_owned(),
        message: chain(error),
        may_have_run: client.is_some_and(ClientError::may_have_run),
        hint: hint.to_owned(),
        retry_after_ms: None,
        rejection: None,
    }
}

/// The error and its causes, each once: many repeat their cause's text.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let Some(error) = error.downcast_ref::<ClientError>() else {
        return 1;
    };
    match error {
        ClientError::BadUrl { .. } | ClientError::BadRequest { .. } => 2,
        ClientError::Api { body, .. } if body.error.rejection.is_some() => 3,
        ClientError::Api { status, body } => match status.as_u16() {
            404 => 4,
            429 => 6,
            503 if !body.error.may_have_run => 6,
            400..=499 => 5,
            _ if body.error.code == "deadline_exceeded" && !body.error.may_have_run => 6,
            _ if body.error.may_have_run => 7,
            _ => 1,
        },
        ClientError::Timeout { .. } => 7,
        ClientError::Unreachable { .. } if error.may_have_run() => 7,
        ClientError::Component { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Protocol { .. } => 1,
    }
}

#[cfg(test)]
mod tests {
    use entia_api::ApiError;
    use entia_protocol::{CallError, Rejection, Subject};

    use super::*;

    fn from_node(error: impl Into<ApiError>) -> anyhow::Error {
        let error = error.into();
        ClientError::Api {
            status: error.status().as_u16().try_into().unwrap(),
            body: Box::new(ErrorBody::from(&error)),
        }
        .into()
    }

    #[test]
    fn exit_codes_are_those_of_the_help() {
        let deadline = |may_have_run| CallError::DeadlineExceeded { may_have_run };
        let store = |may_have_run| CallError::StoreFailed {
            message: String::new(),
            may_have_run,
        };
        let unknown = CallError::UnknownKind {
            kind: "x".into(),
            known: vec![],
        };
        let large = CallError::TooLarge {
            subject: Subject::State,
            bytes_max: 1,
        };
        let trap = CallError::Trapped {
            during: "handle".into(),
            message: "x".into(),
        };
        let overload = CallError::Overloaded {
            queue: "x".into(),
            retry_after_ms: 1,
        };
        let cases = [
            (from_node(unknown), 4),
            (from_node(large), 5),
            (from_node(trap), 1),
            (from_node(overload), 6),
            (from_node(CallError::ShuttingDown), 6),
            (from_node(deadline(true)), 7),
            (from_node(deadline(false)), 6),
            (from_node(store(true)), 7),
            (from_node(store(false)), 6),
            (anyhow::anyhow!("disk"), 1),
        ];
        for (error, code) in cases {
            assert_eq!(exit_code(&error), code, "{error:?}");
        }
    }

    #[test]
    fn a_refusal_shows_the_entitys_words_and_has_its_own_code() {
        let error = from_node(CallError::Rejected(Rejection {
            code: "overdraft".into(),
            message: "5 is missing".into(),
            data: None,
        }));
        assert_eq!(exit_code(&error), 3);
        let text = text(&detail(&error), &Output::plain());
        assert_eq!(
            text,
            "refused: 5 is missing (overdraft)\n  next: the entity's own answer; see its documentation"
        );
    }

    #[test]
    fn an_error_says_what_happened_whether_it_ran_and_what_next() {
        let error = from_node(CallError::DeadlineExceeded { may_have_run: true });
        assert_eq!(
            text(&detail(&error), &Output::plain()),
            "error: the deadline passed while the call ran\n  the call may have run\n  next: repeat the call with the same Idempotency-Key: it takes effect once"
        );
        let error =
            anyhow::Error::from(Failure::new("it is gone", "make another")).context("cannot build");
        assert_eq!(
            text(&detail(&error), &Output::plain()),
            "error: cannot build: it is gone\n  next: make another"
        );
    }
}

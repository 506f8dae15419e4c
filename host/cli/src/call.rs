//! `entia call` waits for the result, `entia send` only for the promise that it will run.

use std::io::Read as _;

use anyhow::Context as _;
use entia_api::client::{CallOptions, Client};

use crate::arguments::{Call, Send};
use crate::failure::Failure;
use crate::output::{Format, Output, printable};

pub(crate) async fn run(client: Client, call: Call, output: &Output) -> anyhow::Result<()> {
    let arguments = arguments(call.arguments)?;
    let options = CallOptions {
        idempotency_key: call.key,
        deadline_ms: call.deadline_ms,
    };
    let result = client.call(&call.entity, &call.method, arguments, &options);
    let mut shown = result.await?.to_vec();
    // Both formats are the result as it came: reading it here could only change its numbers.
    if output.format() == Format::Text || !shown.ends_with(b"\n") {
        shown.push(b'\n');
    }
    output.raw(&shown)
}

pub(crate) async fn send(client: Client, send: Send, output: &Output) -> anyhow::Result<()> {
    let arguments = arguments(send.arguments)?;
    let sent = client.send(&send.entity, &send.method, arguments, send.key.as_deref());
    output.result(&sent.await?, |sent| {
        format!("accepted, with the key {}", printable(&sent.key))
    })
}

fn arguments(given: String) -> anyhow::Result<Vec<u8>> {
    if given != "-" {
        return Ok(given.into_bytes());
    }
    let mut read = Vec::new();
    let mut stdin = std::io::stdin().lock().take(ARGUMENTS_BYTES_MAX + 1);
    stdin
        .read_to_end(&mut read)
        .context("the arguments cannot be read from standard input")?;
    if read.len() as u64 > ARGUMENTS_BYTES_MAX {
        let message = format!("standard input has more than {ARGUMENTS_BYTES_MAX} bytes");
        return Err(Failure::new(message, "no kind takes arguments that long").into());
    }
    Ok(read)
}

/// Twice the largest payload that a kind may take.
const ARGUMENTS_BYTES_MAX: u64 = 128 << 20;

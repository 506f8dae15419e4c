//! `entia logs` and `entia events`: what the node remembers, and what comes after it.

use entia_api::body::{
    EntityName, Event, EventBody, EventsQuery, LogLevel, LogLineBody, LogsQuery,
};
use entia_api::client::{Client, Follow, Followed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Events, Logs};
use crate::failure::Failure;
use crate::output::{Format, Output, printable, time};

pub(crate) async fn run(client: Client, logs: Logs, output: &Output) -> anyhow::Result<()> {
    let (kind, key) = logs.of.map_or((None, None), |of| (Some(of.kind), of.key));
    let query = LogsQuery {
        kind,
        key,
        level: logs.level,
        limit: Some(logs.last.limit),
        ..LogsQuery::default()
    };
    let text = |line: &LogLineBody| line_text(line, output);
    if logs.last.follow {
        let lines = client.follow_logs(&query).await?;
        return follow(&client, lines, text, output).await;
    }
    for line in client.logs(&query).await?.lines {
        show(&line, text, output)?;
    }
    Ok(())
}

pub(crate) async fn events(client: Client, events: Events, output: &Output) -> anyhow::Result<()> {
    let query = EventsQuery {
        limit: Some(events.last.limit),
        ..EventsQuery::default()
    };
    let text = |event: &EventBody| event_text(event, output);
    if events.last.follow {
        let events = client.follow_events(&query).await?;
        return follow(&client, events, text, output).await;
    }
    for event in client.events(&query).await?.events {
        show(&event, text, output)?;
    }
    Ok(())
}

/// Shows what comes until somebody has seen enough, which is no failure, or the node goes, which is one.
async fn follow<T: DeserializeOwned + Serialize>(
    client: &Client,
    mut stream: Follow<T>,
    text: impl Fn(&T) -> String,
    output: &Output,
) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    loop {
        let next = tokio::select! {
            next = stream.next() => next?,
            _ = interrupted.recv() => return Ok(()),
        };
        let read_on = match next {
            Some(Followed::Next(item)) => show(&item, &text, output)?,
            Some(Followed::Missed(missed)) => told_missed(missed, output)?,
            None => {
                let message = format!("the node at {} has gone", client.url());
                let hint = "follow again when it is back; what came before is shown first";
                return Err(Failure::new(message, hint).into());
            }
        };
        if !read_on {
            return Ok(());
        }
    }
}

/// Shows one thing in one line. False: nobody reads any more.
fn show<T: Serialize>(
    item: &T,
    text: impl Fn(&T) -> String,
    output: &Output,
) -> anyhow::Result<bool> {
    let mut line = match output.format() {
        Format::Json => serde_json::to_string(item)?,
        Format::Text => text(item),
    };
    line.push('\n');
    output.read_on(line.as_bytes())
}

fn told_missed(missed: u64, output: &Output) -> anyhow::Result<bool> {
    match output.format() {
        Format::Json => show(&json!({ "missed": missed }), ToString::to_string, output),
        Format::Text => {
            output.complain(&format!("{missed} are missing here: they came too fast"));
            Ok(true)
        }
    }
}

fn line_text(line: &LogLineBody, output: &Output) -> String {
    let level = format!("{:5}", line.level.as_str().to_uppercase());
    let level = match line.level {
        LogLevel::Error => output.red(&level),
        LogLevel::Warn => output.yellow(&level),
        _ => level,
    };
    let entity = output.bold(&printable(&format!("{}/{}", line.kind, line.key)));
    // Tabs are the one control character that does no harm.
    let text: Vec<_> = line.text.split('\t').map(printable).collect();
    let time = output.dim(&time(line.at_ms));
    format!("{time} {level} {entity} {}", text.join("\t"))
}

fn event_text(event: &EventBody, output: &Output) -> String {
    let time = output.dim(&time(event.at_ms));
    format!("{time} {}", printable(&said(&event.event)))
}

fn said(event: &Event) -> String {
    let name = |entity: &EntityName| format!("{}/{}", entity.kind, entity.key);
    match event {
        Event::NodeStarted { version } => format!("the node started, version {version}"),
        Event::NodeStopping => "the node is stopping".to_owned(),
        Event::KindDeployed { kind, version, .. } => format!("{kind} deployed, version {version}"),
        Event::KindRolledBack {
            kind,
            version,
            from_version,
        } => format!("{kind} rolled back to version {from_version}, as version {version}"),
        Event::KindDeleted {
            kind,
            entities_deleted,
        } => format!("{kind} deleted, with {entities_deleted} entities"),
        Event::EntityQuarantined {
            entity,
            reason,
            retry_after_ms,
        } => format!(
            "{} quarantined for {retry_after_ms} ms: {reason}",
            name(entity)
        ),
        Event::EntityReleased { entity } => format!("{} released", name(entity)),
        Event::DeadLetter {
            entity,
            target,
            method,
            message,
            ..
        } => format!(
            "{} gave up its message {method} to {}: {message}",
            name(entity),
            name(target)
        ),
        Event::Unknown => "something that this version of entia does not know".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use entia_protocol::KindName;

    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let line = LogLineBody {
            id: 1,
            at_ms: 951_782_400_000,
            level: LogLevel::Warn,
            kind: KindName::new("counter").unwrap(),
            key: "a\nb".to_owned(),
            kind_version: 2,
            text: "one\ttwo\x1b[2J\nthree".to_owned(),
        };
        assert_eq!(
            line_text(&line, &Output::plain()),
            "2000-02-29T00:00:00.000Z WARN  counter/a\u{fffd}b one\ttwo\u{fffd}[2J\u{fffd}three"
        );
    }

    #[test]
    fn events_are_said_in_a_sentence() {
        let entity = EntityName {
            kind: KindName::new("counter").unwrap(),
            key: "a".to_owned(),
        };
        let event = Event::EntityQuarantined {
            entity,
            reason: "it trapped".to_owned(),
            retry_after_ms: 1_000,
        };
        assert_eq!(
            said(&event),
            "counter/a quarantined for 1000 ms: it trapped"
        );
    }
}

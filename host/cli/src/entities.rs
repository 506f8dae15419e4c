use std::io::{self, BufRead as _, IsTerminal as _};

use entia_api::body::{Activation, EntitiesBody, EntityBody, ListQuery};
use entia_api::client::Client;
use entia_protocol::EntityId;
use serde_json::json;

use crate::arguments::{Entities, EntitiesAction};
use crate::failure::Failure;
use crate::output::{Output, ago, bytes, due, list, printable, table};

pub(crate) async fn run(client: Client, entities: Entities, output: &Output) -> anyhow::Result<()> {
    match entities.action {
        None => show(client, entities, output).await,
        Some(EntitiesAction::Delete { entity, yes }) => delete(client, &entity, yes, output).await,
    }
}

pub(crate) async fn inspect(
    client: Client,
    entity: &EntityId,
    output: &Output,
) -> anyhow::Result<()> {
    let body = client.inspect(entity).await?;
    output.result(&body, inspected)
}

pub(crate) async fn release(
    client: Client,
    entity: &EntityId,
    output: &Output,
) -> anyhow::Result<()> {
    let body = client.release(entity).await?;
    output.result(&body, inspected)
}

async fn show(client: Client, entities: Entities, output: &Output) -> anyhow::Result<()> {
    let mut query = ListQuery {
        kind: entities.kind,
        prefix: entities.prefix,
        cursor: None,
        limit: None,
    };
    let wanted = entities.limit as usize;
    let mut all = EntitiesBody::default();
    loop {
        let left = wanted - all.entries.len();
        query.limit = u32::try_from(left).ok();
        let page = client.entities(&query).await?;
        let empty = page.entries.is_empty();
        all.entries.extend(page.entries.into_iter().take(left));
        all.next = page.next;
        // A page that is empty and yet not the last would be asked for again and again.
        if all.next.is_none() || all.entries.len() >= wanted || empty {
            break;
        }
        query.cursor = all.next.clone();
    }
    if all.next.is_some() {
        output.complain("there are more; --limit N lists more of them, --prefix narrows them");
    }
    output.result(&all, listed)
}

async fn delete(
    client: Client,
    entity: &EntityId,
    yes: bool,
    output: &Output,
) -> anyhow::Result<()> {
    let name = printable(&entity.to_string());
    confirm(&format!("forget {name} and its state"), yes, output)?;
    client.delete_entity(entity).await?;
    output.result(&json!({"deleted": entity.to_string()}), |_| {
        format!("{name} is forgotten")
    })
}

/// Asks before what cannot be undone. Where nobody can answer, `--yes` has to be said.
pub(crate) fn confirm(what: &str, yes: bool, output: &Output) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let message = format!("this would {what}, and there is no terminal to ask at");
        return Err(Failure::new(message, "pass --yes; nothing was deleted").into());
    }
    output.complain(&format!("This will {what}. Type `yes` to go on:"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::new("you did not say yes", "nothing was deleted").into())
    }
}

fn listed(body: &EntitiesBody) -> String {
    if body.entries.is_empty() {
        return "no entities; an entity begins to exist with its first call".to_owned();
    }
    let rows = body.entries.iter().map(|entry| {
        let name = format!("{}/{}", entry.kind, printable(&entry.key));
        [name, activation(entry.activation).to_owned()]
    });
    table(["ENTITY", "ACTIVATION"], &rows.collect::<Vec<_>>())
}

fn inspected(body: &EntityBody) -> String {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none yet".to_owned());
    let mut entries = vec![
        ("entity", format!("{}/{}", body.kind, printable(&body.key))),
        ("activation", activation(body.activation).to_owned()),
        ("kind version", body.kind_version.to_string()),
        (
            "schema version",
            or_none(body.schema_version.map(|version| version.to_string())),
        ),
        (
            "stored at",
            or_none(body.sequence.map(|sequence| format!("commit {sequence}"))),
        ),
        ("state", bytes(body.state_bytes)),
        ("memory", bytes(body.memory_bytes)),
        ("calls waiting", body.mailbox.to_string()),
        ("calls answered", body.calls.to_string()),
        ("turns undone", body.failures.to_string()),
    ];
    if let Some(quarantine) = &body.quarantine {
        let seconds = quarantine.retry_after_ms.div_ceil(1_000);
        entries.push((
            "quarantined",
            format!("for {seconds} s more, unless released"),
        ));
    }
    if let Some(failure) = &body.last_failure {
        // A backtrace has lines of its own.
        let lines = failure.message.lines().map(printable);
        let message = lines.collect::<Vec<_>>().join("\n  ");
        entries.push(("last failure", format!("{}: {message}", ago(failure.at_ms))));
    }
    for timer in &body.timers {
        let beat = timer
            .period_ms
            .map_or_else(String::new, |ms| format!(", then every {ms} ms"));
        let name = printable(&timer.name);
        entries.push(("timer", format!("{name} {}{beat}", due(timer.due_ms))));
    }
    if body.sends_pending > 0 {
        entries.push(("messages waiting", body.sends_pending.to_string()));
    }
    for letter in &body.dead_letters {
        let target = printable(&letter.target);
        let why = printable(&letter.message);
        entries.push((
            "dead letter",
            format!(
                "{} to {target}, given up {}: {why}",
                letter.method,
                ago(letter.at_ms)
            ),
        ));
    }
    list(&entries)
}

fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Cold => "cold",
        Activation::Live => "live",
    }
}

#[cfg(test)]
mod tests {
    use entia_api::body::{EntityEntryBody, FailureBody};
    use entia_protocol::KindName;

    use super::*;

    fn kind() -> KindName {
        KindName::new("counter").unwrap()
    }

    #[test]
    fn a_list_shows_keys_without_obeying_them() {
        let entry = |key: &str, activation| EntityEntryBody {
            kind: kind(),
            key: key.to_owned(),
            activation,
        };
        let body = EntitiesBody {
            entries: vec![
                entry("alice", Activation::Live),
                entry("a\nb", Activation::Cold),
            ],
            next: None,
        };
        assert_eq!(
            listed(&body),
            "ENTITY         ACTIVATION\ncounter/alice  live\ncounter/a\u{fffd}b    cold\n"
        );
        assert!(listed(&EntitiesBody::default()).starts_with("no entities"));
    }

    #[test]
    fn inspection_tells_the_last_failure() {
        let body = EntityBody {
            kind: kind(),
            key: "alice".to_owned(),
            activation: Activation::Live,
            kind_version: 2,
            schema_version: None,
            sequence: Some(7),
            state_bytes: 40,
            memory_bytes: 1 << 20,
            mailbox: 0,
            calls: 3,
            failures: 1,
            quarantine: None,
            timers: Vec::new(),
            sends_pending: 0,
            dead_letters: Vec::new(),
            last_failure: Some(FailureBody {
                at_ms: 0,
                message: "panicked\n0: main".to_owned(),
            }),
        };
        let text = inspected(&body);
        assert!(
            text.starts_with("entity          counter/alice\nactivation      live\n"),
            "{text}"
        );
        assert!(text.contains("schema version  none yet\nstored at       commit 7\nstate           40 B\nmemory          1024 KiB\n"), "{text}");
        assert!(text.ends_with("d ago: panicked\n  0: main\n"), "{text}");
    }
}

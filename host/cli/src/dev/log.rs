//! The log of a node in this process, as steps of the loop.
//!
//! It is the only place that knows where the lines come from. Lines of a node elsewhere would be those of its API.

use std::fmt;

use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::dev::step::Step;
use crate::output::{Output, printable};

/// From now on what the entities log is shown, and what the node warns of.
pub(crate) fn show(output: Output) -> anyhow::Result<()> {
    let filter = std::env::var("ENTIA_LOG").unwrap_or_else(|_| LOG.to_owned());
    let filter = EnvFilter::builder()
        .parse(&filter)
        .context("ENTIA_LOG is not a filter such as `warn,entity=debug`")?;
    let lines = Lines(output).with_filter(filter);
    Registry::default().with(lines).try_init()?;
    Ok(())
}

struct Lines(Output);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.step(&Step::Log {
            entity: line.entity,
            level: match *event.metadata().level() {
                tracing::Level::ERROR => "error",
                tracing::Level::WARN => "warn",
                tracing::Level::INFO => "info",
                tracing::Level::DEBUG => "debug",
                tracing::Level::TRACE => "trace",
            },
            text: line.text,
        });
    }
}

/// An event's fields: its message, and which entity it is of.
#[derive(Default)]
struct Line {
    entity: Option<String>,
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = printable(&format!("{value:?}"));
        match field.name() {
            "message" => self.text.insert_str(0, &value),
            // An address is shown in quotes there, for keys with spaces.
            "entity" => self.entity = Some(value.trim_matches('"').to_owned()),
            name => self.text += &format!(" {name}={value}"),
        }
    }
}

/// What is shown unless `ENTIA_LOG` says otherwise.
const LOG: &str = "warn,entity=debug";

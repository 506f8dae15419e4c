use std::sync::Arc;

use entia_api::body::{LogLevel, LogLineBody, LogsQuery};
use entia_protocol::{EntityId, KindName};

use super::ring::{Bounds, Filter, Item, Ring};
use crate::executor::now_ms;

/// The last lines of the entities' logs.
#[derive(Debug)]
pub(crate) struct Logs(Arc<Ring<LogLineBody>>);

/// What an entity has logged since it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// With the version of the kind that wrote them.
    pub(crate) lines: Vec<(u64, entia_wasm::LogLine)>,
    /// Lines over `log_bytes_max`.
    pub(crate) dropped: u64,
}

impl Logs {
    pub(super) fn push(&self, entity: &EntityId, noted: Noted) {
        let at_ms = now_ms();
        let line = |kind_version, level, text| LogLineBody {
            id: 0,
            at_ms,
            level,
            kind: entity.kind().clone(),
            key: entity.key().to_owned(),
            kind_version,
            text: cut(text),
        };
        let mut lines: Vec<_> = noted
            .lines
            .into_iter()
            .map(|(version, written)| line(version, level(written.level), written.text))
            .collect();
        if noted.dropped > 0 {
            let version = lines.last().map_or(0, |line| line.kind_version);
            let text = format!("{} more lines were over log_bytes_max", noted.dropped);
            lines.push(line(version, LogLevel::Warn, text));
        }
        self.0.push(lines);
    }

    pub(crate) fn ring(&self) -> &Arc<Ring<LogLineBody>> {
        &self.0
    }

    /// The lines that somebody asks for.
    pub(crate) fn filter(query: LogsQuery) -> Filter<LogLineBody> {
        Box::new(move |line| {
            query.level.is_none_or(|level| line.level >= level)
                && query.kind.as_ref().is_none_or(|kind| line.kind == *kind)
                && query.key.as_ref().is_none_or(|key| line.key == *key)
        })
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self(Arc::new(Ring::new(BOUNDS, first_number())))
    }
}

impl Noted {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

impl Item for LogLineBody {
    type Holder = (KindName, String);

    fn number(&mut self, id: u64) {
        self.id = id;
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn holder(&self) -> Self::Holder {
        (self.kind.clone(), self.key.clone())
    }

    fn bytes(&self) -> usize {
        // The key is the holder's, too.
        2 * self.key.len() + self.text.len()
    }
}

/// Numbers grow across restarts because they begin with the time, in microseconds: no node writes more than one line in
/// each. They stay exact in JSON until the year 2255.
pub(super) fn first_number() -> u64 {
    now_ms().saturating_mul(1_000).max(1)
}

fn level(level: entia_wasm::LogLevel) -> LogLevel {
    match level {
        entia_wasm::LogLevel::Trace => LogLevel::Trace,
        entia_wasm::LogLevel::Debug => LogLevel::Debug,
        entia_wasm::LogLevel::Info => LogLevel::Info,
        entia_wasm::LogLevel::Warn => LogLevel::Warn,
        entia_wasm::LogLevel::Error => LogLevel::Error,
    }
}

/// The whole line is in the node's own log.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let over = text.len() - TEXT_BYTES_MAX;
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text += &format!("... ({over} bytes more)");
        text.shrink_to_fit();
    }
    text
}

const BOUNDS: Bounds = Bounds {
    bytes_max: 8 << 20,
    holder_bytes_max: 512 << 10,
};
const TEXT_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use entia_wasm::LogLine;

    use super::super::ring::Start;
    use super::*;

    fn noted(level: entia_wasm::LogLevel, text: &str) -> Noted {
        let text = text.to_owned();
        Noted {
            lines: vec![(3, LogLine { level, text })],
            dropped: 0,
        }
    }

    fn read(logs: &Logs, query: &str) -> Vec<String> {
        let filter = Logs::filter(LogsQuery::parse(query).unwrap());
        let (lines, _) = logs.ring().read(&filter, Start::Last(100), 100);
        lines.iter().map(|line| line.text.clone()).collect()
    }

    #[test]
    fn lines_are_found_by_kind_key_and_gravity() {
        let logs = Logs::default();
        let alice: EntityId = "counter/alice".parse().unwrap();
        let room: EntityId = "room/alice".parse().unwrap();
        logs.push(&alice, noted(entia_wasm::LogLevel::Debug, "one"));
        logs.push(&alice, noted(entia_wasm::LogLevel::Warn, "two"));
        logs.push(&room, noted(entia_wasm::LogLevel::Error, "three"));
        assert_eq!(read(&logs, ""), ["one", "two", "three"]);
        assert_eq!(read(&logs, "level=warn"), ["two", "three"]);
        assert_eq!(read(&logs, "kind=counter"), ["one", "two"]);
        assert_eq!(
            read(&logs, "kind=counter&key=alice&level=info"),
            ["two"],
            "all have to fit"
        );
        assert_eq!(read(&logs, "kind=counter&key=bob").len(), 0);
    }

    #[test]
    fn a_long_line_is_cut_and_lines_over_the_bound_are_told() {
        let logs = Logs::default();
        let alice: EntityId = "counter/alice".parse().unwrap();
        let long = "ü".repeat(TEXT_BYTES_MAX);
        logs.push(
            &alice,
            Noted {
                dropped: 7,
                ..noted(entia_wasm::LogLevel::Info, &long)
            },
        );
        let lines = read(&logs, "");
        assert!(lines[0].ends_with("ü... (8192 bytes more)"), "{}", lines[0]);
        assert!(lines[0].len() < TEXT_BYTES_MAX + 40);
        assert_eq!(lines[1], "7 more lines were over log_bytes_max");
    }
}

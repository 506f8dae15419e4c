use std::sync::{Arc, Mutex, PoisonError};

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One line of an entity's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How grave it is. Standard output is `Info`, standard error `Warn`.
    pub level: LogLevel,
    /// The line without its end.
    pub text: String,
}

/// What an entity logged in one turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TurnLog {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Lines that did not fit the turn's bound.
    pub dropped: u64,
}

/// Collects an entity's log, bounded by `log_bytes_max` a turn. Shared with the guest's standard streams.
#[derive(Debug, Clone)]
pub(crate) struct LogBuffer(Arc<Mutex<Collected>>);

#[derive(Debug)]
struct Collected {
    turn: TurnLog,
    bytes: u64,
    bytes_max: u64,
    /// What a standard stream wrote since its last line end.
    partial: String,
}

impl LogBuffer {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Collected {
            turn: TurnLog::default(),
            bytes: 0,
            bytes_max,
            partial: String::new(),
        })))
    }

    pub(crate) fn line(&self, level: LogLevel, text: String) {
        self.with(|log| log.line(level, text));
    }

    /// Takes bytes of a standard stream and makes lines of them.
    pub(crate) fn stream(&self, level: LogLevel, bytes: &[u8]) {
        self.with(|log| {
            for piece in String::from_utf8_lossy(bytes).split_inclusive('\n') {
                let room = log.bytes_max.saturating_sub(log.partial.len() as u64) as usize;
                match piece.strip_suffix('\n') {
                    Some(end) => {
                        log.partial.push_str(cut(end, room));
                        let text = std::mem::take(&mut log.partial);
                        log.line(level, text);
                    }
                    None => log.partial.push_str(cut(piece, room)),
                }
            }
        });
    }

    /// Shows the turn's lines so far.
    pub(crate) fn with_lines<T>(&self, f: impl FnOnce(&[LogLine]) -> T) -> T {
        self.with(|log| f(&log.turn.lines))
    }

    /// Ends the turn: returns its lines and begins anew.
    pub(crate) fn take(&self) -> TurnLog {
        self.with(|log| {
            if !log.partial.is_empty() {
                let text = std::mem::take(&mut log.partial);
                log.line(LogLevel::Warn, text);
            }
            log.bytes = 0;
            std::mem::take(&mut log.turn)
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Collected) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collected {
    fn line(&mut self, level: LogLevel, text: String) {
        let cost = text.len() as u64 + LINE_BYTES;
        if self.bytes + cost > self.bytes_max {
            self.turn.dropped += 1;
            return;
        }
        self.bytes += cost;
        self.turn.lines.push(LogLine {
            level,
            text: harmless(text),
        });
    }
}

/// What a line costs besides its text: one that is empty is an event of the node's log all the same.
const LINE_BYTES: u64 = 32;

/// Replaces control characters: a guest must not write lines of the node's log that seem to be somebody else's.
fn harmless(text: String) -> String {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        text.chars()
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect()
    } else {
        text
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(log: &TurnLog) -> Vec<&str> {
        log.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_stream_becomes_lines_and_an_unfinished_one_is_kept() {
        let log = LogBuffer::new(1_000);
        log.stream(LogLevel::Info, b"one\ntw");
        log.stream(LogLevel::Info, b"o\nthree");
        assert_eq!(texts(&log.take()), ["one", "two", "three"]);
        assert_eq!(log.take(), TurnLog::default());
    }

    #[test]
    fn a_line_cannot_pretend_to_be_two() {
        let log = LogBuffer::new(1_000);
        log.line(LogLevel::Info, "one\n2026 ERROR two\u{1b}[2J".into());
        assert_eq!(texts(&log.take()), ["one\u{fffd}2026 ERROR two\u{fffd}[2J"]);
    }

    #[test]
    fn lines_over_the_bound_are_counted_and_an_endless_line_is_cut() {
        let log = LogBuffer::new(50);
        log.line(LogLevel::Info, "12345".into());
        log.line(LogLevel::Info, "12345".into());
        let turn = log.take();
        assert_eq!((turn.lines.len(), turn.dropped), (1, 1));

        for _ in 0..1_000 {
            log.stream(LogLevel::Info, "ü".as_bytes());
        }
        assert!(log.0.lock().unwrap().partial.len() <= 50);
    }
}

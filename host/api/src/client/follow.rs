use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::{ClientError, decode};
use crate::body::MissedBody;

/// Log lines or events, as they come.
#[derive(Debug)]
pub struct Follow<T> {
    url: String,
    body: Incoming,
    parser: Parser,
    ready: VecDeque<ServerSent>,
    of: PhantomData<fn() -> T>,
}

/// What comes in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed<T> {
    /// The next.
    Next(T),
    /// So many came too fast for this reader, or are too old to be kept.
    Missed(u64),
}

impl<T: DeserializeOwned> Follow<T> {
    pub(super) fn new(url: String, body: Incoming) -> Self {
        Self {
            url,
            body,
            parser: Parser::default(),
            ready: VecDeque::new(),
            of: PhantomData,
        }
    }

    /// Waits for the next. None: the node has gone.
    pub async fn next(&mut self) -> Result<Option<Followed<T>>, ClientError> {
        loop {
            if let Some(sent) = self.ready.pop_front() {
                return self.read(&sent).map(Some);
            }
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame()).await;
            let Ok(Some(Ok(frame))) = frame else {
                return Ok(None);
            };
            if let Some(bytes) = frame.data_ref() {
                let sent = self.parser.feed(bytes);
                let sent = sent.map_err(|message| ClientError::Protocol {
                    url: self.url.clone(),
                    message,
                })?;
                self.ready.extend(sent);
            }
        }
    }

    fn read(&self, sent: &ServerSent) -> Result<Followed<T>, ClientError> {
        let data = sent.data.as_bytes();
        match sent.event.as_str() {
            "missed" => {
                let body: MissedBody = decode(&self.url, data)?;
                Ok(Followed::Missed(body.missed))
            }
            _ => Ok(Followed::Next(decode(&self.url, data)?)),
        }
    }
}

/// A server-sent event, as in the HTML standard.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServerSent {
    event: String,
    data: String,
}

/// Makes events of bytes that arrive in any pieces.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    sent: ServerSent,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<ServerSent>, String> {
        let mut sent = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.sent.data.len() > EVENT_BYTES_MAX {
                return Err(format!("an event has more than {EVENT_BYTES_MAX} bytes"));
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                sent.extend(self.line(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(sent)
    }

    fn line(&mut self, line: &str) -> Option<ServerSent> {
        if line.is_empty() {
            let sent = std::mem::take(&mut self.sent);
            return (!sent.data.is_empty()).then_some(sent);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.sent.event),
            "data" => {
                if !self.sent.data.is_empty() {
                    self.sent.data.push('\n');
                }
                self.sent.data.push_str(value);
            }
            // A comment, which only says that the node is there; or what this reader has no use for.
            _ => {}
        }
        None
    }
}

/// Several times what a node lets pass without a sign.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const EVENT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(event: &str, data: &str) -> ServerSent {
        ServerSent {
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            "id: 7\ndata: {\"a\":1}\n\n:alive\n\nevent: missed\r\ndata:two\r\ndata: lines\r\n\r\n";
        let expected = [sent("", "{\"a\":1}"), sent("missed", "two\nlines")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let pieces = text.as_bytes().chunks(size);
            let read: Vec<_> = pieces
                .flat_map(|piece| parser.feed(piece).unwrap())
                .collect();
            assert_eq!(read, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let endless = vec![b'x'; 64 << 10];
        let refused = (0..100).find_map(|_| parser.feed(&endless).err());
        assert!(refused.unwrap().contains("1048576"));
        let mut parser = Parser::default();
        let refused = (0..100).find_map(|_| {
            let line = format!("data: {}\n", "x".repeat(64 << 10));
            parser.feed(line.as_bytes()).err()
        });
        assert!(refused.is_some(), "many lines of one event");
    }
}

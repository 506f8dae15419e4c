use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::load::Caller;

/// A connection that is kept alive, with one request at a time on it.
///
/// It writes requests made beforehand and reads of an answer only its status and length: a client of hyper costs as much as
/// the server that it is to measure.
pub(super) struct Connection {
    stream: TcpStream,
    /// By entity.
    requests: Arc<[Vec<u8>]>,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr, requests: Arc<[Vec<u8>]>) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            requests,
            answer: Vec::with_capacity(4096),
        })
    }
}

impl Caller for Connection {
    async fn call(&mut self, entity: usize) -> Result<()> {
        self.stream.write_all(&self.requests[entity]).await?;
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(bytes) = length(&self.answer)?
                && self.answer.len() >= bytes
            {
                break;
            }
        }
        if !self.answer.starts_with(b"HTTP/1.1 200 ") {
            bail!("it answered {}", String::from_utf8_lossy(&self.answer));
        }
        Ok(())
    }
}

/// A POST with a JSON body.
pub(super) fn request(path: &str, body: &str) -> Vec<u8> {
    let bytes = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The bytes of an answer, head and body, once its head is whole.
fn length(answer: &[u8]) -> Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = answer.windows(END.len()).position(|bytes| bytes == END) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..end]).context("an answer's head")?;
    for line in head.split("\r\n") {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            let body: usize = value.trim().parse().context("an answer's length")?;
            return Ok(Some(end + END.len() + body));
        }
    }
    bail!("an answer without a length: {head}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_by_its_length_and_not_before_its_head_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(length(answer).unwrap(), Some(answer.len()));
        assert_eq!(
            length(&answer[..answer.len() - 2]).unwrap(),
            Some(answer.len())
        );
        assert_eq!(length(&answer[..20]).unwrap(), None);
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_its_length() {
        let text = String::from_utf8(request("/a", "{}")).unwrap();
        assert!(text.starts_with("POST /a HTTP/1.1\r\n"));
        assert!(text.contains("content-length: 2\r\n") && text.ends_with("\r\n\r\n{}"));
    }
}

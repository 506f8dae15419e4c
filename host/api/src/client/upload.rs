use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// A file as the body of a request, a piece at a time.
pub(super) struct Upload<P> {
    file: File,
    /// Of the length that the file had in the beginning: it is announced and has to be kept.
    left: u64,
    buffer: Vec<u8>,
    progress: P,
}

impl<P> Upload<P> {
    pub(super) async fn new(file: File, progress: P) -> io::Result<Self> {
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
            return Err(error);
        }
        Ok(Self {
            left: metadata.len(),
            file,
            buffer: vec![0; PIECE_BYTES],
            progress,
        })
    }
}

impl<P: FnMut(u64) + Unpin> Body for Upload<P> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let upload = self.get_mut();
        if upload.left == 0 {
            return Poll::Ready(None);
        }
        let mut buffer = ReadBuf::new(&mut upload.buffer);
        if let Err(error) = ready!(Pin::new(&mut upload.file).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Some(Err(error)));
        }
        let piece = buffer.filled();
        let bytes = piece.len() as u64;
        // A file that is being written while it is read is not what anybody wants deployed.
        if bytes == 0 || bytes > upload.left {
            let error = io::Error::other("the file changed its length while it was read");
            return Poll::Ready(Some(Err(error)));
        }
        let piece = Bytes::copy_from_slice(piece);
        upload.left -= bytes;
        (upload.progress)(bytes);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const PIECE_BYTES: usize = 64 << 10;

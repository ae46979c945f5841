//! The body of a request: bytes, or a reader of the caller's.

use super::error::HttpError;
use super::wire::Line;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How much of a reader is read at a time.
const PIECE: usize = 16 * 1024;

/// What is to be sent.
pub enum Upload {
    Nothing,
    Bytes(Bytes),
    Reader(Reader),
}

impl Upload {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Upload::Nothing)
    }
}

/// A body that is read from the caller's reader while it is sent.
pub struct Reader {
    from: Box<dyn Read>,
    /// How many bytes it has, if that is known, and how many are still to come.
    length: Option<u64>,
    left: u64,
}

impl Reader {
    pub fn new(from: Box<dyn Read>, length: Option<u64>) -> Reader {
        let left = length.unwrap_or(u64::MAX);
        Reader { from, length, left }
    }

    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Has all of it been read, as its length says?
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// The next piece; `None` at the end. It may wait: no lock is held, and hyper is not on the
    /// stack. Errors: those of the reader; it has ended before its length.
    pub fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        if most == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; most];
        let n = loop {
            match self.from.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(HttpError::RequestBody)?,
            }
        };
        // A reader may be wrong about what it has read.
        let n = n.min(most);
        match (n, self.length) {
            (0, Some(length)) => {
                let why = format!("it ended after {} of {length} bytes", length - self.left);
                let short = io::Error::new(ErrorKind::UnexpectedEof, why);
                Err(HttpError::RequestBody(short))
            }
            (0, None) => Ok(None),
            _ => {
                self.left -= n as u64;
                piece.truncate(n);
                Ok(Some(piece.into()))
            }
        }
    }
}

/// hyper's end of an upload.
pub enum Outgoing {
    Bytes(Option<Bytes>),
    /// The pieces come by way of the [`Line`].
    Pieces {
        line: Rc<Line>,
        length: Option<u64>,
    },
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut *self {
            Outgoing::Bytes(bytes) => bytes.take(),
            Outgoing::Pieces { line, .. } => {
                let piece = line.piece.take();
                if piece.is_none() && !line.body_ended.get() {
                    // It is asked for outside of hyper, which is polled again then.
                    line.hungry.set(true);
                    return Poll::Pending;
                }
                piece
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Bytes(bytes) => bytes.is_none(),
            Outgoing::Pieces { line, .. } => line.body_ended.get() && line.piece.borrow().is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Outgoing::Pieces { length, .. } => length.map_or(SizeHint::new(), SizeHint::with_exact),
        }
    }
}

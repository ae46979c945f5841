//! An answer: its head is there, and its body is read by the caller.

use super::body::{Body, Chunk};
use super::head::{is_empty, Head};
use super::http_error::HttpError;
use super::input::Input;
use std::fmt;
use std::io::{self, Cursor, Read};

/// An answer: its head, and its body to be read.
///
/// `Read` reads the body, and returns its end once everything that was announced has come. Errors
/// of `read` are [`HttpError`]s inside `io::Error` (kind `UnexpectedEof` for a short body,
/// `InvalidData` for a broken one, `TimedOut` for one that is too slow): `HttpError::from` gets
/// them back.
///
/// **After an error.** A read whose time was up ([`Timeouts::io`](super::Timeouts::io)), or whose
/// tasklet was thrown at, has lost nothing: the next one goes on where it was. Every other error is
/// final, and each later read returns it again (but `BodyTooLong` of
/// [`read_all`](Response::read_all): the bytes are still there).
pub struct Response<S> {
    pub(super) input: Input<S>,
    head: Head,
    body: Body,
    got: u64,
    /// How many bytes chunk extensions and the trailer may have, and how many of them are left.
    extra: usize,
    extra_left: usize,
    /// Bytes that a [`read_all`](Response::read_all) had read before it failed.
    kept: Cursor<Vec<u8>>,
    /// The final error, after which nothing can be read any more.
    failed: Option<HttpError>,
}

impl<S> Response<S> {
    /// The answer that this head begins. `extra`: how many bytes chunk extensions and the trailer
    /// may have.
    pub(super) fn new(input: Input<S>, head: Head, extra: usize) -> Result<Response<S>, HttpError> {
        Ok(Response {
            body: head.body()?,
            input,
            head,
            got: 0,
            extra,
            extra_left: extra,
            kept: Cursor::default(),
            failed: None,
        })
    }

    /// The status code, 200 for a success.
    pub fn status(&self) -> u16 {
        self.head.status
    }
    /// The server's word for the status; may be empty.
    pub fn reason(&self) -> &str {
        &self.head.reason
    }
    /// The first header field of that name (upper and lower case are the same).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .fields
            .iter()
            .find(|field| field.0.eq_ignore_ascii_case(name))
            .map(|field| field.1.as_str())
    }
    /// All header fields, in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
    /// Length of the whole body, if it was announced.
    pub fn content_length(&self) -> Option<u64> {
        match self.body {
            Body::Length { of, .. } => Some(of),
            Body::Done => Some(self.got),
            _ => None,
        }
    }
    /// How many bytes of the body were read so far.
    pub fn received(&self) -> u64 {
        self.got
    }
    /// The connection.
    pub fn stream(&self) -> &S {
        &self.input.stream
    }
    /// The answer itself, if its status is a success (2xx). Error: [`HttpError::Status`].
    pub fn success(self) -> Result<Response<S>, HttpError> {
        match self.head.status {
            200..=299 => Ok(self),
            status => Err(HttpError::Status {
                status,
                reason: self.head.reason,
            }),
        }
    }
}

impl<S: Read> Response<S> {
    /// The rest of the body. Errors: [`HttpError::BodyTooLong`] as soon as it is known to be longer
    /// than `limit` bytes; and those of `read`. Bytes that were read before an error are kept, and
    /// the next call, of this or of `read`, returns them first.
    pub fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let mut body = std::mem::take(&mut self.kept);
        let read = usize::try_from(body.position()).unwrap_or(usize::MAX);
        let mut body = body.get_mut().split_off(read);
        let done = self.read_on(&mut body, limit);
        if let Err(error) = done {
            self.kept = Cursor::new(body);
            return Err(error);
        }
        Ok(body)
    }

    fn read_on(&mut self, body: &mut Vec<u8>, limit: usize) -> Result<(), HttpError> {
        let room = limit as u64 - (body.len() as u64).min(limit as u64);
        match self.body {
            Body::Length { left, .. } if left > room => return Err(HttpError::BodyTooLong(limit)),
            _ => {}
        }
        if body.len() <= limit {
            self.take(room.saturating_add(1)).read_to_end(body)?;
        }
        if body.len() > limit {
            return Err(HttpError::BodyTooLong(limit));
        }
        Ok(())
    }

    fn short(&self) -> HttpError {
        let expected = if let Body::Length { of, .. } = self.body {
            Some(of)
        } else {
            None
        };
        HttpError::ShortBody {
            got: self.got,
            expected,
        }
    }

    fn read_body(&mut self, out: &mut [u8]) -> Result<usize, HttpError> {
        if let Some(error) = &self.failed {
            return Err(error.again());
        }
        let answer = self.read_next(out);
        self.failed = match &answer {
            Err(error) if !error.passes() => Some(error.again()),
            _ => None,
        };
        answer
    }

    fn read_next(&mut self, out: &mut [u8]) -> Result<usize, HttpError> {
        loop {
            let limit = match &self.body {
                Body::Done => return Ok(0),
                Body::UntilEnd => u64::MAX,
                Body::Length { left, .. } | Body::Chunked(Chunk::Data(left)) => *left,
                Body::Chunked(_) => {
                    self.between_chunks()?;
                    continue;
                }
            };
            let want = out.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
            let n = self.input.read(&mut out[..want])?;
            if n == 0 && !matches!(self.body, Body::UntilEnd) {
                return Err(self.short());
            }
            self.got += n as u64;
            let left = limit - n as u64;
            self.body = match self.body {
                Body::Length { of, .. } if left > 0 => Body::Length { left, of },
                Body::Chunked(_) if left > 0 => Body::Chunked(Chunk::Data(left)),
                Body::Chunked(_) => Body::Chunked(Chunk::DataEnd),
                Body::UntilEnd if n > 0 => Body::UntilEnd,
                _ => Body::Done,
            };
            return Ok(n);
        }
    }

    /// Reads one line between the chunks' data.
    fn between_chunks(&mut self) -> Result<(), HttpError> {
        // What every chunk needs: its size, and the end of the line.
        const NEEDED: usize = 16 + 2;
        let Body::Chunked(chunk) = &self.body else {
            return Ok(());
        };
        let needed = match chunk {
            Chunk::Trailer => 0,
            _ => NEEDED,
        };
        let limit = self.extra_left.saturating_add(needed);
        let Some(line) = self.input.line(limit, self.extra)? else {
            return Err(self.short());
        };
        // Chunk extensions and the trailer are read and dropped, within the limit for all of them.
        self.extra_left -= line.len().saturating_sub(needed);
        let next = match chunk {
            // The parser takes a size without digits for 0, which would make a broken body look
            // complete.
            Chunk::Size if !line[0].is_ascii_hexdigit() => {
                return Err(HttpError::BadAnswer("the size of a chunk"))
            }
            Chunk::Size => match httparse::parse_chunk_size(&line) {
                Ok(httparse::Status::Complete((_, 0))) => Chunk::Trailer,
                Ok(httparse::Status::Complete((_, size))) => Chunk::Data(size),
                _ => return Err(HttpError::BadAnswer("the size of a chunk")),
            },
            _ if !is_empty(&line) => match chunk {
                Chunk::Trailer => Chunk::Trailer,
                _ => return Err(HttpError::BadAnswer("a chunk is longer than its size")),
            },
            Chunk::Trailer => {
                self.body = Body::Done;
                return Ok(());
            }
            _ => Chunk::Size,
        };
        self.body = Body::Chunked(next);
        Ok(())
    }
}

impl<S: Read> Read for Response<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.kept.read(out)? {
            0 => Ok(self.read_body(out)?),
            n => Ok(n),
        }
    }
}

impl<S> fmt::Debug for Response<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.head.status)
            .field("headers", &self.head.fields)
            .finish_non_exhaustive()
    }
}

//! An answer as it comes in: bytes that were read ahead, and lines.

use super::http_error::HttpError;
use super::pace::Pace;
use crate::net::source::same;
use std::io::{self, Read};

const BUFFER: usize = 8 * 1024;

/// A stream, and the bytes that were read ahead of it. They stay here until they are used: a wait
/// may fail, and reading go on later.
pub struct Input<S> {
    pub stream: S,
    pace: Pace<S>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The part of the current line that has come.
    line: Vec<u8>,
    /// The connection is lost: instead of an end of the stream there is this error.
    pub lost: Option<io::Error>,
}

impl<S> Input<S> {
    /// A stream of which nothing was read yet.
    pub fn new(stream: S, pace: Pace<S>) -> Input<S> {
        Input {
            stream,
            pace,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            line: Vec::new(),
            lost: None,
        }
    }
}

impl<S: Read> Input<S> {
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads once into the empty buffer; false at the end of the stream.
    fn fill(&mut self) -> Result<bool, HttpError> {
        (self.start, self.end) = (0, 0);
        self.end = self.pace.read(&mut self.stream, &mut self.buffer)?;
        self.check_end(self.end)?;
        Ok(self.end > 0)
    }

    fn check_end(&self, n: usize) -> Result<(), HttpError> {
        match &self.lost {
            Some(error) if n == 0 => Err(HttpError::Io(same(error))),
            _ => Ok(()),
        }
    }

    /// As `Read::read`; large reads do not go through the buffer.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, HttpError> {
        if self.start == self.end {
            if out.len() >= BUFFER {
                let n = self.pace.read(&mut self.stream, out)?;
                self.check_end(n)?;
                return Ok(n);
            }
            if !self.fill()? {
                return Ok(0);
            }
        }
        let n = out.len().min(self.end - self.start);
        out[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }

    /// The next line, with its end; `None` when the stream ends before the line does. Errors: the
    /// line is longer than `limit`, the rest of the `all` bytes that were allowed; those of the
    /// stream, after which the line can be asked for again.
    pub fn line(&mut self, limit: usize, all: usize) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if self.start == self.end && !self.fill()? {
                return Ok(None);
            }
            let end = self.buffered().iter().position(|b| *b == b'\n');
            let n = end.map_or(self.end - self.start, |i| i + 1);
            self.line
                .extend_from_slice(&self.buffer[self.start..self.start + n]);
            self.start += n;
            if self.line.len() > limit {
                return Err(HttpError::HeadTooLong(all));
            }
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }

    /// Checks that the next line begins with `start`, and leaves it to be read. Any other line is
    /// refused at once, since it may never end.
    pub fn begins_with(&mut self, start: &[u8]) -> Result<(), HttpError> {
        while self.line.len() < start.len() {
            if self.start == self.end && !self.fill()? {
                return Err(HttpError::ShortHead);
            }
            self.line.push(self.buffer[self.start]);
            self.start += 1;
            if !start.starts_with(&self.line) {
                return Err(HttpError::NotHttp);
            }
        }
        Ok(())
    }
}

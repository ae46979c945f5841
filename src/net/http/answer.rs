//! An answer: its head is there, and its body is read by the caller.

use super::client::Client;
use super::error::{HttpError, Phase, RequestError};
#[cfg(feature = "gzip")]
use super::exchange::time_left;
use super::exchange::Exchange;
#[cfg(feature = "gzip")]
use super::gzip::Unpacker;
use super::url::Url;
use bytes::{Buf, Bytes};
use http_body::Body;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::{Method, Response};
use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read, Write};
#[cfg(feature = "gzip")]
use std::time::Instant;

/// How much of the body of a redirect is read, to keep its connection.
const DRAINED: u64 = 16 * 1024;

/// The answer to a request of a [`Client`]: its head, and its body to be read.
///
/// `Read` reads the body, and returns its end once everything that was announced has come. Errors
/// of `read` are [`RequestError`]s inside `io::Error`, of the kinds that `io::Error::from` gives an
/// [`HttpError`]; what was thrown at the waiting tasklet comes as itself.
///
/// **After an error.** A read whose time was up ([`Timeouts::io`](super::Timeouts::io)), or
/// whose tasklet was thrown at, has lost nothing: the next one goes on where it was. Every other
/// error is final, and each later read returns it again (but `BodyTooLong` of
/// [`read_all`](Self::read_all) and `Sink` of [`copy_to`](Self::copy_to): the bytes are still
/// there).
pub struct Answer {
    client: Client,
    method: String,
    url: Url,
    status: u16,
    reason: String,
    fields: Vec<(String, String)>,
    /// The length that the head announces, of the bytes that come.
    announced: Option<u64>,
    /// The length of what is read, if it is known.
    length: Option<u64>,
    /// Bytes that have come.
    came: u64,
    /// The length of the part of a file that the body is to be.
    part: Option<u64>,
    /// The rest of the body, as long as there may be one.
    open: Option<Box<Open>>,
    /// May its connection be used again?
    keeps: bool,
    /// Unpacks the body, within the time for the whole request.
    #[cfg(feature = "gzip")]
    unpacker: Option<Box<Unpacker>>,
    #[cfg(feature = "gzip")]
    until: Option<Instant>,
    /// What can be read, and was not.
    piece: Bytes,
    got: u64,
    /// Bytes that a [`read_all`](Self::read_all) had read before it failed.
    kept: Cursor<Vec<u8>>,
    /// The final error, after which nothing can be read any more.
    failed: Option<HttpError>,
}

struct Open {
    exchange: Exchange,
    body: Incoming,
}

impl Answer {
    pub(super) fn new(
        client: &Client,
        method: &Method,
        url: &Url,
        exchange: Exchange,
        response: Response<Incoming>,
    ) -> Result<Answer, RequestError> {
        let (head, body) = response.into_parts();
        let reason = match head.extensions.get::<ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => head.status.canonical_reason().unwrap_or("").to_owned(),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let fields = head.headers.iter();
        let mut answer = Answer {
            client: client.clone(),
            method: method.to_string(),
            url: url.clone(),
            status: head.status.as_u16(),
            reason,
            fields: fields
                .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                .collect(),
            announced: body.size_hint().exact(),
            length: body.size_hint().exact(),
            came: 0,
            part: None,
            open: None,
            keeps: true,
            #[cfg(feature = "gzip")]
            unpacker: None,
            #[cfg(feature = "gzip")]
            until: exchange.until(),
            piece: Bytes::new(),
            got: 0,
            kept: Cursor::default(),
            failed: None,
        };
        let is_head = *method == Method::HEAD;
        if let Err(error) = answer.check(is_head) {
            return Err(answer.failed_in(Phase::ReadingHead, error));
        }
        // Who has put a length to chunks may have meant more answers than one (RFC 9112, 6.3).
        let framing = ["transfer-encoding", "content-length"];
        answer.keeps = framing.iter().any(|name| answer.header(name).is_none());
        if is_head {
            // The length of the body that a GET would have.
            let length = answer.header("content-length");
            answer.length = length.and_then(|length| length.parse().ok());
        }
        answer.open = Some(Box::new(Open { exchange, body }));
        answer.keep_if_over();
        Ok(answer)
    }

    /// Unpacks the body, if it comes compressed.
    pub(super) fn unpack(&mut self) {
        #[cfg(feature = "gzip")]
        if self
            .header("content-encoding")
            .is_some_and(|c| c.eq_ignore_ascii_case("gzip"))
        {
            let of_packed = ["content-encoding", "content-length"];
            self.fields
                .retain(|field| !of_packed.contains(&&field.0[..]));
            self.length = None;
            self.unpacker = Some(Box::new(Unpacker::new()));
        }
    }

    /// It is a part of a file, of so many bytes: more are refused.
    pub(super) fn is_part(&mut self, length: u64) {
        self.part = Some(length);
    }

    /// Refuses what hyper lets through: it leaves other transfer codings, which it takes off only
    /// if they are `chunked`, to its caller.
    fn check(&self, is_head: bool) -> Result<(), HttpError> {
        if self.status == 101 {
            return Err(HttpError::Unsupported("another protocol (101)"));
        }
        let codings = self.fields.iter().filter(|f| f.0 == "transfer-encoding");
        let mut codings = codings
            .flat_map(|field| field.1.split(','))
            .map(str::trim)
            .filter(|coding| !coding.is_empty());
        let has_body = !is_head && !matches!(self.status, 204 | 304);
        match (codings.next(), codings.next()) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(()),
            (None, _) => match self.fields.iter().any(|f| f.0 == "transfer-encoding") {
                true if has_body => Err(HttpError::BadAnswer("its transfer coding is empty")),
                _ => Ok(()),
            },
            _ if !has_body => Ok(()),
            _ => Err(HttpError::Unsupported(
                "a transfer coding other than chunked",
            )),
        }
    }

    pub(super) fn failed_in(&self, phase: Phase, error: HttpError) -> RequestError {
        RequestError::new(&self.method, &self.url.to_string(), phase, error)
    }

    pub(super) fn refused(self, error: HttpError) -> RequestError {
        self.failed_in(Phase::ReadingHead, error)
    }

    /// The status code, 200 for a success.
    pub fn status(&self) -> u16 {
        self.status
    }
    /// The server's word for the status; may be empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }
    /// The URL that has answered: after a redirect, the last one.
    pub fn url(&self) -> &Url {
        &self.url
    }
    /// The first header field of that name (upper and lower case are the same).
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|field| field.0.eq_ignore_ascii_case(name));
        field.map(|field| field.1.as_str())
    }
    /// All header fields, with names in lower case; those of one name in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }
    /// Length of the whole body, if it was announced. After a HEAD, what a GET would have.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }
    /// How many bytes of the body were read so far.
    pub fn received(&self) -> u64 {
        self.got
    }
    /// The answer itself, if its status is a success (2xx). Error: [`HttpError::Status`].
    pub fn success(self) -> Result<Answer, RequestError> {
        self.check_status().map(|()| self)
    }
    /// As [`success`](Self::success), but the answer stays, and the body of an error can be read.
    pub fn check_status(&self) -> Result<(), RequestError> {
        match self.status {
            200..=299 => Ok(()),
            status => {
                let reason = self.reason.clone();
                let error = HttpError::Status { status, reason };
                Err(self.failed_in(Phase::ReadingHead, error))
            }
        }
    }

    /// The rest of the body. Errors: [`HttpError::BodyTooLong`] as soon as it is known to be longer
    /// than `limit` bytes; and those of `read`. Bytes that were read before an error are kept, and
    /// the next call, of this or of `read`, returns them first.
    pub fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, RequestError> {
        let mut kept = std::mem::take(&mut self.kept);
        let read = usize::try_from(kept.position()).unwrap_or(usize::MAX);
        let mut body = kept.get_mut().split_off(read);
        match self.read_on(&mut body, limit) {
            Ok(()) => Ok(body),
            Err(error) => {
                self.kept = Cursor::new(body);
                Err(self.failed_in(Phase::ReadingBody, error))
            }
        }
    }

    fn read_on(&mut self, body: &mut Vec<u8>, limit: usize) -> Result<(), HttpError> {
        let left = match (&self.open, self.length) {
            (Some(_), Some(length)) => length - self.got.min(length),
            _ => self.piece.len() as u64,
        };
        if body.len() > limit || left > (limit - body.len()) as u64 {
            return Err(HttpError::BodyTooLong(limit));
        }
        while self.fill()? {
            // One byte more than allowed tells that there are more.
            let n = self.piece.len().min((limit - body.len()).saturating_add(1));
            body.extend_from_slice(&self.piece[..n]);
            self.consume(n);
            if body.len() > limit {
                return Err(HttpError::BodyTooLong(limit));
            }
        }
        Ok(())
    }

    /// Writes the rest of the body to `sink`, and calls `progress` after each piece with the bytes
    /// of the body so far, and those that it has in all if that was announced. Returns how many
    /// bytes were written.
    ///
    /// Errors: those of `read`; [`HttpError::Sink`] for one of `sink`, which has been given all
    /// bytes up to there, and none twice when it is called again.
    pub fn copy_to(
        &mut self,
        sink: &mut (impl Write + ?Sized),
        mut progress: impl FnMut(u64, Option<u64>),
    ) -> Result<u64, RequestError> {
        let mut copied = 0;
        let done = loop {
            match self.copy_piece(sink) {
                Ok(0) => break sink.flush().map_err(HttpError::Sink),
                Ok(n) => copied += n as u64,
                Err(error) => break Err(error),
            }
            progress(self.got, self.length);
        };
        done.map_err(|error| self.failed_in(Phase::ReadingBody, error))?;
        Ok(copied)
    }

    fn copy_piece(&mut self, sink: &mut (impl Write + ?Sized)) -> Result<usize, HttpError> {
        let read = usize::try_from(self.kept.position()).unwrap_or(usize::MAX);
        let from_kept = read < self.kept.get_ref().len();
        if !from_kept && !self.fill()? {
            return Ok(0);
        }
        let bytes = match from_kept {
            true => &self.kept.get_ref()[read..],
            false => &self.piece[..],
        };
        let most = bytes.len();
        let n = loop {
            match sink.write(bytes) {
                Ok(0) => return Err(HttpError::Sink(ErrorKind::WriteZero.into())),
                // A sink may be wrong about what it has taken.
                Ok(n) => break n.min(most),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(HttpError::Sink(error)),
            }
        };
        match from_kept {
            true => self.kept.set_position((read + n) as u64),
            false => self.consume(n),
        }
        Ok(n)
    }

    /// Reads what little there is of the body of a redirect, so that its connection is kept. Errors
    /// of that body do not matter, but those of the wait, and of the time for all.
    pub(super) fn drain(mut self) -> Result<(), RequestError> {
        if self.length.is_some_and(|length| length > DRAINED) {
            return Ok(());
        }
        while self.got < DRAINED {
            match self.fill() {
                Ok(true) => self.consume(self.piece.len()),
                Ok(false) => break,
                Err(error)
                    if error.passes()
                        || error.is_thrown()
                        || matches!(error, HttpError::TooSlow(_)) =>
                {
                    return Err(self.failed_in(Phase::Redirecting, error));
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Takes bytes off the piece.
    fn consume(&mut self, n: usize) {
        self.piece.advance(n);
        self.got += n as u64;
    }

    /// Sees that there is a piece of the body; false at its end.
    fn fill(&mut self) -> Result<bool, HttpError> {
        if !self.piece.is_empty() {
            return Ok(true);
        }
        if let Some(error) = &self.failed {
            return Err(error.again());
        }
        let filled = self.next_piece();
        if let Some(error) = filled.as_ref().err().filter(|error| !error.passes()) {
            self.failed = Some(error.again());
            self.open = None;
        }
        self.piece = filled?;
        Ok(!self.piece.is_empty())
    }

    /// The next bytes to be read; none at the end.
    fn next_piece(&mut self) -> Result<Bytes, HttpError> {
        #[cfg(feature = "gzip")]
        while let Some(unpacker) = &mut self.unpacker {
            // Little that has come may unpack to very much.
            time_left(self.until)?;
            if let Some(unpacked) = unpacker.next()? {
                if unpacked.is_empty() {
                    self.unpacker = None;
                }
                return Ok(unpacked);
            }
            let piece = self.next_that_comes()?;
            if let Some(unpacker) = &mut self.unpacker {
                unpacker.put(piece);
            }
        }
        self.next_that_comes()
    }

    /// The next bytes as they come; none at the end.
    fn next_that_comes(&mut self) -> Result<Bytes, HttpError> {
        let Some(open) = &mut self.open else {
            return Ok(Bytes::new());
        };
        let (got, expected) = (self.came, self.announced);
        let short = HttpError::ShortBody { got, expected };
        let piece = open.exchange.next(&mut open.body, short)?;
        let Some(piece) = piece else {
            self.keep();
            return Ok(Bytes::new());
        };
        self.came += piece.len() as u64;
        if self.part.is_some_and(|part| self.came > part) {
            return Err(HttpError::BadAnswer("it is longer than its Content-Range"));
        }
        self.keep_if_over();
        Ok(piece)
    }

    /// A sized body is over with its last byte: its connection need not wait for another read.
    fn keep_if_over(&mut self) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.body.is_end_stream())
        {
            self.keep();
        }
    }

    /// The body has ended: keeps its connection for the next request, if it can have one.
    fn keep(&mut self) {
        let Some(open) = self.open.take().filter(|_| self.keeps) else {
            return;
        };
        if let Some(stream) = open.exchange.finish() {
            self.client.keep(&self.url, stream);
        }
    }
}

impl Read for Answer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.kept.read(out)? {
            0 => {}
            n => return Ok(n),
        }
        match self.fill() {
            Ok(true) => {}
            Ok(false) => return Ok(0),
            Err(error) => return Err(self.failed_in(Phase::ReadingBody, error).into()),
        }
        let n = out.len().min(self.piece.len());
        out[..n].copy_from_slice(&self.piece[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("url", &self.url.to_string())
            .field("status", &self.status)
            .field("headers", &self.fields)
            .finish_non_exhaustive()
    }
}

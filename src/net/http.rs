//! A small HTTP/1.1 client: one GET, one answer, over anything that is `Read + Write`.
//!
//! The parser knows no sockets: on a tasklet give it [`net::TcpStream`](super::TcpStream) (or call [`get`]), in a job of the worker pool
//! `std::net::TcpStream` (or call [`get_blocking`]), in a test two byte strings.
//!
//! Bodies: by `Content-Length`, `chunked`, or until the connection ends. A body that ends too soon is an error, never a short success.
//! Not here: redirects, compression, connections for more than one request, TLS. Every part of an answer that is kept is bounded
//! ([`Limits`]); the body is not kept at all but read by the caller.
//!
//! ```
//! use hardswitch::net::http::{Request, Url};
//! use std::io::{Read, Write};
//!
//! struct Canned(&'static [u8]);
//! impl Read for Canned {
//!     fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> { self.0.read(buf) }
//! }
//! impl Write for Canned {
//!     fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> { Ok(buf.len()) }
//!     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! }
//!
//! let url = Url::parse("http://example.com/motd.txt")?;
//! let mut answer = Request::get(&url).send(Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.read_all(1 << 20)?, b"hello");
//! # Ok::<(), hardswitch::net::http::HttpError>(())
//! ```

use super::TcpStream;
use crate::error::WaitError;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// What can go wrong with a request. Each message names the thing.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL cannot be used.
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A header of the request contains what would end it.
    BadHeader(String),
    /// There is no connection.
    Connect {
        /// Host and port.
        to: String,
        /// Refused, timed out, unknown host...
        error: io::Error,
    },
    /// The connection failed; or the tasklet was told to end while it waited.
    Io(io::Error),
    /// What answers does not speak HTTP/1.
    NotHttp,
    /// The connection ended before the answer's head did.
    ShortHead,
    /// The head is longer, or has more fields, than [`Limits`] allow.
    HeadTooLong,
    /// The answer breaks the protocol.
    BadAnswer(&'static str),
    /// The answer uses a part of the protocol that this client has not.
    Unsupported(&'static str),
    /// The connection ended before the body did.
    ShortBody {
        /// Bytes of the body that came.
        got: u64,
        /// Bytes that were announced, if they were.
        expected: Option<u64>,
    },
    /// The body is longer than the caller allowed.
    BodyTooLong(usize),
    /// The server answered, but not with what was asked for.
    Status {
        /// 404, for instance.
        status: u16,
        /// The server's word for it.
        reason: String,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::BadUrl { url, why } => write!(f, "bad URL {url:?}: {why}"),
            HttpError::BadHeader(name) => write!(f, "bad request header {name:?}"),
            HttpError::Connect { to, error } => write!(f, "cannot connect to {to}: {error}"),
            HttpError::Io(error) => error.fmt(f),
            HttpError::NotHttp => f.write_str("the answer is not HTTP"),
            HttpError::ShortHead => {
                f.write_str("the connection ended before the head of the answer did")
            }
            HttpError::HeadTooLong => f.write_str("the head of the answer is too long"),
            HttpError::BadAnswer(why) => write!(f, "the answer breaks the protocol: {why}"),
            HttpError::Unsupported(what) => write!(
                f,
                "the answer uses {what}, which this client does not support"
            ),
            HttpError::ShortBody {
                got,
                expected: Some(n),
            } => write!(
                f,
                "short body: the connection ended after {got} of {n} bytes"
            ),
            HttpError::ShortBody {
                got,
                expected: None,
            } => write!(
                f,
                "short body: the connection ended in a chunk, after {got} bytes"
            ),
            HttpError::BodyTooLong(limit) => {
                write!(f, "the body is longer than the {limit} bytes allowed")
            }
            HttpError::Status { status, reason } => {
                write!(f, "the server answered {status} {reason}")
            }
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HttpError::Connect { error, .. } | HttpError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for HttpError {
    /// An `HttpError` that went through `io::Error` (as those of a body being read do) comes out as itself.
    fn from(error: io::Error) -> HttpError {
        error.downcast::<HttpError>().unwrap_or_else(HttpError::Io)
    }
}

impl From<HttpError> for io::Error {
    fn from(error: HttpError) -> io::Error {
        let kind = match error {
            HttpError::Io(error) => return error,
            // Told to end while connecting: that must stay recognisable.
            HttpError::Connect { error, .. }
                if error.get_ref().is_some_and(|e| e.is::<crate::Error>()) =>
            {
                return error
            }
            HttpError::Connect { ref error, .. } => error.kind(),
            HttpError::ShortHead | HttpError::ShortBody { .. } => ErrorKind::UnexpectedEof,
            HttpError::BadUrl { .. } | HttpError::BadHeader(_) => ErrorKind::InvalidInput,
            HttpError::Unsupported(_) => ErrorKind::Unsupported,
            HttpError::Status { .. } => ErrorKind::Other,
            HttpError::NotHttp
            | HttpError::HeadTooLong
            | HttpError::BadAnswer(_)
            | HttpError::BodyTooLong(_) => ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

impl From<HttpError> for crate::Error {
    /// [`Error::Exit`](crate::Error::Exit) and what else was thrown into the waiting tasklet come out as themselves.
    fn from(error: HttpError) -> crate::Error {
        io::Error::from(error).into()
    }
}

/// An `http://` URL, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    host: String,
    port: u16,
    target: String,
}

impl Url {
    /// Takes `http://host[:port][/path][?query]` apart; a `#fragment` is dropped, an IPv6 host stands in brackets.
    ///
    /// Errors: [`HttpError::BadUrl`] for another scheme, user names, an empty host, a port that is none, blanks or control characters or
    /// anything else that is not ASCII (write those as `%..`).
    pub fn parse(url: &str) -> Result<Url, HttpError> {
        let bad = |why| HttpError::BadUrl {
            url: url.chars().take(200).collect(),
            why,
        };
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("it contains a character that has to be written as %.."));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("it does not start with http://"))?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(bad("https is not supported"));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("it does not start with http://"));
        }
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("user names in URLs are not supported"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6
                    .split_once(']')
                    .ok_or_else(|| bad("the ] of its host is missing"))?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(bad("its host is no IPv6 address"));
                }
                match port {
                    "" => (host, None),
                    port => (
                        host,
                        Some(
                            port.strip_prefix(':')
                                .ok_or_else(|| bad("what follows the ] is no port"))?,
                        ),
                    ),
                }
            }
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let port = match port {
            None | Some("") => 80,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port
                .parse()
                .ok()
                .filter(|p| *p != 0)
                .ok_or_else(|| bad("its port is not in 1 to 65535"))?,
            Some(_) => return Err(bad("its port is no number")),
        };
        let target = match target {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Url {
            host: host.to_owned(),
            port,
            target,
        })
    }

    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port; 80 unless given.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Path and query: what is asked for.
    pub fn target(&self) -> &str {
        &self.target
    }
    /// `host` or `host:port`, as the `Host` header wants it.
    pub fn authority(&self) -> String {
        let v6 = self.host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        match self.port {
            80 => format!("{open}{}{close}", self.host),
            port => format!("{open}{}{close}:{port}", self.host),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}

impl std::str::FromStr for Url {
    type Err = HttpError;
    fn from_str(url: &str) -> Result<Url, HttpError> {
        Url::parse(url)
    }
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To look the name up and connect, each.
    pub connect: Option<Duration>,
    /// For each read and write.
    pub io: Option<Duration>,
}

impl Default for Timeouts {
    /// 10 s to connect, 30 s without a byte.
    fn default() -> Timeouts {
        Timeouts {
            connect: Some(Duration::from_secs(10)),
            io: Some(Duration::from_secs(30)),
        }
    }
}

/// A GET of `url` on the calling tasklet, which waits; the thread does not. Answers when the head is there.
///
/// Names are looked up by the worker pool; all their addresses are tried. Errors: see [`HttpError`]. The status is not judged:
/// see [`Response::success`].
pub fn get(url: &str, timeouts: Timeouts) -> Result<Response<TcpStream>, HttpError> {
    let url = Url::parse(url)?;
    let addrs = super::resolve(url.host(), url.port()).map_err(|e| refused(&url, e.into()))?;
    let stream = connect(&url, addrs, |addr| match timeouts.connect {
        Some(timeout) => TcpStream::connect_timeout(addr, timeout),
        None => TcpStream::connect(addr),
    })?;
    stream.set_read_timeout(timeouts.io)?;
    stream.set_write_timeout(timeouts.io)?;
    Request::get(&url).send(stream)
}

/// A GET of `url` that blocks the thread: for jobs of the [worker pool](crate::offload). Otherwise as [`get`].
pub fn get_blocking(
    url: &str,
    timeouts: Timeouts,
) -> Result<Response<std::net::TcpStream>, HttpError> {
    let url = Url::parse(url)?;
    let addrs = (url.host(), url.port())
        .to_socket_addrs()
        .map_err(|e| refused(&url, e))?;
    let stream = connect(&url, addrs, |addr| match timeouts.connect {
        Some(timeout) => std::net::TcpStream::connect_timeout(&addr, timeout),
        None => std::net::TcpStream::connect(addr),
    })?;
    stream.set_read_timeout(timeouts.io)?;
    stream.set_write_timeout(timeouts.io)?;
    Request::get(&url).send(stream)
}

fn refused(url: &Url, error: io::Error) -> HttpError {
    HttpError::Connect {
        to: format!("{}:{}", url.host(), url.port()),
        error,
    }
}

/// The first address that answers; the last one's error if none does.
fn connect<S>(
    url: &Url,
    addrs: impl IntoIterator<Item = SocketAddr>,
    mut to: impl FnMut(SocketAddr) -> io::Result<S>,
) -> Result<S, HttpError> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
        match to(addr) {
            Ok(stream) => return Ok(stream),
            // Killed while connecting is no reason to try another address.
            Err(e) if is_ours(&e) => return Err(HttpError::Io(e)),
            Err(e) => error = e,
        }
    }
    Err(refused(url, error))
}

/// Is it something that was thrown at the tasklet, rather than an error of the connection?
fn is_ours(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref());
    WaitError::was_thrown(error)
        || inner.is_some_and(|e| !matches!(e, crate::Error::Timeout | crate::Error::Io(_)))
}

/// How much of an answer is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of status line and header fields together; also of a chunked body's trailer.
    pub head: usize,
    /// Header fields.
    pub fields: usize,
}

impl Default for Limits {
    /// 16 KiB, 64 fields.
    fn default() -> Limits {
        Limits {
            head: 16 * 1024,
            fields: 64,
        }
    }
}

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    head: String,
    limits: Limits,
}

impl Request {
    /// A GET of `url`, for a connection of its own.
    pub fn get(url: &Url) -> Request {
        let agent = concat!("hardswitch/", env!("CARGO_PKG_VERSION"));
        let (target, host) = (url.target(), url.authority());
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n");
        Request {
            head,
            limits: Limits::default(),
        }
    }

    /// Adds a header field. Errors: [`HttpError::BadHeader`] for a name that is no token or a value with control characters.
    pub fn header(mut self, name: &str, value: &str) -> Result<Request, HttpError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let text = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(text) {
            return Err(HttpError::BadHeader(name.chars().take(200).collect()));
        }
        self.head.push_str(&format!("{name}: {value}\r\n"));
        Ok(self)
    }

    /// Other limits than the default ones.
    pub fn limits(mut self, limits: Limits) -> Request {
        self.limits = limits;
        self
    }

    /// The bytes that are sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{}\r\n", self.head).into_bytes()
    }

    /// Sends the request over a fresh connection and reads the head of the answer. Interim answers (1xx) are passed over.
    ///
    /// The connection stays inside the answer, and is dropped with it. Errors: all but `Connect`, `ShortBody`, `BodyTooLong`, `Status`.
    pub fn send<S: Read + Write>(&self, mut stream: S) -> Result<Response<S>, HttpError> {
        stream.write_all(&self.to_bytes()).map_err(in_time)?;
        stream.flush()?;
        let mut input = Input {
            stream,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
        };
        loop {
            let head = Head::read(&mut input, self.limits)?;
            if head.status == 101 {
                return Err(HttpError::Unsupported("another protocol (101)"));
            }
            if head.status >= 200 {
                let body = head.body()?;
                return Ok(Response {
                    input,
                    head,
                    body,
                    got: 0,
                    limits: self.limits,
                });
            }
        }
    }
}

const BUFFER: usize = 8 * 1024;

/// A stream and what was read ahead of it.
struct Input<S> {
    stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S: Read> Input<S> {
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads once into the empty buffer; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        (self.start, self.end) = (0, 0);
        self.end = retry(|| self.stream.read(&mut self.buffer))?;
        Ok(self.end > 0)
    }

    /// Like `Read::read`; large reads do not go through the buffer.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            if out.len() >= BUFFER {
                return retry(|| self.stream.read(out));
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

    /// Appends a line with its end to `line`; false when the stream ends before the line does. Error: the line makes `line` longer
    /// than `limit`.
    fn line(&mut self, line: &mut Vec<u8>, limit: usize) -> Result<bool, HttpError> {
        loop {
            if self.start == self.end && !self.fill()? {
                return Ok(false);
            }
            let end = self.buffered().iter().position(|b| *b == b'\n');
            let n = end.map_or(self.end - self.start, |i| i + 1);
            line.extend_from_slice(&self.buffer[self.start..self.start + n]);
            self.start += n;
            if line.len() > limit {
                return Err(HttpError::HeadTooLong);
            }
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(in_time(e)),
            answer => return answer,
        }
    }
}

/// The standard library's sockets call a timeout `WouldBlock`.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

struct Head {
    status: u16,
    reason: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn read<S: Read>(input: &mut Input<S>, limits: Limits) -> Result<Head, HttpError> {
        const START: &[u8] = b"HTTP/1.";
        let mut bytes = Vec::with_capacity(512);
        // What does not begin as HTTP does is refused at once: it may never send an empty line.
        while bytes.len() < START.len() {
            if input.start == input.end && !input.fill()? {
                return Err(if bytes.is_empty() || START.starts_with(&bytes) {
                    HttpError::ShortHead
                } else {
                    HttpError::NotHttp
                });
            }
            bytes.push(input.buffer[input.start]);
            input.start += 1;
            if !START.starts_with(&bytes) {
                return Err(HttpError::NotHttp);
            }
        }
        loop {
            let before = bytes.len();
            if !input.line(&mut bytes, limits.head)? {
                return Err(HttpError::ShortHead);
            }
            if matches!(&bytes[before..], b"\r\n" | b"\n") {
                return Head::parse(&bytes, limits);
            }
        }
    }

    fn parse(bytes: &[u8], limits: Limits) -> Result<Head, HttpError> {
        // On the heap: tasklets' stacks are small.
        let mut fields = vec![httparse::EMPTY_HEADER; limits.fields];
        let mut answer = httparse::Response::new(&mut fields);
        match answer.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                return Err(HttpError::BadAnswer("its head is incomplete"))
            }
            Err(httparse::Error::TooManyHeaders) => return Err(HttpError::HeadTooLong),
            Err(httparse::Error::Version) => return Err(HttpError::NotHttp),
            Err(httparse::Error::Status) => return Err(HttpError::BadAnswer("its status line")),
            Err(_) => return Err(HttpError::BadAnswer("its header fields")),
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Ok(Head {
            status: answer.code.unwrap_or(0),
            reason: answer.reason.unwrap_or("").to_owned(),
            fields: answer
                .headers
                .iter()
                .map(|field| (field.name.to_owned(), text(field.value)))
                .collect(),
        })
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |field| field.0.eq_ignore_ascii_case(name))
            .map(|field| field.1.as_str())
    }

    /// How the body's end is told (RFC 9112, 6.3).
    fn body(&self) -> Result<Body, HttpError> {
        if matches!(self.status, 204 | 304) {
            return Ok(Body::Done);
        }
        let codings: Vec<&str> = self
            .all("transfer-encoding")
            .flat_map(|v| v.split(','))
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .collect();
        match codings[..] {
            [] => {}
            [coding] if coding.eq_ignore_ascii_case("chunked") => {
                return Ok(Body::Chunked(Chunk::Size))
            }
            _ => {
                return Err(HttpError::Unsupported(
                    "a transfer coding other than chunked",
                ))
            }
        }
        let mut length = None;
        for value in self
            .all("content-length")
            .flat_map(|v| v.split(','))
            .map(str::trim)
        {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let n = value
                .parse::<u64>()
                .ok()
                .filter(|_| digits)
                .ok_or(HttpError::BadAnswer("its Content-Length"))?;
            if length.is_some_and(|length| length != n) {
                return Err(HttpError::BadAnswer("it has two Content-Lengths"));
            }
            length = Some(n);
        }
        Ok(match length {
            Some(0) => Body::Done,
            Some(n) => Body::Length { left: n, of: n },
            None => Body::UntilEnd,
        })
    }
}

enum Body {
    Length { left: u64, of: u64 },
    Chunked(Chunk),
    UntilEnd,
    Done,
}

/// What comes next in a chunked body.
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
}

/// An answer: its head, and its body to be read.
///
/// `Read` reads the body; its end is told once everything that was announced has come. Errors of `read` are [`HttpError`]s inside
/// `io::Error` (kind `UnexpectedEof` for a short body, `InvalidData` for a broken one): `HttpError::from` brings them back.
pub struct Response<S> {
    input: Input<S>,
    head: Head,
    body: Body,
    got: u64,
    limits: Limits,
}

impl<S> Response<S> {
    /// The status code, 200 for a success.
    pub fn status(&self) -> u16 {
        self.head.status
    }
    /// The server's word for the status; may be empty.
    pub fn reason(&self) -> &str {
        &self.head.reason
    }
    /// The first header field of that name (in whatever case).
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
    /// Bytes of the body that were read so far.
    pub fn received(&self) -> u64 {
        self.got
    }
    /// The connection.
    pub fn stream(&self) -> &S {
        &self.input.stream
    }
    /// Itself, if the status is a success (2xx). Error: [`HttpError::Status`].
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
    /// The rest of the body. Errors: [`HttpError::BodyTooLong`] as soon as it is known to be longer than `limit` bytes; and those of `read`.
    pub fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        if let Body::Length { left, .. } = self.body {
            if left > limit as u64 {
                return Err(HttpError::BodyTooLong(limit));
            }
        }
        let mut body = Vec::new();
        self.take((limit as u64).saturating_add(1))
            .read_to_end(&mut body)?;
        if body.len() > limit {
            return Err(HttpError::BodyTooLong(limit));
        }
        Ok(body)
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
        if out.is_empty() {
            return Ok(0);
        }
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
        let mut line = Vec::new();
        // Extensions of a chunk are read and forgotten, within the limit.
        if !self.input.line(&mut line, self.limits.head)? {
            return Err(self.short());
        }
        let empty = matches!(&line[..], b"\r\n" | b"\n");
        self.body = match &self.body {
            // The parser takes a size without digits for 0, which would make a broken body look complete.
            Body::Chunked(Chunk::Size) if !line[0].is_ascii_hexdigit() => {
                return Err(HttpError::BadAnswer("the size of a chunk"))
            }
            Body::Chunked(Chunk::Size) => match httparse::parse_chunk_size(&line) {
                Ok(httparse::Status::Complete((_, 0))) => Body::Chunked(Chunk::Trailer),
                Ok(httparse::Status::Complete((_, size))) => Body::Chunked(Chunk::Data(size)),
                _ => return Err(HttpError::BadAnswer("the size of a chunk")),
            },
            Body::Chunked(Chunk::DataEnd) if empty => Body::Chunked(Chunk::Size),
            Body::Chunked(Chunk::DataEnd) => {
                return Err(HttpError::BadAnswer("a chunk is longer than its size"))
            }
            Body::Chunked(Chunk::Trailer) if empty => Body::Done,
            _ => {
                self.limits.head = self.limits.head.saturating_sub(line.len());
                return Ok(());
            }
        };
        Ok(())
    }
}

impl<S: Read> Read for Response<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_body(out)?)
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

#[cfg(test)]
mod tests;

//! A small HTTP/1.1 client: one GET, one answer, over anything that is `Read + Write`.
//!
//! The parser knows no sockets. On a tasklet give it [`net::TcpStream`](super::TcpStream) (or call
//! [`get`]), in a job of the worker pool `std::net::TcpStream` (or call [`get_blocking`]), in a
//! test two byte strings.
//!
//! A body ends by `Content-Length`, by `chunked`, or with the connection. A body that ends too soon
//! is an error, never a short success. Not supported: redirects, compression, connections for more
//! than one request, TLS. Every part of an answer that is kept is bounded, and so is the time it
//! takes ([`Limits`]); the body is not kept, but read by the caller.
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
//! let peer = Canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
//! let mut answer = Request::get(&url).send(peer)?;
//! assert_eq!(answer.status(), 200);
//! assert_eq!(answer.read_all(1 << 20)?, b"hello");
//! # Ok::<(), hardswitch::net::http::HttpError>(())
//! ```

use super::resolve;
use super::source::{same, Failure};
use super::tcp::{first_of, not_to_itself, TcpStream};
use crate::error::WaitError;
use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// What can go wrong with a request. Each message names the cause.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL cannot be used.
    BadUrl {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A header of the request contains characters that would end it.
    BadHeader(String),
    /// There is no connection.
    Connect {
        /// Host and port.
        to: String,
        /// Refused, timed out, unknown host...
        error: io::Error,
    },
    /// The connection failed; or the tasklet was killed or thrown at while it waited.
    Io(io::Error),
    /// The peer does not speak HTTP/1.
    NotHttp,
    /// The connection ended before the answer's head did.
    ShortHead,
    /// The heads, or the trailer, are longer than this many bytes, which [`Limits::head`] allows.
    HeadTooLong(usize),
    /// There were more interim answers than this many, which [`Limits::interim`] allows.
    TooManyInterim(usize),
    /// The answer took longer than [`Limits::total`] or [`Limits::least`] allow.
    TooSlow(&'static str),
    /// The answer breaks the protocol.
    BadAnswer(&'static str),
    /// The answer uses a part of the protocol that this client does not support.
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
    /// The server answered with a status other than success.
    Status {
        /// The status code, for instance 404.
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
            HttpError::HeadTooLong(limit) => write!(
                f,
                "the head of the answer is longer than the {limit} bytes allowed"
            ),
            HttpError::TooManyInterim(limit) => {
                write!(f, "more than the {limit} interim answers allowed")
            }
            HttpError::TooSlow(why) => write!(f, "the answer is too slow: {why}"),
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
    /// An `HttpError` inside an `io::Error` (as `read` of a body returns it) comes out as itself.
    fn from(error: io::Error) -> HttpError {
        error.downcast::<HttpError>().unwrap_or_else(HttpError::Io)
    }
}

impl From<HttpError> for io::Error {
    fn from(error: HttpError) -> io::Error {
        let kind = match error {
            HttpError::Io(error) => return error,
            // The tasklet was killed or thrown at while it connected: that must stay recognisable.
            HttpError::Connect { error, .. }
                if error.get_ref().is_some_and(|e| e.is::<crate::Error>()) =>
            {
                return error
            }
            HttpError::Connect { ref error, .. } => error.kind(),
            HttpError::ShortHead | HttpError::ShortBody { .. } => ErrorKind::UnexpectedEof,
            HttpError::BadUrl { .. } | HttpError::BadHeader(_) => ErrorKind::InvalidInput,
            HttpError::Unsupported(_) => ErrorKind::Unsupported,
            HttpError::TooSlow(_) => ErrorKind::TimedOut,
            HttpError::Status { .. } => ErrorKind::Other,
            HttpError::NotHttp
            | HttpError::HeadTooLong(_)
            | HttpError::TooManyInterim(_)
            | HttpError::BadAnswer(_)
            | HttpError::BodyTooLong(_) => ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

impl From<HttpError> for crate::Error {
    /// [`Error::Exit`](crate::Error::Exit) and other errors that were thrown at the waiting tasklet
    /// come out as themselves.
    fn from(error: HttpError) -> crate::Error {
        io::Error::from(error).into()
    }
}

impl HttpError {
    /// Did only a wait end early (its time was up, or something was thrown at the tasklet)? Then
    /// reading can go on. Every other error is final.
    fn passes(&self) -> bool {
        let HttpError::Io(error) = self else {
            return false;
        };
        is_time_up(error) || error.kind() == ErrorKind::Interrupted || carries_ours(error)
    }

    /// A copy, to be returned again.
    fn again(&self) -> HttpError {
        match self {
            HttpError::Io(error) => HttpError::Io(same(error)),
            HttpError::HeadTooLong(limit) => HttpError::HeadTooLong(*limit),
            HttpError::BadAnswer(why) => HttpError::BadAnswer(why),
            HttpError::TooSlow(why) => HttpError::TooSlow(why),
            HttpError::ShortBody { got, expected } => HttpError::ShortBody {
                got: *got,
                expected: *expected,
            },
            other => unreachable!("no error of reading a body: {other:?}"),
        }
    }
}

/// Has a wait reached its time limit? The standard library's sockets call that `WouldBlock`. A
/// connection that the system has given up (`ETIMEDOUT`) is lost, which is something else.
fn is_time_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
        && error.raw_os_error() != Some(libc::ETIMEDOUT)
}

/// Does the error come from a wait of this library, and not from the connection?
fn carries_ours(error: &io::Error) -> bool {
    WaitError::was_thrown(error) || error.get_ref().is_some_and(|e| e.is::<crate::Error>())
}

/// The parts of an `http://` URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    host: String,
    port: u16,
    target: String,
}

impl Url {
    /// Splits `http://host[:port][/path][?query]` into its parts; a `#fragment` is dropped, an IPv6
    /// host stands in brackets.
    ///
    /// Errors: [`HttpError::BadUrl`] for another scheme, user names, an empty host, an invalid
    /// port, blanks or control characters or anything else that is not ASCII (write those as
    /// `%..`).
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
    /// The port; 80 by default.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Path and query, which are sent in the request line.
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

/// How long a request may wait for its peer. [`Limits`] has more: a time for all of it, and a least
/// speed.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The time to look the name up and to connect to one of its addresses, all together.
    pub connect: Option<Duration>,
    /// The time for each read and write.
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

/// A GET of `url` on the calling tasklet, which waits; the thread does not. Returns when the head
/// of the answer has come.
///
/// [`Request::fetch`] with a plain request. Errors: see [`HttpError`]. The status is not judged:
/// see [`Response::success`].
pub fn get(url: &str, timeouts: Timeouts) -> Result<Response<TcpStream>, HttpError> {
    Request::get(&Url::parse(url)?).fetch(timeouts)
}

/// A GET of `url` that blocks the thread, for jobs of the [worker pool](crate::offload). Otherwise
/// as [`get`].
pub fn get_blocking(
    url: &str,
    timeouts: Timeouts,
) -> Result<Response<std::net::TcpStream>, HttpError> {
    Request::get(&Url::parse(url)?).fetch_blocking(timeouts)
}

/// The deadline of something that begins now and may take the shorter of these times.
fn until(times: [Option<Duration>; 2]) -> Option<Instant> {
    let time = times.into_iter().flatten().min()?;
    // A time beyond the range of the clock is no limit.
    Instant::now().checked_add(time)
}

/// How much of an answer is kept, and how long it may take in all.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of status lines and header fields, those of interim answers included. The same limit
    /// holds separately for the trailer and the chunk extensions of a chunked body.
    pub head: usize,
    /// How many interim answers (1xx) there may be.
    pub interim: usize,
    /// Time from the beginning of the request to the end of the body, whatever it is spent on.
    pub total: Option<Duration>,
    /// The least speed of the answer.
    pub least: Option<Speed>,
}

/// A least speed: `bytes` may take `time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed {
    /// Bytes of the answer, head included.
    pub bytes: u64,
    /// Time that may be spent waiting for these bytes. What the caller does between its reads does
    /// not count.
    pub time: Duration,
}

impl Default for Limits {
    /// 16 KiB of heads, 10 interim answers, no limit of time.
    fn default() -> Limits {
        Limits {
            head: 16 * 1024,
            interim: 10,
            total: None,
            least: None,
        }
    }
}

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    url: Url,
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
            url: url.clone(),
            head,
            limits: Limits::default(),
        }
    }

    /// Adds a header field. Errors: [`HttpError::BadHeader`] for a name that is no token or a value
    /// with control characters.
    pub fn header(mut self, name: &str, value: &str) -> Result<Request, HttpError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let text = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(text) {
            return Err(HttpError::BadHeader(name.chars().take(200).collect()));
        }
        self.head.push_str(&format!("{name}: {value}\r\n"));
        Ok(self)
    }

    /// Sets other limits than the default ones.
    pub fn limits(mut self, limits: Limits) -> Request {
        self.limits = limits;
        self
    }

    /// The bytes of the request.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{}\r\n", self.head).into_bytes()
    }

    /// Connects to the URL's host, sends the request and reads the head of the answer, all on the
    /// calling tasklet, which waits; the thread does not.
    ///
    /// Names are [looked up](super::lookup) by other threads; all their addresses are tried.
    /// Errors: all but `ShortBody`, `BodyTooLong`, `Status`.
    pub fn fetch(&self, timeouts: Timeouts) -> Result<Response<TcpStream>, HttpError> {
        let (over, connected) = self.times(timeouts);
        let (host, port) = (self.url.host(), self.url.port());
        let stream = TcpStream::connect_host_until(host, port, connected)
            .map_err(|error| self.no_connection(error))?;
        let set_wait = |stream: &TcpStream, time| {
            stream.set_read_timeout(time)?;
            stream.set_write_timeout(time)
        };
        self.exchange(
            stream,
            Pace::new(self.limits, over, timeouts.io, Some(set_wait)),
        )
    }

    /// As [`fetch`](Self::fetch), but blocks the thread: for jobs of the [worker
    /// pool](crate::offload).
    pub fn fetch_blocking(
        &self,
        timeouts: Timeouts,
    ) -> Result<Response<std::net::TcpStream>, HttpError> {
        let (over, connected) = self.times(timeouts);
        let stream = self
            .connect_blocking(connected)
            .map_err(|error| self.no_connection(error))?;
        let set_wait = |stream: &std::net::TcpStream, time| {
            stream.set_read_timeout(time)?;
            stream.set_write_timeout(time)
        };
        self.exchange(
            stream,
            Pace::new(self.limits, over, timeouts.io, Some(set_wait)),
        )
    }

    /// The deadlines of the whole request and of the connecting.
    fn times(&self, timeouts: Timeouts) -> (Option<Instant>, Option<Instant>) {
        let total = self.limits.total;
        (until([total, None]), until([total, timeouts.connect]))
    }

    fn connect_blocking(&self, until: Option<Instant>) -> Result<std::net::TcpStream, Failure> {
        let addrs = resolve::blocking(self.url.host(), self.url.port(), until)?;
        let once = |addr| {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                None => Ok(std::net::TcpStream::connect(addr)?),
                Some(Duration::ZERO) => Err(WaitError::Hindered(crate::Error::Timeout).into()),
                Some(left) => Ok(std::net::TcpStream::connect_timeout(&addr, left)?),
            }
        };
        first_of(addrs, |addr| {
            not_to_itself(
                || once(addr),
                |stream| Ok((stream.local_addr()?, stream.peer_addr()?)),
            )
        })
    }

    fn no_connection(&self, failure: Failure) -> HttpError {
        let error = match failure {
            // The tasklet was killed or thrown at while it connected: that must stay recognisable.
            Failure::Wait(WaitError::Thrown(_)) => return HttpError::Io(failure.into()),
            _ => io::Error::from(failure),
        };
        HttpError::Connect {
            to: format!("{}:{}", self.url.host(), self.url.port()),
            error,
        }
    }

    /// Sends the request over a fresh connection and reads the head of the answer. Interim answers
    /// (1xx) are skipped.
    ///
    /// The connection stays inside the answer, and is dropped with it. This function does not limit
    /// a single read or write: that is up to the connection. The times of [`Limits`] are checked
    /// between them. Errors: all but `Connect`, `ShortBody`, `BodyTooLong`, `Status`.
    pub fn send<S: Read + Write>(&self, stream: S) -> Result<Response<S>, HttpError> {
        let over = until([self.limits.total, None]);
        self.exchange(stream, Pace::new(self.limits, over, None, None))
    }

    fn exchange<S: Read + Write>(
        &self,
        mut stream: S,
        mut pace: Pace<S>,
    ) -> Result<Response<S>, HttpError> {
        let sent = pace.write(&mut stream, &self.to_bytes());
        let mut input = Input {
            stream,
            pace,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            line: Vec::new(),
            lost: None,
        };
        let head = match sent {
            Ok(()) => Head::read_final(&mut input, self.limits)?,
            // The server may have answered before it had read everything, and closed: 413 and 431
            // come that way.
            Err(HttpError::Io(failure)) if ends_writing(&failure) => {
                // The loss has been reported to the writer, so the reader would not hear of it any
                // more.
                if failure.kind() != ErrorKind::BrokenPipe {
                    input.lost = Some(same(&failure));
                }
                match Head::read_final(&mut input, self.limits) {
                    Err(HttpError::Io(error)) if carries_ours(&error) && !is_time_up(&error) => {
                        return Err(HttpError::Io(error))
                    }
                    head => head.map_err(|_| HttpError::Io(failure))?,
                }
            }
            Err(error) => return Err(error),
        };
        let body = head.body()?;
        Ok(Response {
            input,
            head,
            body,
            got: 0,
            extra: self.limits.head,
            extra_left: self.limits.head,
            kept: Cursor::default(),
            failed: None,
        })
    }
}

/// Does this error mean that the peer takes no more data, though it may have answered?
fn ends_writing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// How fast the answer must come, and how fast it does come.
struct Pace<S> {
    /// The deadline of the whole request.
    until: Option<Instant>,
    least: Option<Speed>,
    /// Time spent waiting for the next `least.bytes`, and how many of them have come.
    waited: Duration,
    came: u64,
    /// How long a read or a write may wait, and how that is set for the stream.
    io: Option<Duration>,
    set_wait: Option<SetWait<S>>,
    /// The limit that was set last.
    told: Option<Option<Duration>>,
}

type SetWait<S> = fn(&S, Option<Duration>) -> io::Result<()>;

impl<S> Pace<S> {
    fn new(
        limits: Limits,
        until: Option<Instant>,
        io: Option<Duration>,
        set_wait: Option<SetWait<S>>,
    ) -> Pace<S> {
        Pace {
            until,
            least: limits.least,
            waited: Duration::ZERO,
            came: 0,
            io,
            set_wait,
            told: None,
        }
    }

    /// Sets how long the stream's next wait may take. Some systems take a time of less than a
    /// millisecond for no limit.
    fn tell(
        &mut self,
        stream: &S,
        rest: Option<Duration>,
        left: Option<Duration>,
    ) -> Result<(), HttpError> {
        let rest = rest.map(|rest| rest.max(Duration::from_millis(1)));
        let wait = [rest, left].into_iter().flatten().min();
        if let Some(set_wait) = self.set_wait.filter(|_| self.told != Some(wait)) {
            set_wait(stream, wait)?;
            self.told = Some(wait);
        }
        Ok(())
    }

    /// How long the next wait may take, by the limits for the whole answer. Error: `TooSlow`.
    fn rest(&self, reads: bool) -> Result<Option<Duration>, HttpError> {
        let left = self
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(HttpError::TooSlow("the time for the whole of it is up"));
        }
        let pause = self
            .least
            .filter(|_| reads)
            .map(|least| least.time.saturating_sub(self.waited));
        if pause == Some(Duration::ZERO) {
            return Err(HttpError::TooSlow("fewer bytes came than must"));
        }
        Ok([left, pause].into_iter().flatten().min())
    }

    /// Does `op` on the stream, which returns a number of bytes, and checks the time.
    fn attempt(
        &mut self,
        stream: &mut S,
        reads: bool,
        mut op: impl FnMut(&mut S) -> io::Result<usize>,
    ) -> Result<usize, HttpError> {
        let mut left = self.io;
        loop {
            let rest = self.rest(reads)?;
            self.tell(stream, rest, left)?;
            let began = rest.map(|_| Instant::now());
            let answer = op(stream);
            let took = began.map_or(Duration::ZERO, |began| began.elapsed());
            if reads {
                self.waited += took;
                self.came += *answer.as_ref().unwrap_or(&0) as u64;
                if self.least.is_some_and(|least| self.came >= least.bytes) {
                    (self.waited, self.came) = (Duration::ZERO, 0);
                }
            }
            left = left.map(|left| left.saturating_sub(took));
            match answer {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_time_up(&e) => {
                    self.rest(reads)?;
                    // Only this wait had less time; or it has used up all the time there is.
                    let cut = rest.is_some() && self.set_wait.is_some();
                    if !cut || left == Some(Duration::ZERO) {
                        return Err(HttpError::Io(in_time(e)));
                    }
                }
                Err(e) => return Err(HttpError::Io(e)),
            }
        }
    }
}

impl<S: Read> Pace<S> {
    fn read(&mut self, stream: &mut S, out: &mut [u8]) -> Result<usize, HttpError> {
        self.attempt(stream, true, |stream| stream.read(out))
    }
}

impl<S: Write> Pace<S> {
    fn write(&mut self, stream: &mut S, mut bytes: &[u8]) -> Result<(), HttpError> {
        while !bytes.is_empty() {
            match self.attempt(stream, false, |stream| stream.write(bytes))? {
                0 => return Err(HttpError::Io(ErrorKind::WriteZero.into())),
                n => bytes = &bytes[n..],
            }
        }
        self.attempt(stream, false, |stream| stream.flush().map(|()| 0))?;
        Ok(())
    }
}

const BUFFER: usize = 8 * 1024;

/// A stream, and the bytes that were read ahead of it. They stay here until they are used: a wait
/// may fail, and reading go on later.
struct Input<S> {
    stream: S,
    pace: Pace<S>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The part of the current line that has come.
    line: Vec<u8>,
    /// The connection is lost: instead of an end of the stream there is this error.
    lost: Option<io::Error>,
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
    fn read(&mut self, out: &mut [u8]) -> Result<usize, HttpError> {
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
    fn line(&mut self, limit: usize, all: usize) -> Result<Option<Vec<u8>>, HttpError> {
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
    fn begins_with(&mut self, start: &[u8]) -> Result<(), HttpError> {
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
    /// Reads the head of the final answer; those of interim answers are skipped.
    fn read_final<S: Read>(input: &mut Input<S>, limits: Limits) -> Result<Head, HttpError> {
        let mut left = limits.head;
        let mut interim = 0;
        loop {
            let head = Head::read(input, &mut left, limits.head)?;
            match head.status {
                101 => return Err(HttpError::Unsupported("another protocol (101)")),
                100..=199 if interim == limits.interim => {
                    return Err(HttpError::TooManyInterim(limits.interim))
                }
                100..=199 => interim += 1,
                200..=999 => return Ok(head),
                _ => return Err(HttpError::BadAnswer("its status")),
            }
        }
    }

    /// `left`: how many of the `all` bytes are left for this head and all others.
    fn read<S: Read>(
        input: &mut Input<S>,
        left: &mut usize,
        all: usize,
    ) -> Result<Head, HttpError> {
        input.begins_with(b"HTTP/1.")?;
        let mut bytes = Vec::with_capacity(512);
        let mut lines = 0;
        loop {
            let line = input.line(*left, all)?.ok_or(HttpError::ShortHead)?;
            *left -= line.len();
            bytes.extend_from_slice(&line);
            lines += 1;
            if is_empty(&line) {
                return Head::parse(&bytes, lines);
            }
        }
    }

    /// Parses a head of this many lines.
    fn parse(bytes: &[u8], lines: usize) -> Result<Head, HttpError> {
        // It is on the heap because tasklets' stacks are small.
        let mut fields = vec![httparse::EMPTY_HEADER; lines];
        let mut answer = httparse::Response::new(&mut fields);
        let mut parser = httparse::ParserConfig::default();
        // A field may be folded: it continues in the next line, which begins with a blank (RFC
        // 9112, 5.2).
        parser.allow_obsolete_multiline_headers_in_responses(true);
        match parser.parse_response(&mut answer, bytes) {
            Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
            Ok(_) => return Err(HttpError::BadAnswer("its head is incomplete")),
            Err(httparse::Error::Version) => return Err(HttpError::NotHttp),
            Err(httparse::Error::Status) => return Err(HttpError::BadAnswer("its status line")),
            Err(_) => return Err(HttpError::BadAnswer("its header fields")),
        }
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

    /// How the end of the body is recognised (RFC 9112, 6.3).
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

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

/// The value of a field, with a single space where it is folded.
fn text(value: &[u8]) -> String {
    if !value.contains(&b'\n') {
        return String::from_utf8_lossy(value).into_owned();
    }
    let parts = value.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let parts: Vec<&[u8]> = parts.filter(|part| !part.is_empty()).collect();
    String::from_utf8_lossy(&parts.join(&b' ')).into_owned()
}

enum Body {
    Length { left: u64, of: u64 },
    Chunked(Chunk),
    UntilEnd,
    Done,
}

/// The part of a chunked body that comes next.
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
}

/// An answer: its head, and its body to be read.
///
/// `Read` reads the body, and returns its end once everything that was announced has come. Errors
/// of `read` are [`HttpError`]s inside `io::Error` (kind `UnexpectedEof` for a short body,
/// `InvalidData` for a broken one, `TimedOut` for one that is too slow): `HttpError::from` gets
/// them back.
///
/// **After an error.** A read whose time was up ([`Timeouts::io`]), or whose tasklet was thrown at,
/// has lost nothing: the next one goes on where it was. Every other error is final, and each later
/// read returns it again.
pub struct Response<S> {
    input: Input<S>,
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

#[cfg(test)]
mod tests;

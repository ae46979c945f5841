//! A request: what is sent, where it connects to, and how the head of its answer is read.

use super::head::Head;
use super::http_error::{beginning, carries_ours, is_time_up, HttpError};
use super::input::Input;
use super::limits::{Limits, Timeouts};
use super::pace::{until, Pace};
use super::response::Response;
use super::url::Url;
use crate::error::WaitError;
use crate::net::connect::{self, ConnectError};
use crate::net::resolve;
use crate::net::source::{same, Failure};
use crate::net::tcp::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

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
            return Err(HttpError::BadHeader(beginning(name)));
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
    /// Names are [looked up](crate::net::lookup) by other threads; all their addresses are tried.
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
        let stream = connect_blocking(self.url.host(), self.url.port(), connected)
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

    fn no_connection(&self, failure: Failure) -> HttpError {
        no_connection(&self.url, failure)
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
        let mut input = Input::new(stream, pace);
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
        Response::new(input, head, self.limits.head)
    }
}

/// Connects while the thread waits.
pub(super) fn connect_blocking(
    host: &str,
    port: u16,
    until: Option<Instant>,
) -> Result<std::net::TcpStream, Failure> {
    let addrs = resolve::blocking(host, port, until)?;
    let once = |addr| {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match left {
            None => Ok(std::net::TcpStream::connect(addr)?),
            Some(Duration::ZERO) => Err(WaitError::Hindered(crate::Error::Timeout).into()),
            Some(left) => Ok(std::net::TcpStream::connect_timeout(&addr, left)?),
        }
    };
    let connected = connect::blocking(addrs, once);
    if connected.is_err() {
        // As where a tasklet connects.
        resolve::forget(Some(host));
    }
    connected
}

pub(super) fn no_connection(url: &Url, failure: Failure) -> HttpError {
    let error = match failure {
        // The tasklet was killed or thrown at while it connected: that must stay recognisable.
        Failure::Wait(WaitError::Thrown(_)) => return HttpError::Io(failure.into()),
        _ => io::Error::from(failure),
    };
    let to = format!("{}:{}", url.host(), url.port());
    // An address without a name is not said twice.
    let each = error.get_ref().and_then(|e| e.downcast_ref());
    let alone = match each.map(ConnectError::failures) {
        Some([(addr, error)]) if addr.to_string() == to => Some(same(error)),
        _ => None,
    };
    let error = alone.unwrap_or(error);
    HttpError::Connect { to, error }
}

/// Does this error mean that the peer takes no more data, though it may have answered?
pub(super) fn ends_writing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

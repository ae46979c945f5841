//! What can go wrong with a request, with which one and when, and what an error of a stream means
//! for it.

use crate::error::WaitError;
use crate::net::source::same;
use std::fmt;
use std::io::{self, ErrorKind};

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
    /// The connection ended before the answer's head did.
    ShortHead,
    /// The heads are longer than this many bytes, which [`Limits::head`](super::Limits::head)
    /// allows. A trailer or extensions of chunks that are longer are
    /// [`Protocol`](Self::Protocol).
    HeadTooLong(usize),
    /// There were more interim answers than this many, which
    /// [`Limits::interim`](super::Limits::interim) allows.
    TooManyInterim(usize),
    /// The answer took longer than [`Limits::total`](super::Limits::total) or
    /// [`Limits::least`](super::Limits::least) allow.
    TooSlow(&'static str),
    /// The answer breaks the protocol.
    BadAnswer(&'static str),
    /// The answer breaks the protocol, in the words of the library that has read it.
    Protocol(String),
    /// The request cannot be sent as it is.
    BadRequest(&'static str),
    /// The answer names another place that cannot be followed.
    BadRedirect {
        /// What the answer says.
        to: String,
        /// Why it cannot be followed.
        why: &'static str,
    },
    /// There were more redirects than this many.
    TooManyRedirects(u32),
    /// The reader that was to give the body of the request has failed, or ended too soon.
    RequestBody(io::Error),
    /// What was to take the body of the answer has failed.
    Sink(io::Error),
    /// The file that was to be loaded further is another one now.
    Changed,
    /// The server has nothing from this byte on.
    NoRange {
        /// Where the rest was to begin.
        from: u64,
        /// The length of the file, if the server says it.
        length: Option<u64>,
    },
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
            HttpError::Protocol(why) => write!(f, "the answer breaks the protocol: {why}"),
            HttpError::BadRequest(why) => write!(f, "the request cannot be sent: {why}"),
            HttpError::BadRedirect { to, why } => write!(f, "redirected to {to:?}: {why}"),
            HttpError::TooManyRedirects(limit) => {
                write!(f, "more than the {limit} redirects allowed")
            }
            HttpError::RequestBody(error) => write!(f, "the body of the request: {error}"),
            HttpError::Sink(error) => write!(f, "the body cannot be passed on: {error}"),
            HttpError::Changed => f.write_str("the file has changed"),
            HttpError::NoRange { from, length } => {
                write!(f, "the server has nothing from byte {from} on")?;
                match length {
                    Some(length) => write!(f, ": the file has {length} bytes"),
                    None => Ok(()),
                }
            }
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
        self.below().map(|error| error as _)
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
        match error {
            HttpError::Io(error) => error,
            // The tasklet was killed or thrown at while it connected: that must stay recognisable.
            HttpError::Connect { error, .. }
                if error.get_ref().is_some_and(|e| e.is::<crate::Error>()) =>
            {
                error
            }
            HttpError::RequestBody(error) | HttpError::Sink(error) if was_thrown(&error) => {
                bare(error)
            }
            error => io::Error::new(error.kind(), error),
        }
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
    /// The kind of an `io::Error` for it.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            HttpError::Connect { error, .. }
            | HttpError::Io(error)
            | HttpError::RequestBody(error)
            | HttpError::Sink(error) => error.kind(),
            HttpError::ShortHead | HttpError::ShortBody { .. } => ErrorKind::UnexpectedEof,
            HttpError::BadUrl { .. } | HttpError::BadHeader(_) | HttpError::BadRequest(_) => {
                ErrorKind::InvalidInput
            }
            HttpError::Unsupported(_) => ErrorKind::Unsupported,
            HttpError::TooSlow(_) => ErrorKind::TimedOut,
            HttpError::Status { .. }
            | HttpError::Changed
            | HttpError::NoRange { .. }
            | HttpError::TooManyRedirects(_) => ErrorKind::Other,
            HttpError::HeadTooLong(_)
            | HttpError::TooManyInterim(_)
            | HttpError::BadAnswer(_)
            | HttpError::Protocol(_)
            | HttpError::BadRedirect { .. }
            | HttpError::BodyTooLong(_) => ErrorKind::InvalidData,
        }
    }

    /// Did only a wait end early (its time was up, or something was thrown at the tasklet)? Then
    /// reading can go on. Every other error is final.
    pub(super) fn passes(&self) -> bool {
        let HttpError::Io(error) = self else {
            return false;
        };
        is_time_up(error) || error.kind() == ErrorKind::Interrupted || carries_ours(error)
    }

    /// The error of the connection, or of the caller's reader or sink.
    fn below(&self) -> Option<&io::Error> {
        match self {
            HttpError::Connect { error, .. }
            | HttpError::Io(error)
            | HttpError::RequestBody(error)
            | HttpError::Sink(error) => Some(error),
            _ => None,
        }
    }

    /// Was it thrown at the tasklet, in a wait of this client or of the caller's reader or sink?
    pub(super) fn is_thrown(&self) -> bool {
        self.below().is_some_and(was_thrown)
    }

    /// A copy, to be returned again.
    pub(super) fn again(&self) -> HttpError {
        match self {
            HttpError::Io(error) => HttpError::Io(same(error)),
            HttpError::HeadTooLong(limit) => HttpError::HeadTooLong(*limit),
            HttpError::BadAnswer(why) => HttpError::BadAnswer(why),
            HttpError::TooSlow(why) => HttpError::TooSlow(why),
            HttpError::Protocol(why) => HttpError::Protocol(why.clone()),
            HttpError::RequestBody(error) => HttpError::RequestBody(same(error)),
            HttpError::ShortBody { got, expected } => HttpError::ShortBody {
                got: *got,
                expected: *expected,
            },
            other => unreachable!("no error of reading a body: {other:?}"),
        }
    }
}

/// What a request was doing when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// The request was put together; nothing was sent.
    Preparing,
    /// The name was looked up, or a connection made.
    Connecting,
    /// The request was sent.
    Sending,
    /// The head of the answer was waited for.
    ReadingHead,
    /// The answer named another place.
    Redirecting,
    /// The body was read.
    ReadingBody,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Preparing => "preparing the request",
            Phase::Connecting => "connecting",
            Phase::Sending => "sending the request",
            Phase::ReadingHead => "waiting for the answer",
            Phase::Redirecting => "following a redirect",
            Phase::ReadingBody => "reading the body",
        })
    }
}

/// An [`HttpError`], with the request that it happened to.
#[derive(Debug)]
pub struct RequestError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    method: String,
    url: String,
    phase: Phase,
    error: HttpError,
}

impl RequestError {
    pub(super) fn new(method: &str, url: &str, phase: Phase, error: HttpError) -> RequestError {
        RequestError(Box::new(Inner {
            method: method.to_owned(),
            // A wrong URL may be of any length.
            url: beginning(url),
            phase,
            error,
        }))
    }

    /// What went wrong.
    pub fn error(&self) -> &HttpError {
        &self.0.error
    }
    /// What the request was doing.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }
    /// The URL: after a redirect, the one that was tried last.
    pub fn url(&self) -> &str {
        &self.0.url
    }
    /// What went wrong, without the request.
    pub fn into_error(self) -> HttpError {
        self.0.error
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            method,
            url,
            phase,
            error,
        } = &*self.0;
        match error {
            // It names the URL by itself.
            HttpError::BadUrl { .. } => write!(f, "{method}: {error}"),
            _ => write!(f, "{method} {url}: {phase}: {error}"),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.error)
    }
}

impl From<RequestError> for io::Error {
    /// What was thrown at the waiting tasklet comes out as itself.
    fn from(error: RequestError) -> io::Error {
        match error.error().is_thrown() {
            true => bare(error.into_error().into()),
            false => io::Error::new(error.error().kind(), error),
        }
    }
}

impl From<RequestError> for crate::Error {
    /// [`Error::Exit`](crate::Error::Exit) and other errors that were thrown at the waiting tasklet
    /// come out as themselves.
    fn from(error: RequestError) -> crate::Error {
        io::Error::from(error).into()
    }
}

/// The beginning of a text of any length, for an error.
pub fn beginning(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Has a wait reached its time limit? The standard library's sockets call that `WouldBlock`. A
/// connection that the system has given up (`ETIMEDOUT`) is lost, which is something else.
pub fn is_time_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
        && error.raw_os_error() != Some(libc::ETIMEDOUT)
}

/// Does the error come from a wait of this library, and not from the connection? It may have come
/// through a request of the caller's reader or sink.
fn carries_ours(error: &io::Error) -> bool {
    let inner = error.get_ref();
    WaitError::was_thrown(error)
        || inner.is_some_and(|e| e.is::<crate::Error>())
        || inside(error).is_some_and(|error| error.below().is_some_and(carries_ours))
}

/// Has something other than the end of a time ended a wait of this library?
fn was_thrown(error: &io::Error) -> bool {
    carries_ours(error) && !is_time_up(error)
}

/// The error of a request that an error of the caller's reader or sink is.
fn inside(error: &io::Error) -> Option<&HttpError> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<RequestError>() {
        return Some(error.error());
    }
    inner.downcast_ref()
}

/// What was thrown, without the requests that it has come through.
fn bare(error: io::Error) -> io::Error {
    let error = match error.downcast::<RequestError>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    match error.downcast::<HttpError>() {
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

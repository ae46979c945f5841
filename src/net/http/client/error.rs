//! What went wrong with a request of a client: with which one, and when.

use super::super::http_error::{bare, beginning, HttpError};
use std::fmt;
use std::io;

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
pub struct RequestError(pub(super) Box<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub method: String,
    pub url: String,
    pub phase: Phase,
    pub error: HttpError,
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

//! What went wrong with a request, and its status.

use std::io;

use super::status::hsw_status::{self, *};
use crate::net::http::{HttpError, Phase, RequestError};

/// What went wrong with a request. `hsw_last_error_message` has words for it, with the method, the
/// URL and the phase.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_http_problem {
    /// The last error is none of a request.
    HSW_HTTP_PROBLEM_NONE = 0,
    /// The URL cannot be used (`HSW_ERR_ARGUMENT`).
    HSW_HTTP_PROBLEM_BAD_URL,
    /// A header field has a name that is none, or a value with control characters
    /// (`HSW_ERR_ARGUMENT`).
    HSW_HTTP_PROBLEM_BAD_HEADER,
    /// The request cannot be sent as it is (`HSW_ERR_ARGUMENT`).
    HSW_HTTP_PROBLEM_BAD_REQUEST,
    /// There is no connection (`HSW_ERR_IO`, `HSW_ERR_TIMEOUT`).
    HSW_HTTP_PROBLEM_CONNECT,
    /// The connection has failed (`HSW_ERR_IO`), or brought nothing for the time of a read or write
    /// (`HSW_ERR_TIMEOUT`: such a read can be made again).
    HSW_HTTP_PROBLEM_CONNECTION,
    /// The time for the whole is over, or the answer comes too slowly (`HSW_ERR_TIMEOUT`).
    HSW_HTTP_PROBLEM_TOO_SLOW,
    /// The connection ended before the head of the answer did. From here on the status is
    /// `HSW_ERR_HTTP`.
    HSW_HTTP_PROBLEM_SHORT_HEAD,
    /// The heads are longer than the limit.
    HSW_HTTP_PROBLEM_HEAD_TOO_LONG,
    /// There were more interim answers than the limit.
    HSW_HTTP_PROBLEM_TOO_MANY_INTERIM,
    /// The answer breaks the protocol, or is not HTTP/1 at all.
    HSW_HTTP_PROBLEM_BAD_ANSWER,
    /// The answer uses what this client does not support.
    HSW_HTTP_PROBLEM_UNSUPPORTED,
    /// The answer names another place that cannot be followed.
    HSW_HTTP_PROBLEM_BAD_REDIRECT,
    /// There were more redirects than the limit.
    HSW_HTTP_PROBLEM_TOO_MANY_REDIRECTS,
    /// The source of the request's body has ended too soon.
    HSW_HTTP_PROBLEM_REQUEST_BODY,
    /// The file that was to be loaded further is another one now.
    HSW_HTTP_PROBLEM_CHANGED,
    /// The server has nothing from where the rest was to begin.
    HSW_HTTP_PROBLEM_NO_RANGE,
    /// The connection ended before the body did, or the server has sent less than the file.
    HSW_HTTP_PROBLEM_SHORT_BODY,
    /// The body is longer than the caller allowed. It can be read on.
    HSW_HTTP_PROBLEM_BODY_TOO_LONG,
    /// The server answered with a status other than success.
    HSW_HTTP_PROBLEM_STATUS,
    /// Something else.
    HSW_HTTP_PROBLEM_OTHER,
}

/// What a request was doing when it failed.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum hsw_http_phase {
    /// The request was put together; nothing was sent.
    HSW_HTTP_PHASE_PREPARING = 0,
    /// The name was looked up, or a connection made.
    HSW_HTTP_PHASE_CONNECTING,
    /// The request was sent.
    HSW_HTTP_PHASE_SENDING,
    /// The head of the answer was waited for.
    HSW_HTTP_PHASE_READING_HEAD,
    /// The answer named another place.
    HSW_HTTP_PHASE_REDIRECTING,
    /// The body was read.
    HSW_HTTP_PHASE_READING_BODY,
}

/// A request that has failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_http_error {
    /// One of `hsw_http_problem`.
    pub problem: i32,
    /// One of `hsw_http_phase`.
    pub phase: i32,
    /// With `HSW_HTTP_PROBLEM_STATUS` the status of the answer, such as 404; otherwise 0.
    pub status: u16,
}

use hsw_http_phase::*;
use hsw_http_problem::*;

fn problem(error: &HttpError) -> hsw_http_problem {
    match error {
        HttpError::BadUrl { .. } => HSW_HTTP_PROBLEM_BAD_URL,
        HttpError::BadHeader(_) => HSW_HTTP_PROBLEM_BAD_HEADER,
        HttpError::BadRequest(_) => HSW_HTTP_PROBLEM_BAD_REQUEST,
        HttpError::Connect { .. } => HSW_HTTP_PROBLEM_CONNECT,
        HttpError::Io(_) => HSW_HTTP_PROBLEM_CONNECTION,
        HttpError::TooSlow(_) => HSW_HTTP_PROBLEM_TOO_SLOW,
        HttpError::ShortHead => HSW_HTTP_PROBLEM_SHORT_HEAD,
        HttpError::HeadTooLong(_) => HSW_HTTP_PROBLEM_HEAD_TOO_LONG,
        HttpError::TooManyInterim(_) => HSW_HTTP_PROBLEM_TOO_MANY_INTERIM,
        HttpError::BadAnswer(_) | HttpError::Protocol(_) => HSW_HTTP_PROBLEM_BAD_ANSWER,
        HttpError::Unsupported(_) => HSW_HTTP_PROBLEM_UNSUPPORTED,
        HttpError::BadRedirect { .. } => HSW_HTTP_PROBLEM_BAD_REDIRECT,
        HttpError::TooManyRedirects(_) => HSW_HTTP_PROBLEM_TOO_MANY_REDIRECTS,
        HttpError::RequestBody(_) => HSW_HTTP_PROBLEM_REQUEST_BODY,
        HttpError::Changed => HSW_HTTP_PROBLEM_CHANGED,
        HttpError::NoRange { .. } => HSW_HTTP_PROBLEM_NO_RANGE,
        HttpError::ShortBody { .. } => HSW_HTTP_PROBLEM_SHORT_BODY,
        HttpError::BodyTooLong(_) => HSW_HTTP_PROBLEM_BODY_TOO_LONG,
        HttpError::Status { .. } => HSW_HTTP_PROBLEM_STATUS,
        // A sink of C's fails with an error of its own, which is passed on.
        HttpError::Sink(_) => HSW_HTTP_PROBLEM_OTHER,
    }
}

fn phase(error: &RequestError) -> hsw_http_phase {
    match error.phase() {
        Phase::Preparing => HSW_HTTP_PHASE_PREPARING,
        Phase::Connecting => HSW_HTTP_PHASE_CONNECTING,
        Phase::Sending => HSW_HTTP_PHASE_SENDING,
        Phase::ReadingHead => HSW_HTTP_PHASE_READING_HEAD,
        Phase::Redirecting => HSW_HTTP_PHASE_REDIRECTING,
        Phase::ReadingBody => HSW_HTTP_PHASE_READING_BODY,
    }
}

fn of_io(error: &io::Error) -> Option<&RequestError> {
    error.get_ref()?.downcast_ref()
}

/// The status of an error of input or output that is one of a request.
pub(super) fn status_of(error: &io::Error) -> Option<hsw_status> {
    let error = of_io(error)?;
    Some(match error.error() {
        HttpError::Connect { error, .. } | HttpError::Io(error) => {
            match error.raw_os_error().is_none() && is_time_up(error.kind()) {
                true => HSW_ERR_TIMEOUT,
                false => HSW_ERR_IO,
            }
        }
        HttpError::TooSlow(_) => HSW_ERR_TIMEOUT,
        HttpError::BadUrl { .. } | HttpError::BadHeader(_) | HttpError::BadRequest(_)
            if error.phase() == Phase::Preparing =>
        {
            HSW_ERR_ARGUMENT
        }
        _ => HSW_ERR_HTTP,
    })
}

fn is_time_up(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

impl hsw_http_error {
    /// What an error of input or output tells of the request that it is of.
    pub(super) fn of(error: Option<&io::Error>) -> Self {
        let Some(error) = error.and_then(of_io) else {
            return hsw_http_error {
                problem: HSW_HTTP_PROBLEM_NONE as i32,
                phase: HSW_HTTP_PHASE_PREPARING as i32,
                status: 0,
            };
        };
        hsw_http_error {
            problem: problem(error.error()) as i32,
            phase: phase(error) as i32,
            status: match error.error() {
                HttpError::Status { status, .. } => *status,
                _ => 0,
            },
        }
    }
}

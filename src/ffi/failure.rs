//! The reason why an entry failed: the status and the message that C gets.

use core::fmt::Write as _;

#[cfg(feature = "std")]
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use super::handle::{Fault, Kind};
use super::last_error::LastError;
use super::status::hsw_status::{self, *};
use super::status::status_of;
#[cfg(feature = "std")]
use crate::core::contain::contain;
use crate::error::{Error, StateError, WaitError};
use crate::poll::errno::Errno;

/// The reason why an entry failed.
pub enum Failure {
    Null(&'static str),
    Handle(Kind, Fault),
    Argument(String),
    Limit(&'static str),
    ThreadEnding,
    StopIteration,
    /// A failure of this entry only, with its words.
    Told(hsw_status, String),
    Panic(String),
    /// A call of the system's has failed; with words that name the call.
    System(Errno, String),
    /// An error of the runtime that is the call's own, and the object that the call was about.
    Core(Error, Subject),
    /// An error, of whatever kind, that somebody threw at the calling tasklet, or sent to it. It is
    /// not the call's own.
    Thrown(Error),
    /// The failure of a function of C's, which is passed on as it was.
    Passed(LastError),
}

/// The object that a failed call was about, for the message.
pub enum Subject {
    None,
    Named(Kind, String),
}

/// This is not implemented for `Error`: of an `Error` nobody knows any more whether it was thrown.
impl From<WaitError> for Failure {
    fn from(ended: WaitError) -> Self {
        match ended {
            WaitError::Hindered(error) => Failure::own(error),
            WaitError::Thrown(error) => Failure::Thrown(error),
        }
    }
}

impl Failure {
    /// Did the call fail because its thread is ending?
    pub fn is_of_the_end(&self) -> bool {
        matches!(
            self,
            Failure::ThreadEnding | Failure::Core(Error::State(StateError::ThreadEnding), _)
        )
    }

    /// An error of a call that does not wait, or a wait's own error, which nobody threw.
    pub fn own(error: impl Into<Error>) -> Self {
        Failure::Core(error.into(), Subject::None)
    }

    /// The same failure; if the error is the call's own, its message names that object.
    pub fn about(self, subject: impl FnOnce() -> Subject) -> Self {
        match self {
            Failure::Core(error, Subject::None) => Failure::Core(error, subject()),
            other => other,
        }
    }

    /// A panic that was caught. What it carries may panic again when it is dropped.
    #[cfg(feature = "std")]
    pub fn panic(payload: Box<dyn core::any::Any + Send>) -> Self {
        let words = payload
            .downcast_ref::<&str>()
            .map(|words| words.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        contain("the payload of a panic", || drop(payload));
        Failure::Panic(words.unwrap_or_else(|| "a panic without words".to_string()))
    }

    pub fn status(&self) -> hsw_status {
        match self {
            Failure::Null(_) | Failure::Handle(_, Fault::Null) => HSW_ERR_NULL,
            Failure::Handle(_, Fault::Stale) => HSW_ERR_STALE,
            Failure::Handle(_, Fault::WrongThread) => HSW_ERR_WRONG_THREAD,
            Failure::Handle(_, Fault::WrongKind) => HSW_ERR_WRONG_KIND,
            Failure::Handle(_, Fault::Full) | Failure::Limit(_) => HSW_ERR_LIMIT,
            Failure::Argument(_) => HSW_ERR_ARGUMENT,
            Failure::ThreadEnding => HSW_ERR_THREAD_ENDING,
            Failure::StopIteration => HSW_ERR_STOP_ITERATION,
            Failure::Told(status, _) => *status,
            Failure::Panic(_) => HSW_ERR_INTERNAL,
            Failure::System(..) => HSW_ERR_IO,
            Failure::Core(error, _) => status_of(error),
            Failure::Passed(last) => last.status,
            Failure::Thrown(error) => match error {
                Error::Exit => HSW_ERR_EXIT,
                Error::Panicked(_) => HSW_ERR_PANICKED,
                _ => HSW_ERR_THROWN,
            },
        }
    }

    /// Words for a human.
    pub fn message(&self) -> String {
        match self {
            Failure::Null(name) => format!("{name} is null"),
            Failure::Handle(kind, fault) => {
                let kind = kind.name();
                match fault {
                    Fault::Null => format!("the {kind} handle is null"),
                    Fault::Stale => {
                        format!("the {kind} handle is stale: it was released, or never was one")
                    }
                    Fault::WrongThread => format!("the {kind} belongs to another thread"),
                    Fault::WrongKind => format!("the handle does not name a {kind}"),
                    Fault::Full => {
                        format!("too many {kind} handles: 16777216 are live")
                    }
                }
            }
            Failure::Argument(what) => what.clone(),
            Failure::Limit(what) => format!("limit reached: {what}"),
            Failure::ThreadEnding => "the thread is ending".to_string(),
            Failure::StopIteration => "the channel is closed and has no more senders".to_string(),
            Failure::Told(_, words) | Failure::System(_, words) => words.clone(),
            Failure::Panic(words) => format!("internal error: {words}"),
            Failure::Passed(last) => last.message.to_string_lossy().into_owned(),
            Failure::Thrown(error) => error.to_string(),
            Failure::Core(error, subject) => {
                let mut out = error.to_string();
                if let Subject::Named(kind, name) = subject {
                    let _ = write!(out, " ({} '{name}')", kind.name());
                }
                out
            }
        }
    }
}

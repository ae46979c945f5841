//! What the pool itself refuses, apart from the errors of the system and of jobs.

use crate::Error;
use std::fmt;
use std::io::{self, ErrorKind};

/// A refusal by the pool itself. It is inside of the `io::Error`, since errors of the system may
/// have the same kind.
#[derive(Debug)]
pub enum Refusal {
    InUse,
    Settings(&'static str),
    Full(usize),
    Shut,
    Cancelled,
    /// The call's worker is one of the parent process.
    Forked,
    /// The system makes no thread.
    NoThread(io::Error),
}

impl Refusal {
    /// The refusal in an error of a call, if it is one.
    pub fn of(error: &Error) -> Option<&Refusal> {
        match error {
            Error::Io(io) => io.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::InUse => f.write_str("the worker pool is in use already"),
            Refusal::Settings(why) => f.write_str(why),
            Refusal::Full(queue) => write!(f, "the worker pool's queue of {queue} calls is full"),
            Refusal::Shut => f.write_str("the worker pool has been shut down"),
            Refusal::Cancelled => {
                f.write_str("the worker pool was shut down before the call began")
            }
            Refusal::Forked => {
                f.write_str("the process has been forked: the worker is the parent's")
            }
            Refusal::NoThread(error) => write!(f, "no worker thread can be made: {error}"),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Refusal::NoThread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(why: Refusal) -> Error {
        let kind = match &why {
            Refusal::InUse => ErrorKind::AlreadyExists,
            Refusal::Settings(_) => ErrorKind::InvalidInput,
            Refusal::Full(_) => ErrorKind::WouldBlock,
            Refusal::Shut | Refusal::Cancelled | Refusal::Forked => ErrorKind::NotConnected,
            // This is not the system's kind: the kind of EAGAIN means a full queue here.
            Refusal::NoThread(_) => ErrorKind::Other,
        };
        io::Error::new(kind, why).into()
    }
}

/// The error of a call that was made before a fork and so has no outcome in the child.
pub fn lost_in_a_fork() -> Error {
    Refusal::Forked.into()
}

//! Errors on their way through `std::io::Error`, and back.

use std::fmt;
use std::sync::Arc;

use super::{Error, WaitError};

/// An error that was thrown at the user of a socket, on its way through an `io::Error`. It has a
/// type and a kind of its own, so that it cannot be taken for an error of the operation itself.
#[derive(Debug)]
struct ThrownThere(Error);

impl fmt::Display for ThrownThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for ThrownThere {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source()
    }
}

impl From<WaitError> for std::io::Error {
    fn from(ended: WaitError) -> std::io::Error {
        match ended {
            WaitError::Thrown(error) if !error.is_always_thrown() => {
                std::io::Error::other(ThrownThere(error))
            }
            WaitError::Thrown(error) | WaitError::Hindered(error) => error.into(),
        }
    }
}

impl From<std::io::Error> for WaitError {
    /// The [`WaitError`] that it was, or else an end of the operation's own.
    fn from(error: std::io::Error) -> WaitError {
        match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(ThrownThere(thrown)) => WaitError::Thrown(thrown.clone()),
            None => WaitError::own(error),
        }
    }
}

#[cfg(feature = "http")]
impl WaitError {
    /// Was it thrown at the user of a socket, so that it is no error of the connection?
    pub(crate) fn was_thrown(error: &std::io::Error) -> bool {
        error.get_ref().is_some_and(|inner| {
            let plain = inner.downcast_ref::<Error>();
            inner.is::<ThrownThere>() || plain.is_some_and(Error::is_always_thrown)
        })
    }
}

impl From<std::io::Error> for Error {
    /// An `Error` that went through `io::Error` (as those of the sockets do)
    /// comes out as itself.
    fn from(error: std::io::Error) -> Error {
        let inner = error.get_ref();
        if let Some(inner) = inner.and_then(|e| e.downcast_ref::<Error>()) {
            return inner.clone();
        }
        if let Some(ThrownThere(thrown)) = inner.and_then(|e| e.downcast_ref()) {
            return thrown.clone();
        }
        Error::Io(Arc::new(error))
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        use std::io::ErrorKind;
        let kind = match &error {
            Error::Io(io) => io.kind(),
            Error::Timeout => ErrorKind::TimedOut,
            Error::WouldBlock => ErrorKind::WouldBlock,
            Error::OutOfMemory | Error::MemoryCeiling(_) | Error::Mappings(_) => {
                ErrorKind::OutOfMemory
            }
            _ => ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

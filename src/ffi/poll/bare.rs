//! What a backend of the host's leaves to others where there is no system.

use core::ffi::c_void;
use core::time::Duration;

use super::{Backend, Errno, Failure};

/// The clock of a backend that has none: there is no other than the thread's.
pub fn clock() -> Duration {
    crate::time::now().unwrap_or_default()
}

/// There is no system to ask.
pub fn may_poll(_count: usize) -> bool {
    true
}

/// There is no host lock to give up.
pub fn waiting<R>(_timeout: Option<Duration>, call: impl FnOnce() -> R) -> R {
    call()
}

/// There are no calls of a system.
///
/// SAFETY: any arguments will do.
pub unsafe fn with<R>(
    _mask: *const c_void,
    _timeout: Option<Duration>,
    _what: impl FnOnce(&mut dyn Backend) -> Result<R, Errno>,
) -> Result<Result<R, Errno>, Failure> {
    Err(Failure::Null("backend"))
}

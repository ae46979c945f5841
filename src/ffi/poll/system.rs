//! What a backend of the host's leaves to the system, and the system's own backend.

use core::ffi::c_void;
use core::time::Duration;

use super::{Backend, Errno, Failure};
use crate::poll;

/// The clock of a backend that has none. The thread's own may be replaced by one that stands still,
/// as a game's between two frames, and the backend waits in real time.
pub fn clock() -> Duration {
    poll::Os.now()
}

/// May a poll of the system's calls have so many descriptors?
pub fn may_poll(count: usize) -> bool {
    poll::may_poll(count)
}

/// Makes a call that may block for `timeout`, without the thread's host lock.
pub fn waiting<R>(timeout: Option<Duration>, call: impl FnOnce() -> R) -> R {
    match timeout {
        Some(Duration::ZERO) => call(),
        _ => crate::thread::allow_threads(call),
    }
}

/// Does it with the system's calls.
///
/// SAFETY: `mask` is null or points to a signal mask that outlives the call.
pub unsafe fn with<R>(
    mask: *const c_void,
    timeout: Option<Duration>,
    what: impl FnOnce(&mut dyn Backend) -> Result<R, Errno>,
) -> Result<Result<R, Errno>, Failure> {
    // SAFETY: the caller's promise about `mask`.
    let mut system = unsafe { poll::Masked::new(mask.cast()) };
    Ok(waiting(timeout, || what(&mut system)))
}

//! The operating system's `poll` and `select` through the shim: [`poll`], [`select`].

use crate::poll::errno::Errno;
use crate::poll::shim::{self, PollFd, Sets};
use crate::poll::Os;
use std::time::Duration;

/// [`shim::poll`] over the operating system. It fills in `revents`, and returns how many
/// descriptors have any: 0 after `timeout` (`None`: no limit).
///
/// Blocks the *thread*; on a tasklet use the sockets of [`net`](super), which block the tasklet.
/// Errors: those of the call itself.
///
/// ```
/// use hardswitch::net::shim::{Events, PollFd};
/// use std::os::fd::AsRawFd;
/// use std::time::Duration;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let mut fds = [PollFd::new(listener.as_raw_fd(), Events::IN)];
/// assert_eq!(hardswitch::net::poll(&mut fds, Some(Duration::ZERO))?, 0);
/// let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// assert_eq!(hardswitch::net::poll(&mut fds, None)?, 1);
/// assert_eq!(fds[0].revents, Events::IN);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn poll(fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
    waiting(timeout, || shim::poll(&mut Os, fds, timeout))
}

/// [`shim::select`] over the operating system. It leaves in the sets the members that are ready,
/// and returns how many they are: 0 after `timeout` (`None`: no limit). Blocks the *thread*.
/// Errors: those of the call itself.
pub fn select(sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
    waiting(timeout, || shim::select(&mut Os, sets, timeout))
}

/// Makes a call that may block for `timeout`, without the thread's host lock.
fn waiting<R>(timeout: Option<Duration>, call: impl FnOnce() -> R) -> R {
    if timeout == Some(Duration::ZERO) {
        return call();
    }
    crate::thread::allow_threads(call)
}

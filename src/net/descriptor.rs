//! Waiting for any descriptor: pipes, eventfds, a database client's, those of another library.

use crate::error::WaitError;
use crate::net::source::{deadline, Failure};
use crate::poll::shim::{self, Events, PollFd};
use crate::poll::Os;
use crate::wait::reactor::{Reactor, Wake};
use crate::Error;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Blocks the tasklet until one of the events of `interest` has come for the descriptor `fd`, or an
/// error or hang-up, which are always waited for. Returns what has come. `timeout`: how long it may
/// wait; `None`, no limit; zero, it does not wait.
///
/// The descriptor stays the caller's, and may be of any kind that `poll` takes: a pipe, an eventfd,
/// a socket of another library. It need not be non-blocking. A regular file is always ready. Close
/// it only when no tasklet waits for it: a wait for a descriptor that was closed meanwhile fails,
/// but that may be noticed as late as two seconds afterwards.
///
/// If several tasklets wait for the same event, it ends the oldest wait; the others follow as long
/// as the descriptor stays ready.
///
/// ```
/// use hardswitch::net::{self, shim::Events};
/// use std::os::fd::AsRawFd;
/// use std::time::Duration;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// hardswitch::spawn(move || {
///     std::io::Write::write_all(&mut writer, b"x").expect("there is room");
///     Ok(())
/// })?;
/// let limit = Some(Duration::from_secs(5));
/// let found = net::wait(reader.as_raw_fd(), Events::IN, limit)?;
/// assert!(found.contains(Events::IN));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Costs one system call to begin, besides those of the loop.
///
/// # Errors
/// `EBADF`, when it is not an open descriptor; `TimedOut`; those of [waiting](super::TcpStream).
pub fn wait(fd: RawFd, interest: Events, timeout: Option<Duration>) -> io::Result<Events> {
    Ok(wait_or(fd, interest, timeout)?)
}

pub(crate) fn wait_or(
    fd: RawFd,
    interest: Events,
    timeout: Option<Duration>,
) -> Result<Events, Failure> {
    let bad = || Failure::from(io::Error::from_raw_os_error(libc::EBADF));
    if timeout == Some(Duration::ZERO) {
        crate::thread::raise().map_err(WaitError::Thrown)?;
        // A negative number is one that `poll` does not look at.
        let mut fds = [PollFd::new(fd, interest)];
        shim::poll(&mut Os, &mut fds, timeout).map_err(io::Error::from)?;
        return match fds[0].revents {
            _ if fd < 0 => Err(bad()),
            is if is.intersects(Events::NVAL) => Err(bad()),
            Events::NONE => Err(WaitError::Hindered(Error::Timeout).into()),
            is => Ok(is),
        };
    }
    // SAFETY: no memory is involved, and the number may be any.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(bad());
    }
    let reactor = Reactor::current().map_err(WaitError::Hindered)?;
    reactor.doubt(fd);
    let registered = reactor.register(Some((fd, interest)), deadline(timeout));
    match reactor.block(registered.waiter())? {
        Wake::Ready => Ok(registered.waiter().found()),
        Wake::TimedOut => Err(WaitError::Hindered(Error::Timeout).into()),
        Wake::Bad | Wake::Closed => Err(bad()),
    }
}

//! The operating system's `poll` and `select` on Linux, as a [`Backend`] for the shim.

use super::errno::Errno;
use super::shim::{Backend, Fd, FdSet, PollFd, Sets};
use crate::machine::os;
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The operating system's own calls.
///
/// Timeouts are exact to the clock's resolution (`ppoll`, `pselect`) and may have any length.
#[derive(Clone, Copy, Default, Debug)]
pub struct Os;

impl Backend for Os {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let timeout = timeout.map(os::timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `PollFd` is `repr(C)` with the fields of `struct pollfd` (asserted below), and
        // the slice is writable for its whole length; `timeout` is null or points to a timespec
        // that outlives the call; a null signal mask changes no mask.
        check(unsafe {
            libc::ppoll(
                fds.as_mut_ptr().cast(),
                fds.len() as libc::nfds_t,
                timeout,
                ptr::null(),
            )
        })
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        let timeout = timeout.map(os::timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let nfds = sets.nfds();
        let (mut read, mut write, mut except) = (
            native(&sets.read),
            native(&sets.write),
            native(&sets.except),
        );
        // SAFETY: the three fd_sets are live, each with room for FD_SETSIZE = 1024 descriptors, and
        // `nfds` is at most that; `timeout` and the mask are as in `poll` above.
        let n = check(unsafe {
            libc::pselect(
                nfds,
                &mut read,
                &mut write,
                &mut except,
                timeout,
                ptr::null(),
            )
        })?;
        for (set, native) in [
            (&mut sets.read, &read),
            (&mut sets.write, &write),
            (&mut sets.except, &except),
        ] {
            keep(set, native);
        }
        Ok(n)
    }

    fn now(&mut self) -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    fn is_stream(&mut self, fd: Fd) -> bool {
        let mut kind: libc::c_int = 0;
        let mut size = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `kind` and `size` are live and writable, and `size` says how large `kind` is. Any
        // number is allowed as a descriptor.
        let answer = unsafe {
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_TYPE,
                ptr::from_mut(&mut kind).cast(),
                &mut size,
            )
        };
        answer != 0 || kind == libc::SOCK_STREAM
    }
}

const _: () = {
    assert!(
        size_of::<PollFd>() == size_of::<libc::pollfd>()
            && align_of::<PollFd>() == align_of::<libc::pollfd>()
    );
    assert!(std::mem::offset_of!(PollFd, fd) == std::mem::offset_of!(libc::pollfd, fd));
    assert!(std::mem::offset_of!(PollFd, events) == std::mem::offset_of!(libc::pollfd, events));
    assert!(std::mem::offset_of!(PollFd, revents) == std::mem::offset_of!(libc::pollfd, revents));
    assert!(FdSet::CAPACITY == libc::FD_SETSIZE);
};

fn check(answer: libc::c_int) -> Result<usize, Errno> {
    usize::try_from(answer).map_err(|_| last())
}

fn last() -> Errno {
    Errno::from_linux(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// The set in the layout of the C library (whose words have another size than the shim's). Cost:
/// one step per member.
fn native(set: &FdSet) -> libc::fd_set {
    // SAFETY: fd_set is an array of integers; all zero is the empty set.
    let mut native: libc::fd_set = unsafe { std::mem::zeroed() };
    for fd in set.iter() {
        // SAFETY: members are in 0..1024 = FD_SETSIZE, and `native` is live.
        unsafe { libc::FD_SET(fd, &mut native) }
    }
    native
}

/// Removes the members that the system removed.
fn keep(set: &mut FdSet, native: &libc::fd_set) {
    let asked = *set;
    for fd in asked.iter() {
        // SAFETY: members are in 0..1024 = FD_SETSIZE, and `native` is live.
        if !unsafe { libc::FD_ISSET(fd, native) } {
            set.remove(fd);
        }
    }
}

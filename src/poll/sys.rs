//! The operating system's `poll` and `select` on Linux, as a [`Backend`] for the shim.

use super::errno::Errno;
use super::sets::Word;
use super::shim::{Backend, Fd, FdSet, Kind, PollFd, Sets};
use super::socket::{self, check};
use crate::machine::os;
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The operating system's own calls.
///
/// Timeouts are exact to the clock's resolution (`ppoll`, `pselect`) and may have any length.
/// `select` costs a second system call where a descriptor of 64 or more is among them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Os;

/// The operating system's own calls, each with a signal mask for its time.
pub(crate) struct Masked {
    /// Null: the thread's own mask.
    mask: *const libc::sigset_t,
}

impl Masked {
    const fn not() -> Masked {
        Masked { mask: ptr::null() }
    }

    /// SAFETY: `mask` is null or points to a signal mask as long as this is used.
    pub unsafe fn new(mask: *const libc::sigset_t) -> Masked {
        Masked { mask }
    }
}

impl Backend for Masked {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let timeout = timeout.map(os::timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `PollFd` is `repr(C)` with the fields of `struct pollfd` (asserted below), and
        // the slice is writable for its whole length; `timeout` is null or points to a timespec
        // that outlives the call; the mask is null or points to one (promised to `new`).
        check(unsafe {
            libc::ppoll(
                fds.as_mut_ptr().cast(),
                fds.len() as libc::nfds_t,
                timeout,
                self.mask,
            )
        })
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        // Linux ignores the numbers that the process's table has no room for, and leaves their bits
        // as they are. There is room for 64, and for all up to any descriptor that is open.
        let last = sets.nfds() - 1;
        if last >= 64 {
            // SAFETY: a question about a number, which touches no memory.
            check(unsafe { libc::fcntl(last, libc::F_GETFD) })?;
        }
        let timeout = timeout.map(os::timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut read = sets.read.to_system();
        let mut write = sets.write.to_system();
        let mut except = sets.except.to_system();
        // SAFETY: the three arrays are live, with the size and the words of `fd_set` (asserted
        // below), and `nfds` is at most 1024 = FD_SETSIZE; `timeout` and the mask are as in `poll`
        // above.
        let n = check(unsafe {
            libc::pselect(
                sets.nfds(),
                read.as_mut_ptr().cast(),
                write.as_mut_ptr().cast(),
                except.as_mut_ptr().cast(),
                timeout,
                self.mask,
            )
        })?;
        sets.read = FdSet::from_system(&read);
        sets.write = FdSet::from_system(&write);
        sets.except = FdSet::from_system(&except);
        Ok(n)
    }

    fn now(&mut self) -> Duration {
        Os.now()
    }
    fn kind(&mut self, fd: Fd) -> Kind {
        Os.kind(fd)
    }
    fn unread(&mut self, fd: Fd) -> usize {
        Os.unread(fd)
    }
    fn urgent(&mut self, fd: Fd) -> bool {
        Os.urgent(fd)
    }
    fn take_error(&mut self, fd: Fd) -> Result<Option<Errno>, Errno> {
        Os.take_error(fd)
    }
}

impl Backend for Os {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        Masked::not().poll(fds, timeout)
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        Masked::not().select(sets, timeout)
    }

    fn now(&mut self) -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    fn kind(&mut self, fd: Fd) -> Kind {
        socket::kind(fd)
    }
    fn unread(&mut self, fd: Fd) -> usize {
        socket::unread(fd)
    }
    fn urgent(&mut self, fd: Fd) -> bool {
        socket::urgent(fd)
    }
    fn take_error(&mut self, fd: Fd) -> Result<Option<Errno>, Errno> {
        let error = socket::option(fd, libc::SO_ERROR)?;
        Ok((error != 0).then(|| Errno::from_linux(error)))
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
    assert!(size_of::<FdSet>() == size_of::<libc::fd_set>());
    assert!(align_of::<libc::fd_set>() == align_of::<Word>());
};

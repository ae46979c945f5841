//! The operating system's `poll` and `select` on Linux, as a [`Backend`] for the shim.

use super::errno::Errno;
use super::shim::{Backend, Fd, FdSet, Kind, PollFd, Sets};
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

    fn kind(&mut self, fd: Fd) -> Kind {
        match option(fd, libc::SO_TYPE) {
            Ok(libc::SOCK_STREAM | libc::SOCK_SEQPACKET) => match option(fd, libc::SO_DOMAIN) {
                Ok(libc::AF_UNIX) => Kind::Local,
                _ => Kind::Stream,
            },
            Ok(_) => Kind::Datagram,
            Err(_) => Kind::Stream,
        }
    }

    fn unread(&mut self, fd: Fd) -> usize {
        number(fd, libc::FIONREAD as _).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0))
    }

    /// By a look at the urgent byte. A socket that has it in line with the other data
    /// (`SO_OOBINLINE`) can only be asked whether it comes next.
    fn urgent(&mut self, fd: Fd) -> bool {
        let mut byte = 0_u8;
        // SAFETY: `byte` is live and writable, and 1 byte large. Any number is allowed as a
        // descriptor. The flags see to it that nothing is taken and nothing waited for.
        let seen = unsafe {
            libc::recv(
                fd,
                ptr::from_mut(&mut byte).cast(),
                1,
                libc::MSG_OOB | libc::MSG_PEEK | libc::MSG_DONTWAIT,
            )
        };
        match check(seen as libc::c_int) {
            Ok(bytes) => bytes > 0,
            // So a connection that was reset answers when there is some, and `EINVAL` otherwise.
            Err(Errno::ENOTCONN) => true,
            Err(_) => {
                option(fd, libc::SO_OOBINLINE).is_ok_and(|inline| inline != 0)
                    && number(fd, SIOCATMARK).is_ok_and(|at| at != 0)
            }
        }
    }

    fn take_error(&mut self, fd: Fd) -> Result<Option<Errno>, Errno> {
        let error = option(fd, libc::SO_ERROR)?;
        Ok((error != 0).then(|| Errno::from_linux(error)))
    }
}

/// Is the next byte the urgent one? (The number is the same on all of Linux but a few old ports.)
const SIOCATMARK: libc::Ioctl = 0x8905;

/// An option of a socket that is a number.
fn option(fd: Fd, name: libc::c_int) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `size` are live and writable, and `size` says how large `value` is. Any
    // number is allowed as a descriptor.
    check(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            name,
            ptr::from_mut(&mut value).cast(),
            &mut size,
        )
    })?;
    Ok(value)
}

/// The answer to a question that is asked by `ioctl`.
fn number(fd: Fd, question: libc::Ioctl) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    // SAFETY: both questions that are asked here write one `int`, and `value` is one, live and
    // writable. Any number is allowed as a descriptor.
    check(unsafe { libc::ioctl(fd, question, ptr::from_mut(&mut value)) })?;
    Ok(value)
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

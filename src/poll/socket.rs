//! Questions about a socket on Linux, none of which reads its pending error away, and one about the
//! process.

use super::errno::Errno;
use super::shim::{Fd, Kind};
use std::ptr;

/// What kind of socket it is; `Stream` if it cannot be asked.
pub fn kind(fd: Fd) -> Kind {
    match option(fd, libc::SO_TYPE) {
        Ok(libc::SOCK_STREAM | libc::SOCK_SEQPACKET) => match option(fd, libc::SO_DOMAIN) {
            Ok(libc::AF_UNIX) => Kind::Local,
            _ => Kind::Stream,
        },
        Ok(_) => Kind::Datagram,
        Err(_) => Kind::Stream,
    }
}

/// How many bytes it has to read.
pub fn unread(fd: Fd) -> usize {
    number(fd, libc::FIONREAD as _).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0))
}

/// Has it urgent data to read?
///
/// By a look at the urgent byte. A socket that has it in line with the other data
/// (`SO_OOBINLINE`) can only be asked whether it comes next.
pub fn urgent(fd: Fd) -> bool {
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

/// Is the next byte the urgent one? (The number is the same on all of Linux but a few old ports.)
const SIOCATMARK: libc::Ioctl = 0x8905;

/// An option of a socket that is a number.
pub fn option(fd: Fd, name: libc::c_int) -> Result<libc::c_int, Errno> {
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

/// May a `poll` have so many entries? Linux refuses more than the process may have descriptors, and
/// does not look at the array then. A limit below a few is not asked for, since polls are mostly
/// short, and the question costs a system call.
pub fn may_poll(count: usize) -> bool {
    const FEW: usize = 32;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live and writable.
    count <= FEW
        || check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }).is_err()
        || count as libc::rlim_t <= limit.rlim_cur
}

/// What a call has answered; on -1 the error.
pub fn check(answer: libc::c_int) -> Result<usize, Errno> {
    usize::try_from(answer).map_err(|_| last())
}

/// The calling thread's `errno`.
fn last() -> Errno {
    Errno::from_linux(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

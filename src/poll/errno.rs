//! Error numbers by name, in the two numberings this runtime meets.
//!
//! Linux (the generic table, which x86_64 and powerpc64 share) and the PS3's system software (lv2),
//! whose network calls number errors as 4.4BSD did. [`Errno`] holds the Linux number;
//! [`Errno::from_lv2`] and [`Errno::to_lv2`] translate. Pure tables: no allocation, no std.
//!
//! Its one judgement is [`Errno::belongs_to_a_socket`], which the [shim](super::shim) relies on.

use core::fmt;

/// An operating system's error number, kept in Linux numbering.
///
/// A number without a name here is kept as it is: only [`Errno::name`] returns `None` for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident $linux:literal $lv2:literal $text:literal),+ $(,)?) => {
        impl Errno {
            $(#[doc = concat!($text, ". Linux ", $linux, ", lv2 ", $lv2, ".")]
            pub const $name: Errno = Errno($linux);)+
        }
        /// Name, Linux number, lv2 number, text; ascending by the lv2 number.
        const TABLE: &[(&str, i32, i32, &str)] = &[$((stringify!($name), $linux, $lv2, $text)),+];
    };
}

errnos! {
    EPERM 1 1 "operation not permitted",
    ENOENT 2 2 "no such file or directory",
    EINTR 4 4 "interrupted system call",
    EIO 5 5 "input/output error",
    EBADF 9 9 "bad file descriptor",
    ENOMEM 12 12 "out of memory",
    EACCES 13 13 "permission denied",
    EFAULT 14 14 "bad address",
    EBUSY 16 16 "resource busy",
    EEXIST 17 17 "file exists",
    ENODEV 19 19 "no such device",
    EINVAL 22 22 "invalid argument",
    ENFILE 23 23 "too many open files in the system",
    EMFILE 24 24 "too many open files",
    ENOSPC 28 28 "no space left",
    EPIPE 32 32 "broken pipe",
    EAGAIN 11 35 "resource temporarily unavailable",
    EINPROGRESS 115 36 "operation now in progress",
    EALREADY 114 37 "operation already in progress",
    ENOTSOCK 88 38 "not a socket",
    EDESTADDRREQ 89 39 "destination address required",
    EMSGSIZE 90 40 "message too long",
    EPROTOTYPE 91 41 "wrong protocol for the socket's type",
    ENOPROTOOPT 92 42 "protocol not available",
    EPROTONOSUPPORT 93 43 "protocol not supported",
    ESOCKTNOSUPPORT 94 44 "socket type not supported",
    EOPNOTSUPP 95 45 "operation not supported",
    EPFNOSUPPORT 96 46 "protocol family not supported",
    EAFNOSUPPORT 97 47 "address family not supported",
    EADDRINUSE 98 48 "address already in use",
    EADDRNOTAVAIL 99 49 "address not available",
    ENETDOWN 100 50 "network is down",
    ENETUNREACH 101 51 "network is unreachable",
    ENETRESET 102 52 "connection aborted by the network",
    ECONNABORTED 103 53 "connection aborted",
    ECONNRESET 104 54 "connection reset by peer",
    ENOBUFS 105 55 "no buffer space available",
    EISCONN 106 56 "socket is connected",
    ENOTCONN 107 57 "socket is not connected",
    ESHUTDOWN 108 58 "socket has been shut down",
    ETOOMANYREFS 109 59 "too many references",
    ETIMEDOUT 110 60 "connection timed out",
    ECONNREFUSED 111 61 "connection refused",
    EHOSTDOWN 112 64 "host is down",
    EHOSTUNREACH 113 65 "no route to host",
}

impl Errno {
    /// `EWOULDBLOCK`, another name of [`EAGAIN`](Self::EAGAIN) in both numberings.
    pub const EWOULDBLOCK: Errno = Errno::EAGAIN;

    /// From the number Linux uses.
    pub const fn from_linux(number: i32) -> Errno {
        Errno(number)
    }

    /// The number Linux uses.
    pub const fn to_linux(self) -> i32 {
        self.0
    }

    /// From the number the PS3's network calls use; `None` for a number this table does not know.
    /// Cost: a scan of some 45 entries.
    pub fn from_lv2(number: i32) -> Option<Errno> {
        TABLE.iter().find(|e| e.2 == number).map(|e| Errno(e.1))
    }

    /// The number the PS3's network calls use; `None` for an error without one. Cost: a scan of
    /// some 45 entries.
    pub fn to_lv2(self) -> Option<i32> {
        self.entry().map(|e| e.2)
    }

    /// The name in `<errno.h>`, if this table has it.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|e| e.0)
    }

    /// Every error with a name.
    pub fn all() -> impl Iterator<Item = Errno> {
        TABLE.iter().map(|e| Errno(e.1))
    }

    /// Can this error, returned by `poll` or `select`, only be the pending error of one of the
    /// sockets that were asked about?
    ///
    /// Yes for errors that a TCP/IP stack stores in a socket for its owner to find, and for errors
    /// that tell the state of a single connection. Neither call is specified to fail so, by POSIX
    /// or by any manual, hence one of the sockets is meant. By the reason why the stack stores it:
    ///
    /// * `ECONNRESET`, `EPIPE`: a reset arrived, on an established connection or after the peer's
    ///   end of the stream.
    /// * `ECONNREFUSED`: a reset answered the SYN, or an ICMP port-unreachable a datagram.
    /// * `ETIMEDOUT`, `ECONNABORTED`, `ENETRESET`: retransmission or keep-alive gave up, or the
    ///   stack dropped the connection.
    /// * `EHOSTUNREACH`, `EHOSTDOWN`, `ENETUNREACH`, `ENETDOWN`: ICMP, the neighbour table or the
    ///   interface said so.
    /// * `EMSGSIZE`, `ENOPROTOOPT`, `EOPNOTSUPP`: the ICMP messages fragmentation-needed,
    ///   protocol-unreachable and source-route-failed.
    /// * `EADDRNOTAVAIL`: the local address went away under the connection.
    /// * `ENOTCONN`, `EISCONN`, `ESHUTDOWN`, `EALREADY`, `EINPROGRESS`: no stack stores these, but
    ///   they speak of one connection's state, not of a call.
    ///
    /// No for the errors of the call itself, `EBADF` `EINVAL` `EINTR` `ENOMEM` `EFAULT`; for those
    /// that POSIX or BSD allow it when resources are short, `EAGAIN` `ENOBUFS`; for the caller's
    /// mistakes, `ENOTSOCK` `EPERM` `EACCES`; and for every number not known here: an error that is
    /// not understood must not be hidden.
    pub const fn belongs_to_a_socket(self) -> bool {
        matches!(
            self,
            Errno::ECONNRESET
                | Errno::EPIPE
                | Errno::ECONNREFUSED
                | Errno::ETIMEDOUT
                | Errno::ECONNABORTED
                | Errno::ENETRESET
                | Errno::EHOSTUNREACH
                | Errno::EHOSTDOWN
                | Errno::ENETUNREACH
                | Errno::ENETDOWN
                | Errno::EMSGSIZE
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EADDRNOTAVAIL
                | Errno::ENOTCONN
                | Errno::EISCONN
                | Errno::ESHUTDOWN
                | Errno::EALREADY
                | Errno::EINPROGRESS
        )
    }

    fn entry(self) -> Option<&'static (&'static str, i32, i32, &'static str)> {
        TABLE.iter().find(|e| e.1 == self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some((name, _, _, text)) => write!(f, "{text} ({name})"),
            None => write!(f, "error number {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

#[cfg(feature = "std")]
impl From<Errno> for std::io::Error {
    fn from(e: Errno) -> Self {
        std::io::Error::from_raw_os_error(e.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the PS3's numbers from its specification.
    #[test]
    fn lv2_numbers_are_those_of_the_console() {
        let spec = [
            (Errno::EINTR, 4),
            (Errno::EBADF, 9),
            (Errno::EINVAL, 22),
            (Errno::EAGAIN, 35),
            (Errno::EWOULDBLOCK, 35),
            (Errno::EINPROGRESS, 36),
            (Errno::EALREADY, 37),
            (Errno::ECONNABORTED, 53),
            (Errno::ECONNRESET, 54),
            (Errno::EISCONN, 56),
            (Errno::ENOTCONN, 57),
            (Errno::ESHUTDOWN, 58),
            (Errno::ETIMEDOUT, 60),
            (Errno::ECONNREFUSED, 61),
        ];
        for (errno, number) in spec {
            assert_eq!(errno.to_lv2(), Some(number), "{errno:?}");
            assert_eq!(Errno::from_lv2(number), Some(errno), "lv2 {number}");
        }
    }

    #[test]
    fn both_mappings_are_inverse_and_no_number_is_used_twice() {
        for errno in Errno::all() {
            let lv2 = errno.to_lv2().expect("every named error has an lv2 number");
            assert_eq!(Errno::from_lv2(lv2), Some(errno));
            assert_eq!(Errno::from_linux(errno.to_linux()), errno);
            assert_eq!(Errno::all().filter(|e| *e == errno).count(), 1, "{errno:?}");
        }
        for number in -1000..1000 {
            if let Some(errno) = Errno::from_lv2(number) {
                assert_eq!(errno.to_lv2(), Some(number));
            }
            if let Some(lv2) = Errno::from_linux(number).to_lv2() {
                assert_eq!(Errno::from_lv2(lv2), Some(Errno::from_linux(number)));
            }
        }
    }

    /// libc's constants are the reference for the Linux column, on every target the tests run on.
    #[cfg(all(feature = "std", target_os = "linux"))]
    #[test]
    fn linux_numbers_are_those_of_the_c_library() {
        macro_rules! same {
            ($($name:ident)+) => { $(assert_eq!(Errno::$name.to_linux(), libc::$name, stringify!($name));)+ };
        }
        same!(EPERM ENOENT EINTR EIO EBADF ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV EINVAL ENFILE EMFILE ENOSPC EPIPE EAGAIN EINPROGRESS
            EALREADY ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT
            EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN
            ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EWOULDBLOCK);
    }

    #[test]
    fn errors_of_the_call_never_count_as_a_sockets() {
        for errno in [
            Errno::EBADF,
            Errno::EINVAL,
            Errno::EINTR,
            Errno::ENOMEM,
            Errno::EFAULT,
            Errno::EAGAIN,
            Errno::ENOTSOCK,
        ] {
            assert!(!errno.belongs_to_a_socket(), "{errno:?}");
        }
        for number in 0..4096 {
            let errno = Errno::from_linux(number);
            assert!(
                errno.name().is_some() || !errno.belongs_to_a_socket(),
                "unknown number {number}"
            );
        }
    }

    #[test]
    fn the_pending_errors_of_tcp_are_a_sockets() {
        for errno in [
            Errno::ECONNRESET,
            Errno::ECONNREFUSED,
            Errno::ETIMEDOUT,
            Errno::EPIPE,
            Errno::EHOSTUNREACH,
            Errno::ENETUNREACH,
        ] {
            assert!(errno.belongs_to_a_socket(), "{errno:?}");
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn unknown_numbers_are_kept() {
        let odd = Errno::from_linux(4095);
        assert_eq!(
            (odd.name(), odd.to_lv2(), odd.to_linux()),
            (None, None, 4095)
        );
        assert_eq!(format!("{odd:?} / {odd}"), "errno 4095 / error number 4095");
        assert_eq!(
            format!("{:?} / {}", Errno::ECONNRESET, Errno::ECONNRESET),
            "ECONNRESET / connection reset by peer (ECONNRESET)"
        );
    }
}

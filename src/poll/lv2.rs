//! The PS3's network structures as values: what a port to the console passes to the system's calls.
//! It can be tested anywhere.
//!
//! lv2's calls are mostly BSD: `struct pollfd` and its bits, an `fd_set` of 32-bit words, 64-bit
//! `timeval`, a `sockaddr` that starts with its length, options in BSD numbering, errors in a
//! numbering of their own ([`Errno::from_lv2`](super::errno::Errno::from_lv2)). The console is
//! big-endian, so words are native there; data for the network is given as bytes.
//!
//! [`FdSet`] and [`PollFd`] of the shim have the console's layout already. [`Lv2`] is the backend
//! for the shim, over the console's entry points.

use super::errno::Errno;
use super::shim::{Backend, Events, Fd, FdSet, Kind, PollFd, Sets};
use alloc::vec::Vec;
use core::ffi::c_void;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

/// Socket level of the options below.
pub const SOL_SOCKET: i32 = 0xffff;
/// Socket option: the pending error, cleared by reading it.
pub const SO_ERROR: i32 = 0x1007;
/// Socket option: non-blocking when not 0 (there is no `fcntl`).
pub const SO_NBIO: i32 = 0x1100;
/// Socket option: [`SOCK_STREAM`] or another type.
pub const SO_TYPE: i32 = 0x1008;
/// The type of a TCP socket.
pub const SOCK_STREAM: i32 = 1;
/// Request: how many bytes can be read.
pub const FIONREAD: u32 = 0x4004_667f;
/// Request: does urgent data come next?
pub const SIOCATMARK: u32 = 0x4004_7307;
/// Address family of IPv4.
pub const AF_INET: u8 = 2;

/// The event bits that lv2's `poll` knows: IN, PRI and OUT can be asked for; ERR, HUP and NVAL can
/// be answered as well.
pub const POLL_BITS: i16 = 0x3f;

/// `events` in the form that lv2's `poll` takes. The six bits it knows have the numbers of Linux;
/// `RDNORM` and `WRNORM` become `IN` and `OUT`, and the rest is dropped.
pub const fn poll_bits(events: Events) -> i16 {
    let mut bits = events.bits();
    if events.intersects(Events::RDNORM) {
        bits |= Events::IN.bits();
    }
    if events.intersects(Events::WRNORM) {
        bits |= Events::OUT.bits();
    }
    bits & POLL_BITS
}

/// The events that lv2's `poll` answered for a descriptor that was `asked` about; also under the
/// other names of the bits that were asked for.
pub const fn poll_events(asked: Events, bits: i16) -> Events {
    let mut events = bits & POLL_BITS;
    let aliases = [
        (Events::IN.bits(), Events::RDNORM.bits()),
        (Events::OUT.bits(), Events::WRNORM.bits()),
    ];
    let mut i = 0;
    while i < aliases.len() {
        let (name, alias) = aliases[i];
        if events & name != 0 {
            if asked.bits() & name == 0 {
                events &= !name;
            }
            events |= asked.bits() & alias;
        }
        i += 1;
    }
    Events::from_bits(events)
}

/// lv2's 64-bit `struct timeval`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Timeval {
    /// Seconds.
    pub sec: i64,
    /// Microseconds, below a million.
    pub usec: i64,
}

impl From<Duration> for Timeval {
    /// Rounds up, so that a wait never ends early; saturates.
    fn from(d: Duration) -> Timeval {
        let micros = d.as_nanos().div_ceil(1000);
        Timeval {
            sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
            usec: (micros % 1_000_000) as i64,
        }
    }
}

/// `poll`'s timeout in milliseconds, rounded up and saturating; -1 is no limit.
pub fn poll_millis(timeout: Option<Duration>) -> i32 {
    timeout.map_or(-1, |t| {
        i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    })
}

/// lv2's `struct sockaddr_in`, 16 bytes: length, family, port and address in network order, eight
/// zeros.
pub fn sockaddr_in(addr: SocketAddrV4) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = 16;
    bytes[1] = AF_INET;
    bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&addr.ip().octets());
    bytes
}

/// Reads a `struct sockaddr_in`; `None` when it is of another family. The length byte is not
/// checked: calls differ in whether they set it.
pub fn parse_sockaddr_in(bytes: &[u8; 16]) -> Option<SocketAddrV4> {
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
    (bytes[1] == AF_INET).then(|| SocketAddrV4::new(ip, port))
}

/// The console's entry points, as a port finds them in its system library. Each returns -1 when it
/// has failed, and `errno` has the number then.
#[derive(Clone, Copy)]
pub struct Entries {
    /// `poll`: descriptors, how many, milliseconds or -1.
    pub poll: unsafe extern "C" fn(*mut PollFd, u32, i32) -> i32,
    /// `select`: `nfds`, the sets, the time or null.
    pub select: unsafe extern "C" fn(i32, *mut FdSet, *mut FdSet, *mut FdSet, *mut Timeval) -> i32,
    /// `getsockopt`: descriptor, level, option, value, size of the value.
    pub getsockopt: unsafe extern "C" fn(i32, i32, i32, *mut c_void, *mut u32) -> i32,
    /// `ioctl` for a request that answers with a number; if the system library has none, the shim
    /// cannot tell of the data and the urgent data of a broken socket.
    pub ioctl: Option<unsafe extern "C" fn(i32, u32, *mut i32) -> i32>,
    /// The calling thread's error of the last call, in lv2's numbers.
    pub errno: unsafe extern "C" fn() -> i32,
    /// A clock that never goes back, in nanoseconds.
    pub now_ns: unsafe extern "C" fn() -> u64,
}

/// The console's calls as a [`Backend`] for the shim. It translates events, sets, times and errors.
///
/// A number of an error that [`Errno`] does not know becomes one beyond all of Linux' numbers, so
/// it is nobody's; its last 16 bits are lv2's number.
pub struct Lv2 {
    entries: Entries,
    /// The descriptors of a poll, with the bits that the console knows.
    asked: Vec<PollFd>,
}

/// The longest time that a call is given; a longer one is made of several.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

impl Lv2 {
    /// # Safety
    /// The functions have the types and the meaning that [`Entries`] says, and do not unwind.
    pub unsafe fn new(entries: Entries) -> Lv2 {
        let asked = Vec::new();
        Lv2 { entries, asked }
    }

    /// What a call has answered.
    fn answer(&self, n: i32) -> Result<usize, Errno> {
        usize::try_from(n).map_err(|_| {
            // SAFETY: promised to `new`.
            error_of(unsafe { (self.entries.errno)() })
        })
    }

    /// Makes a call that may last `timeout`, in parts if that is longer than a call can last.
    fn in_parts(
        &mut self,
        timeout: Option<Duration>,
        mut call: impl FnMut(&mut Lv2, Option<Duration>) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut left = timeout;
        loop {
            let part = left.map(|left| left.min(LONGEST));
            let n = call(self, part)?;
            left = left.zip(part).map(|(left, part)| left - part);
            if n > 0 || left.is_none_or(|left| left.is_zero()) {
                return Ok(n);
            }
        }
    }

    fn option(&self, fd: Fd, option: i32) -> Result<i32, Errno> {
        let (mut value, mut size) = (0_i32, size_of::<i32>() as u32);
        let pointer = core::ptr::from_mut(&mut value).cast();
        // SAFETY: promised to `new`; both are live, and `size` is the size of `value`.
        self.answer(unsafe {
            (self.entries.getsockopt)(fd, SOL_SOCKET, option, pointer, &mut size)
        })?;
        Ok(value)
    }

    fn request(&self, fd: Fd, request: u32) -> i32 {
        let mut value = 0;
        let done = self.entries.ioctl.map(|ioctl| {
            // SAFETY: promised to `new`; the requests that are made answer with one number.
            self.answer(unsafe { ioctl(fd, request, &mut value) })
        });
        if matches!(done, Some(Ok(_))) {
            value
        } else {
            0
        }
    }
}

/// An error by lv2's number.
fn error_of(number: i32) -> Errno {
    Errno::from_lv2(number).unwrap_or(Errno::from_linux(0x1_0000 | (number & 0xffff)))
}

impl Backend for Lv2 {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        self.in_parts(timeout, |lv2, part| {
            lv2.asked.clear();
            lv2.asked.extend(
                fds.iter()
                    .map(|fd| PollFd::new(fd.fd, Events::from_bits(poll_bits(fd.events)))),
            );
            let count = u32::try_from(lv2.asked.len()).map_err(|_| Errno::EINVAL)?;
            let pointer = lv2.asked.as_mut_ptr();
            // SAFETY: promised to `new`; the array is live and has `count` entries.
            let n = unsafe { (lv2.entries.poll)(pointer, count, poll_millis(part)) };
            let n = lv2.answer(n);
            // After an error, too, they may be filled in.
            for (fd, said) in fds.iter_mut().zip(&lv2.asked) {
                fd.revents = poll_events(fd.events, said.revents.bits());
            }
            n.map(|_| fds.iter().filter(|fd| !fd.revents.is_empty()).count())
        })
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        let asked = *sets;
        self.in_parts(timeout, |lv2, part| {
            *sets = asked;
            let mut time = part.map(Timeval::from);
            let time = time.as_mut().map_or(core::ptr::null_mut(), |time| time);
            let Sets {
                read,
                write,
                except,
            } = sets;
            // SAFETY: promised to `new`; the sets and the time are live, and the sets have room for
            // all descriptors.
            let n = unsafe { (lv2.entries.select)(asked.nfds(), read, write, except, time) };
            lv2.answer(n)?;
            // Nobody is ready who was not asked about.
            sets.intersect(&asked);
            Ok(sets.len())
        })
    }

    fn now(&mut self) -> Duration {
        // SAFETY: promised to `new`.
        Duration::from_nanos(unsafe { (self.entries.now_ns)() })
    }

    fn kind(&mut self, fd: Fd) -> Kind {
        match self.option(fd, SO_TYPE) {
            Ok(kind) if kind != SOCK_STREAM => Kind::Datagram,
            _ => Kind::Stream,
        }
    }

    fn unread(&mut self, fd: Fd) -> usize {
        usize::try_from(self.request(fd, FIONREAD)).unwrap_or(0)
    }

    fn urgent(&mut self, fd: Fd) -> bool {
        self.request(fd, SIOCATMARK) != 0
    }

    fn take_error(&mut self, fd: Fd) -> Result<Option<Errno>, Errno> {
        let error = self.option(fd, SO_ERROR)?;
        Ok((error != 0).then(|| error_of(error)))
    }
}

const _: () = {
    assert!(size_of::<PollFd>() == 8 && size_of::<FdSet>() == 128 && size_of::<Timeval>() == 16);
};

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;

    #[test]
    fn poll_bits_are_the_consoles() {
        let spec = [
            (Events::IN, 1),
            (Events::PRI, 2),
            (Events::OUT, 4),
            (Events::ERR, 8),
            (Events::HUP, 0x10),
            (Events::NVAL, 0x20),
        ];
        for (event, bit) in spec {
            assert_eq!(poll_bits(event), bit, "{event:?}");
            assert_eq!(poll_events(event, bit), event);
        }
        assert_eq!(
            poll_bits(Events::RDNORM | Events::WRNORM | Events::RDHUP),
            5
        );
        assert_eq!(
            poll_events(Events::RDNORM, 0x11),
            Events::RDNORM | Events::HUP
        );
        assert_eq!(
            poll_events(Events::RDNORM | Events::IN, 1),
            Events::RDNORM | Events::IN
        );
    }

    #[test]
    fn an_fd_set_has_bit_31_of_the_word_of_its_32_descriptors() {
        let mut set = FdSet::new();
        for fd in [0, 31, 32, 63, 1023] {
            set.insert(fd).unwrap();
        }
        let words = set.words();
        assert_eq!(
            (words[0], words[1], words[31]),
            (1 | 1 << 31, 1 | 1 << 31, 1 << 31)
        );
    }

    #[test]
    fn times_round_up_and_saturate() {
        assert_eq!(
            Timeval::from(Duration::from_nanos(1)),
            Timeval { sec: 0, usec: 1 }
        );
        assert_eq!(
            Timeval::from(Duration::new(1, 999_999_001)),
            Timeval { sec: 2, usec: 0 }
        );
        assert_eq!(Timeval::from(Duration::MAX).sec, i64::MAX);
        assert_eq!(poll_millis(None), -1);
        assert_eq!(poll_millis(Some(Duration::from_nanos(1))), 1);
        assert_eq!(poll_millis(Some(Duration::from_millis(7))), 7);
        assert_eq!(poll_millis(Some(Duration::MAX)), i32::MAX);
    }

    #[test]
    fn a_time_that_is_too_long_for_a_call_is_several() {
        std::thread_local! {
            static MILLIS: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
        }
        unsafe extern "C" fn poll(_: *mut PollFd, _: u32, millis: i32) -> i32 {
            MILLIS.with_borrow_mut(|told| told.push(millis));
            0
        }
        unsafe extern "C" fn select(
            _: i32,
            _: *mut FdSet,
            _: *mut FdSet,
            _: *mut FdSet,
            time: *mut Timeval,
        ) -> i32 {
            // SAFETY: the time is live, since there is one.
            let time = unsafe { *time };
            let millis = time.sec * 1000 + time.usec / 1000;
            MILLIS.with_borrow_mut(|told| told.push(i32::try_from(millis).unwrap()));
            0
        }
        unsafe extern "C" fn getsockopt(
            _: i32,
            _: i32,
            _: i32,
            _: *mut c_void,
            _: *mut u32,
        ) -> i32 {
            -1
        }
        unsafe extern "C" fn errno() -> i32 {
            0
        }
        unsafe extern "C" fn now_ns() -> u64 {
            0
        }
        let entries = Entries {
            poll,
            select,
            getsockopt,
            ioctl: None,
            errno,
            now_ns,
        };
        // SAFETY: they are functions of these types.
        let mut lv2 = unsafe { Lv2::new(entries) };
        let time = 2 * LONGEST + Duration::from_millis(5);
        let parts = [i32::MAX, i32::MAX, 5];
        assert_eq!(lv2.poll(&mut [], Some(time)), Ok(0));
        assert_eq!(MILLIS.take(), parts);
        assert_eq!(lv2.select(&mut Sets::new(), Some(time)), Ok(0));
        assert_eq!(MILLIS.take(), parts);
        assert_eq!(lv2.poll(&mut [], Some(LONGEST)), Ok(0));
        assert_eq!(MILLIS.take(), [i32::MAX]);
    }

    #[test]
    fn an_address_starts_with_its_length() {
        let addr = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 7), 0x1234);
        let bytes = sockaddr_in(addr);
        assert_eq!(
            bytes,
            [16, 2, 0x12, 0x34, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(parse_sockaddr_in(&bytes), Some(addr));
        assert_eq!(parse_sockaddr_in(&[0; 16]), None);
    }
}

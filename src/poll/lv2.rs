//! The PS3's network structures as values: what a port to the console passes to the system's calls.
//! It can be tested anywhere.
//!
//! lv2's calls are mostly BSD: `struct pollfd` and its bits, an `fd_set` of 32-bit words, 64-bit
//! `timeval`, a `sockaddr` that starts with its length, options in BSD numbering, errors in a
//! numbering of their own ([`Errno::from_lv2`](super::errno::Errno::from_lv2)). The console is
//! big-endian, so words are native there; data for the network is given as bytes.
//!
//! [`FdSet`] and [`PollFd`] of the shim have the console's layout already.

use super::shim::{Events, FdSet, PollFd};
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

/// Socket level of the options below.
pub const SOL_SOCKET: i32 = 0xffff;
/// Socket option: the pending error, cleared by reading it.
pub const SO_ERROR: i32 = 0x1007;
/// Socket option: non-blocking when not 0 (there is no `fcntl`).
pub const SO_NBIO: i32 = 0x1100;
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

const _: () = {
    assert!(size_of::<PollFd>() == 8 && size_of::<FdSet>() == 128 && size_of::<Timeval>() == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

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

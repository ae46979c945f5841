//! What `poll` is asked and answers: events, and descriptors with events.

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};

/// A descriptor as the operating system numbers it. Negative ones are skipped by `poll`.
pub type Fd = i32;

/// The events that `poll` is asked for and answers: the bits of `struct pollfd`, numbered as Linux
/// does.
///
/// The first six have the same numbers on the PS3 ([`lv2::poll_bits`](super::lv2::poll_bits)).
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(transparent)]
pub struct Events(i16);

impl Events {
    /// Nothing.
    pub const NONE: Events = Events(0);
    /// There is data to read, or the end of the stream, or an error.
    pub const IN: Events = Events(0x1);
    /// Urgent data.
    pub const PRI: Events = Events(0x2);
    /// A write would not block.
    pub const OUT: Events = Events(0x4);
    /// An error is pending. Always reported, never asked for.
    pub const ERR: Events = Events(0x8);
    /// Both directions are finished. Always reported, never asked for.
    pub const HUP: Events = Events(0x10);
    /// Not an open descriptor. Always reported, never asked for.
    pub const NVAL: Events = Events(0x20);
    /// Normal data can be read (on Linux the same as `IN`).
    pub const RDNORM: Events = Events(0x40);
    /// Priority data can be read. Linux reports it for no socket.
    pub const RDBAND: Events = Events(0x80);
    /// Normal data can be written (on Linux the same as `OUT`).
    pub const WRNORM: Events = Events(0x100);
    /// Priority data can be written. Linux reports it with `OUT`, but not for TCP.
    pub const WRBAND: Events = Events(0x200);
    /// The peer has ended its stream. Linux only.
    pub const RDHUP: Events = Events(0x2000);

    /// What a regular file always is: it can be read and written.
    pub(crate) const READY: Events = Events(0x145);
    /// What is reported without being asked for.
    pub(crate) const ALWAYS: Events = Events(0x38);

    /// From the bits of `struct pollfd`.
    pub const fn from_bits(bits: i16) -> Events {
        Events(bits)
    }
    /// The bits of `struct pollfd`.
    pub const fn bits(self) -> i16 {
        self.0
    }
    /// The bits that are not set.
    pub(crate) const fn complement(self) -> Events {
        Events(!self.0)
    }
    /// Is no bit set?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Are all bits of `other` set?
    pub const fn contains(self, other: Events) -> bool {
        self.0 & other.0 == other.0
    }
    /// Is any bit of `other` set?
    pub const fn intersects(self, other: Events) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Events {
    type Output = Events;
    fn bitor(self, o: Events) -> Events {
        Events(self.0 | o.0)
    }
}
impl BitOrAssign for Events {
    fn bitor_assign(&mut self, o: Events) {
        self.0 |= o.0;
    }
}
impl BitAnd for Events {
    type Output = Events;
    fn bitand(self, o: Events) -> Events {
        Events(self.0 & o.0)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Events, &str); 11] = [
            (Events::IN, "IN"),
            (Events::PRI, "PRI"),
            (Events::OUT, "OUT"),
            (Events::ERR, "ERR"),
            (Events::HUP, "HUP"),
            (Events::NVAL, "NVAL"),
            (Events::RDNORM, "RDNORM"),
            (Events::RDBAND, "RDBAND"),
            (Events::WRNORM, "WRNORM"),
            (Events::WRBAND, "WRBAND"),
            (Events::RDHUP, "RDHUP"),
        ];
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut rest = self.0;
        for (bit, name) in NAMES {
            if self.contains(bit) {
                write!(f, "{}{name}", if rest == self.0 { "" } else { "|" })?;
                rest &= !bit.0;
            }
        }
        if rest != 0 {
            write!(f, "|{rest:#x}")?;
        }
        Ok(())
    }
}

/// One descriptor of a `poll`, laid out as `struct pollfd` is on Linux and on the PS3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct PollFd {
    /// The descriptor; a negative one is skipped.
    pub fd: Fd,
    /// The events that are asked for.
    pub events: Events,
    /// The events that hold. Overwritten by every call.
    pub revents: Events,
}

impl PollFd {
    /// Asks `events` about `fd`.
    pub const fn new(fd: Fd, events: Events) -> PollFd {
        PollFd {
            fd,
            events,
            revents: Events::NONE,
        }
    }
}

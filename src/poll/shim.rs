//! `poll` and `select` that fail only when the call failed.
//!
//! Some systems, the PS3's among them, let the pending error of *one* socket fail the whole call:
//! one connection is reset, and `poll` over two hundred sockets returns -1 with
//! `ECONNRESET`. Callers written for POSIX take that for a broken call. The filter in this module
//! gives them the answer of plain Linux: a success, with the broken socket marked as such among the
//! others.
//!
//! ```text
//!   caller ── poll() / select() ──►  filter  ── Backend ──►  the system's own, quirky calls
//!                         (this file: pure logic, no std)
//! ```
//!
//! What the filter does with a failing call:
//!
//! | the backend answers | the caller gets |
//! |---|---|
//! | an error of the call (see below) | that error; `revents` are empty, sets are unchanged |
//! | a socket's error, `revents` or sets filled in | success; n recounted from them |
//! | a socket's error, `revents` or sets untouched | success; each socket is probed |
//! | a socket's error, but no probe finds its socket | the call again; at last that error |
//!
//! * An error of the call is one for which [`Errno::belongs_to_a_socket`] is false: `EBADF`,
//!   `EINVAL`, `EINTR`, `ENOMEM`, `EFAULT`, ...
//! * A probe asks about one socket alone, with timeout 0.
//! * A call is repeated with the time that is left, [`ROUNDS`] times at most.
//!
//! A port need not say which of the two quirks a system has: the filter sees whether `revents` or
//! sets were filled in. If the sets come back equal to those that were passed it could be either,
//! so the sockets are probed; that costs calls, but the answer is right.
//!
//! A socket that fails a call of its own has a pending error for certain. When the system says
//! nothing more about it, it is reported as Linux reports such a socket: readable, writable,
//! [`ERR`](Events::ERR) and, for a stream, [`HUP`](Events::HUP), as far as asked; for `select`
//! readable and writable, not exceptional. An operation on it then does not block and finds the
//! error.
//!
//! **Time.** `None` is no limit, zero does not wait. A repeated call waits only for the rest of its
//! time. `EINTR` ends the call, as it does on Linux; but a probe that gets it is repeated.
//!
//! **Cost** of a call that succeeds: one pass over the descriptors to clear `revents`; for `select`
//! one copy of the sets (384 bytes); and one reading of the clock when there is a finite timeout. A
//! call that is probed costs a system call per descriptor.

use super::errno::Errno;
use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};
use core::time::Duration;

/// How often a call, or a probe, is made before its error is passed on.
pub const ROUNDS: usize = 8;

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
    /// Normal data can be written (on Linux the same as `OUT`).
    pub const WRNORM: Events = Events(0x100);
    /// The peer has ended its stream. Linux only.
    pub const RDHUP: Events = Events(0x2000);

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
        const NAMES: [(Events, &str); 9] = [
            (Events::IN, "IN"),
            (Events::PRI, "PRI"),
            (Events::OUT, "OUT"),
            (Events::ERR, "ERR"),
            (Events::HUP, "HUP"),
            (Events::NVAL, "NVAL"),
            (Events::RDNORM, "RDNORM"),
            (Events::WRNORM, "WRNORM"),
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

/// A set of descriptors 0 to 1023, laid out as the PS3's `fd_set`: bit `fd & 31` of word `fd >> 5`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct FdSet {
    words: [u32; FdSet::WORDS],
}

impl FdSet {
    /// Descriptors must be below this.
    pub const CAPACITY: usize = 1024;
    const WORDS: usize = Self::CAPACITY / 32;

    /// The empty set.
    pub const fn new() -> FdSet {
        FdSet {
            words: [0; Self::WORDS],
        }
    }
    /// A set from the PS3's words.
    pub const fn from_words(words: [u32; 32]) -> FdSet {
        FdSet { words }
    }
    /// The PS3's words.
    pub const fn words(&self) -> &[u32; 32] {
        &self.words
    }
    /// Adds `fd`. Error: [`Errno::EINVAL`] when it is negative or not below
    /// [`CAPACITY`](Self::CAPACITY); nothing is changed then.
    pub fn insert(&mut self, fd: Fd) -> Result<(), Errno> {
        let (word, bit) = Self::place(fd).ok_or(Errno::EINVAL)?;
        self.words[word] |= bit;
        Ok(())
    }
    /// Removes `fd`.
    pub fn remove(&mut self, fd: Fd) {
        if let Some((word, bit)) = Self::place(fd) {
            self.words[word] &= !bit;
        }
    }
    /// Is `fd` in the set?
    pub fn contains(&self, fd: Fd) -> bool {
        Self::place(fd).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }
    /// Number of descriptors in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }
    /// Is the set empty?
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }
    /// One more than the highest descriptor, 0 when empty: what `select` wants as its first
    /// argument.
    pub fn nfds(&self) -> i32 {
        match self.words.iter().rposition(|w| *w != 0) {
            Some(word) => (word as i32 + 1) * 32 - self.words[word].leading_zeros() as i32,
            None => 0,
        }
    }
    /// The descriptors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Fd> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut word = *word;
            core::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(i as i32 * 32 + bit as i32)
            })
        })
    }
    /// Keeps only the members that are in `other`, too.
    pub fn intersect(&mut self, other: &FdSet) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word &= other;
        }
    }
    /// Adds the members of `other`.
    pub fn unite(&mut self, other: &FdSet) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word |= other;
        }
    }

    /// Removes the members of `other`.
    pub fn subtract(&mut self, other: &FdSet) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word &= !other;
        }
    }

    fn place(fd: Fd) -> Option<(usize, u32)> {
        (0..Self::CAPACITY as i32)
            .contains(&fd)
            .then(|| ((fd >> 5) as usize, 1 << (fd & 31)))
    }
}

impl Default for FdSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The three sets of a `select`: the descriptors that are asked about, then those that are ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sets {
    /// Descriptors that can be read.
    pub read: FdSet,
    /// Descriptors that can be written.
    pub write: FdSet,
    /// Descriptors with an exceptional condition (urgent data).
    pub except: FdSet,
}

impl Sets {
    /// Three empty sets.
    pub const fn new() -> Sets {
        Sets {
            read: FdSet::new(),
            write: FdSet::new(),
            except: FdSet::new(),
        }
    }
    /// Members of all three together: `select`'s n.
    pub fn len(&self) -> usize {
        self.read.len() + self.write.len() + self.except.len()
    }
    /// Are all three empty?
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && self.except.is_empty()
    }
    /// One more than the highest descriptor in any of them.
    pub fn nfds(&self) -> i32 {
        self.read
            .nfds()
            .max(self.write.nfds())
            .max(self.except.nfds())
    }

    fn intersect(&mut self, other: &Sets) {
        self.read.intersect(&other.read);
        self.write.intersect(&other.write);
        self.except.intersect(&other.except);
    }

    fn unite(&mut self, other: &Sets) {
        self.read.unite(&other.read);
        self.write.unite(&other.write);
        self.except.unite(&other.except);
    }

    /// The part of these sets that is about `fd`.
    fn only(&self, fd: Fd) -> Sets {
        let mut one = Sets::new();
        for (all, one) in [
            (&self.read, &mut one.read),
            (&self.write, &mut one.write),
            (&self.except, &mut one.except),
        ] {
            if all.contains(fd) {
                let _ = one.insert(fd); // cannot fail: it came out of such a set
            }
        }
        one
    }
}

/// A system's own calls, with their quirks. Implement this to port the shim.
pub trait Backend {
    /// The system's `poll`: fills in `revents`, returns how many are not empty, 0 after `timeout`.
    /// It must not return before the timeout (round up). On an error `revents` may hold anything
    /// that could be true, or be left as passed (which is empty).
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno>;

    /// The system's `select`: leaves in the sets the members that are ready, and returns how many
    /// are left. On an error the sets may hold the members that are ready, or be as passed.
    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno>;

    /// A clock that never goes back, from any origin. Read only for calls with a finite timeout.
    fn now(&mut self) -> Duration;

    /// Is `fd` a stream socket (TCP)? It is only asked about a descriptor with a pending error of
    /// which the system says nothing else. After an error a stream is over in both directions; a
    /// datagram socket is not.
    fn is_stream(&mut self, fd: Fd) -> bool {
        let _ = fd;
        true
    }
}

/// The deadline of a call.
struct Limit {
    at: Option<Duration>,
    /// A timeout that needs no clock: zero, or no limit.
    fixed: Option<Duration>,
}

impl Limit {
    fn new<B: Backend + ?Sized>(backend: &mut B, timeout: Option<Duration>) -> Limit {
        match timeout {
            // A time beyond the range of the clock is no limit.
            Some(t) if !t.is_zero() => Limit {
                at: backend.now().checked_add(t),
                fixed: None,
            },
            fixed => Limit { at: None, fixed },
        }
    }
    fn left<B: Backend + ?Sized>(&self, backend: &mut B) -> Option<Duration> {
        match self.at {
            Some(at) => Some(at.saturating_sub(backend.now())),
            None => self.fixed,
        }
    }
}

/// `poll`: fills in `revents` and returns how many descriptors have any; 0 means that `timeout` has
/// passed.
///
/// The [module](self) says what happens to errors. After one, all `revents` are empty.
pub fn poll<B: Backend + ?Sized>(
    backend: &mut B,
    fds: &mut [PollFd],
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let limit = Limit::new(backend, timeout);
    let mut left = timeout;
    let mut round = 1;
    loop {
        clear(fds);
        let error = match backend.poll(fds, left) {
            Ok(n) => return Ok(n),
            Err(e) => e,
        };
        if !error.belongs_to_a_socket() {
            clear(fds);
            return Err(error);
        }
        let filled = ready(fds);
        if filled > 0 {
            return Ok(filled);
        }
        for i in 0..fds.len() {
            match poll_alone(backend, fds[i]) {
                Ok(events) => fds[i].revents = events,
                Err(e) => {
                    clear(fds);
                    return Err(e);
                }
            }
        }
        let found = ready(fds);
        if found > 0 {
            return Ok(found);
        }
        left = limit.left(backend);
        if left == Some(Duration::ZERO) {
            return Ok(0);
        }
        if round == ROUNDS {
            return Err(error);
        }
        round += 1;
    }
}

/// `select`: leaves in the sets the members that are ready, and returns how many they are; 0 means
/// that `timeout` has passed.
///
/// The [module](self) says what happens to errors. After one, the sets are as they were passed.
pub fn select<B: Backend + ?Sized>(
    backend: &mut B,
    sets: &mut Sets,
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let asked = *sets;
    let mut waiting = asked;
    let limit = Limit::new(backend, timeout);
    let mut left = timeout;
    let mut round = 1;
    loop {
        *sets = waiting;
        let error = match backend.select(sets, left) {
            Ok(n) => return Ok(n),
            Err(e) => e,
        };
        if !error.belongs_to_a_socket() {
            *sets = asked;
            return Err(error);
        }
        sets.intersect(&waiting);
        if *sets == waiting || sets.is_empty() {
            match select_each(backend, &waiting) {
                Ok(each) => {
                    *sets = each.found;
                    // This is a broken socket that was only asked about exceptional conditions,
                    // which cannot come any more. Linux just goes on waiting for the others. Here
                    // the socket must be left out, or it would make every call fail.
                    waiting.except.subtract(&each.mute);
                    if !each.mute.is_empty() {
                        round = 0; // the error had an owner
                    }
                }
                Err(e) => {
                    *sets = asked;
                    return Err(e);
                }
            }
        }
        let found = sets.len();
        if found > 0 {
            return Ok(found);
        }
        left = limit.left(backend);
        if left == Some(Duration::ZERO) {
            return Ok(0);
        }
        if round == ROUNDS {
            *sets = asked;
            return Err(error);
        }
        round += 1;
    }
}

fn clear(fds: &mut [PollFd]) {
    for fd in fds {
        fd.revents = Events::NONE;
    }
}

fn ready(fds: &[PollFd]) -> usize {
    fds.iter().filter(|fd| !fd.revents.is_empty()).count()
}

/// The present events of one descriptor.
fn poll_alone<B: Backend + ?Sized>(backend: &mut B, asked: PollFd) -> Result<Events, Errno> {
    if asked.fd < 0 {
        return Ok(Events::NONE);
    }
    for _ in 0..ROUNDS {
        let mut one = [PollFd::new(asked.fd, asked.events)];
        match backend.poll(&mut one, Some(Duration::ZERO)) {
            Ok(_) => return Ok(one[0].revents),
            Err(Errno::EINTR) => continue,
            Err(Errno::EBADF) => return Ok(Events::NVAL),
            Err(e) if e.belongs_to_a_socket() => {
                let said = one[0].revents;
                let over =
                    Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM | Events::RDHUP;
                return Ok(match () {
                    () if !said.is_empty() => said | Events::ERR,
                    () if backend.is_stream(asked.fd) => {
                        (asked.events & over) | Events::ERR | Events::HUP
                    }
                    () => (asked.events & (Events::OUT | Events::WRNORM)) | Events::ERR,
                });
            }
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EINTR)
}

/// The result of probing one by one.
struct Each {
    found: Sets,
    /// Descriptors with a pending error and yet nothing to report.
    mute: FdSet,
}

/// Probes each descriptor.
fn select_each<B: Backend + ?Sized>(backend: &mut B, asked: &Sets) -> Result<Each, Errno> {
    let mut each = Each {
        found: Sets::new(),
        mute: FdSet::new(),
    };
    let mut all = asked.read;
    all.unite(&asked.write);
    all.unite(&asked.except);
    for fd in all.iter() {
        let (found, broken) = select_alone(backend, &asked.only(fd))?;
        each.found.unite(&found);
        if broken && found.is_empty() {
            each.mute.insert(fd)?;
        }
    }
    Ok(each)
}

/// Probes the one descriptor that is in `asked`: its present events, and whether it has a pending
/// error.
fn select_alone<B: Backend + ?Sized>(backend: &mut B, asked: &Sets) -> Result<(Sets, bool), Errno> {
    for _ in 0..ROUNDS {
        let mut one = *asked;
        match backend.select(&mut one, Some(Duration::ZERO)) {
            Ok(_) => return Ok((one, false)),
            Err(Errno::EINTR) => continue,
            Err(e) if e.belongs_to_a_socket() => {
                // A socket with an error is readable and writable. Whether there is urgent data too
                // can only be seen in sets that were changed.
                one.intersect(asked);
                let except = if one == *asked {
                    FdSet::new()
                } else {
                    one.except
                };
                return Ok((Sets { except, ..*asked }, true));
            }
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EINTR)
}

#[cfg(test)]
mod tests;

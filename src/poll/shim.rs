//! `poll` and `select` that fail only when the call failed.
//!
//! Some systems, the PS3's among them, let the pending error of *one* socket fail the whole call:
//! one connection is reset, and `poll` over two hundred sockets returns -1 with
//! `ECONNRESET`. Callers written for POSIX take that for a broken call. The shim in this module
//! gives them the answer of plain Linux: a success, with the broken socket marked as such among the
//! others.
//!
//! ```text
//!   caller ── poll() / select() ──►   shim   ── Backend ──►  the system's own, quirky calls
//!                         (this file: pure logic, no std)
//! ```
//!
//! What the shim does with a failing call:
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
//! A port need not say which of the two quirks a system has: the shim sees whether `revents` or
//! sets were filled in. If the sets come back equal to those that were passed it could be either,
//! so the sockets are probed; that costs calls, but the answer is right.
//!
//! A socket that fails a call of its own has a pending error for certain. When the system says
//! nothing more about it, it is reported as Linux reports such a socket, with as many events as
//! were asked for:
//!
//! | [`Kind`] | reported | if the backend says that it is so |
//! |---|---|---|
//! | [`Stream`](Kind::Stream) | `ERR HUP IN OUT RDHUP` | `PRI`: [`urgent`](Backend::urgent) |
//! | [`Local`](Kind::Local) | the same and `WRBAND` | the same |
//! | [`Datagram`](Kind::Datagram) | `ERR OUT WRBAND` | `IN`: [`unread`](Backend::unread) |
//!
//! For `select` it is readable and writable, and exceptional if it would be `PRI`. An operation on
//! it then does not block and finds the error. What a backend cannot say stays unreported;
//! docs/shim.md has the list.
//!
//! **Time.** `None` is no limit, zero does not wait. A repeated call waits only for the rest of its
//! time. `EINTR` ends the call, as it does on Linux. A probe that gets it is repeated; if then no
//! socket has anything to report, the call ends with it after all, and does not wait again: the
//! signal came, and it may be the one that the caller waits for.
//!
//! **Cost** of a call that succeeds: one pass over the descriptors to clear `revents`; for `select`
//! three copies of the sets (384 bytes each); and one reading of the clock when there is a finite
//! timeout. A call that is probed costs a system call per descriptor.

use super::errno::Errno;
use core::time::Duration;

pub use super::events::{Events, Fd, PollFd};
pub use super::sets::{FdSet, Sets};

/// How often a call, or a probe, is made before its error is passed on.
pub const ROUNDS: usize = 8;

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

    /// What kind of socket is `fd`? Like the two questions after it, this one is asked only about
    /// a socket with a pending error of which the system says nothing else. None of the three may
    /// read the error away.
    fn kind(&mut self, fd: Fd) -> Kind {
        let _ = fd;
        Kind::Stream
    }

    /// How many bytes can be read from this socket (`FIONREAD`)? Asked about
    /// [datagram](Kind::Datagram) sockets.
    fn unread(&mut self, fd: Fd) -> usize {
        let _ = fd;
        0
    }

    /// Is there urgent data that was not read? `SIOCATMARK` says so if no other data comes before
    /// it. Asked about sockets that are no datagram sockets.
    fn urgent(&mut self, fd: Fd) -> bool {
        let _ = fd;
        false
    }

    /// The pending error of a socket (`SO_ERROR`), which is no longer pending then. The shim never
    /// asks, since the error belongs to the socket's user; it is here for that user. Error: `fd` is
    /// no socket, or the backend cannot say.
    fn take_error(&mut self, fd: Fd) -> Result<Option<Errno>, Errno> {
        let _ = fd;
        Err(Errno::ENOPROTOOPT)
    }
}

/// What a pending error means for a socket, and what else Linux reports of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP. After an error it is over in both directions.
    Stream,
    /// A connection within the machine (Unix domain; stream or sequential packets). As TCP, but
    /// Linux says `WRBAND` of it as well.
    Local,
    /// Datagrams. An error is not the end.
    Datagram,
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
        let mut interrupted = false;
        for i in 0..fds.len() {
            match poll_alone(backend, fds[i], &mut interrupted) {
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
        if interrupted {
            return Err(Errno::EINTR);
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
        let mut interrupted = false;
        if *sets == waiting || sets.is_empty() {
            match select_each(backend, &waiting, &mut interrupted) {
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
        if interrupted {
            *sets = asked;
            return Err(Errno::EINTR);
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

/// The present events of one descriptor. `interrupted` is set if a signal comes meanwhile.
fn poll_alone<B: Backend + ?Sized>(
    backend: &mut B,
    asked: PollFd,
    interrupted: &mut bool,
) -> Result<Events, Errno> {
    if asked.fd < 0 {
        return Ok(Events::NONE);
    }
    for _ in 0..ROUNDS {
        let mut one = [PollFd::new(asked.fd, asked.events)];
        match backend.poll(&mut one, Some(Duration::ZERO)) {
            Ok(_) => return Ok(one[0].revents),
            Err(Errno::EINTR) => *interrupted = true,
            Err(Errno::EBADF) => return Ok(Events::NVAL),
            Err(e) if e.belongs_to_a_socket() => {
                let said = one[0].revents;
                return Ok(if said.is_empty() {
                    broken(backend, asked)
                } else {
                    said | Events::ERR
                });
            }
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EINTR)
}

/// The events of a descriptor with a pending error, when the system says nothing else of it.
fn broken<B: Backend + ?Sized>(backend: &mut B, asked: PollFd) -> Events {
    let write = Events::OUT | Events::WRNORM;
    let read = Events::IN | Events::RDNORM;
    let over = read | write | Events::RDHUP;
    let kind = backend.kind(asked.fd);
    let (unasked, mut on_demand) = match kind {
        Kind::Stream => (Events::ERR | Events::HUP, over),
        Kind::Local => (Events::ERR | Events::HUP, over | Events::WRBAND),
        Kind::Datagram => (Events::ERR, write | Events::WRBAND),
    };
    if kind == Kind::Datagram {
        if asked.events.intersects(read) && backend.unread(asked.fd) > 0 {
            on_demand |= read;
        }
    } else if asked.events.contains(Events::PRI) && backend.urgent(asked.fd) {
        on_demand |= Events::PRI;
    }
    unasked | (on_demand & asked.events)
}

/// Has a socket with a pending error an exceptional condition? `poll` can say, if it is the kind of
/// system that fills `revents` in.
fn is_exceptional<B: Backend + ?Sized>(backend: &mut B, fd: Fd, interrupted: &mut bool) -> bool {
    let asked = PollFd::new(fd, Events::PRI);
    poll_alone(backend, asked, interrupted)
        .unwrap_or_else(|_| broken(backend, asked))
        .contains(Events::PRI)
}

/// The result of probing one by one.
struct Each {
    found: Sets,
    /// Descriptors with a pending error and yet nothing to report.
    mute: FdSet,
}

/// Probes each descriptor. `interrupted` is set if a signal comes meanwhile.
fn select_each<B: Backend + ?Sized>(
    backend: &mut B,
    asked: &Sets,
    interrupted: &mut bool,
) -> Result<Each, Errno> {
    let mut each = Each {
        found: Sets::new(),
        mute: FdSet::new(),
    };
    let all = asked.members();
    for fd in all.iter() {
        let (found, broken) = select_alone(backend, &asked.only(fd), interrupted)?;
        each.found.unite(&found);
        if broken && found.is_empty() {
            each.mute.insert(fd)?;
        }
    }
    Ok(each)
}

/// Probes the one descriptor that is in `asked`: its present events, and whether it has a pending
/// error.
fn select_alone<B: Backend + ?Sized>(
    backend: &mut B,
    asked: &Sets,
    interrupted: &mut bool,
) -> Result<(Sets, bool), Errno> {
    for _ in 0..ROUNDS {
        let mut one = *asked;
        match backend.select(&mut one, Some(Duration::ZERO)) {
            Ok(_) => return Ok((one, false)),
            Err(Errno::EINTR) => *interrupted = true,
            Err(e) if e.belongs_to_a_socket() => {
                // A socket with an error is readable and writable. Whether there is urgent data too
                // can only be seen in sets that were changed and not emptied.
                one.intersect(asked);
                let except = match asked.except.iter().next() {
                    None => FdSet::new(),
                    Some(_) if one != *asked && !one.is_empty() => one.except,
                    Some(fd) if is_exceptional(backend, fd, interrupted) => asked.except,
                    Some(_) => FdSet::new(),
                };
                return Ok((Sets { except, ..*asked }, true));
            }
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EINTR)
}

#[cfg(test)]
#[path = "shim/tests.rs"] // also where another package includes this file
mod tests;

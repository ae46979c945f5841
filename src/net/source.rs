//! What all sockets share: a descriptor that does not block the thread, and how its tasklets wait.
//!
//! A [`Source`] owns the descriptor for all handles of a socket. It tries an operation until that
//! does not want to block, and waits on the thread's [reactor](crate::wait::reactor) in between; it
//! keeps the time limits, counts bytes so that no socket keeps the loop busy for ever ([`BURST`]),
//! and remembers the loss of a connection. It knows no protocol: those are in files of their own,
//! such as `tcp.rs`.

use crate::error::WaitError;
use crate::poll::shim::Events;
use crate::wait::reactor::{Reactor, Wake, BURST};
use crate::Error;
use nix::sys::socket::{sendmsg, MsgFlags};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// What an operation counts as at least, in bytes.
const SMALLEST: usize = 1024;

/// How many bytes a socket may move before it waits for the loop once.
fn allowance() -> usize {
    Reactor::existing().map_or(BURST, |reactor| reactor.burst())
}

/// A non-blocking socket, shared by its handles.
pub struct Source<T: AsRawFd> {
    /// `None` once closed. It is borrowed only during a system call, never while a tasklet waits.
    io: RefCell<Option<T>>,
    pub read_timeout: Cell<Option<Duration>>,
    pub write_timeout: Cell<Option<Duration>>,
    /// Bytes that may be moved before the next wait.
    left: Cell<usize>,
    /// Bytes that were moved since the last wait; no more than fit into this are counted.
    moved: Cell<u32>,
    /// Did the last read leave room in its buffer? Then it mostly took all that was there.
    drained: Cell<bool>,
    /// Is it a connection? Nothing else is lost for good: a datagram that cannot be sent says
    /// nothing of the next one, and no connection that failed of the listener.
    is_connection: bool,
    /// The reason why the connection was lost. The system tells it once, to the first operation;
    /// all others would see the end of the stream.
    lost: RefCell<Option<io::Error>>,
}

/// Why an operation of a socket failed.
pub enum Failure {
    /// The socket's own reason.
    Socket(io::Error),
    /// The wait ended before the socket was ready.
    Wait(WaitError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Socket(error)
    }
}

impl From<WaitError> for Failure {
    fn from(ended: WaitError) -> Failure {
        Failure::Wait(ended)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Socket(error) => error,
            Failure::Wait(ended) => ended.into(),
        }
    }
}

/// Is the connection unusable after this error? `EPIPE` is not such an error: it tells a writer
/// that this side has ended writing, or that a reset came after the end of the peer's stream, which
/// was complete then.
fn is_loss(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNRESET
                | libc::ECONNABORTED
                | libc::ETIMEDOUT
                | libc::ENETRESET
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
        )
    )
}

/// A copy of an error.
pub fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn closed() -> io::Error {
    io::Error::new(
        ErrorKind::ConnectionAborted,
        "the socket was closed by this side",
    )
}

/// The moment when a wait that begins now is over.
pub fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    // A time beyond the range of the clock is no limit.
    timeout.and_then(|t| Instant::now().checked_add(t))
}

/// Blocks the tasklet until the descriptor may be ready, or the time is over; -1: it is closed.
// A function of its own, so that what is in its callers' frames is all that a waiting tasklet keeps
// besides.
#[inline(never)]
fn wait_for(fd: RawFd, interest: Events, until: Option<Instant>) -> Result<(), Failure> {
    if fd < 0 {
        return Err(closed().into());
    }
    // A tasklet that was woken in vain, again and again, has no more time for that than for
    // waiting.
    if until.is_some_and(|until| until <= Instant::now()) {
        return Err(WaitError::Hindered(Error::Timeout).into());
    }
    let reactor = Reactor::current().map_err(WaitError::Hindered)?;
    match reactor.wait(Some((fd, interest)), until)? {
        Wake::Ready => Ok(()),
        Wake::TimedOut => Err(WaitError::Hindered(Error::Timeout).into()),
        Wake::Closed => Err(closed().into()),
        Wake::Bad => Err(io::Error::from_raw_os_error(libc::EBADF).into()),
    }
}

/// Waits for the next pump. No other event is needed to end this wait.
pub fn let_the_loop_run() -> Result<(), WaitError> {
    let reactor = Reactor::current().map_err(WaitError::Hindered)?;
    reactor.wait(None, Some(Instant::now())).map(drop)
}

impl<T: AsRawFd> Source<T> {
    pub fn new(io: T, is_connection: bool) -> Source<T> {
        // Epoll may know an earlier descriptor of this number, which somebody closed without a
        // word.
        if let Some(reactor) = Reactor::existing() {
            reactor.doubt(io.as_raw_fd());
        }
        Source {
            io: RefCell::new(Some(io)),
            read_timeout: Cell::new(None),
            write_timeout: Cell::new(None),
            left: Cell::new(allowance()),
            moved: Cell::new(0),
            drained: Cell::new(false),
            is_connection,
            lost: RefCell::new(None),
        }
    }

    /// Calls `op` with the socket. Errors: those of `op`; it was closed here.
    pub fn with<R>(&self, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        op(self.io.borrow().as_ref().ok_or_else(closed)?)
    }

    /// The descriptor; -1 once closed.
    pub fn raw_fd(&self) -> RawFd {
        self.io.borrow().as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Tries `op` until it does not want to block, waiting in between. `cost`: how many bytes a
    /// result counts as.
    pub fn attempt<R>(
        &self,
        interest: Events,
        timeout: Option<Duration>,
        cost: impl Fn(&R) -> usize,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Result<R, Failure> {
        self.attempt_or_wait(false, interest, timeout, cost, op)
    }

    /// [`attempt`](Self::attempt), which waits before the first try if that is likely to be in
    /// vain: `waits`.
    fn attempt_or_wait<R>(
        &self,
        waits: bool,
        interest: Events,
        timeout: Option<Duration>,
        cost: impl Fn(&R) -> usize,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Result<R, Failure> {
        let mut until = None;
        let mut wait = |source: &Self| -> Result<(), Failure> {
            // The time starts with the first wait: a socket that is ready needs no clock.
            let until = *until.get_or_insert_with(|| deadline(timeout));
            source.wait(interest, until)
        };
        // This comes before any wait: thrown errors, and time that is up, must not be delayed until
        // no more data comes.
        crate::thread::raise().map_err(WaitError::Thrown)?;
        if self.left.get() == 0 {
            match self.loss() {
                Some(_) => {
                    self.refill();
                    let_the_loop_run()?;
                }
                None => wait(self)?,
            }
        } else if waits && Reactor::existing().is_some_and(|reactor| reactor.waits_cheaply()) {
            match wait(self) {
                // It could not wait for long enough. What has come can be had all the same.
                Err(Failure::Wait(WaitError::Hindered(_))) => {}
                waited => waited?,
            }
        }
        loop {
            match self.with(&mut op) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => match self.loss() {
                    Some(lost) => return Err(lost.into()),
                    None => wait(self)?,
                },
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.left.set(0);
                    return Err(self.failed(e).into());
                }
                Ok(result) => {
                    self.spend(cost(&result));
                    return Ok(result);
                }
            }
        }
    }

    /// Tries `op` once. `WouldBlock`: it has to be tried again after a [`wait`](Self::wait), also
    /// because the loop has to run after so many bytes.
    #[cfg(feature = "http")]
    pub fn attempt_once(&self, mut op: impl FnMut(&T) -> io::Result<usize>) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        loop {
            match self.with(&mut op) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Err(self.loss().unwrap_or(e));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.left.set(0);
                    return Err(self.failed(e));
                }
                Ok(n) => {
                    self.spend(n);
                    self.count_moved(n);
                    return Ok(n);
                }
            }
        }
    }

    /// [`attempt`](Self::attempt) for an operation that looks at what can be read, and leaves it
    /// there.
    pub fn attempt_peek(&self, op: impl FnMut(&T) -> io::Result<usize>) -> Result<usize, Failure> {
        let n = self.read_or_wait(false, op)?;
        if n > 0 {
            self.drained.set(false);
        }
        Ok(n)
    }

    /// [`attempt`](Self::attempt) for an operation that takes what it reads out of the socket, and
    /// has `room` for so many bytes.
    ///
    /// A read that has left room has mostly taken all that was there. The next one would find
    /// nothing, and wait; so it waits at once. If something is there, the next pump says so.
    pub fn attempt_take(
        &self,
        room: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Result<usize, Failure> {
        let waits = self.drained.get() && self.lost.borrow().is_none();
        let n = self.read_or_wait(waits, op)?;
        self.drained.set(0 < n && n < room);
        self.count_moved(n);
        Ok(n)
    }

    fn read_or_wait(
        &self,
        waits: bool,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Result<usize, Failure> {
        let timeout = self.read_timeout.get();
        self.attempt_or_wait(
            waits,
            Events::IN,
            timeout,
            |n| *n,
            |io| match op(io)? {
                // Data that came before the loss is read first.
                0 => self.loss().map_or(Ok(0), Err),
                n => Ok(n),
            },
        )
    }

    /// [`attempt`](Self::attempt) for an operation that returns how many bytes were written.
    pub fn attempt_write(&self, op: impl FnMut(&T) -> io::Result<usize>) -> Result<usize, Failure> {
        let timeout = self.write_timeout.get();
        let n = self.attempt(Events::OUT, timeout, |n| *n, op)?;
        self.count_moved(n);
        Ok(n)
    }

    /// [`attempt_write`](Self::attempt_write) where no event tells when to try again: `wait` waits
    /// in between.
    pub fn attempt_write_unheard(
        &self,
        mut op: impl FnMut(&T) -> io::Result<usize>,
        mut wait: impl FnMut() -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        crate::thread::raise().map_err(WaitError::Thrown)?;
        if self.left.get() == 0 {
            self.refill();
            let_the_loop_run()?;
        }
        loop {
            match self.with(&mut op) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.refill();
                    wait()?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.left.set(0);
                    return Err(e.into());
                }
                Ok(n) => {
                    self.spend(n);
                    self.count_moved(n);
                    return Ok(n);
                }
            }
        }
    }

    /// Takes the cost of an operation off what may be done before the next wait.
    fn spend(&self, cost: usize) {
        let left = self.left.get().saturating_sub(cost.max(SMALLEST));
        self.left.set(left);
    }

    fn count_moved(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.moved.set(self.moved.get().saturating_add(bytes));
    }

    /// Remembers a loss, and returns it again where the system says something else after it has
    /// told it once.
    pub fn failed(&self, error: io::Error) -> io::Error {
        let mut lost = self.lost.borrow_mut();
        if lost.is_none() && self.is_connection && is_loss(&error) {
            *lost = Some(same(&error));
        }
        match &*lost {
            Some(lost) if error.raw_os_error() == Some(libc::EPIPE) => same(lost),
            _ => error,
        }
    }

    /// The reason for the loss of the connection, if it was lost. It makes no sense to wait then,
    /// whatever the system says about the socket.
    fn loss(&self) -> Option<io::Error> {
        self.lost.borrow().as_ref().map(same)
    }

    /// A wait begins, after which as much may be moved again: by one operation at least.
    fn refill(&self) {
        let moved = self.moved.take();
        let Some(reactor) = Reactor::existing() else {
            return self.left.set(BURST);
        };
        reactor.count_moved(moved as usize);
        self.left.set(reactor.burst().max(1));
    }

    /// Blocks the tasklet until the socket may be ready, or the time is over.
    pub fn wait(&self, interest: Events, until: Option<Instant>) -> Result<(), Failure> {
        let fd = self.raw_fd();
        self.refill();
        wait_for(fd, interest, until)
    }

    /// Takes the socket out. No loop is told: nobody may be waiting for it.
    pub fn take(&mut self) -> Option<T> {
        self.io.get_mut().take()
    }

    /// The same socket for the calling thread; this one is as if closed. No other thread's loop is
    /// told: nobody may be waiting for it.
    pub fn moved(&mut self) -> Source<T> {
        let io = self.take();
        if let (Some(io), Some(reactor)) = (&io, Reactor::existing()) {
            reactor.doubt(io.as_raw_fd());
        }
        Source {
            io: RefCell::new(io),
            read_timeout: self.read_timeout.clone(),
            write_timeout: self.write_timeout.clone(),
            left: Cell::new(allowance()),
            moved: Cell::new(0),
            drained: Cell::new(false),
            is_connection: self.is_connection,
            lost: RefCell::new(self.lost.get_mut().take()),
        }
    }

    /// Closes the socket for all its handles, and ends the waits for it.
    pub fn close(&self) {
        let Some(io) = self.io.take() else { return };
        // First the waiting tasklets are woken: the number may belong to another socket as soon as
        // it is closed.
        if let Some(reactor) = Reactor::existing() {
            reactor.cancel(io.as_raw_fd());
        }
    }
}

impl<T: AsRawFd> Drop for Source<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Refuses a time of zero, which sockets take for "no limit".
pub fn check_timeout(timeout: Option<Duration>) -> io::Result<Option<Duration>> {
    match timeout {
        Some(t) if t.is_zero() => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "a timeout of zero; None means no timeout",
        )),
        timeout => Ok(timeout),
    }
}

impl<T: AsRawFd> Source<T>
where
    for<'a> &'a T: Read + Write,
{
    #[inline]
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Failure> {
        // Linux waits for data even when the buffer is empty.
        if buf.is_empty() {
            return Ok(0);
        }
        self.attempt_take(buf.len(), |mut io| io.read(buf))
    }

    pub fn read_vectored(&self, bufs: &mut [io::IoSliceMut<'_>]) -> Result<usize, Failure> {
        let room = bufs.iter().map(|buf| buf.len()).sum();
        if room == 0 {
            return Ok(0);
        }
        self.attempt_take(room, |mut io| io.read_vectored(bufs))
    }

    #[inline]
    pub fn write(&self, buf: &[u8]) -> Result<usize, Failure> {
        self.attempt_write(|mut io| io.write(buf))
    }

    pub fn write_vectored(&self, pieces: &[io::IoSlice<'_>]) -> Result<usize, Failure> {
        self.attempt_write(|io| send_pieces(io, pieces))
    }
}

/// Writes pieces in one call. Unlike `writev` it does not raise SIGPIPE where the peer reads no
/// more: that would end a host which does not ignore it.
pub fn send_pieces(io: &impl AsRawFd, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
    /// Linux refuses more; the caller sends the rest later.
    const MOST: usize = libc::UIO_MAXIOV as usize;
    let pieces = &pieces[..pieces.len().min(MOST)];
    let sent = sendmsg::<()>(io.as_raw_fd(), pieces, &[], MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system may tell of a loss once, and be silent from then on.
    #[test]
    fn who_uses_a_lost_connection_later_does_not_wait_for_it() {
        let (quiet, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let source = Source::new(quiet, true);
        let told = |failed: Result<usize, Failure>| {
            io::Error::from(failed.expect_err("it is lost")).raw_os_error()
        };
        let first = source.attempt_peek(|_| Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)));
        assert_eq!(told(first), Some(libc::ETIMEDOUT));
        source.write_timeout.set(Some(Duration::from_secs(20)));
        source.read_timeout.set(Some(Duration::from_secs(20)));
        let start = Instant::now();
        for _ in 0..3 {
            let later = source.attempt_peek(|_| Err(ErrorKind::WouldBlock.into()));
            assert_eq!(told(later), Some(libc::ETIMEDOUT));
            let write = source.attempt(
                Events::OUT,
                source.write_timeout.get(),
                |_| 0,
                |_| Err(ErrorKind::WouldBlock.into()),
            );
            assert_eq!(told(write), Some(libc::ETIMEDOUT));
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody waited");
    }

    #[test]
    fn what_is_no_connection_is_never_lost() {
        let (quiet, _peer) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let source = Source::new(quiet, false);
        let unreachable = || Err(io::Error::from_raw_os_error(libc::ENETUNREACH));
        let first = source.attempt_write(|_| unreachable());
        let first = io::Error::from(first.expect_err("it cannot be sent"));
        assert_eq!(first.raw_os_error(), Some(libc::ENETUNREACH));
        // The next one waits, as if nothing had been.
        source.read_timeout.set(Some(Duration::from_millis(20)));
        let start = Instant::now();
        let later = source.attempt_peek(|_| Err(ErrorKind::WouldBlock.into()));
        let later = io::Error::from(later.expect_err("nothing comes"));
        assert_eq!(later.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}

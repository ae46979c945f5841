//! TCP sockets that block the tasklet, not the thread.
//!
//! They are used like those of `std::net`: `connect`, `accept`, `read`, `write`, timeouts. The
//! sockets are non-blocking; a call that would block puts its tasklet on the thread's
//! [reactor](crate::wait::reactor) and lets the others run (`source.rs`). The thread's
//! [main loop](crate::main_loop) wakes it; a call from the main tasklet runs that loop itself until
//! it is done.
//!
//! Buffers are touched only while their tasklet runs, never by the system in its absence: they may
//! lie on a sliced stack.

use super::resolve;
use super::source::{check_timeout, deadline, Failure, Source};
use crate::poll::shim::Events;
use nix::sys::socket::{
    connect, socket, sockopt, AddressFamily, SockFlag, SockType, SockaddrStorage,
};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many bytes an `accept` counts as, see [`BURST`](super::BURST).
const ACCEPT: usize = 8 * 1024;

/// A TCP connection.
///
/// `Read` and `Write` are implemented for `TcpStream` and for `&TcpStream`, so that one tasklet can
/// read while another writes: share it by reference, by `Rc`, or by [`try_clone`](Self::try_clone).
/// Several tasklets may wait in the same direction; the first one gets the data that has come, and
/// the `write_all`s of two tasklets may mix. The connection is closed when the last handle is
/// dropped, or by [`close`](Self::close).
///
/// **Errors** of everything that waits, besides those of the connection:
///
/// * An error that converts to [`hardswitch::Error`](crate::Error) (`Exit`, `Thrown`, ...): the
///   tasklet was killed, or something was thrown at it, while it waited.
/// * `TimedOut`: the time limit has passed; the connection is as good as before.
/// * `ConnectionAborted`: the socket was [closed](Self::close) here, before or meanwhile.
///
/// **A connection that is lost** (reset, given up by the system) stays lost: all handles remember
/// the reason. Data that came before is read first; then every read of every tasklet fails with
/// that error. None of them sees the end of the stream, which would make half a file look complete.
///
/// ```
/// use hardswitch::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// let addr = listener.local_addr()?;
/// hardswitch::spawn(move || -> hardswitch::Result<()> {
///     let (mut stream, _) = listener.accept()?;
///     Ok(stream.write_all(b"hello")?)
/// })?;
/// let mut text = String::new();
/// // The main tasklet waits: the loop runs meanwhile.
/// TcpStream::connect(addr)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct TcpStream {
    source: Rc<Source<std::net::TcpStream>>,
}

impl TcpStream {
    /// Connects, for as long as the system tries (minutes). Errors: refused, unreachable, ...; and
    /// those of all waits, see the [type](Self).
    pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        Ok(Self::connect_until(addr, None)?)
    }

    /// Connects, for at most `timeout`. Errors: as [`connect`](Self::connect), `TimedOut`;
    /// `InvalidInput` for zero.
    pub fn connect_timeout(addr: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let until = deadline(check_timeout(Some(timeout))?);
        Ok(Self::connect_until(addr, until)?)
    }

    /// [Looks up](super::lookup) the name (or address) `host`, and connects to the first of its
    /// addresses that answers, for at most `timeout` in all: the look-up and the first addresses
    /// use time that the later ones do not have any more.
    ///
    /// Errors: as [`connect_timeout`](Self::connect_timeout), of the last address that was tried;
    /// those of [`resolve`](super::resolve()).
    pub fn connect_host(host: &str, port: u16, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let until = deadline(check_timeout(timeout)?);
        Ok(Self::connect_host_until(host, port, until)?)
    }

    pub(crate) fn connect_host_until(
        host: &str,
        port: u16,
        until: Option<Instant>,
    ) -> Result<TcpStream, Failure> {
        let addrs = resolve::waiting(host, port, until)?;
        first_of(addrs, |addr| Self::connect_until(addr, until))
    }

    fn connect_until(addr: SocketAddr, until: Option<Instant>) -> Result<TcpStream, Failure> {
        not_to_itself(
            || Self::connect_once(addr, until),
            |stream| Ok((stream.local_addr()?, stream.peer_addr()?)),
        )
    }

    fn connect_once(addr: SocketAddr, until: Option<Instant>) -> Result<TcpStream, Failure> {
        let family = if addr.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let fd = socket(
            family,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(io::Error::from)?;
        let begun = connect(fd.as_raw_fd(), &SockaddrStorage::from(addr));
        let stream = TcpStream {
            source: Rc::new(Source::new(std::net::TcpStream::from(fd))),
        };
        match begun {
            Ok(()) => return Ok(stream),
            // If the call is interrupted, the connection is still made in the background (POSIX,
            // connect).
            Err(nix::Error::EINPROGRESS | nix::Error::EINTR) => {}
            Err(e) => return Err(io::Error::from(e).into()),
        }
        loop {
            stream.source.wait(Events::OUT, until)?;
            if let Some(error) = stream.source.with(|io| io.take_error())? {
                return Err(error.into());
            }
            // The wake-up may have been too early, so test whether the connection is there.
            match stream.peer_addr() {
                Err(e) if e.kind() == ErrorKind::NotConnected => {}
                Err(e) => return Err(e.into()),
                Ok(_) => return Ok(stream),
            }
        }
    }

    /// Takes over a connected socket of the standard library, and makes it non-blocking.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream {
            source: Rc::new(Source::new(stream)),
        })
    }

    /// Another handle of the same socket, timeouts included. It makes no system call and cannot
    /// fail once connected; the name is that of `std`.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream {
            source: self.source.clone(),
        })
    }

    /// As `write_all`, and counts in `sent`, from zero, the bytes that the system has taken, also
    /// when it fails. So a caller whose time is up can go on with the rest.
    ///
    /// Errors: as `write`.
    pub fn write_all_counted(&self, bytes: &[u8], sent: &mut usize) -> io::Result<()> {
        *sent = 0;
        while *sent < bytes.len() {
            match (&*self).write(&bytes[*sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => *sent += n,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes the socket for all its handles. Tasklets that wait on it, and all later calls, get
    /// `ConnectionAborted`. To close it twice is fine.
    pub fn close(&self) {
        self.source.close();
    }

    /// Ends reading, writing or both. The peer sees the end of the stream, and so do readers here.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.with(|io| io.shutdown(how))
    }

    /// How long a read may wait; `None`, the default: no limit. Errors: `InvalidInput` for zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.read_timeout.set(check_timeout(timeout)?);
        Ok(())
    }

    /// How long a write may wait; `None`, the default: no limit. Errors: `InvalidInput` for zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.write_timeout.set(check_timeout(timeout)?);
        Ok(())
    }

    /// The read timeout.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.source.read_timeout.get()
    }

    /// The write timeout.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.source.write_timeout.get()
    }

    /// Sends small writes at once (`true`) instead of collecting them (Nagle).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.with(|io| io.set_nodelay(nodelay))
    }

    /// Are small writes sent at once?
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.with(|io| io.nodelay())
    }

    /// With `Some(0 s)`, dropping the connection resets it, and unsent data is lost; with a longer
    /// time, the system may wait that long. By default unsent data is sent in the background. The
    /// unit is whole seconds; fractions are rounded up.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let seconds = linger.map_or(0, |l| {
            l.as_secs().saturating_add(u64::from(l.subsec_nanos() > 0))
        });
        let value = libc::linger {
            l_onoff: linger.is_some().into(),
            l_linger: libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX),
        };
        self.source
            .with(|io| Ok(nix::sys::socket::setsockopt(io, sockopt::Linger, &value)?))
    }

    /// The address at this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }

    /// The address at the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.peer_addr())
    }

    /// The pending error, if there is one, which is cleared by this. A loss of the connection is
    /// remembered all the same.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = self.source.with(|io| io.take_error())?;
        Ok(error.map(|error| self.source.failed(error)))
    }

    /// As `read`, but the data stays to be read again.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.source.attempt_read(|io| io.peek(buf))?)
    }

    pub(crate) fn read_some(&self, buf: &mut [u8]) -> Result<usize, Failure> {
        // Linux waits for data even when the buffer is empty.
        if buf.is_empty() {
            return Ok(0);
        }
        self.source.attempt_read(|mut io| io.read(buf))
    }

    pub(crate) fn write_some(&self, buf: &[u8]) -> Result<usize, Failure> {
        let timeout = self.source.write_timeout.get();
        self.source
            .attempt(Events::OUT, timeout, |n| *n, |mut io| io.write(buf))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buf)?)
    }

    fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        Ok(self.source.attempt_read(|mut io| io.read_vectored(bufs))?)
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.write_some(buf)?)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let timeout = self.source.write_timeout.get();
        let write = |mut io: &std::net::TcpStream| io.write_vectored(bufs);
        Ok(self.source.attempt(Events::OUT, timeout, |n| *n, write)?)
    }

    /// Nothing is buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
    fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }
    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRawFd for TcpStream {
    /// The descriptor; -1 once closed.
    fn as_raw_fd(&self) -> RawFd {
        self.source.raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream")
            .field(&self.source.raw_fd())
            .finish()
    }
}

/// A socket that accepts connections.
///
/// Several tasklets may wait in `accept`; each connection wakes one after the other until it is
/// taken. Errors of waiting: as for [`TcpStream`].
pub struct TcpListener {
    source: Rc<Source<std::net::TcpListener>>,
}

impl TcpListener {
    /// Listens at `addr`; port 0 lets the system choose. Errors: the address is in use or not this
    /// machine's.
    pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        Self::from_std(std::net::TcpListener::bind(addr)?)
    }

    /// Takes over a listening socket of the standard library, and makes it non-blocking.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener {
            source: Rc::new(Source::new(listener)),
        })
    }

    /// Waits for a connection, which comes with its peer's address. Connections that their peers
    /// gave up before they were taken are skipped. Errors: no descriptor is left (the connection
    /// can be taken later); see [`TcpStream`] for waiting.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Ok(self.take()?)
    }

    pub(crate) fn take(&self) -> Result<(TcpStream, SocketAddr), Failure> {
        let timeout = self.source.read_timeout.get();
        let accept = |io: &std::net::TcpListener| loop {
            match io.accept() {
                Err(e) if e.raw_os_error() == Some(libc::ECONNABORTED) => {}
                answer => return answer,
            }
        };
        let (stream, peer) = self
            .source
            .attempt(Events::IN, timeout, |_| ACCEPT, accept)?;
        Ok((TcpStream::from_std(stream)?, peer))
    }

    /// How long `accept` may wait; `None`, the default: no limit. Errors: `InvalidInput` for zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.read_timeout.set(check_timeout(timeout)?);
        Ok(())
    }

    /// Another handle of the same socket.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener {
            source: self.source.clone(),
        })
    }

    /// Closes the socket for all its handles. Tasklets that wait on it, and all later calls, get
    /// `ConnectionAborted`.
    pub fn close(&self) {
        self.source.close();
    }

    /// The address of the socket, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }
}

impl AsRawFd for TcpListener {
    /// The descriptor; -1 once closed.
    fn as_raw_fd(&self) -> RawFd {
        self.source.raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener")
            .field(&self.source.raw_fd())
            .finish()
    }
}

/// Tries the addresses in turn, and returns the first connection, or the last error. An error of
/// the wait ends it: a tasklet that was killed, or whose time is up, must not try another address.
pub fn first_of<S>(
    addrs: impl IntoIterator<Item = SocketAddr>,
    mut to: impl FnMut(SocketAddr) -> Result<S, Failure>,
) -> Result<S, Failure> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
        match to(addr) {
            Err(Failure::Socket(e)) => error = e,
            answer => return answer,
        }
    }
    Err(error.into())
}

/// Connects by `once`, and tries again if that connected a socket to itself.
///
/// If nobody listens at a port of this machine, the system may give that very port to the
/// connecting socket. TCP lets such a socket connect to itself, and it reads what it writes; the
/// next try gets another port. Error: `ConnectionRefused`, which is the truth about that port.
pub fn not_to_itself<S>(
    mut once: impl FnMut() -> Result<S, Failure>,
    ends: impl Fn(&S) -> io::Result<(SocketAddr, SocketAddr)>,
) -> Result<S, Failure> {
    for _ in 0..4 {
        let stream = once()?;
        match ends(&stream) {
            Ok((local, peer)) if local == peer => {}
            // A peer that has gone already was there, so it was another socket.
            _ => return Ok(stream),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ECONNREFUSED).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn ends(stream: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((stream.local_addr()?, stream.peer_addr()?))
    }

    /// A socket that is connected to itself.
    fn narcissus() -> TcpStream {
        let (family, flags) = (AddressFamily::Inet, SockFlag::SOCK_CLOEXEC);
        let fd = socket(family, SockType::Stream, flags, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(any)).unwrap();
        let stream = TcpStream::from(fd);
        let own = SockaddrStorage::from(stream.local_addr().unwrap());
        connect(stream.as_raw_fd(), &own).unwrap();
        stream
    }

    #[test]
    fn a_connection_to_oneself_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut tries = 0;
        let connected = not_to_itself(
            || {
                tries += 1;
                match tries {
                    1 => Ok(narcissus()),
                    _ => Ok(TcpStream::connect(listener.local_addr()?)?),
                }
            },
            ends,
        );
        let (local, peer) = ends(&connected.ok().expect("the second try is a good one")).unwrap();
        assert_ne!(local, peer);
        let always = not_to_itself(|| Ok(narcissus()), ends);
        let Err(failure) = always else {
            panic!("there is nobody else");
        };
        let refused = io::Error::from(failure);
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

//! Unix sockets that block the tasklet, not the thread: connections, listeners and datagrams
//! between processes of one machine.

use super::handle::{datagrams, socket, stream};
use super::source::{check_timeout, deadline, Failure, Source};
use super::tcp::ACCEPT;
use crate::error::WaitError;
use crate::poll::shim::Events;
use crate::wait::reactor::Reactor;
use crate::Error;
use nix::sys::socket::{connect, socket, UnixAddr};
use nix::sys::socket::{getsockopt, setsockopt, sockopt, AddressFamily, SockFlag, SockType};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a tasklet waits before it tries again when another socket's queue is full.
const FULL: Duration = Duration::from_millis(1);

/// Waits because the queue of a socket is full that this one is not connected to: no event tells
/// that there is room again. Errors: the time is up; those of waiting.
fn wait_for_room(until: Option<Instant>) -> Result<(), Failure> {
    let now = Instant::now();
    if until.is_some_and(|until| until <= now) {
        return Err(WaitError::Hindered(Error::Timeout).into());
    }
    let soon = now + FULL;
    let reactor = Reactor::current().map_err(WaitError::Hindered)?;
    reactor.wait(None, Some(until.map_or(soon, |until| until.min(soon))))?;
    Ok(())
}

/// The address as the system's calls take it.
fn as_system(addr: &SocketAddr) -> nix::Result<UnixAddr> {
    match (addr.as_pathname(), addr.as_abstract_name()) {
        (Some(path), _) => UnixAddr::new(path),
        (None, Some(name)) => UnixAddr::new_abstract(name),
        (None, None) => Ok(UnixAddr::new_unnamed()),
    }
}

/// A connection between two processes of this machine, used like a
/// [`TcpStream`](super::TcpStream).
///
/// ```
/// use hardswitch::net::UnixStream;
/// use std::io::{Read, Write};
///
/// let (mut here, mut there) = UnixStream::pair()?;
/// hardswitch::spawn(move || Ok(there.write_all(b"hello")?))?;
/// let mut text = String::new();
/// here.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct UnixStream {
    source: Rc<Source<net::UnixStream>>,
}

stream!(UnixStream, net::UnixStream);

impl UnixStream {
    /// Two connected sockets.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(other)?))
    }

    /// Connects to the listener at `path`; waits while its queue is full. Errors: nobody listens
    /// there; those of [waiting](super::TcpStream).
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        Self::connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// As [`connect`](Self::connect), to an address that need not be a path: an abstract name.
    pub fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        Ok(Self::connect_until(addr, None)?)
    }

    /// As [`connect`](Self::connect), for at most `timeout`. Errors: also `TimedOut`;
    /// `InvalidInput` for zero.
    pub fn connect_timeout(path: impl AsRef<Path>, timeout: Duration) -> io::Result<UnixStream> {
        let until = deadline(check_timeout(Some(timeout))?);
        Ok(Self::connect_until(
            &SocketAddr::from_pathname(path)?,
            until,
        )?)
    }

    pub(crate) fn connect_until(
        addr: &SocketAddr,
        until: Option<Instant>,
    ) -> Result<UnixStream, Failure> {
        // What was thrown comes before an answer that comes at once.
        crate::thread::raise().map_err(WaitError::Thrown)?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None);
        let fd = fd.map_err(io::Error::from)?;
        let addr = as_system(addr).map_err(io::Error::from)?;
        loop {
            match connect(fd.as_raw_fd(), &addr) {
                Ok(()) => return Ok(Self::from_std(net::UnixStream::from(fd))?),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => wait_for_room(until)?,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }

    /// The address at this end; most have none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }

    /// The address at the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.peer_addr())
    }
}

/// A socket at a path of the file system that accepts connections. The file stays when the socket
/// is closed.
pub struct UnixListener {
    source: Rc<Source<net::UnixListener>>,
}

socket!(UnixListener, net::UnixListener, false);

impl UnixListener {
    /// Listens at `path`. Errors: something is there already (`AddrInUse`).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        Self::from_std(net::UnixListener::bind(path)?)
    }

    /// As [`bind`](Self::bind), at an address that need not be a path: an abstract name, which is
    /// free again once the socket is closed.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        Self::from_std(net::UnixListener::bind_addr(addr)?)
    }

    /// Waits for a connection. Errors: no descriptor is left (the connection can be taken later);
    /// see [`TcpStream`](super::TcpStream) for waiting.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let timeout = self.source.read_timeout.get();
        let accept = |io: &net::UnixListener| io.accept();
        let accepted = self
            .source
            .attempt(Events::IN, timeout, |_| ACCEPT, accept)?;
        Ok((UnixStream::from_std(accepted.0)?, accepted.1))
    }

    /// How long `accept` may wait; `None`, the default: no limit. Errors: `InvalidInput` for zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.source.read_timeout.set(check_timeout(timeout)?);
        Ok(())
    }

    /// How long `accept` may wait.
    pub fn timeout(&self) -> Option<Duration> {
        self.source.read_timeout.get()
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }
}

/// A socket for datagrams between processes of this machine. They arrive whole, in order, and none
/// is lost: a sender waits while the receiver's queue is full.
pub struct UnixDatagram {
    source: Rc<Source<net::UnixDatagram>>,
}

datagrams!(UnixDatagram, net::UnixDatagram, SocketAddr);

impl UnixDatagram {
    /// Two connected sockets.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((Self::from_std(one)?, Self::from_std(other)?))
    }

    /// A socket at `path`. Errors: something is there already (`AddrInUse`).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        Self::from_std(net::UnixDatagram::bind(path)?)
    }

    /// As [`bind`](Self::bind), at an address that need not be a path: an abstract name.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        Self::from_std(net::UnixDatagram::bind_addr(addr)?)
    }

    /// A socket without an address, which can send.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Self::from_std(net::UnixDatagram::unbound()?)
    }

    /// From now on sends to `path`, and receives only from there.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.source.with(|io| io.connect(path))
    }

    /// As [`connect`](Self::connect), to an address that need not be a path.
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.source.with(|io| io.connect_addr(addr))
    }

    /// Sends a datagram to `path`, and waits for room. Returns how many bytes have left: all.
    /// Errors: nobody is there.
    pub fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_to_addr(datagram, &SocketAddr::from_pathname(path)?)
    }

    /// As [`send_to`](Self::send_to), to an address that need not be a path, such as a sender's.
    pub fn send_to_addr(&self, datagram: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        Ok(self.send_to_or(datagram, addr)?)
    }

    fn send_to_or(&self, datagram: &[u8], addr: &SocketAddr) -> Result<usize, Failure> {
        let until = deadline(self.source.write_timeout.get());
        let send = |io: &net::UnixDatagram| io.send_to_addr(datagram, addr);
        self.source
            .attempt_write_unheard(send, || wait_for_room(until))
    }

    /// The address of the socket, if it has one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }

    /// The address that it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.peer_addr())
    }
}

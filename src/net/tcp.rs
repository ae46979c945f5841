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

use super::connect::{self, Unconnected};
use super::handle::{socket, stream};
use super::resolve;
use super::source::{check_timeout, deadline, Failure, Source};
use crate::poll::shim::Events;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many bytes an `accept` counts as, see [`BURST`](super::BURST).
pub const ACCEPT: usize = 8 * 1024;

/// How the system finds out whether a silent peer is still there, see
/// [`TcpStream::set_keepalive`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// The silence after which it asks first.
    pub idle: Duration,
    /// The time between questions.
    pub interval: Duration,
    /// How many of them may stay without an answer.
    pub probes: u32,
}

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

stream!(TcpStream, std::net::TcpStream);

impl TcpStream {
    /// Connects, for as long as the system tries (minutes). Errors: refused, unreachable, ...; and
    /// those of all waits, see the [type](Self).
    pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        Ok(connect::to(addr, None)?)
    }

    /// Connects, for at most `timeout`. Errors: as [`connect`](Self::connect), `TimedOut`;
    /// `InvalidInput` for zero.
    pub fn connect_timeout(addr: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let until = deadline(check_timeout(Some(timeout))?);
        Ok(connect::to(addr, until)?)
    }

    /// [Looks up](super::lookup) the name (or address) `host`, and connects to the first of its
    /// addresses that answers, for at most `timeout` in all.
    ///
    /// An address that has not answered after 250 ms has the next one tried beside it, one that
    /// fails at once; addresses of IPv4 and IPv6 take turns (RFC 8305). The other sockets are
    /// closed when one is connected, and all when the tasklet is killed.
    ///
    /// Errors: a [`ConnectError`](super::ConnectError) inside, if each address has failed;
    /// `TimedOut`, also if some have failed and others have not answered; `InvalidInput` for a
    /// time of zero; those of [`resolve`](super::resolve()) and of all waits.
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
        let connected = connect::to_any(addrs, until);
        if connected.as_ref().is_err_and(Unconnected::is_of_addresses) {
            // Maybe the name has moved: who comes next looks it up.
            resolve::forget(Some(host));
        }
        Ok(connected?)
    }

    /// A handle of a socket that does not block.
    pub(super) fn from_source(source: Source<std::net::TcpStream>) -> TcpStream {
        TcpStream {
            source: Rc::new(source),
        }
    }

    /// The socket without its handle, if there is no other one.
    pub(super) fn into_source(self) -> Result<Source<std::net::TcpStream>, TcpStream> {
        Rc::try_unwrap(self.source).map_err(|source| TcpStream { source })
    }

    /// What its handles share, for code that waits by itself.
    #[cfg(feature = "http")]
    pub(super) fn source(&self) -> &Source<std::net::TcpStream> {
        &self.source
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
        let seconds = linger.map_or(0, whole_seconds);
        let value = libc::linger {
            l_onoff: linger.is_some().into(),
            l_linger: libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX),
        };
        self.source
            .with(|io| Ok(setsockopt(io, sockopt::Linger, &value)?))
    }

    /// As [`set_linger`](Self::set_linger) has set it.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let found = self
            .source
            .with(|io| Ok(getsockopt(io, sockopt::Linger)?))?;
        let seconds = u64::try_from(found.l_linger).unwrap_or(0);
        Ok((found.l_onoff != 0).then(|| Duration::from_secs(seconds)))
    }

    /// Has the system find out whether a peer that is silent is still there: after `idle` without
    /// a byte it asks, every `interval`, and gives the connection up (`TimedOut`) after `probes`
    /// questions without an answer. `None`, the default: it does not ask. The unit is whole
    /// seconds; fractions are rounded up.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        let seconds = |time| u32::try_from(whole_seconds(time)).unwrap_or(u32::MAX);
        self.source.with(|io| {
            if let Some(keepalive) = keepalive {
                setsockopt(io, sockopt::TcpKeepIdle, &seconds(keepalive.idle))?;
                setsockopt(io, sockopt::TcpKeepInterval, &seconds(keepalive.interval))?;
                setsockopt(io, sockopt::TcpKeepCount, &keepalive.probes)?;
            }
            setsockopt(io, sockopt::KeepAlive, &keepalive.is_some())?;
            Ok(())
        })
    }

    /// Does the system ask a silent peer whether it is still there, and how?
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        self.source.with(|io| {
            if !getsockopt(io, sockopt::KeepAlive)? {
                return Ok(None);
            }
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            Ok(Some(Keepalive {
                idle: seconds(getsockopt(io, sockopt::TcpKeepIdle)?),
                interval: seconds(getsockopt(io, sockopt::TcpKeepInterval)?),
                probes: getsockopt(io, sockopt::TcpKeepCount)?,
            }))
        })
    }

    /// How many routers a packet may pass.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.with(|io| super::hops::set(io, ttl))
    }

    /// How many routers a packet may pass.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.with(super::hops::get)
    }

    /// The address at this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }

    /// The address at the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.peer_addr())
    }

    /// As `read`, but the data stays to be read again.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        // Linux waits for data even when the buffer is empty.
        if buf.is_empty() {
            return Ok(0);
        }
        Ok(self.source.attempt_peek(|io| io.peek(buf))?)
    }
}

/// A socket that accepts connections.
///
/// Several tasklets may wait in `accept`; each connection wakes one after the other until it is
/// taken. Errors of waiting: as for [`TcpStream`].
pub struct TcpListener {
    source: Rc<Source<std::net::TcpListener>>,
}

socket!(TcpListener, std::net::TcpListener, false);

impl TcpListener {
    /// Listens at `addr`; port 0 lets the system choose. Errors: the address is in use or not this
    /// machine's.
    pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        Self::from_std(std::net::TcpListener::bind(addr)?)
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

    /// How long `accept` may wait.
    pub fn timeout(&self) -> Option<Duration> {
        self.source.read_timeout.get()
    }

    /// The address of the socket, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }
}

/// Rounded up.
fn whole_seconds(time: Duration) -> u64 {
    let rest = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(rest)
}

//! UDP sockets that block the tasklet, not the thread.

use super::handle::datagrams;
use super::hops;
use super::source::{check_timeout, Source};
use crate::poll::shim::Events;
use nix::sys::socket::{bind, getsockopt, setsockopt, socket, sockopt};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

/// A UDP socket.
///
/// Several tasklets may wait for datagrams; each gets the next one, in the order in which they
/// began. Errors of waiting: as for [`TcpStream`](super::TcpStream).
///
/// ```
/// use hardswitch::net::UdpSocket;
///
/// let any = "127.0.0.1:0".parse().unwrap();
/// let (here, there) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
/// let addr = here.local_addr()?;
/// hardswitch::spawn(move || Ok(there.send_to(b"hello", addr).map(drop)?))?;
/// let mut buf = [0; 16];
/// let (length, _) = here.recv_from(&mut buf)?;
/// assert_eq!(&buf[..length], b"hello");
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct UdpSocket {
    source: Rc<Source<std::net::UdpSocket>>,
}

datagrams!(UdpSocket, std::net::UdpSocket, SocketAddr);

impl UdpSocket {
    /// A socket with this address; port 0 lets the system choose. Errors: the address is in use or
    /// not this machine's.
    pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
        Self::from_std(std::net::UdpSocket::bind(addr)?)
    }

    /// As [`bind`](Self::bind), of an address that others may have as well if they ask for it in
    /// this way: each socket gets what is sent to a group, and one of them what is sent to the
    /// address alone.
    pub fn bind_shared(addr: SocketAddr) -> io::Result<UdpSocket> {
        let family = match addr {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))?;
        Self::from_std(std::net::UdpSocket::from(fd))
    }

    /// From now on sends to `addr`, and receives only from there. It does not wait. Errors: there
    /// is no way to that address.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.source.with(|io| io.connect(addr))
    }

    /// Sends a datagram to `addr`, and waits for room. Returns how many bytes have left: all.
    /// Errors: it is too large; there is no way to that address; it is a broadcast and that is not
    /// [allowed](Self::set_broadcast).
    pub fn send_to(&self, datagram: &[u8], addr: SocketAddr) -> io::Result<usize> {
        let send = |io: &std::net::UdpSocket| io.send_to(datagram, addr);
        Ok(self.source.attempt_write(send)?)
    }

    /// As [`recv_from`](Self::recv_from), but the datagram stays to be received again.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let timeout = self.source.read_timeout.get();
        let peek = |io: &std::net::UdpSocket| io.peek_from(buf);
        Ok(self
            .source
            .attempt(Events::IN, timeout, |(n, _)| *n, peek)?)
    }

    /// The address of the socket, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.local_addr())
    }

    /// The address that it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.with(|io| io.peer_addr())
    }

    /// May it send to broadcast addresses? By default it may not.
    pub fn set_broadcast(&self, may: bool) -> io::Result<()> {
        self.source.with(|io| io.set_broadcast(may))
    }

    /// May it send to broadcast addresses?
    pub fn broadcast(&self) -> io::Result<bool> {
        self.source.with(|io| io.broadcast())
    }

    /// How many routers a datagram may pass.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.with(|io| hops::set(io, ttl))
    }

    /// How many routers a datagram may pass.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.with(hops::get)
    }

    /// Receives what is sent to the group, by the interface with this address (unspecified: the
    /// system chooses).
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.source
            .with(|io| io.join_multicast_v4(group, interface))
    }

    /// Receives it no longer.
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.source
            .with(|io| io.leave_multicast_v4(group, interface))
    }

    /// Receives what is sent to the group, by the interface of this number (0: the system chooses).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source
            .with(|io| io.join_multicast_v6(group, interface))
    }

    /// Receives it no longer.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.source
            .with(|io| io.leave_multicast_v6(group, interface))
    }

    /// Does this machine get what it sends to a group itself? By default it does.
    pub fn set_multicast_loop_v4(&self, gets: bool) -> io::Result<()> {
        self.source.with(|io| io.set_multicast_loop_v4(gets))
    }

    /// Does this machine get what it sends to a group itself?
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.source.with(|io| io.multicast_loop_v4())
    }

    /// How many routers a datagram to a group may pass; by default none (1).
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.source.with(|io| io.set_multicast_ttl_v4(ttl))
    }

    /// How many routers a datagram to a group may pass.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.source.with(|io| io.multicast_ttl_v4())
    }

    /// [`set_multicast_loop_v4`](Self::set_multicast_loop_v4) for groups of IPv6.
    pub fn set_multicast_loop_v6(&self, gets: bool) -> io::Result<()> {
        self.source.with(|io| io.set_multicast_loop_v6(gets))
    }

    /// Does this machine get what it sends to a group of IPv6 itself?
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.source.with(|io| io.multicast_loop_v6())
    }

    /// [`set_multicast_ttl_v4`](Self::set_multicast_ttl_v4) for groups of IPv6.
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        let hops = hops as libc::c_int;
        let set = |io: &_| Ok(setsockopt(io, sockopt::Ipv6MulticastHops, &hops)?);
        self.source.with(set)
    }

    /// How many routers a datagram to a group of IPv6 may pass.
    pub fn multicast_hops_v6(&self) -> io::Result<u32> {
        let get = |io: &_| Ok(getsockopt(io, sockopt::Ipv6MulticastHops)? as u32);
        self.source.with(get)
    }

    /// Is it a socket of IPv6?
    pub(crate) fn is_v6(&self) -> io::Result<bool> {
        self.source.with(hops::is_v6)
    }
}

//! Descriptors of all kinds, in the states that `poll` and `select` can tell apart.

use super::{fill, pair, refused, reset, wait_for};
use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{Events, Fd};
use nix::sys::socket::{self as sys, AddressFamily, Backlog, MsgFlags, SockFlag, SockType};
use nix::sys::socket::{sockopt, SockaddrIn, UnixAddr};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

/// A descriptor that is asked about.
pub struct Made {
    pub kind: &'static str,
    pub fd: Fd,
    /// The error that is pending.
    pub error: Option<Errno>,
    /// What it needs to stay as it is; the descriptor itself first.
    _keep: Vec<OwnedFd>,
}

/// What a maker gives: the descriptor, what else is to stay open, and the pending error.
type State = (OwnedFd, Vec<OwnedFd>, Option<Errno>);
type Maker = (&'static str, fn() -> State);

fn alone(fd: impl Into<OwnedFd>) -> State {
    (fd.into(), vec![], None)
}

fn with(fd: impl Into<OwnedFd>, other: impl Into<OwnedFd>) -> State {
    (fd.into(), vec![other.into()], None)
}

fn broken(fd: impl Into<OwnedFd>, error: Errno) -> State {
    (fd.into(), vec![], Some(error))
}

fn is(fd: &impl AsRawFd, wanted: Events) {
    wait_for(fd.as_raw_fd(), wanted);
}

/// Closes the peer with a reset, and waits until it has come.
fn lose(socket: TcpStream, peer: TcpStream, error: Errno) -> State {
    reset(peer);
    is(&socket, Events::ERR);
    broken(socket, error)
}

/// A connection that has `data` to read, whose last byte is urgent if `urgent`.
fn received(data: &[u8], urgent: bool) -> (TcpStream, TcpStream) {
    let (a, b) = pair();
    let flags = if urgent {
        MsgFlags::MSG_OOB
    } else {
        MsgFlags::empty()
    };
    assert_eq!(sys::send(b.as_raw_fd(), data, flags), Ok(data.len()));
    is(&a, if urgent { Events::PRI } else { Events::IN });
    (a, b)
}

fn in_line(data: &[u8]) -> (TcpStream, TcpStream) {
    let (a, b) = pair();
    sys::setsockopt(&a, sockopt::OobInline, &true).unwrap();
    assert_eq!(
        sys::send(b.as_raw_fd(), data, MsgFlags::MSG_OOB),
        Ok(data.len())
    );
    is(&a, Events::PRI);
    (a, b)
}

/// The urgent byte is read; its mark is left.
fn urgent_read(data: &[u8]) -> (TcpStream, TcpStream) {
    let (a, b) = received(data, true);
    assert_eq!(sys::recv(a.as_raw_fd(), &mut [0], MsgFlags::MSG_OOB), Ok(1));
    (a, b)
}

fn tcp_socket() -> OwnedFd {
    sys::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK,
        None,
    )
    .unwrap()
}

/// Connecting to a listener that takes no more: that goes on for minutes.
fn connecting() -> State {
    let listener = tcp_socket();
    sys::bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    sys::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let address: SockaddrIn = sys::getsockname(listener.as_raw_fd()).unwrap();
    let mut keep = vec![listener];
    loop {
        let socket = tcp_socket();
        match sys::connect(socket.as_raw_fd(), &address) {
            Ok(()) | Err(nix::Error::EINPROGRESS) => {}
            Err(error) => panic!("connect: {error}"),
        }
        let mut one = [nix::poll::PollFd::new(
            socket.as_fd(),
            nix::poll::PollFlags::POLLOUT,
        )];
        if nix::poll::poll(&mut one, 100_u8) == Ok(0) {
            return (socket, keep, None);
        }
        keep.push(socket);
    }
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A datagram socket that has received these, and then sent to a port where nobody is any more.
fn told_unreachable(datagrams: &[&[u8]]) -> State {
    let (socket, peer) = (udp(), udp());
    socket.connect(peer.local_addr().unwrap()).unwrap();
    for datagram in datagrams {
        peer.send_to(datagram, socket.local_addr().unwrap())
            .unwrap();
    }
    if !datagrams.is_empty() {
        is(&socket, Events::IN);
    }
    drop(peer);
    socket.send(b"?").unwrap();
    is(&socket, Events::ERR);
    broken(socket, Errno::ECONNREFUSED)
}

fn packets() -> (OwnedFd, OwnedFd) {
    sys::socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::empty(),
    )
    .unwrap()
}

/// A stream within the machine whose peer has closed without reading what it was sent.
fn unread_by_peer(data: &[u8], urgent: bool) -> State {
    let (a, mut b) = UnixStream::pair().unwrap();
    (&a).write_all(b"never read").unwrap();
    b.write_all(data).unwrap();
    if urgent && sys::send(b.as_raw_fd(), b"!", MsgFlags::MSG_OOB).is_err() {
        // Not every kernel has this.
        b.write_all(b"!").unwrap();
    }
    drop(b);
    is(&a, Events::ERR);
    broken(a, Errno::ECONNRESET)
}

/// A listener within the machine, at a name that only the system knows.
fn unix_listener() -> (OwnedFd, UnixAddr) {
    let socket = sys::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::empty(),
        None,
    )
    .unwrap();
    sys::bind(socket.as_raw_fd(), &UnixAddr::new_unnamed()).unwrap();
    sys::listen(&socket, Backlog::new(8).unwrap()).unwrap();
    let address = sys::getsockname(socket.as_raw_fd()).unwrap();
    (socket, address)
}

/// Two datagram sockets of the machine, each connected to the other.
fn unix_datagrams() -> (UnixDatagram, UnixDatagram) {
    let (a, b) = UnixDatagram::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

/// A datagram socket of the machine whose peer has left it for another, with a datagram under way.
fn left_by_peer() -> State {
    let (a, b) = unix_datagrams();
    let other = sys::socket(
        AddressFamily::Unix,
        SockType::Datagram,
        SockFlag::empty(),
        None,
    )
    .unwrap();
    sys::bind(other.as_raw_fd(), &UnixAddr::new_unnamed()).unwrap();
    let address: UnixAddr = sys::getsockname(other.as_raw_fd()).unwrap();
    a.send(b"lost").unwrap();
    sys::connect(b.as_raw_fd(), &address).unwrap();
    is(&a, Events::ERR);
    (a.into(), vec![b.into(), other], Some(Errno::ECONNRESET))
}

fn fill_all(fd: &OwnedFd, bytes: &[u8]) {
    loop {
        match nix::unistd::write(fd, bytes) {
            Ok(_) => {}
            Err(nix::Error::EAGAIN) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap()
}

fn event(count: u32) -> OwnedFd {
    use nix::sys::eventfd::{EfdFlags, EventFd};
    EventFd::from_value_and_flags(count, EfdFlags::EFD_NONBLOCK)
        .unwrap()
        .into()
}

/// A number that is no descriptor, but was one. It is high, so that nobody gets it meanwhile.
fn closed() -> Fd {
    let file = File::open("/dev/null").unwrap();
    // SAFETY: makes and closes a duplicate that nobody else has seen.
    unsafe {
        let copy = libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 990);
        assert_eq!((copy >= 990, libc::close(copy)), (true, 0));
        copy
    }
}

fn local(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

/// Each kind by its name, and how it is made.
pub const KINDS: &[Maker] = &[
    ("tcp, idle", || {
        let (a, b) = pair();
        with(a, b)
    }),
    ("tcp, data", || {
        let (a, b) = received(b"data", false);
        with(a, b)
    }),
    ("tcp, full", || {
        let (a, b) = pair();
        fill(&a);
        with(a, b)
    }),
    ("tcp, ended by peer", || {
        let (a, b) = pair();
        b.shutdown(Shutdown::Write).unwrap();
        is(&a, Events::RDHUP);
        with(a, b)
    }),
    ("tcp, data, then ended by peer", || {
        let (a, b) = received(b"data", false);
        b.shutdown(Shutdown::Write).unwrap();
        is(&a, Events::RDHUP);
        with(a, b)
    }),
    ("tcp, ended by us", || {
        let (a, b) = pair();
        a.shutdown(Shutdown::Write).unwrap();
        with(a, b)
    }),
    ("tcp, not read any more by us", || {
        let (a, b) = pair();
        a.shutdown(Shutdown::Read).unwrap();
        with(a, b)
    }),
    ("tcp, shut down both ways by us", || {
        let (a, b) = pair();
        a.shutdown(Shutdown::Both).unwrap();
        with(a, b)
    }),
    ("tcp, ended by both", || {
        let (a, b) = pair();
        b.shutdown(Shutdown::Write).unwrap();
        a.shutdown(Shutdown::Write).unwrap();
        is(&a, Events::HUP);
        with(a, b)
    }),
    ("tcp, reset", || {
        let (a, b) = pair();
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, data, then reset", || {
        let (a, b) = received(b"data", false);
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, full, then reset", || {
        let (a, b) = pair();
        fill(&a);
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, ended by us, then reset", || {
        let (a, b) = pair();
        a.shutdown(Shutdown::Write).unwrap();
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, ended by peer, then reset", || {
        let (a, b) = pair();
        b.shutdown(Shutdown::Write).unwrap();
        is(&a, Events::RDHUP);
        lose(a, b, Errno::EPIPE)
    }),
    ("tcp, data, ended by peer, then reset", || {
        let (a, b) = received(b"data", false);
        b.shutdown(Shutdown::Write).unwrap();
        is(&a, Events::RDHUP);
        lose(a, b, Errno::EPIPE)
    }),
    ("tcp, reset, error read", || {
        let (a, b) = pair();
        let (a, keep, _) = lose(a, b, Errno::ECONNRESET);
        let a = TcpStream::from(a);
        assert_eq!(
            (&a).read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        (a.into(), keep, None)
    }),
    ("tcp, refused", || {
        let socket = refused();
        is(&socket, Events::ERR);
        broken(socket, Errno::ECONNREFUSED)
    }),
    ("tcp, never connected", || alone(tcp_socket())),
    ("tcp, connecting", connecting),
    ("tcp, listening", || {
        alone(TcpListener::bind("127.0.0.1:0").unwrap())
    }),
    ("tcp, listening, with a caller", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let caller = TcpStream::connect(local(&listener)).unwrap();
        is(&listener, Events::IN);
        with(listener, caller)
    }),
    ("tcp, urgent", || {
        let (a, b) = received(b"!", true);
        with(a, b)
    }),
    ("tcp, data, then urgent", || {
        let (a, b) = received(b"data!", true);
        with(a, b)
    }),
    ("tcp, urgent, then data", || {
        let (a, mut b) = received(b"!", true);
        b.write_all(b"data").unwrap();
        is(&a, Events::IN);
        with(a, b)
    }),
    ("tcp, urgent in line", || {
        let (a, b) = in_line(b"!");
        with(a, b)
    }),
    ("tcp, urgent read", || {
        let (a, b) = urgent_read(b"!");
        with(a, b)
    }),
    ("tcp, urgent, then reset", || {
        let (a, b) = received(b"!", true);
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, data, urgent, then reset", || {
        let (a, b) = received(b"data!", true);
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, urgent in line, then reset", || {
        let (a, b) = in_line(b"!");
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, urgent read, then reset", || {
        let (a, b) = urgent_read(b"!");
        lose(a, b, Errno::ECONNRESET)
    }),
    ("tcp, urgent, ended by peer, then reset", || {
        let (a, b) = received(b"!", true);
        b.shutdown(Shutdown::Write).unwrap();
        is(&a, Events::RDHUP);
        lose(a, b, Errno::EPIPE)
    }),
    ("udp, idle", || alone(udp())),
    ("udp, data", || {
        let (a, b) = (udp(), udp());
        b.send_to(b"data", a.local_addr().unwrap()).unwrap();
        is(&a, Events::IN);
        with(a, b)
    }),
    ("udp, empty datagram", || {
        let (a, b) = (udp(), udp());
        b.send_to(b"", a.local_addr().unwrap()).unwrap();
        is(&a, Events::IN);
        with(a, b)
    }),
    ("udp, port unreachable", || told_unreachable(&[])),
    ("udp, data and port unreachable", || {
        told_unreachable(&[b"x"])
    }),
    ("udp, much data and port unreachable", || {
        told_unreachable(&[b"one", b"two", b""])
    }),
    ("unix, idle", || {
        let (a, b) = UnixStream::pair().unwrap();
        with(a, b)
    }),
    ("unix, data", || {
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(b"data").unwrap();
        with(a, b)
    }),
    ("unix, full", || {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let a = OwnedFd::from(a);
        fill_all(&a, &[7; 4096]);
        with(a, b)
    }),
    ("unix, ended by peer", || {
        let (a, b) = UnixStream::pair().unwrap();
        b.shutdown(Shutdown::Write).unwrap();
        with(a, b)
    }),
    ("unix, closed by peer", || {
        let (a, _) = UnixStream::pair().unwrap();
        alone(a)
    }),
    ("unix, closed by peer before it read", || {
        unread_by_peer(b"", false)
    }),
    ("unix, data, closed by peer before it read", || {
        unread_by_peer(b"data", false)
    }),
    ("unix, urgent, closed by peer before it read", || {
        unread_by_peer(b"", true)
    }),
    ("unix, listening", || {
        let (listener, _) = unix_listener();
        alone(listener)
    }),
    ("unix, listening, with a caller", || {
        let (listener, address) = unix_listener();
        let caller = sys::socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::empty(),
            None,
        )
        .unwrap();
        sys::connect(caller.as_raw_fd(), &address).unwrap();
        with(listener, caller)
    }),
    ("unix packets, idle", || {
        let (a, b) = packets();
        with(a, b)
    }),
    ("unix packets, closed by peer before it read", || {
        let (a, b) = packets();
        nix::unistd::write(&a, b"never read").unwrap();
        drop(b);
        is(&a, Events::ERR);
        broken(a, Errno::ECONNRESET)
    }),
    ("unix datagrams, idle", || {
        let (a, b) = unix_datagrams();
        with(a, b)
    }),
    ("unix datagrams, data", || {
        let (a, b) = unix_datagrams();
        b.send(b"data").unwrap();
        with(a, b)
    }),
    ("unix datagrams, peer full", || {
        let (a, b) = unix_datagrams();
        let a = OwnedFd::from(a);
        fill_all(&a, b"data");
        with(a, b)
    }),
    ("unix datagrams, left by peer", left_by_peer),
    ("pipe to read, empty", || {
        let (a, b) = pipe();
        with(a, b)
    }),
    ("pipe to read, data", || {
        let (a, b) = pipe();
        nix::unistd::write(&b, b"data").unwrap();
        with(a, b)
    }),
    ("pipe to read, writer gone", || alone(pipe().0)),
    ("pipe to write", || {
        let (a, b) = pipe();
        with(b, a)
    }),
    ("pipe to write, full", || {
        let (a, b) = pipe();
        fill_all(&b, &[7; 4096]);
        with(b, a)
    }),
    ("pipe to write, reader gone", || alone(pipe().1)),
    ("eventfd, 0", || alone(event(0))),
    ("eventfd, 7", || alone(event(7))),
    ("eventfd, full", || {
        let fd = event(0);
        nix::unistd::write(&fd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        alone(fd)
    }),
    ("file", || alone(File::open("/proc/self/exe").unwrap())),
    ("/dev/null", || alone(File::open("/dev/null").unwrap())),
    ("directory", || alone(File::open("/").unwrap())),
];

impl Made {
    pub fn new((kind, make): Maker) -> Made {
        let (fd, others, error) = make();
        let mut made = Made {
            kind,
            fd: fd.as_raw_fd(),
            error,
            _keep: others,
        };
        made._keep.insert(0, fd);
        made
    }

    /// A number that is no descriptor.
    pub fn closed() -> Made {
        Made {
            kind: "closed",
            fd: closed(),
            error: None,
            _keep: vec![],
        }
    }

    /// What `SO_ERROR` says, which takes the error away.
    pub fn take_error(&self) -> Option<Errno> {
        let error = sys::getsockopt(&self._keep[0], sockopt::SocketError).ok()?;
        (error != 0).then(|| Errno::from_linux(error))
    }
}

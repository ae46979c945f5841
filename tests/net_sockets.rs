//! Sockets of all kinds: UDP, Unix streams and datagrams, and the options of TCP.

use hardswitch::net::{
    Keepalive, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use hardswitch::{spawn, Error, MainLoop};
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LONG: Duration = Duration::from_secs(60);

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn finish() {
    MainLoop::current().unwrap().run_until_idle().unwrap();
}

fn is_timeout(error: io::Error) -> bool {
    matches!(Error::from(error), Error::Timeout)
}

/// A path for a socket, which is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("hardswitch-{}-{name}", std::process::id());
        Place(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn datagrams_wait_for_each_other_in_order() {
    let here = UdpSocket::bind(any()).unwrap();
    let addr = here.local_addr().unwrap();
    let got = Rc::new(RefCell::new(vec![]));
    for number in 0..4 {
        let (here, got) = (here.try_clone().unwrap(), got.clone());
        spawn(move || {
            let mut buf = [0; 8];
            let (length, from) = here.recv_from(&mut buf)?;
            got.borrow_mut()
                .push((number, buf[..length].to_vec(), from));
            Ok(())
        })
        .unwrap();
    }
    hardswitch::run().unwrap();
    let there = UdpSocket::bind(any()).unwrap();
    there.connect(addr).unwrap();
    assert_eq!(there.peer_addr().unwrap(), addr);
    for text in ["zero", "one", "two"] {
        assert_eq!(there.send(text.as_bytes()).unwrap(), text.len());
    }
    // What does not fit is lost.
    assert_eq!(there.send_to(b"a long datagram", addr).unwrap(), 15);
    finish();
    let from = there.local_addr().unwrap();
    let text = |number, text: &[u8]| (number, text.to_vec(), from);
    let wanted = [
        text(0, b"zero"),
        text(1, b"one"),
        text(2, b"two"),
        text(3, b"a long d"),
    ];
    assert_eq!(*got.borrow(), wanted);
}

#[test]
fn a_receiver_of_datagrams_has_a_limit_and_is_told_of_errors() {
    let socket = UdpSocket::bind(any()).unwrap();
    socket.set_read_timeout(Some(MS(10))).unwrap();
    assert_eq!(socket.read_timeout(), Some(MS(10)));
    assert!(is_timeout(socket.recv(&mut [0; 8]).unwrap_err()));
    assert_eq!(
        socket.set_write_timeout(Some(MS(0))).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    // Nobody has this port any more, and nobody else takes one of this address.
    let own = "127.83.1.9:0".parse().unwrap();
    let gone = UdpSocket::bind(own).unwrap().local_addr().unwrap();
    socket.connect(gone).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.send(b"hello?").unwrap();
    let refused = socket.recv(&mut [0; 8]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // That is no loss: the socket is as good as before.
    let back = UdpSocket::bind(gone).unwrap();
    socket.send(b"there?").unwrap();
    let mut buf = [0; 8];
    assert_eq!(back.peek_from(&mut buf).unwrap().0, 6);
    assert_eq!(back.recv(&mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"there?");
    let empty = back.send_to(b"", socket.local_addr().unwrap()).unwrap();
    assert_eq!((empty, socket.recv(&mut buf).unwrap()), (0, 0));
}

#[test]
fn a_closed_socket_ends_its_waits() {
    let socket = UdpSocket::bind(any()).unwrap();
    let waits = socket.try_clone().unwrap();
    let ended = spawn(move || {
        let error = waits.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        Ok(())
    })
    .unwrap();
    hardswitch::run().unwrap();
    socket.close();
    hardswitch::run().unwrap();
    assert!(!ended.is_alive());
    assert_eq!(
        socket.send_to(b"x", any()).unwrap_err().kind(),
        ErrorKind::ConnectionAborted
    );
}

#[test]
fn options_of_udp() {
    let socket = UdpSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    assert!(!socket.broadcast().unwrap());
    let to_all = "255.255.255.255:9".parse().unwrap();
    let refused = socket.send_to(b"x", to_all).unwrap_err();
    // A machine without a network says so first.
    let kinds = [ErrorKind::PermissionDenied, ErrorKind::NetworkUnreachable];
    assert!(kinds.contains(&refused.kind()), "{refused}");
    socket.set_broadcast(true).unwrap();
    assert!(socket.broadcast().unwrap());
    socket.set_ttl(7).unwrap();
    assert_eq!(socket.ttl().unwrap(), 7);
    socket.set_recv_buffer_size(30_000).unwrap();
    assert!(socket.recv_buffer_size().unwrap() >= 30_000);
    socket.set_send_buffer_size(20_000).unwrap();
    assert!(socket.send_buffer_size().unwrap() >= 20_000);
    assert!(socket.take_error().unwrap().is_none());
}

#[test]
fn options_of_sockets_over_ipv6() {
    use nix::sys::socket::{getsockopt, sockopt};
    use std::os::fd::{AsRawFd, BorrowedFd};
    let here = "[::1]:0".parse().unwrap();
    let Ok(socket) = UdpSocket::bind(here) else {
        return; // no IPv6 here
    };
    let listener = TcpListener::bind(here).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // SAFETY: the sockets stay open.
    let system = |fd: &dyn AsRawFd| unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
    let both = |fd: &dyn AsRawFd| {
        let v4 = getsockopt(&system(fd), sockopt::Ipv4Ttl).unwrap();
        (v4, getsockopt(&system(fd), sockopt::Ipv6Ttl).unwrap())
    };
    socket.set_ttl(7).unwrap();
    assert_eq!((both(&socket), socket.ttl().unwrap()), ((7, 7), 7));
    stream.set_ttl(8).unwrap();
    assert_eq!((both(&stream), stream.ttl().unwrap()), ((8, 8), 8));
    for none in [0, 256] {
        assert!(socket.set_ttl(none).is_err() && stream.set_ttl(none).is_err());
    }
    assert_eq!((both(&socket), both(&stream)), ((7, 7), (8, 8)));
    let groups = || {
        let gets = socket.multicast_loop_v6().unwrap();
        (gets, socket.multicast_hops_v6().unwrap())
    };
    assert_eq!(groups(), (true, 1));
    socket.set_multicast_loop_v6(false).unwrap();
    socket.set_multicast_hops_v6(5).unwrap();
    assert_eq!(groups(), (false, 5));
    let hops = getsockopt(&system(&socket), sockopt::Ipv6MulticastHops);
    assert_eq!(hops.unwrap(), 5);
    assert!(socket.set_multicast_hops_v6(256).is_err());
}

#[test]
fn a_group_gets_what_is_sent_to_it() {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let loopback = Ipv4Addr::LOCALHOST;
    let member = UdpSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    member.join_multicast_v4(&group, &loopback).unwrap();
    let sender = UdpSocket::bind(any()).unwrap();
    sender.set_multicast_loop_v4(true).unwrap();
    sender.set_multicast_ttl_v4(1).unwrap();
    let port = member.local_addr().unwrap().port();
    let addr = SocketAddr::from((group, port));
    // Without a route to it (a machine without a network) the system refuses.
    match sender.send_to(b"to all", addr) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::NetworkUnreachable),
        Ok(_) => {
            member.set_read_timeout(Some(LONG)).unwrap();
            let mut buf = [0; 8];
            let (length, from) = member.recv_from(&mut buf).unwrap();
            assert_eq!(&buf[..length], b"to all");
            assert_eq!(from, sender.local_addr().unwrap());
        }
    }
    member.leave_multicast_v4(&group, &loopback).unwrap();
    assert!(member.leave_multicast_v4(&group, &loopback).is_err());
}

#[test]
fn unix_streams_carry_bytes_both_ways() {
    const BYTES: usize = 1 << 20;
    let place = Place::new("stream");
    let listener = UnixListener::bind(&place.0).unwrap();
    assert_eq!(
        UnixListener::bind(&place.0).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    spawn(move || {
        let (mut stream, _) = listener.accept()?;
        // Back comes what has come, and then the end.
        let mut all = vec![];
        stream.read_to_end(&mut all)?;
        Ok(stream.write_all(&all)?)
    })
    .unwrap();
    let mut stream = UnixStream::connect(&place.0).unwrap();
    let peer = stream.peer_addr().unwrap();
    assert_eq!(peer.as_pathname(), Some(place.0.as_path()));
    assert!(stream.local_addr().unwrap().is_unnamed());
    let sent: Vec<u8> = (0..BYTES).map(|i| (i * 7 + i / 256) as u8).collect();
    let mut count = 0;
    stream.write_all_counted(&sent, &mut count).unwrap();
    assert_eq!(count, BYTES);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = vec![];
    stream.read_to_end(&mut back).unwrap();
    assert!(back == sent);
}

#[test]
fn a_unix_stream_without_a_listener_or_with_a_full_one() {
    let place = Place::new("full");
    assert_eq!(
        UnixStream::connect(&place.0).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let long = "x".repeat(200);
    assert!(UnixStream::connect(long).is_err());
    let listener = UnixListener::bind(&place.0).unwrap();
    // SAFETY: the descriptor is open. A shorter queue takes effect at once.
    unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 0) };
    let first = UnixStream::connect(&place.0).unwrap();
    let start = Instant::now();
    let error = UnixStream::connect_timeout(&place.0, MS(30)).unwrap_err();
    assert!(is_timeout(error) && start.elapsed() >= MS(30));
    let accepts = spawn(move || {
        hardswitch::sleep(MS(20))?;
        listener.accept()?;
        listener.accept()?;
        Ok(())
    })
    .unwrap();
    UnixStream::connect_timeout(&place.0, LONG).unwrap();
    finish();
    assert!(!accepts.is_alive());
    drop(first);
    // The file is there, and nobody listens.
    assert_eq!(
        UnixStream::connect(&place.0).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}

#[test]
fn limits_and_vectors_of_a_unix_stream() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(MS(10))).unwrap();
    assert!(is_timeout(near.read(&mut [0]).unwrap_err()));
    far.set_write_timeout(Some(MS(10))).unwrap();
    let block = vec![1; 1 << 20];
    let mut sent = 0;
    let error = far.write_all_counted(&block, &mut sent).unwrap_err();
    assert!(is_timeout(error) && 0 < sent && sent < block.len());
    near.set_read_timeout(Some(LONG)).unwrap();
    let mut read = 0;
    while read < sent {
        read += near.read(&mut vec![0; 1 << 16]).unwrap();
    }
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b"cde")];
    assert_eq!(far.write_vectored(&parts).unwrap(), 5);
    let (mut one, mut two) = ([0; 3], [0; 9]);
    let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(near.read_vectored(&mut parts).unwrap(), 5);
    assert_eq!((&one, &two[..2]), (b"abc", &b"de"[..]));
}

#[test]
fn unix_datagrams_arrive_whole_and_none_is_lost() {
    const COUNT: usize = 5_000;
    let place = Place::new("datagrams");
    let here = UnixDatagram::bind(&place.0).unwrap();
    let there = UnixDatagram::unbound().unwrap();
    let to = place.0.clone();
    let sender = spawn(move || {
        for number in 0..COUNT {
            // It waits while the queue is full.
            there.send_to(&number.to_ne_bytes(), &to)?;
        }
        Ok(())
    })
    .unwrap();
    let mut buf = [0; 16];
    for number in 0..COUNT {
        let (length, from) = here.recv_from(&mut buf).unwrap();
        assert_eq!(buf[..length], number.to_ne_bytes());
        assert!(from.is_unnamed());
    }
    finish();
    assert!(!sender.is_alive());
    let (one, other) = UnixDatagram::pair().unwrap();
    other.send(b"x").unwrap();
    assert_eq!(one.recv(&mut buf).unwrap(), 1);
    drop(other);
    assert!(one.send(b"x").is_err());
}

/// The system says at all times that a socket can send which is not connected.
#[test]
fn a_sender_of_unix_datagrams_spends_no_time_while_the_queue_is_full() {
    let place = Place::new("slow");
    let here = UnixDatagram::bind(&place.0).unwrap();
    let there = UnixDatagram::unbound().unwrap();
    there.set_write_timeout(Some(MS(300))).unwrap();
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut spent = || {
        // SAFETY: `time` is live.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let mut sent = 0;
    let (before, full) = loop {
        let before = spent();
        match there.send_to(b"x", &place.0) {
            Ok(_) => sent += 1,
            Err(full) => break (before, full),
        }
    };
    let spent = spent() - before;
    assert!(is_timeout(full) && sent > 0);
    assert!(spent < MS(150), "{spent:?} of 300 ms");
    drop(here);
}

#[test]
fn who_sends_datagrams_to_an_address_lets_the_loop_run_after_a_burst() {
    let main_loop = MainLoop::current().unwrap();
    // What is small counts as a kilobyte.
    main_loop.set_burst(2 * 1024);
    let name = format!("hardswitch-{}-burst", std::process::id());
    let name = net::SocketAddr::from_abstract_name(name).unwrap();
    let here = UnixDatagram::bind_addr(&name).unwrap();
    let sent = Rc::new(RefCell::new(0));
    let count = sent.clone();
    spawn(move || {
        let there = UnixDatagram::unbound()?;
        for _ in 0..6 {
            there.send_to_addr(b"x", &name)?;
            *count.borrow_mut() += 1;
        }
        Ok(())
    })
    .unwrap();
    let start = Instant::now();
    while *sent.borrow() < 6 {
        let before = *sent.borrow();
        main_loop.tick().unwrap();
        let in_a_tick = *sent.borrow() - before;
        assert!(in_a_tick <= 2, "{in_a_tick} in a tick");
        assert!(start.elapsed() < LONG);
    }
    here.set_read_timeout(Some(LONG)).unwrap();
    for _ in 0..6 {
        assert_eq!(here.recv(&mut [0; 8]).unwrap(), 1);
    }
}

#[test]
fn options_of_tcp() {
    let listener = TcpListener::bind(any()).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(stream.keepalive().unwrap(), None);
    let keepalive = Keepalive {
        idle: MS(2_500),
        interval: Duration::from_secs(7),
        probes: 4,
    };
    stream.set_keepalive(Some(keepalive)).unwrap();
    let rounded = Keepalive {
        idle: Duration::from_secs(3),
        ..keepalive
    };
    assert_eq!(stream.keepalive().unwrap(), Some(rounded));
    stream.set_keepalive(None).unwrap();
    assert_eq!(stream.keepalive().unwrap(), None);
    let for_ever = Keepalive {
        idle: Duration::MAX,
        ..keepalive
    };
    assert!(stream.set_keepalive(Some(for_ever)).is_err());
    assert!(stream
        .set_keepalive(Some(Keepalive {
            probes: 0,
            ..keepalive
        }))
        .is_err());
    assert_eq!(stream.linger().unwrap(), None);
    for (asked, found) in [(0, 0), (1_500, 2_000), (3_000, 3_000)] {
        stream.set_linger(Some(MS(asked))).unwrap();
        assert_eq!(stream.linger().unwrap(), Some(MS(found)));
    }
    stream.set_linger(None).unwrap();
    assert_eq!(stream.linger().unwrap(), None);
    assert_eq!(listener.timeout(), None);
    listener.set_timeout(Some(MS(20))).unwrap();
    assert_eq!(listener.timeout(), Some(MS(20)));
    // Nothing is there, and nothing is waited for.
    assert_eq!(stream.peek(&mut []).unwrap(), 0);
    stream.set_ttl(33).unwrap();
    assert_eq!(stream.ttl().unwrap(), 33);
    stream.set_nodelay(true).unwrap();
    assert!(stream.nodelay().unwrap());
    stream.set_recv_buffer_size(40_000).unwrap();
    assert!(stream.recv_buffer_size().unwrap() >= 40_000);
    listener.set_recv_buffer_size(50_000).unwrap();
    assert!(listener.recv_buffer_size().unwrap() >= 50_000);
}

#[test]
fn an_abstract_name_is_no_file_and_is_free_again() {
    let name = |end| {
        let name = format!("hardswitch-{}-{end}", std::process::id());
        net::SocketAddr::from_abstract_name(name).unwrap()
    };
    let (to, datagrams) = (name("stream"), name("datagrams"));
    for _ in 0..2 {
        let listener = UnixListener::bind_addr(&to).unwrap();
        listener.set_timeout(Some(LONG)).unwrap();
        assert_eq!(listener.timeout(), Some(LONG));
        let taken = UnixListener::bind_addr(&to).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let mut one = UnixStream::connect_addr(&to).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        one.write_all(b"x").unwrap();
        assert_eq!(other.read(&mut [0; 2]).unwrap(), 1);
        let peer = one.peer_addr().unwrap();
        assert_eq!(peer.as_abstract_name(), to.as_abstract_name());
    }
    let nobody = UnixStream::connect_addr(&to).unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
    let here = UnixDatagram::bind_addr(&datagrams).unwrap();
    let there = UnixDatagram::unbound().unwrap();
    assert_eq!(there.send_to_addr(b"one", &datagrams).unwrap(), 3);
    there.connect_addr(&datagrams).unwrap();
    let peer = there.peer_addr().unwrap();
    assert_eq!(peer.as_abstract_name(), datagrams.as_abstract_name());
    there.send(b"other").unwrap();
    let mut buf = [0; 8];
    assert_eq!(here.recv(&mut buf).unwrap(), 3);
    assert_eq!(here.recv(&mut buf).unwrap(), 5);
}

#[test]
fn an_address_is_shared_by_those_that_ask_for_it() {
    let first = UdpSocket::bind_shared(any()).unwrap();
    let addr = first.local_addr().unwrap();
    let second = UdpSocket::bind_shared(addr).unwrap();
    assert_eq!(second.local_addr().unwrap(), addr);
    let alone = UdpSocket::bind(addr).unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::AddrInUse);
    assert!(first.multicast_loop_v4().unwrap());
    first.set_multicast_loop_v4(false).unwrap();
    assert!(!first.multicast_loop_v4().unwrap());
    assert_eq!(first.multicast_ttl_v4().unwrap(), 1);
    first.set_multicast_ttl_v4(4).unwrap();
    assert_eq!(first.multicast_ttl_v4().unwrap(), 4);
}

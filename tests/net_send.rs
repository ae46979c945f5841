//! A stream that other threads may hold works on its own thread alone, and does no harm on others.

use hardswitch::main_loop::Poller;
use hardswitch::net::{SendStream, TcpListener, TcpStream};
use hardswitch::{spawn, MainLoop};
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Tests that look at numbers of descriptors run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

/// Two ends of a connection of this thread's.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

fn send_pair() -> (SendStream, TcpStream) {
    let (ours, peer) = pair();
    (SendStream::new(ours).unwrap(), peer)
}

fn elsewhere<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    std::thread::spawn(f).join().unwrap()
}

/// Can the two talk, waiting for each other?
fn they_talk(mut one: impl Read + Write + 'static, mut other: TcpStream) {
    let writes = spawn(move || -> hardswitch::Result<()> {
        let mut text = [0; 5];
        other.read_exact(&mut text)?;
        assert_eq!(&text, b"there");
        Ok(other.write_all(b"and back")?)
    });
    writes.unwrap();
    one.write_all(b"there").unwrap();
    let mut text = String::new();
    one.read_to_string(&mut text).unwrap();
    assert_eq!(text, "and back");
}

fn is_refused<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("another thread"), "{error}");
}

#[test]
fn at_home_one_tasklet_reads_while_another_writes() {
    let (stream, peer) = send_pair();
    let (stream, other) = (Arc::new(stream), SendStream::new(peer).unwrap());
    stream.set_read_timeout(Some(MS(60_000))).unwrap();
    let writer = stream.clone();
    const SIZE: usize = 3 << 20;
    spawn(move || {
        let data = vec![7; SIZE];
        (&*writer).write_all(&data).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    })
    .unwrap();
    spawn(move || {
        // An echo.
        let mut buffer = vec![0; 65536];
        loop {
            match (&other).read(&mut buffer).unwrap() {
                0 => break,
                n => (&other).write_all(&buffer[..n]).unwrap(),
            }
        }
    })
    .unwrap();
    let mut got = vec![];
    (&*stream).read_to_end(&mut got).unwrap();
    assert!(got.len() == SIZE && got.iter().all(|&byte| byte == 7));
    assert!(stream.is_here());
    stream.close().unwrap();
    let closed = (&*stream).read(&mut [0]).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn on_another_thread_every_use_is_refused_and_nothing_has_changed() {
    let (stream, peer) = send_pair();
    stream.set_write_timeout(Some(MS(60_000))).unwrap();
    let stream = elsewhere(move || {
        let mut stream = stream;
        assert!(!stream.is_here());
        is_refused(stream.read(&mut [0; 9]));
        is_refused(stream.read(&mut []));
        is_refused(stream.write(b"x"));
        is_refused(stream.write_vectored(&[IoSlice::new(b"x")]));
        is_refused((&stream).read(&mut [0]));
        is_refused(stream.shutdown(Shutdown::Both));
        is_refused(stream.close());
        is_refused(stream.set_read_timeout(Some(MS(1))));
        is_refused(stream.set_write_timeout(Some(MS(1))));
        is_refused(stream.read_timeout());
        is_refused(stream.write_timeout());
        is_refused(stream.set_nodelay(true));
        is_refused(stream.local_addr());
        is_refused(stream.peer_addr());
        assert!(format!("{stream:?}").contains("another thread"));
        stream
    });
    assert_eq!(stream.write_timeout().unwrap(), Some(MS(60_000)));
    assert_eq!(stream.read_timeout().unwrap(), None);
    assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
    // A thread that borrows it while a tasklet of this one waits in a read.
    let stream = Arc::new(stream);
    let (borrowed, peer) = (stream.clone(), RefCell::new(peer));
    let reader = stream.clone();
    let reads = spawn(move || {
        let mut text = [0; 5];
        (&*reader).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"after");
    })
    .unwrap();
    main_loop().tick().unwrap();
    assert!(reads.is_blocked());
    elsewhere(move || is_refused((&*borrowed).read(&mut [0])));
    peer.borrow_mut().write_all(b"after").unwrap();
    main_loop().run_until_idle().unwrap();
    assert!(!reads.is_alive());
    they_talk(Arc::into_inner(stream).unwrap(), peer.into_inner());
}

/// Has epoll told of a stream's descriptor: a tasklet waits for it once.
fn wait_once(stream: &SendStream) {
    stream.set_read_timeout(Some(MS(5))).unwrap();
    let late = { stream }.read(&mut [0]).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    stream.set_read_timeout(None).unwrap();
}

fn number(stream: SendStream) -> (SendStream, RawFd) {
    let stream = stream.into_inner();
    let fd = stream.as_raw_fd();
    (SendStream::new(stream).unwrap(), fd)
}

#[test]
fn to_drop_it_on_another_thread_closes_it_and_its_number_can_be_used_again() {
    let _alone = alone();
    for poller in [Poller::Epoll, Poller::Poll] {
        main_loop().set_poller(poller);
        let mut used_again = 0;
        for _ in 0..20 {
            let (stream, mut peer) = send_pair();
            let (stream, fd) = number(stream);
            wait_once(&stream);
            elsewhere(move || drop(stream));
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the peer sees the end");
            let (next, other) = pair();
            used_again += usize::from(next.as_raw_fd() == fd || other.as_raw_fd() == fd);
            they_talk(next, other);
        }
        assert!(used_again > 0, "no number was used again");
        assert_eq!(main_loop().waiting(), (0, 0));
    }
}

#[test]
fn it_may_be_dropped_where_its_thread_or_the_dropping_one_is_ending() {
    thread_local! {
        static KEPT: RefCell<Option<SendStream>> = const { RefCell::new(None) };
    }
    let (stream, mut peer) = send_pair();
    elsewhere(move || KEPT.set(Some(stream)));
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    // Its own thread is gone.
    let (listener, addr) = {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    };
    let left = elsewhere(move || SendStream::new(TcpStream::connect(addr).unwrap()).unwrap());
    let (mut peer, _) = listener.accept().unwrap();
    is_refused((&left).write(b"x"));
    drop(left);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn another_thread_may_take_it_over() {
    let _alone = alone();
    for poller in [Poller::Epoll, Poller::Poll] {
        main_loop().set_poller(poller);
        let (ours, peer) = pair();
        ours.set_write_timeout(Some(MS(7))).unwrap();
        let stream = SendStream::new(ours).unwrap();
        let peer = SendStream::new(peer).unwrap();
        wait_once(&stream);
        wait_once(&peer);
        elsewhere(move || {
            let stream = stream.into_inner();
            assert_eq!(stream.write_timeout(), Some(MS(7)));
            they_talk(stream, peer.into_inner());
        });
        // This thread's loop has been told of a descriptor that has data now and is none of its
        // business: it sleeps all the same.
        let (ours, mut peer) = pair();
        let stream = SendStream::new(ours).unwrap();
        wait_once(&stream);
        peer.write_all(b"unread").unwrap();
        let (over, end) = std::sync::mpsc::channel::<()>();
        let holds = std::thread::spawn(move || {
            let stream = stream.into_inner();
            let _ = end.recv();
            drop(stream);
        });
        let keeps = wait_for_nothing();
        main_loop().pump(Some(MS(20))).unwrap();
        let start = Instant::now();
        main_loop().pump(Some(MS(200))).unwrap();
        assert!(start.elapsed() >= MS(200), "{:?}", start.elapsed());
        keeps.kill().unwrap();
        drop(over);
        holds.join().unwrap();
    }
}

/// A tasklet that waits for a socket, so that the loop asks the system.
fn wait_for_nothing() -> hardswitch::Tasklet {
    let (quiet, peer) = pair();
    let waits = spawn(move || {
        let _ = (&quiet).read(&mut [0]);
        drop(peer);
    });
    hardswitch::schedule().unwrap();
    waits.unwrap()
}

#[test]
fn a_stream_with_other_handles_stays_what_it_is() {
    let (ours, peer) = pair();
    let other = ours.try_clone().unwrap();
    let shared = SendStream::new(ours).unwrap_err();
    assert!(shared.to_string().contains("other handles"), "{shared}");
    let ours = shared.into_inner();
    assert_eq!(ours.as_raw_fd(), other.as_raw_fd());
    drop(ours);
    they_talk(SendStream::try_from(other).unwrap(), peer);
    let (ours, _peer) = pair();
    let _other = ours.try_clone().unwrap();
    let as_io = io::Error::from(SendStream::new(ours).unwrap_err());
    assert_eq!(as_io.kind(), ErrorKind::InvalidInput);
}

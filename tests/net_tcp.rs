//! Sockets of tasklets: whoever waits is a tasklet, and whoever leaves a wait leaves nothing
//! behind.

mod common;

use hardswitch::main_loop::Poller;
use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{Backend, Events, Fd, Kind, PollFd, Sets};
use hardswitch::net::{Os, TcpListener, TcpStream, UnixStream};
use hardswitch::{spawn, Channel, Error, MainLoop, Tasklet};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

const ANY: &str = "127.0.0.1:0";
const MS: fn(u64) -> Duration = Duration::from_millis;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(ANY.parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let client = TcpStream::connect(addr).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A peer on the standard library's side.
fn half_pair() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

fn finish() {
    main_loop().run_until_idle().unwrap();
    assert_eq!(main_loop().waiting(), (0, 0), "waiters were left behind");
}

/// Ticks until the condition holds.
fn tick_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        main_loop().tick().unwrap();
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(MS(1));
    }
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// What a tasklet's closure returned, once it has.
struct Later<T>(Rc<RefCell<Option<T>>>, Tasklet);

fn later<T: 'static>(f: impl FnOnce() -> T + 'static) -> Later<T> {
    let result = Rc::new(RefCell::new(None));
    let slot = result.clone();
    let tasklet = spawn(move || {
        let value = f();
        *slot.borrow_mut() = Some(value);
    });
    Later(result, tasklet.unwrap())
}

impl<T> Later<T> {
    fn done(&self) -> bool {
        self.0.borrow().is_some()
    }
    fn take(&self) -> T {
        self.0
            .borrow_mut()
            .take()
            .expect("the tasklet has finished")
    }
}

#[test]
fn large_data_crosses_between_two_tasklets_whole_and_in_order() {
    const SIZE: usize = 3 << 20;
    let (mut a, mut b) = pair();
    let writer = later(move || a.write_all(&pattern(SIZE)));
    let reader = later(move || {
        let mut got = vec![];
        b.read_to_end(&mut got).map(|_| got)
    });
    finish();
    writer.take().unwrap();
    assert!(reader.take().unwrap() == pattern(SIZE));
}

#[test]
fn the_main_tasklet_drives_the_loop_while_it_waits() {
    let (listener, addr) = listener();
    let server = later(move || -> hardswitch::Result<()> {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept()?;
            let mut question = [0; 4];
            stream.read_exact(&mut question)?;
            hardswitch::sleep(MS(20))?;
            stream.write_all(&question.map(|b| b + 1))?;
        }
        Ok(())
    });
    for _ in 0..2 {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(b"abcd").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "bcde");
    }
    finish();
    server.take().unwrap();
}

#[test]
fn the_last_runnable_tasklet_drives_the_loop_when_main_is_blocked() {
    let (mut ours, mut peer) = half_pair();
    let channel = Channel::new();
    let sender = channel.clone();
    spawn(move || -> hardswitch::Result<()> {
        hardswitch::sleep(MS(10))?;
        let mut byte = [0];
        ours.read_exact(&mut byte)?;
        sender.send(byte[0])
    })
    .unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(MS(40));
        peer.write_all(b"x").unwrap();
    });
    assert_eq!(channel.receive().unwrap(), b'x');
    thread.join().unwrap();
    finish();
}

#[test]
fn a_hundred_connections_are_served_by_sliced_tasklets() {
    const CLIENTS: usize = 100;
    let (listener, addr) = listener();
    let served = Rc::new(Cell::new(0));
    let count = served.clone();
    // Buffers live on the stacks that are sliced away while their tasklets wait.
    // SAFETY: nothing outside of these tasklets refers to their stacks: the streams and the counter
    // are moved in, buffers are used in place, and the reactor keeps heap objects only.
    let sliced = |name: String| unsafe { Tasklet::builder().name(name).sliced() };
    let serve = move |stream: TcpStream| -> hardswitch::Result<()> {
        let mut buffer = [0; 700];
        loop {
            match (&stream).read(&mut buffer)? {
                0 => return Ok(()),
                n => (&stream).write_all(&buffer[..n])?,
            }
        }
    };
    sliced("acceptor".into())
        .spawn(move || -> hardswitch::Result<()> {
            for i in 0..CLIENTS {
                let (stream, _) = listener.accept()?;
                sliced(format!("server {i}")).spawn(move || serve(stream))?;
            }
            Ok(())
        })
        .unwrap();
    for i in 0..CLIENTS {
        let count = count.clone();
        sliced(format!("client {i}"))
            .spawn(move || -> hardswitch::Result<()> {
                let stream = TcpStream::connect(addr)?;
                for round in 0..5 {
                    let sent = [(i * 7 + round) as u8; 1000];
                    let mut got = [0; 1000];
                    (&stream).write_all(&sent)?;
                    (&stream).read_exact(&mut got)?;
                    assert_eq!(sent, got);
                }
                count.set(count.get() + 1);
                Ok(())
            })
            .unwrap();
    }
    finish();
    assert_eq!(served.get(), CLIENTS);
}

#[test]
fn a_refused_connection_says_so() {
    let (listener, addr) = listener();
    drop(listener);
    assert_eq!(
        TcpStream::connect(addr).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let tasklet = later(move || TcpStream::connect_timeout(addr, Duration::from_secs(5)).map(drop));
    finish();
    assert_eq!(
        tasklet.take().unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}

#[test]
fn a_port_in_use_is_an_error() {
    let (_listener, addr) = listener();
    assert_eq!(
        TcpListener::bind(addr).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
}

#[test]
fn a_timeout_ends_the_wait_and_harms_nothing() {
    let (mut ours, mut peer) = half_pair();
    ours.set_read_timeout(Some(MS(30))).unwrap();
    let start = Instant::now();
    assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= MS(30));
    peer.write_all(b"late").unwrap();
    let mut got = [0; 4];
    ours.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"late");
    // A full send buffer.
    ours.set_write_timeout(Some(MS(30))).unwrap();
    let error = loop {
        if let Err(e) = ours.write_all(&[0; 65536]) {
            break e;
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(matches!(Error::from(error), Error::Timeout));
    let (listener, _) = listener();
    listener.set_timeout(Some(MS(10))).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    finish();
}

#[test]
fn a_timeout_of_zero_is_refused_and_a_huge_one_is_for_ever() {
    let (mut ours, mut peer) = half_pair();
    let zero = Some(Duration::ZERO);
    assert_eq!(
        ours.set_read_timeout(zero).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        ours.set_write_timeout(zero).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let addr = ours.peer_addr().unwrap();
    assert_eq!(
        TcpStream::connect_timeout(addr, Duration::ZERO)
            .unwrap_err()
            .kind(),
        ErrorKind::InvalidInput
    );
    ours.set_read_timeout(Some(Duration::MAX)).unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(MS(20));
        peer.write_all(b"x").unwrap();
    });
    assert_eq!(ours.read(&mut [0]).unwrap(), 1);
    thread.join().unwrap();
}

#[test]
fn a_killed_tasklet_gets_exit_out_of_its_read_and_leaves_no_waiter() {
    let (ours, _peer) = half_pair();
    let ours = Rc::new(ours);
    for pending in [false, true] {
        let stream = ours.clone();
        let reader = later(move || (&*stream).read(&mut [0]));
        main_loop().tick().unwrap();
        assert_eq!(main_loop().waiting(), (1, 0));
        if pending {
            reader.1.kill_pending().unwrap();
        } else {
            reader.1.kill().unwrap();
        }
        finish();
        assert!(
            matches!(Error::from(reader.take().unwrap_err()), Error::Exit),
            "pending: {pending}"
        );
    }
}

#[test]
fn question_mark_carries_exit_and_thrown_errors_through_io_results() {
    #[derive(Debug, PartialEq)]
    struct Level(u32);
    let (ours, _peer) = half_pair();
    ours.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let reader = later(move || -> hardswitch::Result<()> {
        fn io_only(mut stream: TcpStream) -> io::Result<String> {
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        }
        io_only(ours)?;
        Ok(())
    });
    main_loop().tick().unwrap();
    assert_eq!(main_loop().waiting(), (1, 1));
    reader.1.throw(Error::thrown(Level(7))).unwrap();
    match reader.take() {
        Err(Error::Thrown(thrown)) => assert_eq!(thrown.downcast_ref::<Level>(), Some(&Level(7))),
        other => panic!("{other:?}"),
    }
    finish();
}

#[test]
fn a_tasklet_killed_just_when_its_data_arrives_leaves_the_data() {
    let (ours, mut peer) = half_pair();
    let ours = Rc::new(ours);
    let stream = ours.clone();
    let reader = later(move || (&*stream).read(&mut [0]));
    main_loop().tick().unwrap();
    peer.write_all(b"!").unwrap();
    // The pump has queued it; before it runs, it is killed. And the other way round.
    while main_loop().pump(Some(MS(100))).unwrap() == 0 {}
    reader.1.kill_pending().unwrap();
    finish();
    assert!(matches!(
        Error::from(reader.take().unwrap_err()),
        Error::Exit
    ));
    let stream = ours.clone();
    let reader = later(move || stream.peek(&mut [0; 9]));
    finish();
    assert_eq!(reader.take().unwrap(), 1);
    assert_eq!((&*ours).read(&mut [0; 9]).unwrap(), 1);
}

#[test]
fn closing_ends_all_waits_with_the_documented_error() {
    let (ours, peer) = half_pair();
    // Fill it, so that a writer has to wait too.
    ours.set_write_timeout(Some(MS(1))).unwrap();
    while (&ours).write(&[0; 65536]).is_ok() {}
    ours.set_write_timeout(None).unwrap();
    let (listener, _) = listener();
    let waits: Vec<Later<io::Error>> = vec![
        later({
            let s = ours.try_clone().unwrap();
            move || (&s).read(&mut [0]).unwrap_err()
        }),
        later({
            let s = ours.try_clone().unwrap();
            move || (&s).read(&mut [0]).unwrap_err()
        }),
        later({
            let s = ours.try_clone().unwrap();
            move || loop {
                // The system may take some more first.
                if let Err(error) = (&s).write(&[0; 65536]) {
                    return error;
                }
            }
        }),
        later({
            let l = listener.try_clone().unwrap();
            move || l.accept().unwrap_err()
        }),
    ];
    main_loop().tick().unwrap();
    assert_eq!(main_loop().waiting().0, 4);
    ours.close();
    listener.close();
    ours.close();
    // The numbers are free again, and go to sockets on which nothing happens: those must not be
    // what is waited for now.
    let (other, mut other_peer) = half_pair();
    let (_more, _more_peer) = half_pair();
    tick_until("the end of all waits", || waits.iter().all(Later::done));
    for wait in waits {
        assert_eq!(wait.take().kind(), ErrorKind::ConnectionAborted);
    }
    assert_eq!(
        (&ours).read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionAborted
    );
    assert_eq!(
        ours.shutdown(Shutdown::Both).unwrap_err().kind(),
        ErrorKind::ConnectionAborted
    );
    assert_eq!((ours.as_raw_fd(), listener.as_raw_fd()), (-1, -1));
    other_peer.write_all(b"for somebody else").unwrap();
    assert_eq!((&other).read(&mut [0; 99]).unwrap(), 17);
    finish();
    drop(peer);
}

#[test]
fn shutdown_wakes_readers_with_the_end_of_the_stream() {
    let (ours, _peer) = half_pair();
    let reader = later({
        let s = ours.try_clone().unwrap();
        move || (&s).read(&mut [0])
    });
    main_loop().tick().unwrap();
    ours.shutdown(Shutdown::Both).unwrap();
    finish();
    assert_eq!(reader.take().unwrap(), 0);
}

#[test]
fn one_socket_serves_a_reader_and_a_writer_at_once() {
    const SIZE: usize = 1 << 20;
    let (ours, mut peer) = half_pair();
    let thread = std::thread::spawn(move || {
        // An echo.
        let mut buffer = vec![0; 10_000];
        let mut total = 0;
        while total < SIZE {
            let n = peer.read(&mut buffer).unwrap();
            peer.write_all(&buffer[..n]).unwrap();
            total += n;
        }
    });
    let ours = Rc::new(ours);
    let (reading, writing) = (ours.clone(), ours);
    let reader = later(move || {
        let mut got = vec![0; SIZE];
        (&*reading).read_exact(&mut got).map(|_| got)
    });
    let writer = later(move || (&*writing).write_all(&pattern(SIZE)));
    finish();
    writer.take().unwrap();
    assert!(reader.take().unwrap() == pattern(SIZE));
    thread.join().unwrap();
}

#[test]
fn several_readers_share_what_comes_without_loss() {
    let (ours, mut peer) = half_pair();
    let readers: Vec<Later<usize>> = (0..4)
        .map(|_| {
            let stream = ours.try_clone().unwrap();
            later(move || {
                let mut sum = 0;
                let mut bytes = [0; 3];
                loop {
                    match (&stream).read(&mut bytes).unwrap() {
                        0 => return sum,
                        n => sum += bytes[..n].iter().map(|b| *b as usize).sum::<usize>(),
                    }
                }
            })
        })
        .collect();
    let thread = std::thread::spawn(move || {
        for i in 0..200u8 {
            peer.write_all(&[i]).unwrap();
            if i % 50 == 0 {
                std::thread::sleep(MS(3));
            }
        }
    });
    finish();
    thread.join().unwrap();
    assert_eq!(
        readers.iter().map(Later::take).sum::<usize>(),
        (0..200).sum()
    );
}

#[test]
fn several_tasklets_accept_from_one_listener() {
    let (listener, addr) = listener();
    let acceptors: Vec<Later<SocketAddr>> = (0..3)
        .map(|_| {
            let listener = listener.try_clone().unwrap();
            later(move || listener.accept().unwrap().1)
        })
        .collect();
    main_loop().tick().unwrap();
    let clients: Vec<_> = (0..3)
        .map(|_| std::net::TcpStream::connect(addr).unwrap())
        .collect();
    finish();
    let mut accepted: Vec<_> = acceptors.iter().map(Later::take).collect();
    let mut connected: Vec<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
    accepted.sort();
    connected.sort();
    assert_eq!(accepted, connected);
}

#[test]
fn a_flood_neither_holds_the_tick_nor_starves_others() {
    let (mut ours, mut peer) = half_pair();
    let flood = std::thread::spawn(move || {
        let junk = vec![0; 1 << 20];
        while peer.write_all(&junk).is_ok() {}
    });
    let received = Rc::new(Cell::new(0usize));
    let count = received.clone();
    let reader = spawn(move || -> hardswitch::Result<()> {
        let mut buffer = vec![0; 65536];
        loop {
            count.set(count.get() + ours.read(&mut buffer)?);
        }
    })
    .unwrap();
    let other = later(|| (0..3).try_for_each(|_| hardswitch::sleep(MS(1))));
    tick_until("the other tasklet and some of the flood", || {
        other.done() && received.get() > 4 << 20
    });
    let before = received.get();
    main_loop().tick().unwrap();
    assert!(
        received.get() - before <= hardswitch::net::BURST + 65536,
        "{} bytes in one tick",
        received.get() - before
    );
    reader.kill().unwrap();
    flood.join().unwrap();
    finish();
}

#[test]
fn as_much_is_moved_in_a_tick_as_was_set() {
    assert_eq!(main_loop().burst(), hardswitch::net::BURST);
    let (mut ours, mut peer) = half_pair();
    let flood = std::thread::spawn(move || {
        let junk = vec![0; 1 << 20];
        while peer.write_all(&junk).is_ok() {}
    });
    const READ: usize = 32 * 1024;
    let received = Rc::new(Cell::new(0usize));
    let count = received.clone();
    let reader = spawn(move || -> hardswitch::Result<()> {
        let mut buffer = vec![0; READ];
        loop {
            count.set(count.get() + ours.read(&mut buffer)?);
        }
    })
    .unwrap();
    let in_a_tick = || {
        let before = received.get();
        main_loop().tick().unwrap();
        received.get() - before
    };
    // With nothing each operation waits for its tick.
    for burst in [0, 4 * READ, 6 * READ + 1] {
        main_loop().set_burst(burst);
        assert_eq!(main_loop().burst(), burst);
        // It holds from the next wait on.
        main_loop().tick().unwrap();
        let mut largest = 0;
        tick_until("a tick with as much", || {
            largest = largest.max(in_a_tick());
            assert!(largest <= burst + READ, "{largest} bytes, not {burst}");
            largest >= burst.max(1)
        });
    }
    // More than by default, as soon as the system has so much.
    main_loop().set_burst(64 << 20);
    let end = Instant::now() + MS(60_000);
    while in_a_tick() <= hardswitch::net::BURST {
        assert!(Instant::now() < end, "never more than by default");
        std::thread::sleep(MS(10));
    }
    reader.kill().unwrap();
    flood.join().unwrap();
    finish();
}

/// The system's poll; keeps the longest time that it was to wait for.
struct Longest(Rc<Cell<Duration>>);

impl Backend for Longest {
    fn poll(&mut self, fds: &mut [PollFd], time: Option<Duration>) -> Result<usize, Errno> {
        self.0.set(self.0.get().max(time.unwrap_or(Duration::MAX)));
        Os.poll(fds, time)
    }
    fn select(&mut self, sets: &mut Sets, time: Option<Duration>) -> Result<usize, Errno> {
        Os.select(sets, time)
    }
    fn now(&mut self) -> Duration {
        Os.now()
    }
}

#[test]
fn a_tick_with_a_budget_waits_a_moment_for_a_peer_that_was_fast_and_for_no_other() {
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let (mut ours, mut peer) = half_pair();
    let (ask, asked) = std::sync::mpsc::channel::<usize>();
    let sender = std::thread::spawn(move || {
        for size in asked {
            peer.write_all(&vec![0; size]).unwrap();
        }
    });
    let received = Rc::new(Cell::new(0usize));
    let count = received.clone();
    let reader = spawn(move || -> hardswitch::Result<()> {
        let mut buffer = vec![0; 65536];
        loop {
            count.set(count.get() + ours.read(&mut buffer)?);
        }
    });
    let reader = reader.unwrap();
    main_loop().set_backend(Box::new(Longest(longest.clone())));
    // Ticks until so much has come.
    let comes = |size| {
        let all = received.get() + size;
        ask.send(size).unwrap();
        let end = Instant::now() + MS(60_000);
        while received.get() < all {
            main_loop().tick_for(MS(100)).unwrap();
            assert!(Instant::now() < end, "it does not come");
            std::thread::sleep(MS(1));
        }
    };
    for _ in 0..50 {
        comes(100_000);
    }
    assert_eq!(longest.get(), Duration::ZERO);
    let end = Instant::now() + MS(60_000);
    while longest.get().is_zero() {
        assert!(Instant::now() < end, "it never waits");
        comes(16 << 20);
    }
    assert!(longest.get() <= Duration::from_micros(250), "{longest:?}");
    // It is over with that tick.
    longest.set(Duration::ZERO);
    comes(100_000);
    assert_eq!(longest.get(), Duration::ZERO);
    main_loop().clear_backend();
    reader.kill().unwrap();
    drop(ask);
    sender.join().unwrap();
    finish();
}

#[test]
fn a_tick_with_a_budget_waits_for_no_socket_whose_operations_fail() {
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let any = "127.0.0.1:0".parse().unwrap();
    let gone = hardswitch::net::UdpSocket::bind(any).unwrap();
    let socket = hardswitch::net::UdpSocket::bind(any).unwrap();
    socket.connect(gone.local_addr().unwrap()).unwrap();
    drop(gone);
    let failures = Rc::new(Cell::new(0));
    let count = failures.clone();
    let fails = spawn(move || -> hardswitch::Result<()> {
        loop {
            match socket.send(b"is anybody there?") {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => count.set(count.get() + 1),
                Err(e) => return Err(e.into()),
            }
        }
    });
    let fails = fails.unwrap();
    main_loop().set_backend(Box::new(Longest(longest.clone())));
    let end = Instant::now() + MS(60_000);
    while failures.get() < 100 {
        main_loop().tick_for(MS(5)).unwrap();
        assert!(Instant::now() < end, "it does not fail");
    }
    assert_eq!(longest.get(), Duration::ZERO);
    main_loop().clear_backend();
    fails.kill().unwrap();
    finish();
}

#[test]
fn a_tasklet_that_must_not_block_is_told_so() {
    let (mut ours, _peer) = half_pair();
    hardswitch::current().set_block_trap(true);
    let error = ours.read(&mut [0]).unwrap_err();
    hardswitch::current().set_block_trap(false);
    assert!(matches!(Error::from(error), Error::BlockTrap));
    let trapped = later(move || {
        hardswitch::current().set_block_trap(true);
        ours.read(&mut [0]).unwrap_err()
    });
    finish();
    assert!(matches!(Error::from(trapped.take()), Error::BlockTrap));
}

#[test]
fn after_a_read_that_left_room_the_next_one_waits_for_a_pump_before_it_looks() {
    main_loop().set_poller(Poller::Epoll);
    let (mut ours, peer) = half_pair();
    let (mut sender, reads) = (peer.try_clone().unwrap(), Rc::new(Cell::new(0)));
    let count = reads.clone();
    let reader = later(move || {
        let mut room = [0; 16];
        while ours.read(&mut room).unwrap() > 0 {
            count.set(count.get() + 1);
            if count.get() < 3 {
                sender.write_all(b"x").unwrap();
            }
        }
    });
    tick_until("the first read waits", || main_loop().waiting().0 == 1);
    (&peer).write_all(b"x").unwrap();
    tick_until("the first read", || reads.get() > 0);
    assert_eq!(reads.get(), 1, "what came in the meantime waits for a pump");
    tick_until("all reads", || reads.get() == 3);
    peer.shutdown(Shutdown::Both).unwrap();
    tick_until("the end", || reader.done());
    finish();
}

/// After a read that left room the next one waits before it looks. Not where that would fail.
#[test]
fn what_is_there_is_had_without_a_wait_whatever_the_read_before_has_found() {
    let (mut ours, peer) = half_pair();
    let mut sender = peer.try_clone().unwrap();
    let reads = later(move || {
        let mut room = [0; 16];
        let mut read = |ours: &mut TcpStream| ours.read(&mut room).map_err(|error| error.kind());
        let waited = read(&mut ours);
        sender.write_all(b"bc").unwrap();
        hardswitch::current().set_block_trap(true);
        let trapped = read(&mut ours);
        hardswitch::current().set_block_trap(false);
        sender.write_all(b"ghij").unwrap();
        let others = later(|| ());
        hardswitch::current().set_atomic(true);
        let atomic = read(&mut ours);
        assert!(!others.done(), "it gave way");
        hardswitch::current().set_atomic(false);
        sender.write_all(b"def").unwrap();
        ours.set_read_timeout(Some(Duration::from_nanos(1)))
            .unwrap();
        let hurried = read(&mut ours);
        [waited, trapped, atomic, hurried, read(&mut ours)]
    });
    tick_until("the first read waits", || main_loop().waiting().0 == 1);
    (&peer).write_all(b"a").unwrap();
    tick_until("all is read", || reads.done());
    assert_eq!(
        reads.take(),
        [Ok(1), Ok(2), Ok(4), Ok(3), Err(ErrorKind::TimedOut)]
    );
    finish();
}

#[test]
fn small_things_are_as_in_std() {
    let (ours, peer) = half_pair();
    assert_eq!(ours.peer_addr().unwrap(), peer.local_addr().unwrap());
    assert_eq!(ours.local_addr().unwrap(), peer.peer_addr().unwrap());
    ours.set_nodelay(true).unwrap();
    assert!(ours.nodelay().unwrap());
    assert_eq!((&ours).read(&mut []).unwrap(), 0);
    assert!(ours.take_error().unwrap().is_none());
    assert!(format!("{ours:?}").starts_with("TcpStream("));
    // Adopted from std, it does not block the thread.
    let adopted = TcpStream::from_std(peer).unwrap();
    adopted.set_read_timeout(Some(MS(5))).unwrap();
    assert_eq!(
        (&adopted).read(&mut [0]).unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    drop(ours);
    assert_eq!((&adopted).read(&mut [0]).unwrap(), 0);
}

#[test]
fn ipv6_works_where_the_machine_has_it() {
    let Ok(listener) = TcpListener::bind("[::1]:0".parse().unwrap()) else {
        return;
    };
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    assert!(peer.is_ipv6());
    client.write_all(b"6").unwrap();
    assert_eq!(server.read(&mut [0; 2]).unwrap(), 1);
}

/// The PS3's poll under the whole: it fails with the error of one socket and leaves revents alone.
struct Console {
    failures: Rc<Cell<usize>>,
}

impl Backend for Console {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let mut answer = fds.to_vec();
        let n = Os.poll(&mut answer, timeout)?;
        if answer.iter().any(|fd| fd.revents.contains(Events::ERR)) {
            self.failures.set(self.failures.get() + 1);
            return Err(Errno::ECONNRESET);
        }
        fds.copy_from_slice(&answer);
        Ok(n)
    }
    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        Os.select(sets, timeout)
    }
    fn now(&mut self) -> Duration {
        Os.now()
    }
    fn kind(&mut self, fd: Fd) -> Kind {
        Os.kind(fd)
    }
    fn unread(&mut self, fd: Fd) -> usize {
        Os.unread(fd)
    }
    fn urgent(&mut self, fd: Fd) -> bool {
        Os.urgent(fd)
    }
}

#[test]
fn on_a_console_a_reset_reaches_its_own_reader_and_nobody_else() {
    let failures = Rc::new(Cell::new(0));
    main_loop().set_backend(Box::new(Console {
        failures: failures.clone(),
    }));
    let (broken, peer) = pair();
    let (mut healthy, mut other) = half_pair();
    let victim = later(move || (&broken).read(&mut [0]));
    let bystander = later(move || {
        let mut text = String::new();
        healthy.read_to_string(&mut text).map(|_| text)
    });
    main_loop().tick().unwrap();
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer); // a reset
    tick_until("the reset", || victim.done());
    assert_eq!(
        victim.take().unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert!(!bystander.done());
    other.write_all(b"unharmed").unwrap();
    drop(other);
    finish();
    assert_eq!(bystander.take().unwrap(), "unharmed");
    // Refused connects come the same way.
    let (listener, addr) = listener();
    drop(listener);
    assert_eq!(
        TcpStream::connect(addr).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(failures.get() >= 2, "the console's poll never failed");
}

/// Sends a reset when it is dropped.
fn resets(stream: std::net::TcpStream) -> TcpStream {
    let stream = TcpStream::from_std(stream).unwrap();
    stream.set_linger(Some(Duration::ZERO)).unwrap();
    stream
}

/// A connection whose peer has sent `data` and then a reset, and three more handles of it.
fn lost(data: &[u8]) -> [TcpStream; 4] {
    let (ours, mut peer) = half_pair();
    peer.write_all(data).unwrap();
    drop(resets(peer));
    // It is there when it can be read.
    let mut byte = [0];
    while ours.peek(&mut byte).is_ok_and(|n| n == 0) {}
    [0; 4].map(|_| ours.try_clone().unwrap())
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_lost_connection_has_no_end_of_stream_for_any_of_its_users() {
    const LOST: Option<ErrorKind> = Some(ErrorKind::ConnectionReset);
    // The first reader is told by the system, the others by the socket; what came before is read
    // first.
    for data in [&b""[..], b"half a file"] {
        let handles = lost(data);
        let mut all = String::new();
        assert_eq!(kind((&handles[0]).read_to_string(&mut all)), LOST);
        for mut handle in &handles {
            assert_eq!(kind(handle.read(&mut [0])), LOST);
            assert_eq!(kind(handle.peek(&mut [0])), LOST);
            let mut bytes = [0; 4];
            let mut bytes = [io::IoSliceMut::new(&mut bytes)];
            assert_eq!(kind(handle.read_vectored(&mut bytes)), LOST);
            assert_eq!(kind(handle.write(b"x")), LOST);
        }
    }
    // A writer is told first.
    let handles = lost(b"");
    while (&handles[0]).write(b"x").is_ok() {}
    assert_eq!(kind((&handles[1]).read(&mut [0])), LOST);
    // Whoever asks for the pending error is told first.
    let handles = lost(b"");
    let told = handles[0].take_error().unwrap().map(|e| e.kind());
    if told == LOST {
        assert_eq!(kind((&handles[1]).read(&mut [0])), LOST);
    }
    finish();
}

#[test]
fn two_tasklets_that_wait_for_a_connection_are_both_told_of_its_loss() {
    let (ours, peer) = half_pair();
    let read = |mut ours: TcpStream| later(move || ours.read(&mut [0]));
    let readers = [0; 3].map(|_| read(ours.try_clone().unwrap()));
    main_loop().tick().unwrap();
    drop(resets(peer));
    finish();
    for reader in readers {
        assert_eq!(kind(reader.take()), Some(ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_reset_after_the_end_of_the_stream_takes_nothing_from_it() {
    let (mut ours, mut peer) = half_pair();
    peer.write_all(b"all of it").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut first = [0; 3];
    ours.read_exact(&mut first).unwrap();
    drop(resets(peer));
    let broken = loop {
        if let Err(error) = ours.write(b"x") {
            break error.kind();
        }
    };
    assert_eq!(broken, ErrorKind::BrokenPipe);
    let mut rest = String::new();
    ours.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " of it");
    finish();
}

#[test]
fn an_error_that_was_thrown_is_none_of_the_sockets() {
    let (ours, _peer) = half_pair();
    let error = io::Error::from_raw_os_error(libc::ECONNRESET);
    let reader = later(move || {
        let thrown = (&ours).read(&mut [0]).unwrap_err();
        ours.set_read_timeout(Some(MS(10))).unwrap();
        (thrown.kind(), (&ours).read(&mut [0]).unwrap_err().kind())
    });
    main_loop().tick().unwrap();
    reader.1.throw(Error::from(error)).unwrap();
    finish();
    assert_eq!(reader.take(), (ErrorKind::Other, ErrorKind::TimedOut));
}

/// In a child process: closes what other tests of the parent had open, which would count.
fn close_inherited() {
    for fd in 3..1024 {
        // SAFETY: nothing in the child uses them.
        unsafe { libc::close(fd) };
    }
}

fn limit_descriptors(n: u64) {
    let limit = libc::rlimit {
        rlim_cur: n,
        rlim_max: n,
    };
    // SAFETY: `limit` is live.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
fn more_tasklets_wait_than_there_may_be_descriptors_and_all_are_served() {
    let (text, end) = common::child(|| {
        close_inherited();
        limit_descriptors(64);
        let (listener, addr) = listener();
        let served = Rc::new(Cell::new(0));
        for _ in 0..200 {
            let (listener, served) = (listener.try_clone().unwrap(), served.clone());
            spawn(move || -> hardswitch::Result<()> {
                let (mut stream, _) = listener.accept()?;
                stream.write_all(b"x")?;
                served.set(served.get() + 1);
                Ok(())
            })
            .unwrap();
        }
        for i in 1..=200 {
            let mut byte = [0];
            TcpStream::connect(addr)
                .unwrap()
                .read_exact(&mut byte)
                .unwrap();
            assert_eq!(served.get(), i);
        }
        finish();
    });
    assert_eq!((text.as_str(), end), ("", 0));
}

#[test]
fn more_descriptors_than_there_may_be_by_now_are_all_served() {
    let (text, end) = common::child(|| {
        close_inherited();
        let mut readers = vec![];
        let mut writers = vec![];
        for _ in 0..40 {
            let (mut ours, peer) = half_pair();
            writers.push(peer);
            readers.push(later(move || {
                let mut text = String::new();
                ours.read_to_string(&mut text).map(|_| text)
            }));
        }
        limit_descriptors(16);
        main_loop().tick().unwrap();
        for (i, mut writer) in writers.into_iter().enumerate() {
            write!(writer, "{i}").unwrap();
        }
        finish();
        for (i, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.take().unwrap(), i.to_string());
        }
    });
    assert_eq!((text.as_str(), end), ("", 0));
}

/// A system that does not take a call with this descriptor in it.
struct Refuses(Fd, Errno);

impl Backend for Refuses {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        if fds.iter().any(|fd| fd.fd == self.0) {
            return Err(self.1);
        }
        Os.poll(fds, timeout)
    }
    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        Os.select(sets, timeout)
    }
    fn now(&mut self) -> Duration {
        Os.now()
    }
}

#[test]
fn a_descriptor_that_the_system_does_not_take_is_an_error_for_its_own_tasklet_alone() {
    for errno in [Errno::EBADF, Errno::EINVAL] {
        std::thread::spawn(move || {
            let (bad, _peer) = half_pair();
            main_loop().set_backend(Box::new(Refuses(bad.as_raw_fd(), errno)));
            let victim = later(move || (&bad).read(&mut [0]));
            let mut good = vec![];
            let mut peers = vec![];
            for _ in 0..5 {
                let (mut ours, peer) = half_pair();
                peers.push(peer);
                good.push(later(move || {
                    let mut text = String::new();
                    ours.read_to_string(&mut text).map(|_| text)
                }));
            }
            tick_until("the error", || victim.done());
            let error = victim.take().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
            for mut peer in peers {
                peer.write_all(b"unharmed").unwrap();
            }
            finish();
            for reader in good {
                assert_eq!(reader.take().unwrap(), "unharmed");
            }
        })
        .join()
        .unwrap();
    }
}

/// A system that says that everything is there, at once.
struct Hasty;

impl Backend for Hasty {
    fn poll(&mut self, fds: &mut [PollFd], _: Option<Duration>) -> Result<usize, Errno> {
        fds.iter_mut().for_each(|fd| fd.revents = fd.events);
        Ok(fds.len())
    }
    fn select(&mut self, sets: &mut Sets, _: Option<Duration>) -> Result<usize, Errno> {
        Ok(sets.len())
    }
    fn now(&mut self) -> Duration {
        Os.now()
    }
}

/// The address of a listener that answers no more connections, and what keeps it so.
fn full() -> (SocketAddr, Vec<std::net::TcpStream>, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    // SAFETY: it makes the queue of a listening socket shorter.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let addr = listener.local_addr().unwrap();
    let mut taken = vec![];
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, MS(300)) {
        taken.push(stream);
        assert!(taken.len() < 1000, "its queue has no end");
    }
    (addr, taken, listener)
}

#[test]
fn who_is_said_too_early_to_be_connected_waits_on() {
    let (addr, _taken, _listener) = full();
    main_loop().set_backend(Box::new(Hasty));
    let late = TcpStream::connect_timeout(addr, MS(50)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let (listener, addr) = listener();
    assert_eq!(TcpStream::connect(addr).unwrap().peer_addr().unwrap(), addr);
    drop(listener);
    assert_eq!(
        kind(TcpStream::connect(addr)),
        Some(ErrorKind::ConnectionRefused)
    );
}

#[test]
fn an_accept_that_fails_at_once_lets_those_run_who_give_descriptors_back() {
    // In a process of its own: the limit is one of the process.
    let (told, end) = common::child(|| {
        let served = std::panic::catch_unwind(|| {
            let (listener, addr) = listener();
            // The loop has the descriptors that it needs for waits.
            listener.set_timeout(Some(MS(1))).unwrap();
            listener.accept().unwrap_err();
            listener.set_timeout(None).unwrap();
            let start = Instant::now();
            // Room for two connections, both ends here, and for one more client.
            // SAFETY: plain system calls.
            unsafe {
                let limit = libc::rlimit {
                    rlim_cur: 256,
                    rlim_max: 256,
                };
                assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
                let mut last = 0;
                while let fd @ 0.. = libc::dup(0) {
                    last = fd;
                }
                for fd in last - 4..=last {
                    libc::close(fd);
                }
            }
            let refused = Rc::new(Cell::new(0));
            let count = refused.clone();
            spawn(move || -> hardswitch::Result<()> {
                let mut served = 0;
                while served < 3 {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            served += 1;
                            let count = count.clone();
                            spawn(move || -> hardswitch::Result<()> {
                                while count.get() == 0 {
                                    hardswitch::sleep(MS(1))?;
                                }
                                hardswitch::sleep(MS(20))?;
                                drop(stream);
                                Ok(())
                            })?;
                        }
                        Err(e) => {
                            assert_eq!(e.raw_os_error(), Some(libc::EMFILE));
                            count.set(count.get() + 1);
                            assert!(start.elapsed() < Duration::from_secs(30), "starved");
                        }
                    }
                }
                Ok(())
            })
            .unwrap();
            spawn(move || -> hardswitch::Result<()> {
                let mut clients = vec![];
                for _ in 0..3 {
                    clients.push(TcpStream::connect(addr)?);
                }
                for mut client in clients {
                    assert_eq!(client.read(&mut [0])?, 0);
                }
                Ok(())
            })
            .unwrap();
            finish();
        });
        if let Err(panic) = &served {
            // Past what captures the output of tests.
            let what = panic.downcast_ref::<String>();
            let _ = writeln!(io::stderr(), "{what:?}");
        }
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(served.is_err().into()) }
    });
    assert_eq!(end, 0, "{told}");
}

/// A host that does not ignore SIGPIPE, as most C programs do not, is not ended by a write to a peer
/// that is gone.
#[test]
fn a_write_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    let said = common::child(|| {
        // SAFETY: a plain system call. The harness ignores the signal.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (listener, addr) = listener();
        let (mut one, mut other) = std::os::unix::net::UnixStream::pair()
            .map(|(a, b)| (UnixStream::from_std(a).unwrap(), b))
            .unwrap();
        let mut stream = TcpStream::connect(addr).unwrap();
        drop(listener.accept().unwrap());
        other.flush().unwrap();
        drop(other);
        let pieces = [io::IoSlice::new(b"one"), io::IoSlice::new(b"two")];
        let whole: [&mut dyn Write; 2] = [&mut stream, &mut one];
        for stream in whole {
            let error = loop {
                match stream.write_vectored(&pieces) {
                    Ok(sent) => assert!(sent > 0),
                    Err(error) => break error,
                }
            };
            assert!(
                [Some(libc::EPIPE), Some(libc::ECONNRESET)].contains(&error.raw_os_error()),
                "{error}"
            );
            stream.write(b"three").unwrap_err();
        }
        // More pieces than a call takes.
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut one = UnixStream::from_std(one).unwrap();
        let many = [io::IoSlice::new(b"x"); 2000];
        assert_eq!(one.write_vectored(&many).unwrap(), 1024);
        drop(other);
    });
    assert_eq!(said, (String::new(), 0));
}

//! How the loop finds out which descriptors are ready: with epoll and with `poll`, the same.

use hardswitch::main_loop::Poller;
use hardswitch::net::shim::Events;
use hardswitch::net::{self, TcpListener, TcpStream};
use hardswitch::{run_with, spawn, Budget, Error, MainLoop};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LONG: Duration = Duration::from_secs(60);

/// Runs `f` in a thread of its own with each of them.
fn with_each(f: fn()) {
    for poller in [Poller::Epoll, Poller::Poll] {
        let run = move || {
            let main_loop = MainLoop::current().unwrap();
            main_loop.set_poller(poller);
            assert_eq!(main_loop.poller(), poller);
            f();
        };
        let ran = thread::Builder::new()
            .name(format!("{poller:?}"))
            .spawn(run)
            .unwrap()
            .join();
        assert!(ran.is_ok(), "with {poller:?}");
    }
}

fn main_loop() -> MainLoop {
    MainLoop::current().unwrap()
}

fn pipe() -> (io::PipeReader, io::PipeWriter) {
    io::pipe().unwrap()
}

fn wait(fd: &impl AsRawFd, timeout: Duration) -> io::Result<Events> {
    net::wait(fd.as_raw_fd(), Events::IN, Some(timeout))
}

fn is_timeout(error: io::Error) -> bool {
    matches!(Error::from(error), Error::Timeout)
}

/// Sends to oneself over loopback.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn any_descriptor_can_be_waited_for() {
    with_each(|| {
        let (reader, mut writer) = pipe();
        assert!(is_timeout(wait(&reader, MS(20)).unwrap_err()));
        assert!(is_timeout(wait(&reader, MS(0)).unwrap_err()));
        let number = reader.as_raw_fd();
        let waits = spawn(move || {
            assert_eq!(net::wait(number, Events::IN, None)?, Events::IN);
            Ok(())
        });
        hardswitch::run().unwrap();
        writer.write_all(b"x").unwrap();
        main_loop().run_until_idle().unwrap();
        assert!(!waits.unwrap().is_alive());
        // It stays ready until somebody reads.
        for timeout in [MS(0), MS(1), LONG] {
            assert_eq!(wait(&reader, timeout).unwrap(), Events::IN);
        }
        let out = net::wait(writer.as_raw_fd(), Events::OUT, Some(LONG));
        assert_eq!(out.unwrap(), Events::OUT);
        drop(writer);
        assert_eq!(wait(&reader, LONG).unwrap(), Events::IN | Events::HUP);
        // Nothing is asked for, but an end is always told of.
        let end = net::wait(reader.as_raw_fd(), Events::NONE, Some(LONG));
        assert_eq!(end.unwrap(), Events::HUP);
    });
}

#[test]
fn a_regular_file_is_always_ready() {
    with_each(|| {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        for timeout in [LONG, MS(0)] {
            assert_eq!(wait(&file, timeout).unwrap(), Events::IN);
        }
        // Nobody uses it up, and it is ready for nothing else.
        let number = file.as_raw_fd();
        let interests = [Events::IN, Events::IN, Events::OUT, Events::PRI];
        let all = interests.map(|interest| {
            let waits = move || {
                let found = net::wait(number, interest, Some(MS(1500)))?;
                assert_eq!(found, interest);
                Ok(())
            };
            spawn(waits).unwrap()
        });
        hardswitch::set_error_handler(Some(Rc::new(|error| match error {
            Error::Timeout => Ok(()),
            error => Err(error.clone()),
        })));
        hardswitch::run().unwrap();
        main_loop().tick().unwrap();
        assert_eq!(
            all.map(|tasklet| tasklet.is_alive()),
            [false, false, false, true]
        );
        main_loop().run_until_idle().unwrap();
        hardswitch::set_error_handler(None);
    });
}

/// Bits that are no events are ignored, and nobody is told of what others wait for.
#[test]
fn a_wait_is_for_its_own_events() {
    with_each(|| {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let number = near.as_raw_fd();
        for (interest, found) in [
            (Events::IN, Events::IN),
            (Events::OUT, Events::OUT),
            (Events::from_bits(i16::MIN | 1), Events::IN),
        ] {
            let waits = move || {
                assert_eq!(net::wait(number, interest, Some(LONG))?, found);
                Ok(())
            };
            spawn(waits).unwrap();
        }
        main_loop().run_until_idle().unwrap();
    });
}

/// What is left in epoll of a descriptor that was closed, while a copy of it is open, costs no time.
#[test]
fn a_copy_of_what_was_closed_does_not_keep_the_loop_awake() {
    with_each(|| {
        let (copy, mut writer) = pipe();
        // SAFETY: a number that no other test gets, and that nobody else uses.
        let number = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 950) };
        assert!(number >= 950);
        assert!(is_timeout(
            net::wait(number, Events::IN, Some(MS(2))).unwrap_err()
        ));
        // SAFETY: as above.
        unsafe { libc::close(number) };
        writer.write_all(b"x").unwrap();
        let (other, _other_writer) = pipe();
        let spent = time_of_thread();
        assert!(is_timeout(wait(&other, MS(400)).unwrap_err()));
        let spent = time_of_thread() - spent;
        assert!(spent < MS(200), "{spent:?} of 400 ms");
    });
}

/// Processor time.
fn time_of_thread() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is live.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(read, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_backend_that_is_cleared_leaves_the_loop_as_it_was() {
    struct Refuses;
    impl hardswitch::net::shim::Backend for Refuses {
        fn poll(
            &mut self,
            _: &mut [hardswitch::net::shim::PollFd],
            _: Option<Duration>,
        ) -> Result<usize, hardswitch::net::errno::Errno> {
            Err(hardswitch::net::errno::Errno::ENOMEM)
        }
        fn select(
            &mut self,
            _: &mut hardswitch::net::shim::Sets,
            _: Option<Duration>,
        ) -> Result<usize, hardswitch::net::errno::Errno> {
            unreachable!("the loop polls")
        }
        fn now(&mut self) -> Duration {
            Duration::ZERO
        }
    }
    with_each(|| {
        let (reader, mut writer) = pipe();
        writer.write_all(b"x").unwrap();
        assert_eq!(wait(&reader, LONG).unwrap(), Events::IN);
        main_loop().set_backend(Box::new(Refuses));
        let refused = wait(&reader, LONG).unwrap_err();
        let Error::Io(refused) = Error::from(refused) else {
            panic!("another error");
        };
        assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
        drop(main_loop().clear_backend());
        assert_eq!(wait(&reader, LONG).unwrap(), Events::IN);
    });
}

#[test]
fn what_is_no_descriptor_is_an_error_at_once() {
    with_each(|| {
        for fd in [-1, i32::MIN, i32::MAX, 1_000_000] {
            for timeout in [Some(LONG), Some(MS(0)), None] {
                let error = net::wait(fd, Events::IN, timeout).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{fd}");
            }
        }
    });
}

#[test]
fn a_descriptor_that_was_closed_without_a_word_ends_its_wait() {
    with_each(|| {
        let (reader, _writer) = pipe();
        let (other, mut other_writer) = pipe();
        // A number that no other test gets when this one is closed.
        // SAFETY: no memory is involved.
        let number = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 700) };
        assert!(number >= 700);
        let told = Rc::new(Cell::new(None));
        let tells = told.clone();
        spawn(move || {
            let error = net::wait(number, Events::IN, Some(LONG)).unwrap_err();
            tells.set(error.raw_os_error());
            Ok(())
        })
        .unwrap();
        let fd = other.as_raw_fd();
        let undisturbed = spawn(move || {
            net::wait(fd, Events::IN, Some(LONG))
                .map(drop)
                .map_err(Error::from)
        });
        let undisturbed = undisturbed.unwrap();
        main_loop().tick().unwrap();
        // SAFETY: nobody else uses the number.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        let start = Instant::now();
        // Of the two only one is over by itself.
        while told.get().is_none() && start.elapsed() < LONG / 2 {
            main_loop().pump(Some(LONG)).unwrap();
            hardswitch::run().unwrap();
        }
        assert_eq!(told.get(), Some(libc::EBADF));
        assert!(undisturbed.is_alive());
        other_writer.write_all(b"x").unwrap();
        main_loop().run_until_idle().unwrap();
        assert!(!undisturbed.is_alive());
    });
}

#[test]
fn a_number_that_is_used_again_is_the_new_descriptor() {
    with_each(|| {
        let (reader, _writer) = pipe();
        let (fresh, mut fresh_writer) = pipe();
        let number = reader.as_raw_fd();
        // Epoll is told of it, and the wait is over.
        assert!(is_timeout(wait(&reader, MS(5)).unwrap_err()));
        // SAFETY: both numbers are open, and `reader` owns the new one from now on.
        assert_eq!(unsafe { libc::dup2(fresh.as_raw_fd(), number) }, number);
        fresh_writer.write_all(b"x").unwrap();
        assert_eq!(wait(&reader, LONG).unwrap(), Events::IN);
    });
}

#[test]
fn a_socket_of_our_own_with_a_number_that_is_used_again() {
    with_each(|| {
        for _ in 0..3 {
            // The descriptors of the last round were closed after waits for them.
            let (mut near, mut far) = connection();
            near.set_read_timeout(Some(MS(2))).unwrap();
            assert!(is_timeout(near.read(&mut [0; 8]).unwrap_err()));
            near.set_read_timeout(Some(LONG)).unwrap();
            spawn(move || Ok(far.write_all(b"hello")?)).unwrap();
            let mut text = String::new();
            near.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
    });
}

#[test]
fn a_socket_gets_the_number_of_what_was_closed_without_a_word() {
    with_each(|| {
        let (reader, _writer) = pipe();
        // SAFETY: numbers that no other test gets, and that nobody else uses here.
        let number = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
        assert!(number >= 900);
        let timed_out = net::wait(number, Events::IN, Some(MS(2))).unwrap_err();
        assert!(is_timeout(timed_out));
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: as above; `reused` owns the number from now on.
        let reused = unsafe {
            libc::close(number);
            assert_eq!(libc::dup2(near.as_raw_fd(), number), number);
            std::os::unix::net::UnixStream::from_raw_fd(number)
        };
        let mut reused = net::UnixStream::from_std(reused).unwrap();
        let reads = spawn(move || Ok(reused.read_exact(&mut [0])?)).unwrap();
        hardswitch::run().unwrap();
        far.write_all(b"x").unwrap();
        // It is there already, so the first pump finds it.
        assert_eq!(main_loop().pump(Some(MS(500))).unwrap(), 1);
        hardswitch::run().unwrap();
        assert!(!reads.is_alive());
    });
}

#[test]
fn one_connection_wakes_one_acceptor() {
    const ACCEPTORS: usize = 10;
    with_each(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let order = Rc::new(RefCell::new(vec![]));
        for number in 0..ACCEPTORS {
            let (listener, order) = (listener.try_clone().unwrap(), order.clone());
            spawn(move || {
                listener.accept()?;
                order.borrow_mut().push(number);
                Ok(())
            })
            .unwrap();
        }
        hardswitch::run().unwrap();
        let mut connections = vec![];
        for number in 0..ACCEPTORS {
            connections.push(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let woken = main_loop().pump(Some(LONG)).unwrap();
            assert_eq!(woken, 1, "of {}", ACCEPTORS - number);
            let turns = run_with(Budget::UNLIMITED).unwrap().switches;
            assert!(turns <= 2, "{turns} turns");
            assert_eq!(*order.borrow(), (0..=number).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_tick_serves_all_acceptors_of_a_listener() {
    with_each(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let accepted = Rc::new(Cell::new(0));
        for _ in 0..8 {
            let (listener, accepted) = (listener.try_clone().unwrap(), accepted.clone());
            spawn(move || {
                listener.accept()?;
                accepted.set(accepted.get() + 1);
                Ok(())
            })
            .unwrap();
        }
        hardswitch::run().unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let _connections: Vec<_> = (0..8).map(connect).collect();
        main_loop().tick().unwrap();
        assert_eq!(accepted.get(), 8);
    });
}

#[test]
fn many_connections_at_once_are_all_accepted() {
    with_each(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let accepted = Rc::new(Cell::new(0));
        for _ in 0..8 {
            let (listener, accepted) = (listener.try_clone().unwrap(), accepted.clone());
            spawn(move || {
                for _ in 0..4 {
                    listener.accept()?;
                    accepted.set(accepted.get() + 1);
                }
                Ok(())
            })
            .unwrap();
        }
        hardswitch::run().unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let _connections: Vec<_> = (0..32).map(connect).collect();
        main_loop().run_until_idle().unwrap();
        assert_eq!(accepted.get(), 32);
    });
}

#[test]
fn an_event_that_nobody_takes_is_not_lost() {
    with_each(|| {
        let (mut near, mut far) = connection();
        near.set_read_timeout(Some(LONG)).unwrap();
        let mut byte = [0];
        for round in 0..5 {
            spawn({
                let mut far = far.try_clone().unwrap();
                move || Ok(far.write_all(b"abc")?)
            })
            .unwrap();
            near.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"a", "{round}");
            // The loop turns, while two bytes lie there and nobody waits for them.
            for _ in 0..3 {
                main_loop().tick().unwrap();
            }
            let mut rest = [0; 2];
            near.read_exact(&mut rest).unwrap();
            assert_eq!(rest, *b"bc", "{round}");
        }
        // In the other direction as well, one after the other.
        far.write_all(b"x").unwrap();
        near.read_exact(&mut byte).unwrap();
        near.write_all(b"y").unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"y");
    });
}

#[test]
fn a_peer_that_is_gone_does_not_keep_the_loop_awake() {
    with_each(|| {
        let (mut near, far) = connection();
        near.set_read_timeout(Some(MS(2))).unwrap();
        assert!(is_timeout(near.read(&mut [0]).unwrap_err()));
        drop(far);
        // Epoll reports the end of the stream though nobody waits for it.
        let start = Instant::now();
        let mut pumps = 0;
        while start.elapsed() < MS(60) {
            main_loop().pump(Some(MS(20))).unwrap();
            pumps += 1;
        }
        assert!(pumps <= 10, "{pumps}");
        near.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_reset_ends_all_waits_for_the_socket() {
    with_each(|| {
        let (near, mut far) = connection();
        let ended = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (mut near, ended) = (near.try_clone().unwrap(), ended.clone());
            spawn(move || {
                let error = near.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                ended.set(ended.get() + 1);
                Ok(())
            })
            .unwrap();
        }
        hardswitch::run().unwrap();
        far.set_linger(Some(Duration::ZERO)).unwrap();
        far.flush().unwrap();
        drop(far);
        main_loop().run_until_idle().unwrap();
        assert_eq!(ended.get(), 3);
    });
}

#[test]
fn a_tick_goes_on_while_sockets_have_something() {
    const WAITS: usize = 500;
    with_each(|| {
        // There is room in the pipe all the time.
        let (_reader, writer) = pipe();
        let writable = writer.as_raw_fd();
        let ended = Rc::new(Cell::new(0));
        let counts = ended.clone();
        spawn(move || {
            for _ in 0..WAITS {
                net::wait(writable, Events::OUT, None)?;
                counts.set(counts.get() + 1);
            }
            Ok(())
        })
        .unwrap();
        hardswitch::run().unwrap();
        assert!(main_loop().tick_for(LONG).unwrap());
        assert_eq!(ended.get(), WAITS);
        // By a clock that stands still, and without a limit, there is an end.
        hardswitch::time::set_clock(Some(|| 0));
        let waits = spawn(move || -> hardswitch::Result<()> {
            loop {
                net::wait(writable, Events::OUT, None)?;
            }
        })
        .unwrap();
        assert!(main_loop().tick_for(LONG).unwrap());
        main_loop().tick().unwrap();
        assert!(main_loop().tick_for(Duration::MAX).unwrap());
        drop(writer);
        hardswitch::time::set_clock(None);
        waits.kill().unwrap();
    });
}

#[test]
fn the_poller_may_be_chosen_while_tasklets_wait() {
    let (reader, mut writer) = pipe();
    let number = reader.as_raw_fd();
    let waits = spawn(move || {
        for _ in 0..4 {
            net::wait(number, Events::IN, Some(LONG))?;
            hardswitch::schedule_remove()?;
        }
        Ok(())
    })
    .unwrap();
    hardswitch::run().unwrap();
    for poller in [Poller::Poll, Poller::Epoll, Poller::Epoll, Poller::Poll] {
        main_loop().set_poller(poller);
        writer.write_all(b"x").unwrap();
        let start = Instant::now();
        while main_loop().waiting().0 > 0 {
            main_loop().tick().unwrap();
            assert!(start.elapsed() < LONG, "{poller:?}");
        }
        (&reader).read_exact(&mut [0]).unwrap();
        waits.insert().unwrap();
        main_loop().tick().unwrap();
    }
    assert!(!waits.is_alive());
}

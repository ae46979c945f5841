//! The PS3's way of polling, over real loopback sockets with real resets, under the shim: the
//! answers must be those of plain Linux.
//!
//! The expectation comes from the kernel: first the system's own call is made on the sockets, then
//! the shim's, over a backend that fails the whole call with the error of one of the sockets, as
//! the console does. None of the calls reads an error away, so both see the same.

mod common;
#[path = "net_shim/kinds.rs"]
mod kinds;
#[path = "net_shim/lv2.rs"]
mod lv2;
#[path = "net_shim/random.rs"]
mod random;

use common::reset_when_closed;
use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{self, Backend, Events, Fd, Kind, PollFd, Sets};
use hardswitch::net::Os;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What sets and revents hold when the console's call answers -1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quirk {
    Filled,
    Untouched,
}
const QUIRKS: [Quirk; 2] = [Quirk::Filled, Quirk::Untouched];

/// The kernel's calls, made to fail as the console's do.
struct Console {
    quirk: Quirk,
    /// Which socket has which error pending. Whether it *is* pending the kernel says; only the
    /// number must be known, since asking for it would take it away.
    errors: HashMap<Fd, Errno>,
    /// Calls that failed so. A test that sees none tested nothing.
    failures: usize,
}

impl Console {
    fn new(quirk: Quirk, errors: &[(Fd, Errno)]) -> Console {
        Console {
            quirk,
            errors: errors.iter().copied().collect(),
            failures: 0,
        }
    }
    /// Makes the call that `wait` makes for a time; with the error of one of `fds` that has one. It
    /// fails at once for an error that is there already.
    fn call<R>(
        &mut self,
        fds: &[Fd],
        timeout: Option<Duration>,
        wait: impl FnOnce(Option<Duration>) -> Result<R, Errno>,
    ) -> Result<(R, Option<Errno>), Errno> {
        let before = self.pending(fds);
        let answer = wait(before.map_or(timeout, |_| Some(Duration::ZERO)))?;
        Ok((answer, before.or_else(|| self.pending(fds))))
    }
    fn pending(&mut self, fds: &[Fd]) -> Option<Errno> {
        for fd in fds.iter().copied() {
            let mut one = [PollFd::new(fd, Events::NONE)];
            if Os.poll(&mut one, Some(Duration::ZERO)).is_ok()
                && one[0].revents.contains(Events::ERR)
            {
                self.failures += 1;
                return Some(self.errors[&fd]);
            }
        }
        None
    }
}

impl Backend for Console {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let mut answer = fds.to_vec();
        let asked: Vec<Fd> = fds.iter().map(|fd| fd.fd).collect();
        let (n, error) = self.call(&asked, timeout, |time| Os.poll(&mut answer, time))?;
        if error.is_none() || self.quirk == Quirk::Filled {
            fds.copy_from_slice(&answer);
        }
        error.map_or(Ok(n), Err)
    }
    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        let mut answer = *sets;
        let all = sets.members();
        let all: Vec<Fd> = all.iter().collect();
        let (n, error) = self.call(&all, timeout, |time| Os.select(&mut answer, time))?;
        if error.is_none() || self.quirk == Quirk::Filled {
            *sets = answer;
        }
        error.map_or(Ok(n), Err)
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

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Closes with a reset instead of an end of stream.
fn reset(socket: TcpStream) {
    reset_when_closed(&socket);
    drop(socket);
}

/// Waits until the kernel says `wanted` of the socket.
fn wait_for(fd: Fd, wanted: Events) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut one = [PollFd::new(fd, wanted)];
        Os.poll(&mut one, Some(Duration::from_millis(100))).unwrap();
        if one[0].revents.contains(wanted) {
            return;
        }
        assert!(
            Instant::now() < end,
            "socket {fd}: {wanted:?} was expected, it is {:?}",
            one[0].revents
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A non-blocking connect to a port where nobody listens.
fn refused() -> OwnedFd {
    use nix::sys::socket::{connect, socket, AddressFamily, SockFlag, SockType, SockaddrIn};
    let address = {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let SocketAddr::V4(address) = address else {
        unreachable!()
    };
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK,
        None,
    )
    .unwrap();
    match connect(fd.as_raw_fd(), &SockaddrIn::from(address)) {
        Err(nix::Error::EINPROGRESS) => {}
        // Loopback may be so quick that the call itself fails; then nothing is pending, and the
        // test would test nothing.
        other => panic!("connect was expected to go on in the background: {other:?}"),
    }
    fd
}

fn fill(socket: &TcpStream) {
    socket.set_nonblocking(true).unwrap();
    let junk = [7; 65536];
    let mut writer = socket;
    loop {
        match writer.write(&junk) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            Err(e) => panic!("{e}"),
        }
    }
}

/// Sockets in all sorts of states, and which error the broken ones have.
struct Crowd {
    fds: Vec<Fd>,
    errors: Vec<(Fd, Errno)>,
    broken: Vec<TcpStream>,
    _others: Vec<OwnedFd>,
}

fn crowd() -> Crowd {
    let mut broken: Vec<(TcpStream, Errno)> = vec![];
    let mut others: Vec<OwnedFd> = vec![];
    // Quiet: writable, nothing to read.
    let (a, b) = pair();
    others.extend([a.into(), b.into()]);
    // Something to read.
    let (a, mut b) = pair();
    b.write_all(b"hello").unwrap();
    wait_for(a.as_raw_fd(), Events::IN);
    others.extend([a.into(), b.into()]);
    // Reset while established: ECONNRESET.
    let (a, b) = pair();
    reset(b);
    wait_for(a.as_raw_fd(), Events::ERR);
    broken.push((a, Errno::ECONNRESET));
    // Full: not writable, nothing to read.
    let (a, b) = pair();
    fill(&a);
    others.extend([a.into(), b.into()]);
    // The peer has ended its stream.
    let (a, b) = pair();
    b.shutdown(Shutdown::Write).unwrap();
    wait_for(a.as_raw_fd(), Events::RDHUP);
    others.extend([a.into(), b.into()]);
    // Reset after the peer's end of stream: EPIPE.
    let (a, b) = pair();
    b.shutdown(Shutdown::Write).unwrap();
    wait_for(a.as_raw_fd(), Events::RDHUP);
    reset(b);
    wait_for(a.as_raw_fd(), Events::ERR);
    broken.push((a, Errno::EPIPE));
    // Refused.
    let refused = refused();
    wait_for(refused.as_raw_fd(), Events::ERR);
    broken.push((refused.into(), Errno::ECONNREFUSED));
    // A listener without and one with a caller.
    let idle = TcpListener::bind("127.0.0.1:0").unwrap();
    let called = TcpListener::bind("127.0.0.1:0").unwrap();
    let caller = TcpStream::connect(called.local_addr().unwrap()).unwrap();
    wait_for(called.as_raw_fd(), Events::IN);
    others.extend([OwnedFd::from(idle), called.into(), caller.into()]);

    let fds = others
        .iter()
        .map(|o| o.as_raw_fd())
        .chain(broken.iter().map(|(b, _)| b.as_raw_fd()))
        .collect();
    let errors = broken.iter().map(|(b, e)| (b.as_raw_fd(), *e)).collect();
    Crowd {
        fds,
        errors,
        broken: broken.into_iter().map(|b| b.0).collect(),
        _others: others,
    }
}

impl Crowd {
    /// At the end: the errors were those the test said they were.
    fn check_errors(self) {
        for (socket, (_, errno)) in self.broken.iter().zip(&self.errors) {
            let error = socket
                .take_error()
                .unwrap()
                .expect("an error is still pending");
            assert_eq!(error.raw_os_error(), Some(errno.to_linux()), "{errno:?}");
        }
    }
}

#[test]
fn poll_answers_as_plain_linux_for_every_selection_of_sockets() {
    let crowd = crowd();
    let mut failures = 0;
    let questions = [
        Events::NONE,
        Events::IN,
        Events::OUT,
        Events::IN | Events::OUT,
        Events::IN | Events::PRI | Events::RDHUP,
    ];
    for quirk in QUIRKS {
        for (i, question) in questions.iter().enumerate() {
            // All of them, each alone, and each left out once; questions differ from socket to
            // socket in the first round.
            let whole: Vec<PollFd> = crowd
                .fds
                .iter()
                .enumerate()
                .map(|(k, fd)| PollFd::new(*fd, if i == 0 { questions[k % 5] } else { *question }))
                .collect();
            let mut selections = vec![whole.clone()];
            for k in 0..whole.len() {
                selections.push(vec![whole[k]]);
                selections
                    .push([&whole[..k], &[PollFd::new(-1, Events::IN)], &whole[k + 1..]].concat());
            }
            for asked in selections {
                let mut plain = asked.clone();
                let n = Os.poll(&mut plain, Some(Duration::ZERO));
                let mut console = Console::new(quirk, &crowd.errors);
                let mut got = asked.clone();
                assert_eq!(
                    shim::poll(&mut console, &mut got, Some(Duration::ZERO)),
                    n,
                    "{quirk:?} {asked:?}"
                );
                assert_eq!(got, plain, "{quirk:?}");
                failures += console.failures;
            }
        }
    }
    assert!(
        failures > 100,
        "the console's calls failed only {failures} times"
    );
    crowd.check_errors();
}

#[test]
fn select_answers_as_plain_linux_for_every_selection_of_sockets() {
    let crowd = crowd();
    let mut failures = 0;
    for quirk in QUIRKS {
        for question in 1..8 {
            let all = |skip: Option<usize>, only: Option<usize>| {
                let mut sets = Sets::new();
                for (k, fd) in crowd.fds.iter().enumerate() {
                    if Some(k) == skip || only.is_some_and(|only| only != k) {
                        continue;
                    }
                    for (bit, set) in [
                        (1, &mut sets.read),
                        (2, &mut sets.write),
                        (4, &mut sets.except),
                    ] {
                        if question & bit != 0 {
                            set.insert(*fd).unwrap();
                        }
                    }
                }
                sets
            };
            let selections =
                (0..crowd.fds.len()).flat_map(|k| [all(Some(k), None), all(None, Some(k))]);
            for asked in selections.chain([all(None, None)]) {
                let mut plain = asked;
                let n = Os.select(&mut plain, Some(Duration::ZERO));
                let mut console = Console::new(quirk, &crowd.errors);
                let mut got = asked;
                assert_eq!(
                    shim::select(&mut console, &mut got, Some(Duration::ZERO)),
                    n,
                    "{quirk:?} {asked:?}"
                );
                assert_eq!(got, plain, "{quirk:?} {asked:?}");
                failures += console.failures;
            }
        }
    }
    assert!(
        failures > 100,
        "the console's calls failed only {failures} times"
    );
    crowd.check_errors();
}

#[test]
fn a_reset_that_arrives_during_the_wait_ends_it_for_the_broken_socket_only() {
    for quirk in QUIRKS {
        let (a, b) = pair();
        let (c, _d) = pair();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            reset(b);
        });
        let mut console = Console::new(quirk, &[(a.as_raw_fd(), Errno::ECONNRESET)]);
        let mut fds = [
            PollFd::new(c.as_raw_fd(), Events::IN),
            PollFd::new(a.as_raw_fd(), Events::IN),
        ];
        assert_eq!(
            shim::poll(&mut console, &mut fds, Some(Duration::from_secs(60))),
            Ok(1)
        );
        assert_eq!(fds[0].revents, Events::NONE);
        assert_eq!(fds[1].revents, Events::IN | Events::ERR | Events::HUP);
        assert!(console.failures > 0);
        thread.join().unwrap();
        // The error is still there for its owner.
        assert_eq!(
            (&a).read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    }
}

#[test]
fn a_broken_socket_asked_only_for_exceptions_lets_the_others_wait_their_time() {
    for quirk in QUIRKS {
        let (a, b) = pair();
        let (c, _d) = pair();
        reset(b);
        wait_for(a.as_raw_fd(), Events::ERR);
        let mut console = Console::new(quirk, &[(a.as_raw_fd(), Errno::ECONNRESET)]);
        let mut sets = Sets::new();
        sets.except.insert(a.as_raw_fd()).unwrap();
        sets.read.insert(c.as_raw_fd()).unwrap();
        let start = Instant::now();
        let wait = Duration::from_millis(60);
        assert_eq!(
            shim::select(&mut console, &mut sets, Some(wait)),
            Ok(0),
            "{quirk:?}"
        );
        assert!(start.elapsed() >= wait, "{:?}", start.elapsed());
        assert!(sets.is_empty());
        // The system has failed at once, and the repeated call has waited: it did not fail again.
        let failures = console.failures;
        assert!((1..5).contains(&failures), "{quirk:?}: {failures}");
    }
}

#[test]
fn a_refused_datagram_is_an_error_but_not_the_end() {
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(nobody).unwrap();
    socket.send(b"?").unwrap();
    let fd = socket.as_raw_fd();
    wait_for(fd, Events::ERR);
    for quirk in QUIRKS {
        for question in [
            Events::NONE,
            Events::IN,
            Events::OUT,
            Events::IN | Events::OUT,
        ] {
            let mut plain = [PollFd::new(fd, question)];
            let n = Os.poll(&mut plain, Some(Duration::ZERO));
            let mut got = [PollFd::new(fd, question)];
            let mut console = Console::new(quirk, &[(fd, Errno::ECONNREFUSED)]);
            assert_eq!(shim::poll(&mut console, &mut got, Some(Duration::ZERO)), n);
            assert_eq!(got, plain, "{quirk:?}");
        }
    }
    assert_eq!(
        socket.take_error().unwrap().unwrap().kind(),
        ErrorKind::ConnectionRefused
    );
}

#[test]
fn errors_of_the_call_come_through_from_the_system() {
    // A descriptor far above those the other tests open meanwhile.
    let (a, _b) = pair();
    // SAFETY: duplicates a live descriptor and closes the duplicate, which nobody else has seen.
    let closed = unsafe {
        let copy = libc::fcntl(a.as_raw_fd(), libc::F_DUPFD, 1000);
        assert_eq!((copy, libc::close(copy)), (1000, 0));
        copy
    };
    let mut sets = Sets::new();
    sets.read.insert(closed).unwrap();
    assert_eq!(
        hardswitch::net::select(&mut sets, Some(Duration::ZERO)),
        Err(Errno::EBADF)
    );
    assert!(sets.read.contains(closed), "the sets are as they were");
    // For poll a closed descriptor is an answer, not an error.
    let mut fds = [PollFd::new(closed, Events::IN)];
    assert_eq!(hardswitch::net::poll(&mut fds, Some(Duration::ZERO)), Ok(1));
    assert_eq!(fds[0].revents, Events::NVAL);
}

#[test]
fn select_refuses_a_closed_descriptor_however_high_its_number_is() {
    let (ready, _peer) = pair();
    // A new process has a table for the descriptors that are open, and for no more.
    let said = common::child(|| {
        for closed in [63, 64, 900, 1023] {
            if closed == ready.as_raw_fd() {
                continue;
            }
            // SAFETY: plain system calls. Other tests of this process may have had so many open,
            // but nobody uses them in this child.
            unsafe {
                libc::close(closed);
                assert_eq!(libc::fcntl(closed, libc::F_GETFD), -1);
            }
            for time in [Duration::ZERO, Duration::from_millis(20)] {
                let mut asked = Sets::new();
                asked.read.insert(closed).unwrap();
                asked.write.insert(ready.as_raw_fd()).unwrap();
                let mut sets = asked;
                let answer = shim::select(&mut Os, &mut sets, Some(time));
                assert_eq!((answer, sets), (Err(Errno::EBADF), asked), "{closed}");
            }
        }
    });
    assert_eq!(said, (String::new(), 0));
}

#[test]
fn a_signal_ends_the_wait_with_eintr() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a handler that does nothing, installed without SA_RESTART, for a signal this test
    // program does not use otherwise.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()),
            0
        );
    }
    // SAFETY: takes no argument and touches no memory.
    let me = unsafe { libc::pthread_self() };
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        // The first signal could come before the wait has begun: repeat until told to stop.
        while wait.recv_timeout(Duration::from_millis(20)).is_err() {
            // SAFETY: `me` is joined with, and so outlives, this thread's work.
            unsafe { libc::pthread_kill(me, libc::SIGUSR2) };
        }
    });
    let (a, _b) = pair();
    assert_eq!(
        hardswitch::net::poll(
            &mut [PollFd::new(a.as_raw_fd(), Events::IN)],
            Some(Duration::from_secs(5))
        ),
        Err(Errno::EINTR)
    );
    let mut sets = Sets::new();
    sets.read.insert(a.as_raw_fd()).unwrap();
    assert_eq!(
        hardswitch::net::select(&mut sets, Some(Duration::from_secs(5))),
        Err(Errno::EINTR)
    );
    assert!(sets.read.contains(a.as_raw_fd()));
    done.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_wait_never_ends_early() {
    let (a, _b) = pair();
    let mut sets = Sets::new();
    sets.read.insert(a.as_raw_fd()).unwrap();
    for micros in [1, 300, 1500, 20_000] {
        let wait = Duration::from_micros(micros);
        let start = Instant::now();
        assert_eq!(
            hardswitch::net::poll(&mut [PollFd::new(a.as_raw_fd(), Events::IN)], Some(wait)),
            Ok(0)
        );
        assert!(start.elapsed() >= wait);
        let start = Instant::now();
        let mut asked = sets;
        assert_eq!(hardswitch::net::select(&mut asked, Some(wait)), Ok(0));
        assert!(start.elapsed() >= wait);
    }
}

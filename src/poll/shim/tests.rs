//! The promise: a quirky system behind the shim looks like plain Linux. A model of Linux gives
//! the right answer; the same model with a quirk is put behind the shim.

use super::*;
use alloc::vec;
use alloc::vec::Vec;

/// The state of a socket, which decides what Linux says of it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Socket {
    Quiet,
    Readable,
    Writable,
    Urgent,
    PeerEnded,
    Error(Errno),
    /// Reset, with urgent data that was not read.
    UrgentError(Errno),
    /// A connection within the machine that is broken.
    LocalError(Errno),
    /// A datagram socket with an error, and with so many bytes to read.
    DatagramError(Errno, usize),
    /// Not open.
    Bad,
}

const KINDS: [Socket; 13] = [
    Socket::Quiet,
    Socket::Readable,
    Socket::Writable,
    Socket::Urgent,
    Socket::PeerEnded,
    Socket::Error(Errno::ECONNRESET),
    Socket::Error(Errno::ECONNREFUSED),
    Socket::Error(Errno::EPIPE),
    Socket::UrgentError(Errno::ECONNRESET),
    Socket::LocalError(Errno::ECONNRESET),
    Socket::DatagramError(Errno::ECONNREFUSED, 0),
    Socket::DatagramError(Errno::EHOSTUNREACH, 5),
    Socket::Bad,
];

impl Socket {
    /// `tcp_poll` of Linux, by state; ERR, HUP and NVAL are reported unasked.
    fn revents(self, asked: Events) -> Events {
        let read = Events::IN | Events::RDNORM;
        let write = Events::OUT | Events::WRNORM;
        let over = read | write | Events::RDHUP;
        let (unasked, on_demand) = match self {
            Socket::Quiet => (Events::NONE, Events::NONE),
            Socket::Readable => (Events::NONE, read),
            Socket::Writable => (Events::NONE, write),
            Socket::Urgent => (Events::NONE, Events::PRI),
            Socket::PeerEnded => (Events::NONE, over),
            Socket::Error(_) => (Events::ERR | Events::HUP, over),
            Socket::UrgentError(_) => (Events::ERR | Events::HUP, over | Events::PRI),
            Socket::LocalError(_) => (Events::ERR | Events::HUP, over | Events::WRBAND),
            Socket::DatagramError(_, 0) => (Events::ERR, write | Events::WRBAND),
            Socket::DatagramError(..) => (Events::ERR, read | write | Events::WRBAND),
            Socket::Bad => (Events::NVAL, Events::NONE),
        };
        unasked | (on_demand & asked)
    }
}

/// What the sets contain after -1.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Quirk {
    None,
    Filled,
    Untouched,
    /// `select`'s sets come back empty.
    Emptied,
}

struct Model {
    sockets: Vec<Socket>,
    quirk: Quirk,
    /// Whether every third call is interrupted, if it is a probe.
    interrupts: bool,
    /// Whether that has happened.
    signalled: bool,
    calls: usize,
    clock: Duration,
}

impl Model {
    fn new(sockets: &[Socket], quirk: Quirk) -> Model {
        Model {
            sockets: sockets.to_vec(),
            quirk,
            interrupts: false,
            signalled: false,
            calls: 0,
            clock: Duration::ZERO,
        }
    }
    fn socket(&self, fd: Fd) -> Socket {
        self.sockets
            .get(fd as usize)
            .copied()
            .unwrap_or(Socket::Bad)
    }
    fn pending(&self, fds: impl Iterator<Item = Fd>) -> Option<Errno> {
        let mut fds = fds.filter(|fd| *fd >= 0);
        fds.find_map(|fd| match self.socket(fd) {
            Socket::Error(e)
            | Socket::UrgentError(e)
            | Socket::LocalError(e)
            | Socket::DatagramError(e, _)
                if self.quirk != Quirk::None =>
            {
                Some(e)
            }
            _ => None,
        })
    }
    fn interrupted(&mut self, timeout: Option<Duration>) -> bool {
        self.calls += 1;
        let interrupted =
            self.interrupts && timeout == Some(Duration::ZERO) && self.calls.is_multiple_of(3);
        self.signalled |= interrupted;
        interrupted
    }
}

impl Backend for Model {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        if self.interrupted(timeout) {
            return Err(Errno::EINTR);
        }
        assert!(
            fds.iter().all(|fd| fd.revents.is_empty()),
            "revents are passed empty"
        );
        let mut n = 0;
        let error = self.pending(fds.iter().map(|fd| fd.fd));
        if error.is_none() || self.quirk == Quirk::Filled {
            for fd in fds.iter_mut().filter(|fd| fd.fd >= 0) {
                fd.revents = self.socket(fd.fd).revents(fd.events);
                n += usize::from(!fd.revents.is_empty());
            }
        }
        error.map_or(Ok(n), Err)
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        if self.interrupted(timeout) {
            return Err(Errno::EINTR);
        }
        let all = sets.members();
        if all.iter().any(|fd| self.socket(fd) == Socket::Bad) {
            return Err(Errno::EBADF);
        }
        let error = self.pending(all.iter());
        match (error, self.quirk) {
            (Some(_), Quirk::Emptied) => *sets = Sets::new(),
            (Some(_), Quirk::Untouched) => {}
            _ => {
                let truth = |fd: Fd, asked: Events, wanted: Events| {
                    self.socket(fd).revents(asked).intersects(wanted)
                };
                let mut is = Sets::new();
                for fd in sets
                    .read
                    .iter()
                    .filter(|fd| truth(*fd, Events::IN, Events::IN | Events::HUP | Events::ERR))
                {
                    is.read.insert(fd).unwrap();
                }
                for fd in sets
                    .write
                    .iter()
                    .filter(|fd| truth(*fd, Events::OUT, Events::OUT | Events::ERR))
                {
                    is.write.insert(fd).unwrap();
                }
                for fd in sets
                    .except
                    .iter()
                    .filter(|fd| truth(*fd, Events::PRI, Events::PRI))
                {
                    is.except.insert(fd).unwrap();
                }
                *sets = is;
            }
        }
        error.map_or(Ok(sets.len()), Err)
    }

    fn now(&mut self) -> Duration {
        self.clock
    }
    fn kind(&mut self, fd: Fd) -> Kind {
        match self.socket(fd) {
            Socket::LocalError(_) => Kind::Local,
            Socket::DatagramError(..) => Kind::Datagram,
            _ => Kind::Stream,
        }
    }
    fn unread(&mut self, fd: Fd) -> usize {
        match self.socket(fd) {
            Socket::DatagramError(_, bytes) => bytes,
            other => panic!("{other:?} was asked for its bytes"),
        }
    }
    fn urgent(&mut self, fd: Fd) -> bool {
        matches!(self.socket(fd), Socket::UrgentError(_))
    }
}

fn check_poll(sockets: &[Socket], asked: &[PollFd], quirk: Quirk) {
    let mut right = asked.to_vec();
    let n = Model::new(sockets, Quirk::None).poll(&mut right, None);
    for interrupts in [false, true] {
        let mut got = asked.to_vec();
        got.iter_mut().for_each(|fd| fd.revents = Events::NVAL); // rubbish from an earlier call
        let mut model = Model {
            interrupts,
            ..Model::new(sockets, quirk)
        };
        assert_eq!(
            poll(&mut model, &mut got, None),
            n,
            "{quirk:?} {sockets:?} {asked:?}"
        );
        assert_eq!(got, right, "{quirk:?} {sockets:?}");
    }
}

fn check_select(sockets: &[Socket], asked: &Sets, quirk: Quirk) {
    let mut right = *asked;
    let n = Model::new(sockets, Quirk::None).select(&mut right, None);
    for interrupts in [false, true] {
        let mut got = *asked;
        let mut model = Model {
            interrupts,
            ..Model::new(sockets, quirk)
        };
        let told = select(&mut model, &mut got, None);
        // Linux would wait on, and the signal that came meanwhile ends that.
        let right = match model.signalled && n == Ok(0) {
            true => (Err(Errno::EINTR), *asked),
            false => (n, right),
        };
        assert_eq!((told, got), right, "{quirk:?} {sockets:?} {asked:?}");
    }
}

/// The sets of two sockets from six bits.
fn sets_of(bits: usize) -> Sets {
    let mut sets = Sets::new();
    for fd in 0..2 {
        let bits = bits >> (fd * 3);
        for (bit, set) in [
            (1, &mut sets.read),
            (2, &mut sets.write),
            (4, &mut sets.except),
        ] {
            if bits & bit != 0 {
                set.insert(fd as Fd).unwrap();
            }
        }
    }
    sets
}

#[test]
fn every_pair_of_sockets_and_questions_is_answered_as_linux_does() {
    for a in KINDS {
        for b in KINDS {
            for bits in 0..64 {
                let events = |bits: usize| Events::from_bits((bits & 7) as i16);
                let fds = [
                    PollFd::new(0, events(bits)),
                    PollFd::new(1, events(bits >> 3)),
                ];
                for quirk in [Quirk::None, Quirk::Filled, Quirk::Untouched] {
                    check_poll(&[a, b], &fds, quirk);
                }
                for quirk in [Quirk::None, Quirk::Filled, Quirk::Untouched, Quirk::Emptied] {
                    check_select(&[a, b], &sets_of(bits), quirk);
                }
            }
        }
    }
}

/// A small generator (xorshift64), so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

#[test]
fn crowds_of_random_sockets_are_answered_as_linux_does() {
    for seed in 1..=400 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let count = 1 + random.below(40);
        let sockets: Vec<Socket> = (0..count)
            .map(|_| KINDS[random.below(KINDS.len())])
            .collect();
        let fds: Vec<PollFd> = (0..random.below(60))
            .map(|_| {
                PollFd::new(
                    random.below(count + 3) as Fd - 1,
                    Events::from_bits((random.below(0x4000) & 0x23c7) as i16),
                )
            })
            .collect();
        for quirk in [Quirk::None, Quirk::Filled, Quirk::Untouched] {
            check_poll(&sockets, &fds, quirk);
        }
        let good = |socket: &Socket| *socket != Socket::Bad || random.below(50) == 0;
        let sockets: Vec<Socket> = sockets.into_iter().filter(good).collect();
        let mut sets = Sets::new();
        for fd in 0..sockets.len() as Fd {
            for set in [&mut sets.read, &mut sets.write, &mut sets.except] {
                if random.below(3) == 0 {
                    set.insert(fd).unwrap();
                }
            }
        }
        for quirk in [Quirk::None, Quirk::Filled, Quirk::Untouched, Quirk::Emptied] {
            check_select(&sockets, &sets, quirk);
        }
    }
}

/// Answers from a list; the clock advances by each call's cost.
struct Script {
    answers: Vec<Result<usize, Errno>>,
    cost: Duration,
    clock: Duration,
    waits: Vec<Option<Duration>>,
    scribbles: bool,
    stream: bool,
}

impl Script {
    fn new(answers: &[Result<usize, Errno>]) -> Script {
        let mut answers = answers.to_vec();
        answers.reverse();
        Script {
            answers,
            cost: Duration::ZERO,
            clock: Duration::from_secs(1000),
            waits: vec![],
            scribbles: false,
            stream: true,
        }
    }
    fn answer(&mut self, timeout: Option<Duration>) -> Result<usize, Errno> {
        self.clock += self.cost;
        self.waits.push(timeout);
        self.answers
            .pop()
            .expect("no more calls are made than the script has answers")
    }
}

impl Backend for Script {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        if self.scribbles {
            fds.iter_mut().for_each(|fd| fd.revents = Events::IN);
        }
        self.answer(timeout)
    }
    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        if self.scribbles {
            sets.write.insert(9).unwrap();
            sets.read.remove(3);
        }
        self.answer(timeout)
    }
    fn now(&mut self) -> Duration {
        self.clock
    }
    fn kind(&mut self, _: Fd) -> Kind {
        match self.stream {
            true => Kind::Stream,
            false => Kind::Datagram,
        }
    }
}

fn reading(fd: Fd) -> Sets {
    let mut sets = Sets::new();
    sets.read.insert(fd).unwrap();
    sets
}

#[test]
fn an_error_of_the_call_stays_one_and_leaves_nothing_behind() {
    for error in [
        Errno::EBADF,
        Errno::EINVAL,
        Errno::EINTR,
        Errno::ENOMEM,
        Errno::EFAULT,
        Errno::EAGAIN,
        Errno::from_linux(9999),
    ] {
        let mut script = Script {
            scribbles: true,
            ..Script::new(&[Err(error)])
        };
        let mut fds = [PollFd::new(3, Events::IN)];
        assert_eq!(poll(&mut script, &mut fds, None), Err(error));
        assert_eq!(fds[0].revents, Events::NONE);
        let mut script = Script {
            scribbles: true,
            ..Script::new(&[Err(error)])
        };
        let asked = reading(3);
        let mut sets = asked;
        assert_eq!(select(&mut script, &mut sets, None), Err(error));
        assert_eq!(sets, asked, "{error:?}");
    }
}

#[test]
fn an_error_of_the_call_in_a_probe_is_the_calls() {
    let mut fds = [PollFd::new(3, Events::IN), PollFd::new(4, Events::IN)];
    let mut script = Script::new(&[Err(Errno::ECONNRESET), Ok(0), Err(Errno::ENOMEM)]);
    assert_eq!(poll(&mut script, &mut fds, None), Err(Errno::ENOMEM));
    assert!(fds.iter().all(|fd| fd.revents.is_empty()));
    assert_eq!(
        script.waits,
        [None, Some(Duration::ZERO), Some(Duration::ZERO)]
    );
    let asked = reading(3);
    let mut sets = asked;
    assert_eq!(
        select(
            &mut Script::new(&[Err(Errno::ECONNRESET), Err(Errno::EFAULT)]),
            &mut sets,
            None
        ),
        Err(Errno::EFAULT)
    );
    assert_eq!(sets, asked);
}

#[test]
fn an_error_nobody_owns_waits_on_for_the_time_that_is_left() {
    let ms = Duration::from_millis;
    let mut fds = [PollFd::new(3, Events::IN)];
    // The error is gone before the probe can see it. After that nothing happens until the time is
    // over.
    let mut script = Script {
        cost: ms(10),
        ..Script::new(&[Err(Errno::ECONNRESET), Ok(0), Ok(0)])
    };
    assert_eq!(poll(&mut script, &mut fds, Some(ms(100))), Ok(0));
    assert_eq!(script.waits, [Some(ms(100)), Some(ms(0)), Some(ms(80))]);
    // The time is over while the error keeps coming.
    let mut script = Script {
        cost: ms(10),
        ..Script::new(&[Err(Errno::ECONNRESET), Ok(0), Err(Errno::ECONNRESET), Ok(0)])
    };
    assert_eq!(poll(&mut script, &mut fds, Some(ms(35))), Ok(0));
    // A call that must not wait is not repeated with a wait either.
    let mut script = Script::new(&[Err(Errno::ECONNRESET), Ok(0)]);
    assert_eq!(poll(&mut script, &mut fds, Some(ms(0))), Ok(0));
    let mut sets = reading(3);
    // A probe that is interrupted is repeated; one that finds the descriptor closed ends the call.
    let mut script = Script::new(&[Err(Errno::ETIMEDOUT), Err(Errno::EINTR), Err(Errno::EBADF)]);
    assert_eq!(
        select(&mut script, &mut sets, Some(ms(100))),
        Err(Errno::EBADF)
    );
    assert_eq!(script.waits, [Some(ms(100)), Some(ms(0)), Some(ms(0))]);
}

#[test]
fn a_signal_that_comes_in_a_probe_ends_a_call_that_has_no_other_result() {
    // Nobody owns the error any more, and the probe has let the signal in.
    let lost = [Err(Errno::ECONNRESET), Err(Errno::EINTR), Ok(0)];
    let mut fds = [PollFd::new(3, Events::IN)];
    let mut script = Script::new(&lost);
    assert_eq!(poll(&mut script, &mut fds, None), Err(Errno::EINTR));
    assert_eq!(fds[0].revents, Events::NONE);
    // A broken socket without exceptional conditions is left out of the repeated call, which would
    // wait for the other one.
    let mut sets = Sets::new();
    sets.read.insert(0).unwrap();
    sets.except.insert(1).unwrap();
    let (asked, sockets) = (sets, [Socket::Quiet, Socket::Error(Errno::ECONNRESET)]);
    let mut model = Model {
        interrupts: true,
        ..Model::new(&sockets, Quirk::Untouched)
    };
    assert_eq!(select(&mut model, &mut sets, None), Err(Errno::EINTR));
    assert_eq!((sets, model.signalled), (asked, true));
    // What a probe has found is the result all the same.
    let mut model = Model {
        interrupts: true,
        ..Model::new(&sockets, Quirk::Untouched)
    };
    let mut fds = [PollFd::new(0, Events::IN), PollFd::new(1, Events::IN)];
    assert_eq!(poll(&mut model, &mut fds, None), Ok(1));
    assert!(model.signalled);
}

#[test]
fn an_error_nobody_ever_owns_is_told_in_the_end() {
    let mut fds = [PollFd::new(3, Events::IN)];
    let answers: Vec<_> = (0..ROUNDS * 2)
        .map(|i| {
            if i % 2 == 0 {
                Err(Errno::EHOSTUNREACH)
            } else {
                Ok(0)
            }
        })
        .collect();
    assert_eq!(
        poll(&mut Script::new(&answers), &mut fds, None),
        Err(Errno::EHOSTUNREACH)
    );
    let mut sets = Sets::new(); // nobody to ask
    assert_eq!(
        select(
            &mut Script::new(&[Err(Errno::EHOSTUNREACH); ROUNDS]),
            &mut sets,
            None
        ),
        Err(Errno::EHOSTUNREACH)
    );
}

#[test]
fn a_datagram_socket_with_an_error_is_not_over() {
    let mut script = Script {
        stream: false,
        ..Script::new(&[Err(Errno::ECONNREFUSED), Err(Errno::ECONNREFUSED)])
    };
    let mut fds = [PollFd::new(3, Events::IN | Events::OUT)];
    assert_eq!(poll(&mut script, &mut fds, None), Ok(1));
    assert_eq!(fds[0].revents, Events::OUT | Events::ERR);
}

#[test]
fn revents_that_were_filled_in_are_counted_without_another_call() {
    let mut script = Script {
        scribbles: true,
        ..Script::new(&[Err(Errno::ECONNRESET)])
    };
    let mut fds = [PollFd::new(3, Events::IN), PollFd::new(4, Events::IN)];
    assert_eq!(poll(&mut script, &mut fds, None), Ok(2));
}

#[test]
fn sets_filled_with_more_than_was_asked_are_cut_to_it() {
    let mut sets = Sets::new();
    sets.read.insert(3).unwrap();
    sets.read.insert(4).unwrap();
    let mut script = Script {
        scribbles: true,
        ..Script::new(&[Err(Errno::ECONNRESET)])
    };
    assert_eq!(select(&mut script, &mut sets, None), Ok(1));
    assert_eq!(
        (sets.read.iter().collect::<Vec<_>>(), sets.write.len()),
        (vec![4], 0)
    );
}

#[test]
fn a_timeout_too_long_for_the_clock_is_for_ever() {
    let mut script = Script::new(&[Err(Errno::ECONNRESET), Ok(0), Ok(0)]);
    assert_eq!(
        poll(
            &mut script,
            &mut [PollFd::new(3, Events::IN)],
            Some(Duration::MAX)
        ),
        Ok(0)
    );
    assert_eq!(
        script.waits,
        [Some(Duration::MAX), Some(Duration::ZERO), None]
    );
}

#[test]
fn fd_sets_are_sets() {
    let mut random = Random(7);
    let mut set = FdSet::new();
    let mut model = alloc::collections::BTreeSet::new();
    for _ in 0..4000 {
        let fd = random.below(1200) as Fd - 50;
        if random.below(2) == 0 {
            let valid = (0..1024).contains(&fd);
            assert_eq!(
                set.insert(fd),
                if valid { Ok(()) } else { Err(Errno::EINVAL) }
            );
            if valid {
                model.insert(fd);
            }
        } else {
            set.remove(fd);
            model.remove(&fd);
        }
        assert_eq!(set.contains(fd), model.contains(&fd));
        assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(set.nfds(), model.last().map_or(0, |fd| fd + 1));
    }
    assert!(set.iter().eq(model.into_iter()));
}

#[cfg(feature = "std")]
#[test]
fn events_print_their_names() {
    assert_eq!(format!("{:?}", Events::IN | Events::ERR), "IN|ERR");
    assert_eq!(format!("{:?}", Events::NONE), "-");
    assert_eq!(format!("{:?}", Events::from_bits(0x401)), "IN|0x400");
}

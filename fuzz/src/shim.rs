//! The filter over `poll` and `select`: over a system with any of the quirks that it knows of it answers as plain
//! Linux does, in crowds of sockets that change while the call waits.

use crate::Rng;
use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{self, Backend, Events, Fd, Kind, PollFd, Sets};
use std::time::Duration;

/// What a socket is in, and with it what Linux says of it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Quiet,
    Readable,
    Writable,
    Both,
    Urgent,
    PeerEnded,
    /// An error is pending.
    Broken(Errno),
    /// Not open.
    Bad,
}

#[derive(Clone, Debug)]
struct Socket {
    stream: bool,
    first: State,
    /// What it is in later, and from when on.
    later: Option<(Duration, State)>,
}

impl Socket {
    /// `tcp_poll` and `datagram_poll` of Linux, by state.
    fn is(&self, now: Duration, asked: Events) -> Events {
        let read = Events::IN | Events::RDNORM;
        let write = Events::OUT | Events::WRNORM;
        let (unasked, on_demand) = match self.at(now) {
            State::Quiet => (Events::NONE, Events::NONE),
            State::Readable => (Events::NONE, read),
            State::Writable => (Events::NONE, write),
            State::Both => (Events::NONE, read | write),
            State::Urgent => (Events::NONE, Events::PRI),
            State::PeerEnded => (Events::NONE, read | write | Events::RDHUP),
            State::Broken(_) if self.stream => {
                (Events::ERR | Events::HUP, read | write | Events::RDHUP)
            }
            State::Broken(_) => (Events::ERR, write),
            State::Bad => (Events::NVAL, Events::NONE),
        };
        unasked | (on_demand & asked)
    }

    fn at(&self, now: Duration) -> State {
        match self.later {
            Some((from, state)) if from <= now => state,
            _ => self.first,
        }
    }
}

/// How a call fails for a socket with a pending error.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Quirk {
    /// Not at all: Linux.
    None,
    /// With everything filled in.
    Filled,
    /// With `revents`, or the sets, as they were.
    Untouched,
    /// With sets that are empty.
    Emptied,
    /// With `revents` up to that socket.
    Partly,
}

struct System<'a> {
    sockets: &'a [Socket],
    quirk: Quirk,
    now: Duration,
    /// Errors that nobody has, when they are looked for, still to come.
    ghosts: usize,
    /// Every so many-eth probe is interrupted.
    interrupts: usize,
    calls: usize,
    /// Has a probe been interrupted?
    interrupted: bool,
}

impl System<'_> {
    fn socket(&self, fd: Fd) -> Socket {
        let none = Socket {
            stream: true,
            first: State::Bad,
            later: None,
        };
        let socket = usize::try_from(fd).ok().and_then(|fd| self.sockets.get(fd));
        socket.cloned().unwrap_or(none)
    }

    fn broken(&self, fd: Fd) -> Option<Errno> {
        match self.socket(fd).at(self.now) {
            State::Broken(errno) if self.quirk != Quirk::None => Some(errno),
            _ => None,
        }
    }

    /// What makes a call fail before it looks.
    fn fails(&mut self, timeout: Option<Duration>) -> Option<Errno> {
        self.calls += 1;
        if timeout == Some(Duration::ZERO) && self.interrupts > 0 {
            let interrupted = self.calls.is_multiple_of(self.interrupts);
            self.interrupted |= interrupted;
            return interrupted.then_some(Errno::EINTR);
        }
        if timeout != Some(Duration::ZERO) && self.ghosts > 0 {
            self.ghosts -= 1;
            return Some(Errno::ECONNRESET);
        }
        None
    }

    /// Lets time pass until something changes, or the deadline; false: it has come.
    fn pass(&mut self, until: Option<Duration>) -> bool {
        let changes = self.sockets.iter().filter_map(|socket| socket.later);
        let next = changes
            .map(|(from, _)| from)
            .filter(|from| *from > self.now);
        let next = next.min();
        if until.is_some_and(|until| next.is_none_or(|next| next >= until)) {
            let over = self.now == until.expect("it is one");
            self.now = until.expect("it is one").max(self.now);
            return !over;
        }
        self.now = next.expect("a wait that nothing ends");
        true
    }
}

impl Backend for System<'_> {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        if let Some(errno) = self.fails(timeout) {
            return Err(errno);
        }
        assert!(fds.iter().all(|fd| fd.revents.is_empty()), "passed empty");
        let until = timeout.map(|timeout| self.now + timeout);
        loop {
            let open = |fd: &PollFd| fd.fd >= 0;
            let is = |fd: &PollFd| self.socket(fd.fd).is(self.now, fd.events);
            let broken = fds
                .iter()
                .position(|fd| open(fd) && self.broken(fd.fd).is_some());
            let fill = match (broken, self.quirk) {
                (Some(_), Quirk::Untouched | Quirk::Emptied) => 0,
                (Some(at), Quirk::Partly) => at,
                _ => fds.len(),
            };
            let answers: Vec<Events> = fds[..fill]
                .iter()
                .map(|fd| if open(fd) { is(fd) } else { Events::NONE })
                .collect();
            for (fd, revents) in fds.iter_mut().zip(answers) {
                fd.revents = revents;
            }
            if let Some(at) = broken {
                return Err(self.broken(fds[at].fd).expect("it is"));
            }
            let n = fds.iter().filter(|fd| !fd.revents.is_empty()).count();
            if n > 0 || !self.pass(until) {
                return Ok(n);
            }
        }
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        if let Some(errno) = self.fails(timeout) {
            return Err(errno);
        }
        let asked = *sets;
        let all = asked.members();
        let until = timeout.map(|timeout| self.now + timeout);
        loop {
            if all
                .iter()
                .any(|fd| self.socket(fd).at(self.now) == State::Bad)
            {
                return Err(Errno::EBADF);
            }
            let broken = all.iter().find_map(|fd| self.broken(fd));
            let mut is = Sets::new();
            for (asked, is, events, wanted) in [
                (
                    &asked.read,
                    &mut is.read,
                    Events::IN,
                    Events::IN | Events::HUP | Events::ERR,
                ),
                (
                    &asked.write,
                    &mut is.write,
                    Events::OUT,
                    Events::OUT | Events::ERR,
                ),
                (&asked.except, &mut is.except, Events::PRI, Events::PRI),
            ] {
                for fd in asked.iter() {
                    if self.socket(fd).is(self.now, events).intersects(wanted) {
                        is.insert(fd).expect("it was in a set");
                    }
                }
            }
            match (broken, self.quirk) {
                (Some(errno), Quirk::Untouched | Quirk::Partly) => return Err(errno),
                (Some(errno), Quirk::Emptied) => {
                    *sets = Sets::new();
                    return Err(errno);
                }
                (Some(errno), _) => {
                    *sets = is;
                    return Err(errno);
                }
                (None, _) => {}
            }
            if !is.is_empty() || !self.pass(until) {
                *sets = is;
                return Ok(is.len());
            }
        }
    }

    fn now(&mut self) -> Duration {
        self.now
    }

    fn kind(&mut self, fd: Fd) -> Kind {
        match self.socket(fd).stream {
            true => Kind::Stream,
            false => Kind::Datagram,
        }
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;

fn state(rng: &mut Rng) -> State {
    let errors = [
        Errno::ECONNRESET,
        Errno::ECONNREFUSED,
        Errno::EPIPE,
        Errno::ETIMEDOUT,
    ];
    let states = [
        State::Readable,
        State::Writable,
        State::Both,
        State::Urgent,
        State::PeerEnded,
    ];
    match rng.below(8) {
        0..=2 => State::Quiet,
        3..=5 => *rng.pick(&states),
        _ => State::Broken(*rng.pick(&errors)),
    }
}

fn crowd(rng: &mut Rng) -> Vec<Socket> {
    let most = *rng.pick(&[1, 3, 12, 40]);
    // Where most are quiet the call has to wait.
    let quiet = rng.below(4);
    let count = 1 + rng.below(most);
    let socket = |_| {
        let first = match rng.below(4) < quiet {
            true => State::Quiet,
            false if rng.one_in(40) => State::Bad,
            false => state(rng),
        };
        // A connection that is broken stays so.
        let changes = !matches!(first, State::Broken(_)) && rng.one_in(2);
        Socket {
            stream: !rng.one_in(4),
            first,
            later: changes.then(|| (MS(1 + rng.below(20) as u64), state(rng))),
        }
    };
    (0..count).map(socket).collect()
}

/// One random situation, checked. The bytes are only a seed, so any will do, for libFuzzer as well.
pub fn check(data: &[u8]) {
    let mut seed = [0; 8];
    let n = data.len().min(8);
    seed[..n].copy_from_slice(&data[..n]);
    run(u64::from_le_bytes(seed));
}

pub fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let sockets = crowd(&mut rng);
    // Time enough that some waits end by it and some do not.
    let timeout = Some(MS(*rng.pick(&[0, 5, 30])));
    let linux = || System {
        sockets: &sockets,
        quirk: Quirk::None,
        now: Duration::ZERO,
        ghosts: 0,
        interrupts: 0,
        calls: 0,
        interrupted: false,
    };
    let quirk = *rng.pick(&[
        Quirk::None,
        Quirk::Filled,
        Quirk::Untouched,
        Quirk::Emptied,
        Quirk::Partly,
    ]);
    let mut quirky = System {
        quirk,
        ghosts: if rng.one_in(4) {
            rng.below(shim::ROUNDS)
        } else {
            0
        },
        interrupts: if rng.one_in(3) { 2 + rng.below(3) } else { 0 },
        ..linux()
    };
    // Without a wait there is nothing that could be interrupted but the probes.
    if timeout == Some(Duration::ZERO) {
        quirky.interrupts = 0;
    }
    if rng.one_in(2) {
        poll(&mut rng, &mut linux(), &mut quirky, timeout);
    } else {
        select(&mut rng, &mut linux(), &mut quirky, timeout);
    }
}

fn poll(rng: &mut Rng, linux: &mut System, quirky: &mut System, timeout: Option<Duration>) {
    let questions = [
        Events::IN,
        Events::OUT,
        Events::PRI,
        Events::RDHUP,
        Events::RDNORM,
    ];
    let mut asked = vec![];
    for _ in 0..1 + rng.below(2 * linux.sockets.len()) {
        let mut events = Events::NONE;
        for question in questions {
            if rng.one_in(2) {
                events |= question;
            }
        }
        // Some twice, some that are none.
        let fd = rng.below(linux.sockets.len() + 1) as Fd - i32::from(rng.one_in(20));
        asked.push(PollFd::new(fd, events));
    }
    let mut right = asked.clone();
    let n = linux
        .poll(&mut right, timeout)
        .expect("Linux' poll fails for no socket");
    let mut got = asked.clone();
    let told = shim::poll(quirky, &mut got, timeout);
    let quirk = quirky.quirk;
    if told == Err(Errno::EINTR) {
        assert!(quirky.interrupted, "{quirk:?}, asked {asked:?}");
        // A signal ends a call that has nothing to report.
        linux.now = quirky.now;
        let mut right = asked.clone();
        assert_eq!(linux.poll(&mut right, Some(Duration::ZERO)), Ok(0));
        assert_eq!(got, right, "{quirk:?}, asked {asked:?}");
        return;
    }
    if quirk == Quirk::Partly && told.is_ok_and(|told| told > 0) {
        // What it says is true; it may not say all.
        for (got, right) in got.iter().zip(&right) {
            assert!(
                right.revents.contains(got.revents),
                "{got:?}, not {right:?}"
            );
        }
        let told_of = got.iter().filter(|fd| !fd.revents.is_empty()).count();
        assert_eq!(told, Ok(told_of));
    } else {
        assert_eq!((told, &got), (Ok(n), &right), "{quirk:?}, asked {asked:?}");
    }
    assert_eq!(quirky.now, linux.now, "it did not wait as long");
}

fn select(rng: &mut Rng, linux: &mut System, quirky: &mut System, timeout: Option<Duration>) {
    let mut asked = Sets::new();
    for fd in 0..linux.sockets.len() as Fd {
        for set in [&mut asked.read, &mut asked.write, &mut asked.except] {
            if rng.one_in(3) {
                set.insert(fd).expect("there are few");
            }
        }
    }
    let mut right = asked;
    let n = linux.select(&mut right, timeout);
    let mut got = asked;
    let told = shim::select(quirky, &mut got, timeout);
    let quirk = quirky.quirk;
    if told == Err(Errno::EINTR) {
        assert!(quirky.interrupted, "{quirk:?}, asked {asked:?}");
        // A signal ends a call that has nothing to report, and leaves the sets as they were.
        linux.now = quirky.now;
        let mut right = asked;
        assert_eq!(linux.select(&mut right, Some(Duration::ZERO)), Ok(0));
        assert_eq!(got, asked, "{quirk:?}");
        return;
    }
    assert_eq!(told, n, "{quirk:?}, asked {asked:?}, got {got:?}");
    let right = if n.is_ok() { right } else { asked };
    assert_eq!(got, right, "{quirk:?}, asked {asked:?}");
    assert_eq!(quirky.now, linux.now, "it did not wait as long");
}

//! The shim against plain Linux in random situations: crowds of descriptors of all kinds, random
//! questions, each way in which a system may fail a call for a socket.
//!
//! `HSW_SHIM_SITUATIONS` says how many there are to be, `HSW_SHIM_SEED` where they begin.

use super::kinds::{Made, KINDS};
use hardswitch::net::errno::Errno;
use hardswitch::net::shim::{self, Backend, Events, Fd, Kind, PollFd, Sets};
use hardswitch::net::Os;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

const NOW: Option<Duration> = Some(Duration::ZERO);

/// What `revents` or sets hold when the call has failed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Filled,
    Untouched,
    Emptied,
}

/// The kernel's calls, made to fail for a socket, each in its way.
struct Quirky<'a> {
    errors: &'a HashMap<Fd, Errno>,
    poll: Left,
    select: Left,
    failures: usize,
}

impl Quirky<'_> {
    /// The error of the first of these that has one.
    fn error_of(&mut self, fds: &[PollFd]) -> Option<Errno> {
        let broken = fds.iter().find(|fd| self.errors.contains_key(&fd.fd))?;
        self.failures += 1;
        Some(self.errors[&broken.fd])
    }
}

impl Backend for Quirky<'_> {
    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let mut answer = fds.to_vec();
        let n = Os.poll(&mut answer, timeout)?;
        let error = self.error_of(fds);
        if error.is_none() || self.poll == Left::Filled {
            fds.copy_from_slice(&answer);
        }
        error.map_or(Ok(n), Err)
    }

    fn select(&mut self, sets: &mut Sets, timeout: Option<Duration>) -> Result<usize, Errno> {
        let mut answer = *sets;
        let n = Os.select(&mut answer, timeout)?;
        let all = sets.members();
        let all: Vec<_> = all.iter().map(|fd| PollFd::new(fd, Events::NONE)).collect();
        let error = self.error_of(&all);
        match (error, self.select) {
            (None, _) | (_, Left::Filled) => *sets = answer,
            (_, Left::Untouched) => {}
            (_, Left::Emptied) => *sets = Sets::new(),
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

/// xorshift64*: a failure is repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) as usize) % n
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn events(&mut self) -> Events {
        if self.one_in(10) {
            return Events::from_bits(self.next() as i16);
        }
        let mut events = Events::NONE;
        for event in [
            Events::IN,
            Events::PRI,
            Events::OUT,
            Events::RDNORM,
            Events::RDBAND,
            Events::WRNORM,
            Events::WRBAND,
            Events::RDHUP,
        ] {
            if self.one_in(2) {
                events |= event;
            }
        }
        events
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().expect(variable))
}

struct Count {
    situations: u64,
    comparisons: u64,
    failures: usize,
    differences: Vec<String>,
}

fn compare<T: PartialEq + std::fmt::Debug>(
    count: &mut Count,
    right: &T,
    got: &T,
    situation: impl FnOnce() -> String,
) {
    count.comparisons += 1;
    if got != right {
        let words = format!("{}\n  Linux {right:?}\n  shim  {got:?}", situation());
        count.differences.push(words);
    }
}

fn poll(random: &mut Random, crowd: &[Made], errors: &HashMap<Fd, Errno>, count: &mut Count) {
    let mut asked: Vec<PollFd> = (0..1 + random.below(2 * crowd.len()))
        .map(|_| PollFd::new(crowd[random.below(crowd.len())].fd, random.events()))
        .collect();
    if random.one_in(8) {
        asked.push(PollFd::new(-1 - random.below(5) as Fd, random.events()));
    }
    for fd in &mut asked {
        fd.revents = Events::from_bits(random.next() as i16); // of an earlier call
    }
    let mut right = asked.clone();
    let n = Os.poll(&mut right, NOW);
    for poll in [Left::Filled, Left::Untouched] {
        let select = Left::Untouched;
        let mut system = Quirky {
            errors,
            poll,
            select,
            failures: 0,
        };
        let mut got = asked.clone();
        let told = shim::poll(&mut system, &mut got, NOW);
        count.failures += system.failures;
        compare(count, &n, &told, || format!("poll, {poll:?}: {asked:?}"));
        for (right, got) in right.iter().zip(&got) {
            compare(count, right, got, || {
                let kind = crowd.iter().find(|made| made.fd == got.fd);
                format!("poll, {poll:?}: {:?}", kind.map(|made| made.kind))
            });
        }
    }
}

fn select(random: &mut Random, crowd: &[Made], errors: &HashMap<Fd, Errno>, count: &mut Count) {
    let mut asked = Sets::new();
    // From a few to nearly all: where all that are asked about are ready, filled sets and untouched
    // ones are the same.
    let (among, each) = (1 + random.below(4), 1 + random.below(3));
    let closed = random.one_in(20);
    for made in crowd.iter().filter(|made| made.kind != "closed" || closed) {
        if !random.one_in(among) {
            continue;
        }
        for set in [&mut asked.read, &mut asked.write, &mut asked.except] {
            if random.one_in(each) {
                set.insert(made.fd).expect("below 1,024");
            }
        }
    }
    let mut right = asked;
    let n = Os.select(&mut right, NOW);
    for poll in [Left::Filled, Left::Untouched] {
        for select in [Left::Filled, Left::Untouched, Left::Emptied] {
            let mut system = Quirky {
                errors,
                poll,
                select,
                failures: 0,
            };
            let mut got = asked;
            let told = shim::select(&mut system, &mut got, NOW);
            count.failures += system.failures;
            compare(count, &(n, right), &(told, got), || {
                let kinds: Vec<_> = crowd.iter().map(|made| (made.fd, made.kind)).collect();
                format!("select, {select:?}, poll {poll:?}: {asked:?} of {kinds:?}")
            });
        }
    }
}

#[test]
fn the_answers_are_those_of_plain_linux_in_random_situations() {
    let situations = number("HSW_SHIM_SITUATIONS", 2_000);
    let seed = number("HSW_SHIM_SEED", 1);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut count = Count {
        situations: 0,
        comparisons: 0,
        failures: 0,
        differences: vec![],
    };
    let mut seen = HashSet::new();
    let mut next_kind = 0;
    while count.situations < situations {
        // Every kind has its turn; which ones come together is random.
        let mut crowd: Vec<Made> = (0..1 + random.below(40))
            .map(|_| {
                next_kind += 1 + random.below(3);
                Made::new(KINDS[next_kind % KINDS.len()])
            })
            .collect();
        if random.one_in(3) {
            crowd.push(Made::closed());
        }
        seen.extend(crowd.iter().map(|made| made.kind));
        let errors: HashMap<Fd, Errno> = crowd
            .iter()
            .filter_map(|made| Some((made.fd, made.error?)))
            .collect();
        for _ in 0..100 {
            if random.one_in(2) {
                poll(&mut random, &crowd, &errors, &mut count);
            } else {
                select(&mut random, &crowd, &errors, &mut count);
            }
            count.situations += 1;
        }
        // The errors were those that the table says, and nothing has read them away.
        for made in crowd.iter().filter(|made| made.kind != "closed") {
            assert_eq!(made.take_error(), made.error, "{}", made.kind);
        }
    }
    println!(
        "{} situations of {} kinds, {} comparisons, {} failed calls, {} differences",
        count.situations,
        seen.len(),
        count.comparisons,
        count.failures,
        count.differences.len()
    );
    let shown = count.differences.iter().take(5);
    let shown: Vec<&str> = shown.map(String::as_str).collect();
    assert!(shown.is_empty(), "seed {seed}: {}", shown.join("\n"));
    assert!(count.failures as u64 > situations / 2, "few calls failed");
    if situations >= 2_000 {
        assert!(seen.len() > 41, "only {} kinds were met", seen.len());
    }
}

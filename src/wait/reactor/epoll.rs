//! Finding out which descriptors are ready by the system's epoll: it is told of a descriptor once,
//! and a pump costs what has happened, not what is waited for.
//!
//! * It reports the state of a descriptor, not its changes (it is "level-triggered"), so an event
//!   that nobody takes is not lost: the next call has it again.
//! * It goes on looking for what it was told when the wait is over. Most tasklets wait for the same
//!   again, and that costs no call then. When it reports something that nobody waits for, it is
//!   told so.
//! * Whoever closes a descriptor says so before ([`forget`](Epoll::forget)). One that somebody has
//!   closed without a word is found by a look at each wait in turn, in every
//!   [sixteenth](PUMPS) pump, and at all of them after a second without an event.
//! * A descriptor that it does not take, such as a regular file, is always ready, as `poll` has it.

use super::descriptors::{Descriptors, Place};
use super::Waiter;
use crate::poll::shim::{self, Events, Fd, PollFd};
use crate::poll::Os;
use crate::wait::fork::forks;
use nix::errno::Errno;
use nix::sys::epoll::{EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Events that one call can report. More of them are reported by the next one.
const EVENTS: usize = 256;

/// A thread that sleeps looks so often for descriptors that were closed without a word.
const CHECK: Duration = Duration::from_secs(1);

/// After so many pumps one wait is looked at.
const PUMPS: u32 = 16;

/// The number by which the thread's own signal is known: no descriptor has it.
const SIGNAL: u64 = u64::MAX;

pub struct Epoll {
    epoll: nix::sys::epoll::Epoll,
    events: Vec<EpollEvent>,
    pumps: u32,
    /// Descriptors of which it may have to be told.
    listed: Vec<Fd>,
    /// A child process shares the instance of its parent, and makes one of its own.
    forks: u32,
}

/// A wait that is over, and the state of its descriptor.
pub type Ready = (Rc<Waiter>, Events);

/// What a wait has found.
pub struct Found {
    pub signalled: bool,
    /// In the order in which the waits began.
    pub ready: Vec<Ready>,
}

impl Epoll {
    /// An instance that also reports the signal. Errors: no descriptor is left.
    pub fn new(signal: RawFd) -> nix::Result<Epoll> {
        let epoll = nix::sys::epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // SAFETY: the reactor keeps its signal open for as long as it polls.
        let signal = unsafe { BorrowedFd::borrow_raw(signal) };
        epoll.add(signal, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        Ok(Epoll {
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            pumps: 0,
            listed: Vec::new(),
            forks: forks(),
        })
    }

    /// Was it made before a fork, so that the parent process has it too?
    pub fn is_shared(&self) -> bool {
        self.forks != forks()
    }

    /// A wait for `fd` has begun at its place.
    pub fn wait_begins(&mut self, fd: Fd, place: &mut Place) {
        let knows = |told: Events| told.contains(place.wanted());
        if (place.doubtful || !place.told.is_some_and(knows)) && !place.listed {
            place.listed = true;
            self.listed.push(fd);
        }
    }

    /// The descriptor is about to be closed.
    pub fn forget(&mut self, fd: Fd, place: &mut Place) {
        // The instance of a parent process goes on looking: it is not told of what the child does.
        if place.told.take().is_some() && !self.is_shared() {
            // Another process or another number may keep what it names open, so closing it is not
            // enough. The only error is that it is closed already.
            let _ = self.epoll.delete(borrow(fd));
            place.generation = place.generation.wrapping_add(1);
        }
    }

    /// Waits for at most `timeout` (`None`: no limit) until something has happened.
    ///
    /// Errors: `EINTR`; `ENOMEM` or `ENOSPC`, when no room is left for what it has to be told.
    pub fn wait(
        &mut self,
        descriptors: &mut Descriptors,
        timeout: Option<Duration>,
    ) -> nix::Result<Found> {
        let mut found = Found {
            signalled: false,
            ready: Vec::new(),
        };
        self.tell(descriptors, &mut found)?;
        self.pumps = self.pumps.wrapping_add(1);
        if self.pumps.is_multiple_of(PUMPS) {
            if let Some((fd, place)) = descriptors.next_waited_for() {
                self.set(fd, place, place.wanted(), &mut found)?;
            }
        }
        // A time beyond the range of the clock is no limit.
        let until = timeout
            .filter(|timeout| !timeout.is_zero())
            .and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = match until {
                _ if !found.ready.is_empty() || timeout == Some(Duration::ZERO) => Duration::ZERO,
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => CHECK,
            };
            let seen = self.sleep(left.min(CHECK))?;
            for at in 0..seen {
                self.take(descriptors, at, &mut found)?;
            }
            let is_over = left.is_zero() || seen == 0 && left < CHECK;
            if found.signalled || !found.ready.is_empty() || is_over {
                break;
            }
            if seen == 0 {
                for (fd, place) in descriptors.places().filter(|(_, p)| p.is_waited_for()) {
                    self.set(fd, place, place.wanted(), &mut found)?;
                }
            }
        }
        found.ready.sort_unstable_by_key(|(waiter, _)| waiter.id);
        Ok(found)
    }

    /// Waits for that long; returns how many events there are.
    fn sleep(&mut self, time: Duration) -> nix::Result<usize> {
        if time.is_zero() {
            return self.ask(time);
        }
        let end = Instant::now() + time;
        let seen = self.ask(time)?;
        let rest = end.saturating_duration_since(Instant::now());
        if seen > 0 || rest.is_zero() {
            return Ok(seen);
        }
        // It counts in milliseconds. The instance is itself a descriptor that can be polled, for
        // the rest of the time exactly.
        let mut fds = [PollFd::new(self.as_raw_fd(), Events::IN)];
        let polled = shim::poll(&mut Os, &mut fds, Some(rest));
        polled.map_err(|error| Errno::from_raw(error.to_linux()))?;
        self.ask(Duration::ZERO)
    }

    /// Waits for so many whole milliseconds.
    fn ask(&mut self, timeout: Duration) -> nix::Result<usize> {
        let millis = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        self.epoll
            .wait(&mut self.events, EpollTimeout::from(millis))
    }

    /// Takes one reported event.
    fn take(
        &mut self,
        descriptors: &mut Descriptors,
        at: usize,
        found: &mut Found,
    ) -> nix::Result<()> {
        let event = self.events[at];
        if event.data() == SIGNAL {
            found.signalled = true;
            return Ok(());
        }
        let (fd, generation) = (event.data() as u32 as Fd, (event.data() >> 32) as u32);
        let Some(place) = descriptors.get(fd) else {
            return Ok(());
        };
        if place.generation != generation {
            return Ok(());
        }
        // The bits are those of `poll`.
        let is = Events::from_bits(event.events().bits() as i16);
        let before = found.ready.len();
        place.pick(is, &mut found.ready);
        if found.ready.len() == before {
            self.set(fd, place, place.wanted(), found)?;
        }
        Ok(())
    }

    /// Tells it of the waits that have begun.
    fn tell(&mut self, descriptors: &mut Descriptors, found: &mut Found) -> nix::Result<()> {
        while let Some(fd) = self.listed.pop() {
            let place = descriptors.place(fd);
            place.listed = false;
            let wanted = place.wanted();
            if place.is_waited_for() && (place.doubtful || place.told != Some(wanted)) {
                self.set(fd, place, wanted, found)?;
                place.doubtful = false;
            }
        }
        Ok(())
    }

    /// Has it look for these events of a descriptor, and for nothing if there are none.
    fn set(
        &mut self,
        fd: Fd,
        place: &mut Place,
        wanted: Events,
        found: &mut Found,
    ) -> nix::Result<()> {
        if wanted.is_empty() && !place.is_waited_for() {
            self.forget(fd, place);
            return Ok(());
        }
        let told = match place.told {
            Some(_) => self.modify(fd, place, wanted),
            None => self.add(fd, place, wanted),
        };
        // What it knows is another descriptor than the one that has this number now, or it knows
        // this one already.
        let told = match told {
            Err(Errno::ENOENT) => {
                place.generation = place.generation.wrapping_add(1);
                self.add(fd, place, wanted)
            }
            Err(Errno::EEXIST) => self.modify(fd, place, wanted),
            told => told,
        };
        place.told = told.is_ok().then_some(wanted);
        match told {
            Ok(()) => {}
            Err(Errno::EPERM) => place.pick(wanted, &mut found.ready),
            Err(error @ (Errno::ENOMEM | Errno::ENOSPC)) => return Err(error),
            // It is closed, or something that epoll must not look at, such as the instance itself.
            Err(_) => place.pick(Events::NVAL, &mut found.ready),
        }
        Ok(())
    }

    fn add(&self, fd: Fd, place: &Place, wanted: Events) -> nix::Result<()> {
        self.epoll.add(borrow(fd), event(fd, place, wanted))
    }

    fn modify(&self, fd: Fd, place: &Place, wanted: Events) -> nix::Result<()> {
        self.epoll.modify(borrow(fd), &mut event(fd, place, wanted))
    }
}

fn event(fd: Fd, place: &Place, wanted: Events) -> EpollEvent {
    let flags = EpollFlags::from_bits_truncate(i32::from(wanted.bits()));
    let data = u64::from(fd as u32) | u64::from(place.generation) << 32;
    EpollEvent::new(flags, data)
}

fn borrow<'a>(fd: Fd) -> BorrowedFd<'a> {
    // SAFETY: a place has a number that is not negative; the system answers EBADF for one that is
    // not open, and nothing else is done with it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn waits(descriptors: &mut Descriptors, epoll: &mut Epoll, fd: Fd) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter::new(1, Some((fd, Events::IN)), None));
        epoll.wait_begins(fd, descriptors.insert(fd, waiter.clone()));
        waiter
    }

    /// A child process has its parent's instance until it makes one of its own.
    #[test]
    fn an_instance_that_two_processes_share_is_not_told_of_what_one_closes() {
        let (signal, _signals) = std::io::pipe().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (mut epoll, mut descriptors) = (
            Epoll::new(signal.as_raw_fd()).unwrap(),
            Descriptors::default(),
        );
        let fd = reader.as_raw_fd();
        let _waiter = waits(&mut descriptors, &mut epoll, fd);
        let none = epoll.wait(&mut descriptors, Some(Duration::ZERO)).unwrap();
        assert!(none.ready.is_empty());
        writer.write_all(b"x").unwrap();
        for (is_childs, events) in [(true, 1), (false, 0)] {
            epoll.forks = forks().wrapping_add(u32::from(is_childs));
            assert_eq!(epoll.is_shared(), is_childs);
            let place = descriptors.place(fd);
            place.told = Some(Events::IN);
            epoll.forget(fd, place);
            assert_eq!(epoll.ask(Duration::ZERO).unwrap(), events);
        }
    }

    #[test]
    fn what_was_closed_without_a_word_is_found_by_turns() {
        let (signal, _signals) = std::io::pipe().unwrap();
        let (mut epoll, mut descriptors) = (
            Epoll::new(signal.as_raw_fd()).unwrap(),
            Descriptors::default(),
        );
        let (reader, _writer) = std::io::pipe().unwrap();
        // SAFETY: a number that no other test gets.
        let fd = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 800) };
        assert!(fd >= 800);
        let waiter = waits(&mut descriptors, &mut epoll, fd);
        let mut pump = || {
            epoll
                .wait(&mut descriptors, Some(Duration::ZERO))
                .unwrap()
                .ready
        };
        assert!(pump().is_empty());
        // SAFETY: nobody else uses the number.
        unsafe { libc::close(fd) };
        // Its chunk comes round after the places before it.
        let found = (0..64 * PUMPS)
            .find_map(|_| pump().pop())
            .expect("it is found");
        assert!(Rc::ptr_eq(&found.0, &waiter) && found.1 == Events::NVAL);
    }
}

//! Finding out which descriptors are ready by the system's epoll: it is told of a descriptor once,
//! and a pump costs what has happened, not what is waited for.
//!
//! * It reports the state of a descriptor, not its changes (it is "level-triggered"), so an event
//!   that nobody takes is not lost: the next call has it again.
//! * It goes on looking for what it was told when the wait is over. Most tasklets wait for the same
//!   again, and that costs no call then. When it reports something that nobody waits for, it is
//!   told so.
//! * Whoever closes a descriptor says so before ([`forget`](Epoll::forget)). One that somebody has
//!   closed without a word is found by a look at all waits, [some](MOST) in a pump, which begins a
//!   second after the last one.
//! * What is left in it of a descriptor that was closed so, while a copy of it is still open,
//!   cannot be taken out again. When it is reported, the instance is [stale](Found::stale).
//! * A descriptor that it does not take, such as a regular file, can always be read and written, as
//!   `poll` has it.

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

/// So often all waits are looked at, for descriptors that were closed without a word.
const CHECK: Duration = Duration::from_secs(1);

/// In so many pumps in a row that find something, the clock is asked once.
const BUSY: u32 = 16;

/// How many waits are looked at in one pump: one costs a system call.
const MOST: usize = 256;

/// The number by which the thread's own signal is known: no descriptor has it.
const SIGNAL: u64 = u64::MAX;

pub struct Epoll {
    epoll: nix::sys::epoll::Epoll,
    events: Vec<EpollEvent>,
    /// When all waits had been looked at.
    checked: Instant,
    /// The descriptor with which the next look begins.
    next: Fd,
    /// Descriptors of which it may have to be told.
    listed: Vec<Fd>,
    /// A vector that each pump uses again.
    ready: Vec<Ready>,
    /// Pumps since the clock was asked whether it is time to look at all waits.
    unasked: u32,
    /// A child process shares the instance of its parent, and makes one of its own.
    forks: u32,
}

/// A wait that is over, and the state of its descriptor.
pub type Ready = (Rc<Waiter>, Events);

/// What a wait has found.
pub struct Found {
    pub signalled: bool,
    /// The instance reports what it cannot be told to forget: another one must take its place.
    pub stale: bool,
    /// In the order in which the waits began.
    pub ready: Vec<Ready>,
    /// Others wait on for what one of these was told of.
    pub crowded: bool,
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
            checked: Instant::now(),
            next: 0,
            listed: Vec::new(),
            ready: Vec::new(),
            unasked: 0,
            forks: forks(),
        })
    }

    /// Was it made before a fork, so that the parent process has it too?
    pub fn is_shared(&self) -> bool {
        self.forks != forks()
    }

    /// A wait for these events of `fd` has begun at its place.
    pub fn wait_begins(&mut self, fd: Fd, place: &mut Place, wanted: Events) {
        let knows = |told: Events| told.contains(wanted);
        if (place.doubtful || !place.told.is_some_and(knows)) && !place.listed {
            place.listed = true;
            self.listed.push(fd);
        }
    }

    /// The descriptor is about to be closed.
    pub fn forget(&mut self, fd: Fd, place: &mut Place) {
        if place.told.take().is_none() {
            return;
        }
        place.generation = place.generation.wrapping_add(1);
        // The instance of a parent process goes on looking: it is not told of what the child does.
        if !self.is_shared() {
            // Another process or another number may keep what it names open, so closing it is not
            // enough. The only error is that it is closed already.
            let _ = self.epoll.delete(borrow(fd));
        }
    }

    /// Takes the vector of what was [found](Found::ready) back.
    pub fn reuse(&mut self, ready: Vec<Ready>) {
        debug_assert!(ready.is_empty());
        self.ready = ready;
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
            stale: false,
            ready: std::mem::take(&mut self.ready),
            crowded: false,
        };
        self.tell(descriptors, &mut found)?;
        if timeout != Some(Duration::ZERO) {
            self.check(descriptors, &mut found)?;
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
            // A pump that finds something has better to do than to ask the clock.
            self.unasked += 1;
            if timeout == Some(Duration::ZERO) && (seen == 0 || self.unasked >= BUSY) {
                // A look that is not through goes on in the next pump.
                let through = self.check(descriptors, &mut found)?;
                self.unasked = if through { 0 } else { BUSY };
            }
            let is_over = left.is_zero() || seen == 0 && left < CHECK;
            if found.signalled || found.stale || !found.ready.is_empty() || is_over {
                break;
            }
            while !self.check(descriptors, &mut found)? {}
        }
        found.ready.sort_unstable_by_key(|(waiter, _)| waiter.id);
        Ok(found)
    }

    /// Waits for that long; returns how many events there are.
    fn sleep(&mut self, time: Duration) -> nix::Result<usize> {
        if time.is_zero() {
            return self.ask(time);
        }
        let mut rest = time;
        if time >= Duration::from_millis(1) {
            let end = Instant::now() + time;
            let seen = self.ask(time)?;
            if seen > 0 {
                return Ok(seen);
            }
            rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(0);
            }
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
        let place = descriptors.get(fd);
        let Some(place) = place.filter(|place| place.generation == generation) else {
            found.stale = true;
            return Ok(());
        };
        // The bits are those of `poll`.
        let is = Events::from_bits(event.events().bits() as i16);
        let before = found.ready.len();
        found.crowded |= place.pick(is, &mut found.ready);
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

    /// Looks whether descriptors are still what it was told, if it is time for that. Returns
    /// whether there is nothing more to look at now.
    fn check(&mut self, descriptors: &mut Descriptors, found: &mut Found) -> nix::Result<bool> {
        if self.checked.elapsed() < CHECK {
            return Ok(true);
        }
        let mut looks = 0;
        let waits = |(_, place): &(Fd, &mut Place)| place.is_waited_for();
        for (fd, place) in descriptors.places_from(self.next).filter(waits).take(MOST) {
            self.set(fd, place, place.wanted(), found)?;
            self.next = fd + 1;
            looks += 1;
        }
        if looks < MOST {
            self.next = 0;
            self.checked = Instant::now();
        }
        Ok(looks < MOST)
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
        match told {
            Ok(()) => place.told = Some(wanted),
            Err(_) => {
                place.told = None;
                place.generation = place.generation.wrapping_add(1);
            }
        }
        match told {
            Ok(()) => {}
            Err(Errno::EPERM) => place.pick_all(Events::READY, &mut found.ready),
            Err(error @ (Errno::ENOMEM | Errno::ENOSPC)) => return Err(error),
            // It is closed, or something that epoll must not look at, such as the instance itself.
            Err(_) => {
                place.pick(Events::NVAL, &mut found.ready);
            }
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
    // Without the sign: the higher bits are settings of epoll's, not events.
    let flags = EpollFlags::from_bits_truncate(i32::from(wanted.bits() as u16));
    let data = u64::from(fd as u32) | u64::from(place.generation) << 32;
    EpollEvent::new(flags, data)
}

fn borrow<'a>(fd: Fd) -> BorrowedFd<'a> {
    // SAFETY: the number is not -1, since places are those of numbers that are not negative; and it
    // is handed to the system alone, which answers EBADF when it is not open.
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
        epoll.wait_begins(fd, descriptors.insert(fd, waiter.clone()), Events::IN);
        waiter
    }

    /// What is left of a descriptor whose copy stays open cannot be taken out.
    #[test]
    fn an_instance_that_reports_what_is_gone_is_stale() {
        let (signal, _signals) = std::io::pipe().unwrap();
        let (mut epoll, mut descriptors) = (
            Epoll::new(signal.as_raw_fd()).unwrap(),
            Descriptors::default(),
        );
        let (copy, mut writer) = std::io::pipe().unwrap();
        // SAFETY: a number that no other test gets.
        let fd = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 850) };
        assert!(fd >= 850);
        let waiter = waits(&mut descriptors, &mut epoll, fd);
        let mut pump = || epoll.wait(&mut descriptors, Some(Duration::ZERO)).unwrap();
        assert!(!pump().stale);
        // SAFETY: nobody else uses the number.
        unsafe { libc::close(fd) };
        writer.write_all(b"x").unwrap();
        let found = pump();
        assert!(found.ready.len() == 1 && !found.stale);
        descriptors.remove(fd, waiter.id);
        let mut pump = || epoll.wait(&mut descriptors, Some(Duration::ZERO)).unwrap();
        // It is told that nobody waits, in vain.
        assert!(!pump().stale);
        assert!(pump().stale);
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
    fn what_was_closed_without_a_word_is_found_a_second_later() {
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
        let mut pump = |a_second_later: bool| {
            if a_second_later {
                epoll.checked -= CHECK;
            }
            let found = epoll.wait(&mut descriptors, Some(Duration::ZERO));
            found.unwrap().ready
        };
        assert!(pump(false).is_empty());
        // SAFETY: nobody else uses the number.
        unsafe { libc::close(fd) };
        assert!(pump(false).is_empty());
        let found = pump(true).pop().expect("it is found");
        assert!(Rc::ptr_eq(&found.0, &waiter) && found.1 == Events::NVAL);
    }
}

//! The pump: finds out what has happened, ends the waits for it, and sleeps if nothing has.

use super::epoll::{Epoll, Found, Ready};
use super::polling::Polling;
use super::{refuse_in_end, Poller, Reactor, Wake};
use crate::core::contain::contain;
use crate::core::runtime::Runtime;
use crate::core::thrown;
use crate::poll::errno::Errno;
use crate::poll::shim::{Backend, Events, PollFd};
use crate::wait::company::{company, Stay};
use crate::wait::parker::Parker;
use crate::wait::time;
use crate::{Error, Result};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Reactor {
    /// Runs posted events, polls, and ends the waits for what has happened. Waits for at most
    /// `timeout` (`None`: no limit), and not at all when there was something to do or tasklets are
    /// runnable. Returns how much was done: events run plus waits ended.
    pub fn pump(&self, timeout: Option<Duration>) -> Result<usize> {
        Ok(self.pump_and_sleep(timeout, Sake::Own)?)
    }

    /// As [`pump`](Self::pump) without a limit, for a wait that something on this thread will end.
    /// It does not sleep when the wait is `over`, nor when nothing is left that could end it.
    pub fn pump_until(&self, over: &dyn Fn() -> bool) -> Result<usize> {
        Ok(self.pump_and_sleep(None, Sake::Wait(over))?)
    }

    /// As [`pump_until`](Self::pump_until), for a wait that only other threads of the library can
    /// end. Errors: also `Deadlock`, when none of them can run.
    pub fn pump_for_threads(&self, over: &dyn Fn() -> bool) -> Result<usize, PumpError> {
        self.pump_and_sleep(None, Sake::Threads(over))
    }

    fn pump_and_sleep(
        &self,
        timeout: Option<Duration>,
        sake: Sake<'_>,
    ) -> Result<usize, PumpError> {
        // We are called from a backend, or from something that it calls: the thread counts as
        // asleep.
        if self.polling.get() {
            return Err(PumpError::Failed(Error::SwitchTrap));
        }
        if Runtime::get().is_ending() {
            return Err(PumpError::Failed(refuse_in_end()));
        }
        (company().may_pump)(Runtime::get()).map_err(PumpError::Failed)?;
        let mut done = self.take_in();
        let mut rest = None;
        let mut wait = if done > 0 || crate::run_count() > 1 {
            Some(Duration::ZERO)
        } else {
            // The clock may be the host's, and may do anything that does not switch. So it is asked
            // first, and once; all else is looked at afterwards.
            rest = Runtime::get().deadlines.rest();
            let until = self
                .next_deadline()
                .map(|at| at.saturating_duration_since(Instant::now()));
            [timeout, until, rest].into_iter().flatten().min()
        };
        let stuck = match sake {
            Sake::Threads(_) => {
                wait != Some(Duration::ZERO) && rest.is_none() && self.expects_nothing()
            }
            _ => false,
        };
        // The clock may have ended the caller's wait, so that is tested again before the thread
        // sleeps.
        let vain = match sake {
            Sake::Own => false,
            Sake::Wait(over) => {
                over() || wait.is_none() && self.descriptors.borrow().is_empty() && !self.expects()
            }
            Sake::Threads(over) => over(),
        };
        if vain || crate::run_count() > 1 || thrown::waits(Runtime::get().current()) {
            wait = Some(Duration::ZERO);
        }
        // To fall asleep and to wake up costs more than a look at what is there.
        let looks = wait != Some(Duration::ZERO) && self.epoll.borrow().is_some();
        let found = match looks {
            true => self.poll(Some(Duration::ZERO), false)?,
            false => 0,
        };
        done += found;
        if found == 0 {
            // A look that finds nothing runs nobody's code, but for a logger that is told of
            // trouble with epoll: that may have woken a tasklet.
            if looks && crate::run_count() > 1 {
                wait = Some(Duration::ZERO);
            }
            done += self.poll(wait, stuck)?;
        }
        done += self.expire();
        done += self.expire_clocks();
        done += time::fire_due();
        Ok(done)
    }

    /// The only place where a thread sleeps. Afterwards takes in what has come meanwhile, also when
    /// the poll failed.
    fn poll(&self, mut timeout: Option<Duration>, stuck: bool) -> Result<usize, PumpError> {
        let alone = self.descriptors.borrow().is_empty();
        if timeout == Some(Duration::ZERO) && alone {
            return Ok((company().read_messages)());
        }
        // It is dropped after the thread counts as awake again.
        let mut replaced = None;
        // The thread counts as asleep from here on; whoever sends something to it notifies its
        // parker.
        let parker = self.events.parker();
        let asleep = Asleep::begin(&mut timeout, parker, stuck)?;
        let waits = timeout != Some(Duration::ZERO);
        if alone && !self.foreign.get() {
            if waits {
                parker.sleep(timeout);
            }
            drop(asleep);
            return Ok(self.take_in());
        }
        if waits && !parker.begin_poll() {
            timeout = Some(Duration::ZERO);
        }
        let by_epoll = match self.foreign.get() {
            true => None,
            false => self.poll_by_epoll(timeout),
        };
        let (answer, signalled) = match by_epoll {
            Some(Ok(found)) => {
                self.crowded.set(self.crowded.get() | found.crowded);
                (Ok(found.ready), found.signalled)
            }
            Some(Err(error)) => (Err(error), false),
            None => self.poll_all(timeout, &mut replaced),
        };
        if waits {
            parker.end_poll(signalled);
        } else if signalled {
            // It was raised late, for an earlier poll. A notification since then stays: it is to
            // end the next wait.
            parker.signal().lower();
        }
        drop(asleep);
        let mut done = self.take_in();
        match answer {
            Ok(mut ready) => {
                self.ready.set(self.ready.get() + ready.len());
                let waits = |(waiter, _): &Ready| waiter.wake.get().is_none();
                for (waiter, is) in ready.drain(..).filter(waits) {
                    waiter.is.set(is & (waiter.wanted() | Events::ALWAYS));
                    let wake = match is.intersects(Events::NVAL) {
                        true => Wake::Bad,
                        false => Wake::Ready,
                    };
                    self.wake(&waiter, wake);
                    done += 1;
                }
                if let Some(epoll) = &mut *self.epoll.borrow_mut() {
                    epoll.reuse(ready);
                }
                Ok(done)
            }
            Err(Errno::EINTR) => Ok(done),
            Err(error) => Err(PumpError::Failed(std::io::Error::from(error).into())),
        }
    }

    /// Asks epoll; `None`: there is none, or it has no room for what it must be told.
    fn poll_by_epoll(&self, timeout: Option<Duration>) -> Option<Result<Found, Errno>> {
        if self.poller.get() == Poller::Poll {
            return None;
        }
        if self.epoll.borrow().as_ref().is_none_or(Epoll::is_shared) {
            self.make_epoll()?;
        }
        let found = {
            let mut descriptors = self.descriptors.borrow_mut();
            let mut epoll = self.epoll.borrow_mut();
            epoll.as_mut()?.wait(&mut descriptors, timeout)
        };
        match found.map_err(|error| Errno::from_linux(error as i32)) {
            Err(error @ (Errno::ENOMEM | Errno::ENOSPC)) => {
                self.set_poller(Poller::Poll);
                contain("the logger", || {
                    log::warn!(
                        "epoll has no room for a descriptor ({error}): poll is called from now on"
                    );
                });
                None
            }
            Ok(found) => {
                if found.stale {
                    self.drop_epoll();
                }
                Some(Ok(found))
            }
            failed => Some(failed),
        }
    }

    /// Makes an epoll instance that is told of all waits; `None`: no descriptor is left for it.
    #[cold]
    fn make_epoll(&self) -> Option<()> {
        self.drop_epoll();
        let mut epoll = Epoll::new(self.events.as_raw_fd()).ok()?;
        for (fd, place) in self.descriptors.borrow_mut().places() {
            if place.is_waited_for() {
                epoll.wait_begins(fd, place, place.wanted());
            }
        }
        *self.epoll.borrow_mut() = Some(epoll);
        Some(())
    }

    /// Asks the backend about all that is waited for. Returns whose waits are over, in the order in
    /// which they began, and whether the thread was signalled.
    fn poll_all(
        &self,
        timeout: Option<Duration>,
        replaced: &mut Option<Box<dyn Backend>>,
    ) -> (Result<Vec<Ready>, Errno>, bool) {
        // Taken out while the backend polls, which may be code of a user's.
        let mut fds = self.scratch.take();
        fds.push(PollFd::new(self.events.as_raw_fd(), Events::IN));
        let wanted = |(fd, wanted)| PollFd::new(fd, wanted);
        fds.extend(self.descriptors.borrow_mut().all_wanted().map(wanted));
        let answer = Polling::begin(self, replaced).poll(&mut fds, timeout);
        let signalled = answer.is_ok() && !fds[0].revents.is_empty();
        let mut ready = Vec::new();
        if answer.is_ok() {
            let mut descriptors = self.descriptors.borrow_mut();
            for entry in fds[1..].iter().filter(|entry| !entry.revents.is_empty()) {
                if let Some(place) = descriptors.get(entry.fd) {
                    let crowded = place.pick(entry.revents, &mut ready);
                    self.crowded.set(self.crowded.get() | crowded);
                }
            }
            ready.sort_unstable_by_key(|(waiter, _)| waiter.id);
        }
        fds.clear();
        self.scratch.set(fds);
        (answer.map(|_| ready), signalled)
    }

    /// Reads the inbox and runs the events that are there; returns how many.
    fn take_in(&self) -> usize {
        (company().read_messages)() + self.events.run_pending()
    }

    /// Ends the waits whose time has come.
    fn expire(&self) -> usize {
        let mut done = 0;
        if self.deadlines.borrow().is_empty() {
            return 0;
        }
        let now = Instant::now();
        loop {
            let due = match self.deadlines.borrow().first_key_value() {
                Some(((at, _), waiter)) if *at <= now => waiter.clone(),
                _ => return done,
            };
            self.wake(&due, Wake::TimedOut);
            done += 1;
        }
    }

    /// Runs the timers that are due. There is one limit for all clocks: timers that are made
    /// meanwhile wait for the next pump, also if they are of another clock.
    fn expire_clocks(&self) -> usize {
        let limit = self.next_id.get();
        // The clocks are visited by index: a timer may attach clocks, or pump and so let some of
        // them go.
        let (mut at, mut done) = (0, 0);
        loop {
            let clock = match self.clocks.borrow().get(at) {
                Some(clock) => clock.clone(),
                None => return done,
            };
            done += clock.expire(self, limit);
            if clock.pending() > 0 {
                at += 1;
            } else {
                self.clocks.borrow_mut().retain(|c| !Rc::ptr_eq(c, &clock));
                clock.detached();
            }
        }
    }
}

/// The purpose of a pump, which decides whether it may sleep.
enum Sake<'a> {
    /// The caller's own, which it does not tell.
    Own,
    /// A wait that may be over already, and that something on this thread will end.
    Wait(&'a dyn Fn() -> bool),
    /// A wait that only other threads of the library can end.
    Threads(&'a dyn Fn() -> bool),
}

/// Why a pump failed.
pub enum PumpError {
    /// Only other threads could have woken somebody, and none of them can run.
    Deadlock,
    Failed(Error),
}

impl From<PumpError> for Error {
    fn from(error: PumpError) -> Error {
        match error {
            PumpError::Deadlock => Error::Deadlock,
            PumpError::Failed(error) => error,
        }
    }
}

/// While this exists, the thread counts as asleep, and has given its host lock up. When it is
/// dropped, the thread's inbox has been taken, and can be read.
struct Asleep {
    sleeps: bool,
    /// Has the thread given its host lock up?
    away: bool,
}

impl Asleep {
    /// Puts the thread to sleep, unless there are messages: then `timeout` becomes zero. `stuck`:
    /// can only other threads of the library wake it?
    fn begin(
        timeout: &mut Option<Duration>,
        parker: &Arc<Parker>,
        stuck: bool,
    ) -> Result<Asleep, PumpError> {
        let mut asleep = Asleep {
            sleeps: false,
            away: false,
        };
        if *timeout == Some(Duration::ZERO) {
            return Ok(asleep);
        }
        match (company().fall_asleep)(stuck, parker) {
            Ok((limit, away)) => {
                *timeout = (*timeout).into_iter().chain(limit).min();
                asleep.sleeps = true;
                asleep.away = away;
                Ok(asleep)
            }
            Err(Stay::Alone) => Ok(asleep),
            Err(Stay::Messages) => {
                *timeout = Some(Duration::ZERO);
                Ok(asleep)
            }
            Err(Stay::Deadlock) => Err(PumpError::Deadlock),
        }
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        if self.sleeps {
            (company().wake_up)(self.away);
        }
    }
}

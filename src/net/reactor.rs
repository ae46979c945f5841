//! Where the tasklets of a thread wait: for descriptors, for a time, for what other threads bring.
//!
//! One reactor per thread, made on first use. A tasklet that has to wait puts a [`Waiter`] on the
//! reactor's lists and blocks on the waiter's channel; [`Reactor::pump`] finds out what has
//! happened and sends on the channels. The lists hold reference-counted heap objects only, never
//! anything on a tasklet's stack, which may be somewhere else by then.
//!
//! ```text
//!   tasklet                       reactor                                system
//!   read() ── would block ──►  Waiter{fd, IN, deadline} ──┐
//!   blocks on waiter.channel                              ├─ pump() ──►  shim::poll
//!   sleep() ────────────────►  Waiter{deadline} ──────────┤                 │
//!   offload::call() ────────►  Waiter{} ◄── event queue ──┘ ◄───────────────┘
//!              ◄── send on the channel (the tasklet is queued; the pump goes on)
//! ```
//!
//! Whoever leaves a wait, by whatever way (woken, timed out, killed, an exception), takes its
//! waiter off the lists: [`Registered`] does it when dropped.
//!
//! **Who pumps?** Usually the main tasklet, through [`MainLoop`](crate::main_loop::MainLoop). When
//! blocking would leave nobody to pump, the waiting tasklet pumps itself, and lets others run
//! meanwhile: see [`drive`](crate::core::drive) and [`round`].
//!
//! Cost: a wait allocates a waiter and a channel; a pump is O(descriptors waited for), as `poll`
//! is; a deadline is O(log deadlines).

use super::errno::Errno;
use super::shim::{self, Backend, Events, Fd, PollFd};
use super::Os;
use crate::core::drive::{self, must_drive, WaitError};
use crate::core::runtime::{Runtime, HOOK_LOCKED};
use crate::core::scheduler;
use crate::core::thrown;
use crate::event::EventQueue;
use crate::tasklet::flag;
use crate::thread::bell::Bell;
use crate::thread::{host_lock, StayUp};
use crate::{Channel, Error, Preference, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a wait is over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Wake {
    /// The descriptor has something, or an error; trying again tells which.
    Ready,
    /// The deadline has passed.
    TimedOut,
    /// The descriptor was closed by another tasklet.
    Closed,
    /// The descriptor is none: it was closed by somebody who did not say so.
    Bad,
}

/// One tasklet's wait.
pub(crate) struct Waiter {
    id: u64,
    interest: Option<(Fd, Events)>,
    deadline: Option<Instant>,
    wake: Cell<Option<Wake>>,
    channel: Channel<()>,
}

pub(crate) struct Reactor {
    events: EventQueue,
    /// `None` while it polls.
    backend: Cell<Option<Box<dyn Backend>>>,
    polling: Cell<bool>,
    /// The backend is not the system's: what sleeps elsewhere it would not know of, and it may be a
    /// user's code.
    foreign: Cell<bool>,
    next_id: Cell<u64>,
    /// Waiters for descriptors, by descriptor and, for the same one, in the order they came.
    descriptors: RefCell<BTreeMap<(Fd, u64), Rc<Waiter>>>,
    /// Waiters with a deadline, by it.
    deadlines: RefCell<BTreeMap<(Instant, u64), Rc<Waiter>>>,
    /// Clocks with timers that wait.
    clocks: RefCell<Vec<Rc<dyn Timers>>>,
    /// Calls and waits that other threads end.
    outstanding: Cell<usize>,
    scratch: Cell<Scratch>,
    stop: Arc<AtomicBool>,
    running: Cell<usize>,
}

/// A clock with timers (see [`timer`](crate::timer)), as the reactor sees it.
pub(crate) trait Timers {
    /// When it is to be looked at next.
    fn next(&self) -> Option<Instant>;
    /// Runs what is due and was asked for before the [id](Reactor::take_id) `limit`; answers how
    /// much that was.
    fn expire(&self, reactor: &Reactor, limit: u64) -> usize;
    /// Timers that wait.
    fn pending(&self) -> usize;
    /// It had none, and has been let go.
    fn detached(&self);
    /// Drops all timers.
    fn clear(&self);
}

/// Vectors that a pump reuses.
#[derive(Default)]
struct Scratch {
    /// One entry a descriptor, however many wait for it: the system takes no more entries than a
    /// process may have descriptors.
    fds: Vec<PollFd>,
    /// Each with the number of its entry.
    waiters: Vec<(usize, Rc<Waiter>)>,
}

impl Waiter {
    /// How what is true of its descriptor ends its wait, if it does.
    fn wake_by(&self, is: Events) -> Option<Wake> {
        let wanted = self.interest.map_or(Events::NONE, |(_, events)| events);
        // What concerns one direction alone is for those alone who wait for it.
        let one_way = Events::IN | Events::OUT;
        let both_ways = Events::from_bits(!one_way.bits());
        if is.intersects(Events::NVAL) {
            Some(Wake::Bad)
        } else {
            is.intersects(wanted | both_ways).then_some(Wake::Ready)
        }
    }
}

thread_local! {
    // Without a destructor: its end is `end`, called by that of the thread's part.
    static REACTOR: Cell<*const Reactor> = const { Cell::new(ptr::null()) };
}

impl Reactor {
    /// The calling thread's. Errors: the operating system has no descriptor left; the thread is
    /// ending, and has none.
    ///
    /// A tasklet of a thread that is ending is killed once more then: who carries on after each
    /// error uses up its kills.
    pub fn current() -> Result<Rc<Reactor>> {
        match Reactor::existing() {
            Some(reactor) => Ok(reactor),
            None => Reactor::make(),
        }
    }

    #[cold]
    fn make() -> Result<Rc<Reactor>> {
        if Runtime::get().is_ending() {
            return Err(drive::refuse_in_end());
        }
        let reactor = Rc::new(Reactor {
            events: EventQueue::of_loop(crate::event::DEFAULT_LIMIT)?,
            backend: Cell::new(Some(Box::new(Os))),
            polling: Cell::new(false),
            foreign: Cell::new(false),
            next_id: Cell::new(0),
            descriptors: RefCell::default(),
            deadlines: RefCell::default(),
            clocks: RefCell::default(),
            outstanding: Cell::new(0),
            scratch: Cell::default(),
            stop: Arc::default(),
            running: Cell::new(0),
        });
        REACTOR.set(Rc::into_raw(reactor.clone()));
        Ok(reactor)
    }

    /// The calling thread's, if it has one.
    pub fn existing() -> Option<Rc<Reactor>> {
        let reactor = REACTOR.get();
        if reactor.is_null() {
            return None;
        }
        // SAFETY: the reference of `REACTOR` keeps it; counted once more.
        unsafe {
            Rc::increment_strong_count(reactor);
            Some(Rc::from_raw(reactor))
        }
    }

    fn take() -> Option<Rc<Reactor>> {
        let reactor = REACTOR.replace(ptr::null());
        // SAFETY: from `make`, taken out once.
        (!reactor.is_null()).then(|| unsafe { Rc::from_raw(reactor) })
    }

    /// The thread is ending: refuses what others post, and drops what would have run later. Answers
    /// whether there was anything.
    pub fn let_go(&self) -> bool {
        self.events.close() | self.drop_timers()
    }

    /// The thread's part is over. Whoever has references to the reactor (a timer's function, a
    /// handle, a tasklet that would not end), it holds nothing any more, and serves nobody.
    pub fn end() {
        let Some(reactor) = Reactor::take() else {
            return;
        };
        reactor.let_go();
        reactor.events.bell().signal().close();
        let waiters = (reactor.descriptors.take(), reactor.deadlines.take());
        let rest = (reactor.scratch.take(), reactor.backend.take());
        drop((waiters, rest));
    }

    /// As [`end`](Self::end), where no code of the thread's own may run.
    pub fn abandon() {
        if let Some(reactor) = Reactor::take() {
            reactor.events.close();
            reactor.events.bell().signal().close();
            std::mem::forget(reactor);
        }
    }

    /// Set to end the loop's runs.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Runs of the loop under way.
    pub fn running(&self) -> &Cell<usize> {
        &self.running
    }

    pub fn events(&self) -> &EventQueue {
        &self.events
    }

    pub fn set_backend(&self, backend: Box<dyn Backend>) -> Box<dyn Backend> {
        self.foreign.set(true);
        // Not there: it polls just now, and goes when it comes back.
        let before = self.backend.replace(Some(backend));
        before.unwrap_or_else(|| Box::new(Os))
    }

    /// Counts a call on another thread, or (-1) its end.
    pub fn count_outstanding(&self, delta: isize) {
        self.outstanding
            .set(self.outstanding.get().wrapping_add_signed(delta));
    }

    /// Are there calls on other threads, waits that those end, or promises of theirs to post?
    pub fn expects(&self) -> bool {
        self.outstanding.get() > 0 || self.events.is_promised()
    }

    /// Is there a socket, a time or an event that could wake a tasklet?
    pub fn has_work(&self) -> bool {
        !(self.descriptors.borrow().is_empty()
            && self.next_deadline().is_none()
            && self.events.is_empty())
    }

    /// Is there nothing that could wake a tasklet?
    pub fn is_idle(&self) -> bool {
        self.outstanding.get() == 0
            && !self.events.is_promised()
            && !self.has_work()
            && !crate::thread::has_mail()
            && Runtime::get().timers.rest().is_none()
    }

    /// Tasklets that wait for descriptors, and timers of all kinds.
    pub fn waiting(&self) -> (usize, usize) {
        let timers: usize = self.clocks.borrow().iter().map(|c| c.pending()).sum();
        (
            self.descriptors.borrow().len(),
            self.deadlines.borrow().len() + timers,
        )
    }

    /// Looks after `clock` until it has no timers any more.
    pub fn attach(&self, clock: Rc<dyn Timers>) {
        self.clocks.borrow_mut().push(clock);
    }

    /// Drops all timers of all clocks. Answers whether there were any.
    fn drop_timers(&self) -> bool {
        let clocks = self.clocks.take();
        for clock in &clocks {
            clock.detached();
            clock.clear();
        }
        !clocks.is_empty()
    }

    /// When the next deadline is.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadline = self
            .deadlines
            .borrow()
            .first_key_value()
            .map(|((at, _), _)| *at);
        let clocks = self.clocks.borrow();
        deadline
            .into_iter()
            .chain(clocks.iter().filter_map(|clock| clock.next()))
            .min()
    }

    /// A number for each wait and each timer of the thread, in the order in which they are asked
    /// for.
    pub fn take_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Puts a wait on the lists.
    pub fn register(
        self: &Rc<Self>,
        interest: Option<(Fd, Events)>,
        deadline: Option<Instant>,
    ) -> Registered {
        let id = self.take_id();
        let channel = Channel::private();
        // The pump goes on after a wake-up; who was woken runs when its turn comes.
        channel.set_preference(Preference::Sender);
        let waiter = Rc::new(Waiter {
            id,
            interest,
            deadline,
            wake: Cell::new(None),
            channel,
        });
        if let Some((fd, _)) = interest {
            let mut descriptors = self.descriptors.borrow_mut();
            descriptors.insert((fd, id), waiter.clone());
        }
        if let Some(at) = deadline {
            self.deadlines.borrow_mut().insert((at, id), waiter.clone());
        }
        Registered {
            reactor: self.clone(),
            waiter,
        }
    }

    /// Registers, blocks the tasklet, and takes the wait off the lists again.
    ///
    /// Errors: what was thrown at the tasklet while it waited; `BlockTrap`; what makes a pump fail
    /// if it had to pump.
    pub fn wait(
        self: &Rc<Self>,
        interest: Option<(Fd, Events)>,
        deadline: Option<Instant>,
    ) -> Result<Wake, WaitError> {
        let registered = self.register(interest, deadline);
        self.block(&registered.waiter)
    }

    /// Blocks the tasklet until somebody wakes `waiter`.
    pub fn block(&self, waiter: &Rc<Waiter>) -> Result<Wake, WaitError> {
        loop {
            if let Some(wake) = waiter.wake.take() {
                return Ok(wake);
            }
            let over = || waiter.wake.get().is_some();
            round(false, over, || waiter.channel.park(false))?;
        }
    }

    /// Ends a wait. Its tasklet is queued, if it is blocked in it.
    pub fn wake(&self, waiter: &Waiter, wake: Wake) {
        if waiter.wake.get().is_some() {
            return;
        }
        waiter.wake.set(Some(wake));
        self.forget(waiter);
        // It may not be blocked there (any more): it pumps itself, or somebody killed it and it has
        // not run yet. Not a `send`: that would raise what was thrown at the running tasklet, here,
        // and wake nobody.
        waiter.channel.serve(());
    }

    fn forget(&self, waiter: &Waiter) {
        // What a map gives up is dropped after its borrow: it may be the last reference.
        let by_descriptor = waiter
            .interest
            .and_then(|(fd, _)| self.descriptors.borrow_mut().remove(&(fd, waiter.id)));
        let by_deadline = waiter
            .deadline
            .and_then(|at| self.deadlines.borrow_mut().remove(&(at, waiter.id)));
        drop((by_descriptor, by_deadline));
    }

    /// Wakes all who wait for `fd`, which is about to be closed.
    pub fn cancel(&self, fd: Fd) {
        let waiters: Vec<_> = self
            .descriptors
            .borrow()
            .range((fd, 0)..=(fd, u64::MAX))
            .map(|(_, waiter)| waiter.clone())
            .collect();
        for waiter in waiters {
            self.wake(&waiter, Wake::Closed);
        }
    }

    /// Runs posted events, polls, wakes whom it concerns. Waits for at most `timeout` (`None`: as
    /// long as it takes), and not at all when there was something to do or tasklets are runnable.
    /// Answers how much was done: events run plus waits ended.
    pub fn pump(&self, timeout: Option<Duration>) -> Result<usize> {
        Ok(self.pump_and_rest(timeout, Sake::Own)?)
    }

    /// As [`pump`](Self::pump) without a limit, for who waits for what there is on this thread: it
    /// does not sleep when its wait is `over`, nor when all that has gone.
    pub fn pump_until(&self, over: &dyn Fn() -> bool) -> Result<usize> {
        Ok(self.pump_and_rest(None, Sake::Wait(over))?)
    }

    /// As [`pump_until`](Self::pump_until), for who waits for other threads of the library and for
    /// nothing else. Errors: also `Deadlock`, when none of them can run.
    pub fn pump_for_threads(&self, over: &dyn Fn() -> bool) -> Result<usize, PumpError> {
        self.pump_and_rest(None, Sake::Threads(over))
    }

    fn pump_and_rest(&self, timeout: Option<Duration>, sake: Sake<'_>) -> Result<usize, PumpError> {
        // A backend, or what it calls: the thread has lain down.
        if self.polling.get() {
            return Err(PumpError::Failed(Error::SwitchTrap));
        }
        if Runtime::get().is_ending() {
            return Err(PumpError::Failed(drive::refuse_in_end()));
        }
        host_lock::may_pump().map_err(PumpError::Failed)?;
        host_lock::offer(Runtime::get());
        let mut done = self.take_in();
        let mut wait = if done > 0 || crate::run_count() > 1 {
            Some(Duration::ZERO)
        } else {
            let until = self
                .next_deadline()
                .map(|at| at.saturating_duration_since(Instant::now()));
            [timeout, until, Runtime::get().timers.rest()]
                .into_iter()
                .flatten()
                .min()
        };
        let stuck = match sake {
            Sake::Threads(_) => wait != Some(Duration::ZERO) && self.is_idle(),
            _ => false,
        };
        // The clock may be a host's, and may have done anything: whoever called looks again before
        // it sleeps.
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
        done += self.poll(wait, stuck)?;
        done += self.expire();
        done += self.expire_clocks();
        done += crate::time::fire_due();
        Ok(done)
    }

    /// Where a thread sleeps, and the only place. Then sees to what has come meanwhile, also when
    /// it failed.
    fn poll(&self, mut timeout: Option<Duration>, stuck: bool) -> Result<usize, PumpError> {
        let alone = self.descriptors.borrow().is_empty();
        if timeout == Some(Duration::ZERO) && alone {
            return Ok(crate::thread::read_mail());
        }
        // Dropped after the rest is over.
        let mut replaced = None;
        // Asleep from here on; who sends us something rings.
        let bell = self.events.bell();
        let rest = Rest::begin(&mut timeout, bell, stuck)?;
        let waits = timeout != Some(Duration::ZERO);
        if alone && !self.foreign.get() {
            if waits {
                bell.sleep(timeout);
            }
            drop(rest);
            return Ok(self.take_in());
        }
        if waits && !bell.listen() {
            timeout = Some(Duration::ZERO);
        }
        // Taken out, not borrowed: whom this wakes may pump. Then that pump has vectors of its own.
        let Scratch {
            mut fds,
            mut waiters,
        } = self.scratch.take();
        fds.push(PollFd::new(self.events.as_raw_fd(), Events::IN));
        for (&(fd, _), waiter) in &*self.descriptors.borrow() {
            let (_, events) = waiter.interest.expect("who waits for a descriptor has one");
            match fds[1..].last_mut() {
                Some(entry) if entry.fd == fd => entry.events |= events,
                _ => fds.push(PollFd::new(fd, events)),
            }
            waiters.push((fds.len() - 1, waiter.clone()));
        }
        let answer = Polling::begin(self, &mut replaced).poll(&mut fds, timeout);
        let signalled = answer.is_ok() && !fds[0].revents.is_empty();
        if waits || signalled {
            bell.heard(signalled);
        }
        drop(rest);
        let mut done = self.take_in();
        if answer.is_ok() {
            waiters.retain(|(entry, waiter)| waiter.wake_by(fds[*entry].revents).is_some());
            // Who came first is woken first.
            waiters.sort_unstable_by_key(|(_, waiter)| waiter.id);
            for (entry, waiter) in &waiters {
                if let Some(wake) = waiter.wake_by(fds[*entry].revents) {
                    self.wake(waiter, wake);
                    done += 1;
                }
            }
        }
        fds.clear();
        waiters.clear();
        self.scratch.set(Scratch { fds, waiters });
        match answer {
            Ok(_) | Err(Errno::EINTR) => Ok(done),
            Err(error) => Err(PumpError::Failed(std::io::Error::from(error).into())),
        }
    }

    /// Reads the mail and runs the events that are there; answers how many.
    fn take_in(&self) -> usize {
        crate::thread::read_mail() + self.events.run_pending()
    }

    /// Wakes those whose time has come.
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
}

/// For whose sake a pump may sleep.
enum Sake<'a> {
    /// The caller's, who has its reasons.
    Own,
    /// Of a wait that may be over, for what there is on this thread.
    Wait(&'a dyn Fn() -> bool),
    /// Of one for other threads of the library and for nothing else.
    Threads(&'a dyn Fn() -> bool),
}

/// Why a pump failed.
pub(crate) enum PumpError {
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

/// The backend polls; the thread may have lain down, so a user's is not to switch, wait or pump.
/// Over when dropped.
struct Polling<'a> {
    reactor: &'a Reactor,
    backend: Option<Box<dyn Backend>>,
    /// Where it goes if it was replaced meanwhile: not dropped here, since its destructor may do
    /// what it may not, and panic.
    replaced: &'a mut Option<Box<dyn Backend>>,
    _refuses: Option<(crate::guard::SwitchTrap, crate::guard::BlockTrap)>,
}

impl<'a> Polling<'a> {
    fn begin(reactor: &'a Reactor, replaced: &'a mut Option<Box<dyn Backend>>) -> Polling<'a> {
        let refuses = reactor.foreign.get();
        reactor.polling.set(true);
        Polling {
            reactor,
            backend: reactor.backend.take(),
            replaced,
            _refuses: refuses.then(|| (crate::switch_trapped(), crate::block_trap())),
        }
    }

    fn poll(&mut self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let backend = self.backend.as_mut().expect("it is not polling yet");
        let backend = &mut **backend;
        match shim::poll(backend, fds, timeout) {
            Err(error) if is_about_entries(error) => poll_in_parts(backend, fds, timeout),
            answer => answer,
        }
    }
}

/// Says a `poll` that fails so that it does not take these entries, be it all of them together or
/// one of them?
fn is_about_entries(error: Errno) -> bool {
    matches!(error, Errno::EINVAL | Errno::EBADF)
}

/// How long it takes until a socket is noticed when `poll` does not take all of them at once.
const PART_WAIT: Duration = Duration::from_millis(5);

/// Asks a system about entries that it does not take in one call: there are more than a process may
/// have descriptors, or one of them is none. It is asked about parts, down to single entries, and
/// waits for the first one alone.
///
/// Error: that first one, by which the thread is woken, is not taken.
fn poll_in_parts(
    backend: &mut dyn Backend,
    fds: &mut [PollFd],
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let began = Instant::now();
    loop {
        let ready = ask_parts(backend, fds)?;
        if fds[0].revents.contains(Events::NVAL) {
            return Err(Errno::EBADF);
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
        if ready > 0 || left == Some(Duration::ZERO) {
            return Ok(ready);
        }
        let wait = left.unwrap_or(PART_WAIT).min(PART_WAIT);
        if shim::poll(backend, &mut fds[..1], Some(wait))? > 0 {
            return Ok(1);
        }
    }
}

/// What is true of these entries now; what is not taken alone is no descriptor.
fn ask_parts(backend: &mut dyn Backend, fds: &mut [PollFd]) -> Result<usize, Errno> {
    match shim::poll(backend, fds, Some(Duration::ZERO)) {
        Err(error) if is_about_entries(error) => match fds {
            [] => Err(error),
            [one] => {
                one.revents = Events::NVAL;
                Ok(1)
            }
            many => {
                let (some, others) = many.split_at_mut(many.len() / 2);
                Ok(ask_parts(backend, some)? + ask_parts(backend, others)?)
            }
        },
        answer => answer,
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let (mine, newer) = (self.backend.take(), self.reactor.backend.take());
        if newer.is_some() {
            *self.replaced = mine;
            self.reactor.backend.set(newer);
        } else {
            self.reactor.backend.set(mine);
        }
        self.reactor.polling.set(false);
    }
}

/// The thread is asleep, as other threads see it, and has given its host lock up. Over when
/// dropped; then its mail has been taken, and can be read.
struct Rest(Option<(Rc<crate::thread::Local>, host_lock::Away)>);

impl Rest {
    /// Lies down, unless there is mail: then `timeout` becomes nought. `stuck`: can only other
    /// threads of the library wake it?
    fn begin(
        timeout: &mut Option<Duration>,
        bell: &Arc<Bell>,
        stuck: bool,
    ) -> Result<Rest, PumpError> {
        if *timeout == Some(Duration::ZERO) {
            return Ok(Rest(None));
        }
        let Some(local) = crate::thread::existing() else {
            return Ok(Rest(None));
        };
        match local.lie_down(stuck, bell) {
            Ok(limit) => {
                *timeout = (*timeout).into_iter().chain(limit).min();
                Ok(Rest(Some((local, host_lock::give_up()))))
            }
            Err(StayUp::Mail) => {
                *timeout = Some(Duration::ZERO);
                Ok(Rest(None))
            }
            Err(StayUp::Deadlock) => Err(PumpError::Deadlock),
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some((local, _away)) = &self.0 {
            local.get_up();
            // The pump unwinds, and reads nothing any more.
            if std::thread::panicking() {
                local.remind();
            }
        }
    }
}

impl Reactor {
    /// Runs the timers that are due. One limit for all clocks: what their timers ask for waits for
    /// the next pump, also if it is of another clock.
    fn expire_clocks(&self) -> usize {
        let limit = self.next_id.get();
        // By number: what a timer runs may attach clocks, or pump and so let go of some.
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

/// A wait on the lists; taken off when dropped.
pub(crate) struct Registered {
    reactor: Rc<Reactor>,
    waiter: Rc<Waiter>,
}

impl Registered {
    pub fn waiter(&self) -> &Rc<Waiter> {
        &self.waiter
    }

    /// Takes the wait off the lists now.
    pub fn cancel(&self) {
        self.reactor.forget(&self.waiter);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// One round of the running tasklet's wait: blocks it by `block`; or, when that would leave nobody
/// to pump, pumps and lets others run unless it is `over`. Then look again. `for_threads`: as
/// [`Reactor::pump_for_threads`].
///
/// Errors: what was thrown at the tasklet; `BlockTrap`; `Deadlock`, if nothing could end the wait;
/// what makes a pump fail.
pub(crate) fn round(
    for_threads: bool,
    over: impl Fn() -> bool,
    block: impl FnOnce() -> Result<(), WaitError>,
) -> Result<(), WaitError> {
    let runtime = Runtime::get();
    let me = runtime.current();
    if !must_drive(runtime, me) {
        return block();
    }
    // The loop is not for who is in the middle of a switch.
    if runtime.hooks() & HOOK_LOCKED != 0 {
        return Err(WaitError::Hindered(scheduler::refused(runtime)));
    }
    // SAFETY: the running tasklet is live.
    if unsafe { (*me).is(flag::BLOCK_TRAP) } {
        return Err(WaitError::Hindered(Error::BlockTrap));
    }
    drive::raise(me).map_err(WaitError::Thrown)?;
    let pumped = match for_threads {
        true => {
            let reactor = Reactor::current().map_err(WaitError::own)?;
            reactor
                .pump_for_threads(&over)
                .map(drop)
                .map_err(Error::from)
        }
        false => match drive::turn(runtime, &over) {
            Ok(false) if crate::run_count() <= 1 && !over() => Err(Error::Deadlock),
            pumped => pumped.map(drop),
        },
    };
    pumped.map_err(WaitError::Hindered)?;
    if crate::run_count() > 1 && !over() {
        return scheduler::give_way();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::value::Slot;

    #[test]
    fn a_wake_is_not_lost_when_something_was_thrown_at_whoever_wakes() {
        std::thread::spawn(|| {
            let reactor = Reactor::current().unwrap();
            let registered = Rc::new(reactor.register(None, None));
            let (waits, woken) = (registered.clone(), Rc::new(Cell::new(false)));
            let (inside, told) = (reactor.clone(), woken.clone());
            crate::spawn(move || {
                let woken = inside.block(waits.waiter()).map_err(Error::from)?;
                assert_eq!(woken, Wake::Ready);
                told.set(true);
                Ok(())
            })
            .unwrap();
            crate::run().unwrap();
            // SAFETY: main is running; its slot is empty and is emptied again.
            let slot = unsafe { &mut (*Runtime::get().current()).slot };
            slot.fill(Slot::bomb(Error::Exit));
            reactor.wake(registered.waiter(), Wake::Ready);
            assert!(slot.take().is_bomb(), "not the waker's to raise");
            crate::run().unwrap();
            assert!(woken.get());
        })
        .join()
        .unwrap();
    }
}

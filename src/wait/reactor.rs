//! The place where the tasklets of a thread wait: for descriptors, for a time, for what other
//! threads send.
//!
//! There is one reactor per thread, made on first use. A tasklet that has to wait puts a [`Waiter`]
//! on the reactor's lists and blocks at the waiter's point. [`Reactor::pump`] finds out what has
//! happened and wakes them. The lists hold only reference-counted heap objects, never
//! anything on a tasklet's stack, whose bytes may be elsewhere by then.
//!
//! ```text
//!   tasklet                       reactor                                system
//!   read() ── would block ──►  Waiter{fd, IN, deadline} ──┐
//!   blocks at waiter.point                                ├─ pump() ──►  shim::poll
//!   sleep() ────────────────►  Waiter{deadline} ──────────┤                 │
//!   offload::call() ────────►  Waiter{} ◄── event queue ──┘ ◄───────────────┘
//!              ◄── wake (the tasklet is queued; the pump goes on)
//! ```
//!
//! When a wait ends, for whatever reason (woken, timed out, killed, an exception), its waiter is
//! taken off the lists: [`Registered`] does it when dropped.
//!
//! **Who pumps?** Usually the main tasklet, through [`MainLoop`](crate::main_loop::MainLoop). When
//! blocking would leave nobody to pump, the waiting tasklet pumps itself, and lets others run
//! meanwhile: see [`idle`](crate::core::idle) and [`round`].
//!
//! Cost: a wait allocates a waiter; a pump is O(descriptors waited for), as `poll`
//! is; a deadline is O(log deadlines).

use super::company::{company, Stay};
use super::event::{self, EventQueue};
use super::parker::Parker;
use super::time;
use crate::channel::wait_point::WaitPoint;
use crate::core::hooks::HOOK_LOCKED;
use crate::core::idle::must_drive;
use crate::core::runtime::Runtime;
use crate::core::scheduler;
use crate::core::task::flag;
use crate::core::thrown;
use crate::error::WaitError;
use crate::poll::errno::Errno;
use crate::poll::shim::{self, Backend, Events, Fd, PollFd};
use crate::poll::Os;
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The reason why a wait is over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Wake {
    /// The descriptor is ready or has an error; a new try tells which.
    Ready,
    /// The deadline has passed.
    TimedOut,
    /// The descriptor was closed by another tasklet.
    Closed,
    /// The descriptor is not open: somebody has closed it without telling the reactor.
    Bad,
}

/// A wait of a tasklet.
pub struct Waiter {
    id: u64,
    interest: Option<(Fd, Events)>,
    deadline: Option<Instant>,
    wake: Cell<Option<Wake>>,
    point: WaitPoint,
}

pub struct Reactor {
    events: EventQueue,
    /// `None` during a poll.
    backend: Cell<Option<Box<dyn Backend>>>,
    polling: Cell<bool>,
    /// Whether the backend is not the system's. Such a backend is not interrupted by sleepers
    /// elsewhere, and it may be code of a user.
    foreign: Cell<bool>,
    next_id: Cell<u64>,
    /// Waits for descriptors, by descriptor and, for the same descriptor, in the order they came.
    descriptors: RefCell<BTreeMap<(Fd, u64), Rc<Waiter>>>,
    /// Waits with a deadline, by deadline.
    deadlines: RefCell<BTreeMap<(Instant, u64), Rc<Waiter>>>,
    /// Clocks that have timers.
    clocks: RefCell<Vec<Rc<dyn Timers>>>,
    /// How many calls and waits there are that other threads will end.
    outstanding: Cell<usize>,
    scratch: Cell<Scratch>,
    stop: Arc<AtomicBool>,
    running: Cell<usize>,
}

/// A clock with timers (see [`timer`](crate::timer)), as the reactor sees it.
pub trait Timers {
    /// When it needs attention next.
    fn next(&self) -> Option<Instant>;
    /// Runs the timers that are due and were made before the [id](Reactor::take_id) `limit`;
    /// returns how many.
    fn expire(&self, reactor: &Reactor, limit: u64) -> usize;
    /// How many timers it has.
    fn pending(&self) -> usize;
    /// Tells the clock that it had no timers, and that the reactor has let it go.
    fn detached(&self);
    /// Drops all timers.
    fn clear(&self);
}

/// Vectors that a pump reuses.
#[derive(Default)]
struct Scratch {
    /// One entry per descriptor, however many tasklets wait for it: the system refuses more entries
    /// than a process may have descriptors.
    fds: Vec<PollFd>,
    /// Each waiter with the index of its entry.
    waiters: Vec<(usize, Rc<Waiter>)>,
}

impl Waiter {
    /// The result of the wait if `is` holds for its descriptor; `None` if the wait goes on.
    fn wake_by(&self, is: Events) -> Option<Wake> {
        let wanted = self.interest.map_or(Events::NONE, |(_, events)| events);
        // An event of one direction only concerns those that wait for that direction.
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
    // It has no destructor: `end` frees it, called when the thread's part ends.
    static REACTOR: Cell<*const Reactor> = const { Cell::new(ptr::null()) };
}

impl Reactor {
    /// The calling thread's reactor. Errors: the operating system has no descriptor left; the
    /// thread is ending, and has no reactor.
    ///
    /// In a thread that is ending this also kills the tasklet once more: so a tasklet that carries
    /// on after each error uses up its kills.
    pub fn current() -> Result<Rc<Reactor>> {
        match Reactor::existing() {
            Some(reactor) => Ok(reactor),
            None => Reactor::make(),
        }
    }

    #[cold]
    fn make() -> Result<Rc<Reactor>> {
        if Runtime::get().is_ending() {
            return Err(refuse_in_end());
        }
        let reactor = Rc::new(Reactor {
            events: EventQueue::of_loop(event::DEFAULT_LIMIT)?,
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

    /// The calling thread's reactor, if it has one.
    pub fn existing() -> Option<Rc<Reactor>> {
        let reactor = REACTOR.get();
        if reactor.is_null() {
            return None;
        }
        // SAFETY: `REACTOR` holds a counted reference from `Rc::into_raw`, so the reactor is alive;
        // one more is counted here and owned by the result.
        unsafe {
            Rc::increment_strong_count(reactor);
            Some(Rc::from_raw(reactor))
        }
    }

    fn take() -> Option<Rc<Reactor>> {
        let reactor = REACTOR.replace(ptr::null());
        // SAFETY: the pointer comes from `Rc::into_raw` in `make`. It is taken out of `REACTOR`
        // here, so this happens once.
        (!reactor.is_null()).then(|| unsafe { Rc::from_raw(reactor) })
    }

    /// The thread is ending: refuses posts of other threads, and drops what would have run later.
    /// Returns whether there was anything.
    pub fn let_go(&self) -> bool {
        self.events.close() | self.drop_timers()
    }

    /// The thread's part is over. References to the reactor may live on (in a timer's function, a
    /// handle, a tasklet that would not end). It is empty from now on, and serves nobody.
    pub fn end() {
        let Some(reactor) = Reactor::take() else {
            return;
        };
        reactor.let_go();
        reactor.events.parker().signal().close();
        let waiters = (reactor.descriptors.take(), reactor.deadlines.take());
        let rest = (reactor.scratch.take(), reactor.backend.take());
        drop((waiters, rest));
    }

    /// As [`end`](Self::end), where no code of the thread's own may run.
    pub fn abandon() {
        if let Some(reactor) = Reactor::take() {
            reactor.events.close();
            reactor.events.parker().signal().close();
            std::mem::forget(reactor);
        }
    }

    /// The flag that ends the loop's runs when it is set.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// How many runs of the loop are under way.
    pub fn running(&self) -> &Cell<usize> {
        &self.running
    }

    pub fn events(&self) -> &EventQueue {
        &self.events
    }

    pub fn set_backend(&self, backend: Box<dyn Backend>) -> Box<dyn Backend> {
        self.foreign.set(true);
        // `None` means that the backend polls just now; then it is dropped when it comes back.
        let before = self.backend.replace(Some(backend));
        before.unwrap_or_else(|| Box::new(Os))
    }

    /// Counts a call on another thread, or (-1) its end.
    pub fn count_outstanding(&self, delta: isize) {
        self.outstanding
            .set(self.outstanding.get().wrapping_add_signed(delta));
    }

    /// Are there calls on other threads, waits that other threads end, or promises of theirs to
    /// post?
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
            && !Runtime::get().has_messages()
            && Runtime::get().deadlines.rest().is_none()
    }

    /// How many tasklets wait for descriptors, and how many timers of all kinds there are.
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

    /// Drops all timers of all clocks. Returns whether there were any.
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

    /// A number for each wait and each timer of the thread, in the order in which they are made.
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
        let waiter = Rc::new(Waiter {
            id,
            interest,
            deadline,
            wake: Cell::new(None),
            point: WaitPoint::new(),
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
    /// Errors: an error that was thrown at the tasklet while it waited; `BlockTrap`; if it had to
    /// pump, the errors of a pump.
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
            round(false, over, || waiter.point.park(false))?;
        }
    }

    /// Ends a wait. If its tasklet is blocked in it, it is queued.
    pub fn wake(&self, waiter: &Waiter, wake: Wake) {
        if waiter.wake.get().is_some() {
            return;
        }
        waiter.wake.set(Some(wake));
        self.forget(waiter);
        // The tasklet may not be blocked there (any more): it may pump itself, or have been killed
        // and not have run yet. This is no `send`, which would raise an error that was thrown at
        // the running tasklet, and wake nobody.
        waiter.point.wake();
    }

    fn forget(&self, waiter: &Waiter) {
        // The entry of a map is dropped after the map's borrow: it may be the last reference.
        let by_descriptor = waiter
            .interest
            .and_then(|(fd, _)| self.descriptors.borrow_mut().remove(&(fd, waiter.id)));
        let by_deadline = waiter
            .deadline
            .and_then(|at| self.deadlines.borrow_mut().remove(&(at, waiter.id)));
        drop((by_descriptor, by_deadline));
    }

    /// Wakes all that wait for `fd`, which is about to be closed.
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
        let mut wait = if done > 0 || crate::run_count() > 1 {
            Some(Duration::ZERO)
        } else {
            let until = self
                .next_deadline()
                .map(|at| at.saturating_duration_since(Instant::now()));
            [timeout, until, Runtime::get().deadlines.rest()]
                .into_iter()
                .flatten()
                .min()
        };
        let stuck = match sake {
            Sake::Threads(_) => wait != Some(Duration::ZERO) && self.is_idle(),
            _ => false,
        };
        // The clock may be the host's, and may have done anything: so the caller's wait is tested
        // again before the thread sleeps.
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
        // They are taken out, not borrowed: a tasklet that this wakes may pump, and that pump then
        // has vectors of its own.
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
            parker.end_poll(signalled);
        }
        drop(asleep);
        let mut done = self.take_in();
        if answer.is_ok() {
            waiters.retain(|(entry, waiter)| waiter.wake_by(fds[*entry].revents).is_some());
            // The waits end in the order in which they began.
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

/// Exists while the backend polls. The thread may count as asleep, so a user's backend must not
/// switch, wait or pump.
struct Polling<'a> {
    reactor: &'a Reactor,
    backend: Option<Box<dyn Backend>>,
    /// Takes the backend if it was replaced meanwhile. It is not dropped during the poll, since its
    /// destructor may switch or wait, or panic.
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

/// Does this error of a `poll` mean that it does not accept these entries, either all of them
/// together or one of them?
fn is_about_entries(error: Errno) -> bool {
    matches!(error, Errno::EINVAL | Errno::EBADF)
}

/// How long it takes until a socket is noticed when `poll` does not accept all of them at once.
const PART_WAIT: Duration = Duration::from_millis(5);

/// Polls entries that the system does not accept in one call: there are more than a process may
/// have descriptors, or one of them is not open. The system is asked about parts, down to single
/// entries, and waits only for the first entry.
///
/// Error: it does not accept that first one, by which the thread is woken.
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

/// The present events of these entries. An entry that is not accepted by itself is not an open
/// descriptor.
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

impl Reactor {
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

/// A wait on the lists, which is taken off when this is dropped.
pub struct Registered {
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

/// One round of the running tasklet's wait. Blocks it by `block`; or, when that would leave nobody
/// to pump, pumps and lets others run unless the wait is `over`. The caller tests its condition
/// again after each round. `for_threads`: as [`Reactor::pump_for_threads`].
///
/// Errors: an error that was thrown at the tasklet; `BlockTrap`; `Deadlock`, if nothing could end
/// the wait; the errors of a pump.
pub fn round(
    for_threads: bool,
    over: impl Fn() -> bool,
    block: impl FnOnce() -> Result<(), WaitError>,
) -> Result<(), WaitError> {
    let runtime = Runtime::get();
    let me = runtime.current();
    if !must_drive(runtime, me) {
        return block();
    }
    // A tasklet in the middle of a switch must not drive the loop.
    if runtime.hooks() & HOOK_LOCKED != 0 {
        return Err(WaitError::Hindered(scheduler::refused(runtime)));
    }
    // SAFETY: `me` is the running tasklet of this thread, so it is live.
    if unsafe { (*me).is(flag::BLOCK_TRAP) } {
        return Err(WaitError::Hindered(Error::BlockTrap));
    }
    thrown::raise(me).map_err(WaitError::Thrown)?;
    let pumped = match for_threads {
        true => {
            let reactor = Reactor::current().map_err(WaitError::own)?;
            reactor
                .pump_for_threads(&over)
                .map(drop)
                .map_err(Error::from)
        }
        false => match turn(runtime, &over) {
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

/// Pumps once, for as long as that takes, unless the caller's wait is `over`. False: nothing
/// could come of it.
pub fn turn(runtime: &Runtime, over: &dyn Fn() -> bool) -> Result<bool> {
    if runtime.is_ending() {
        return Ok(false);
    }
    let reactor = Reactor::existing();
    let reactor = reactor.as_ref();
    let has_work = || {
        runtime.has_messages()
            || runtime.deadlines.rest().is_some()
            || reactor.is_some_and(|reactor| reactor.has_work())
    };
    if has_work() {
        Reactor::current()?.pump_until(over)?;
        return Ok(true);
    }
    // Only other threads can help.
    let expected = reactor.is_some_and(|reactor| reactor.expects()) || (company().is_known)();
    if !expected || !(company().is_there)() {
        // Looked for once more: they help first, and take their promise back, or end, after it.
        return Ok(has_work());
    }
    match Reactor::current()?.pump_for_threads(over) {
        Ok(_) => Ok(true),
        Err(PumpError::Deadlock) => Ok(false),
        Err(PumpError::Failed(error)) => Err(error),
    }
}

/// In a thread that is ending nothing can be waited for that others must bring. A tasklet
/// that wants to waits for its next kill instead: so who carries on after each error uses
/// up its kills, and is given up. Main, which cannot be killed, is refused.
#[cold]
pub fn refuse_in_end() -> Error {
    let runtime = Runtime::get();
    if runtime.is_dying() {
        // Nobody wakes it there.
        if let Err(error) = WaitPoint::new().park(false) {
            return error.into();
        }
    }
    crate::StateError::ThreadEnding.into()
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
            // SAFETY: main is the running tasklet, so it is live; its slot is empty here and is
            // emptied again below.
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

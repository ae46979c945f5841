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
//!   blocks at waiter.point                                ├─ pump() ──►  epoll, or shim::poll
//!   sleep() ────────────────►  Waiter{deadline} ──────────┘                 │
//!              ◄── wake (the tasklet is queued; the pump goes on) ◄─────────┘
//! ```
//!
//! When a wait ends, for whatever reason (woken, timed out, killed, an exception), its waiter is
//! taken off the lists: [`Registered`] does it when dropped.
//!
//! **Who pumps?** Usually the main tasklet, through [`MainLoop`](crate::main_loop::MainLoop). When
//! blocking would leave nobody to pump, the waiting tasklet pumps itself, and lets others run
//! meanwhile: see [`idle`](crate::core::idle) and [`round`].
//!
//! Cost: a wait allocates a waiter. A pump is O(descriptors with an event) with epoll, and
//! O(descriptors waited for) where `poll` is called instead. A deadline is O(log deadlines).

mod blocking;
mod descriptors;
mod epoll;
mod polling;
mod pump;

use descriptors::Descriptors;
use epoll::Epoll;

pub use blocking::{round, turn};
pub use pump::PumpError;

use super::event::{self, EventQueue};
use crate::channel::wait_point::WaitPoint;
use crate::core::contain::contain;
use crate::core::runtime::Runtime;
use crate::poll::shim::{Backend, Events, Fd, PollFd};
use crate::poll::Os;
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Instant;

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

/// After this many bytes without a wait, a socket's next operation waits for the loop once, ready
/// or not. [`MainLoop::set_burst`](crate::main_loop::MainLoop::set_burst) sets another number.
///
/// A peer that is faster than this thread would otherwise keep one tasklet busy for ever, and the
/// tick with it. This bounds the work of a pump to so many bytes per socket. An operation counts as
/// at least 1 KiB, and an `accept` as 8 KiB. An operation that fails counts as all of it: an
/// `accept` without a free descriptor fails at once as often as it is tried, and a tasklet that
/// tries again must let others run, which could give a descriptor back.
pub const BURST: usize = 1024 * 1024;

/// A wait of a tasklet.
pub struct Waiter {
    id: u64,
    interest: Option<(Fd, Events)>,
    deadline: Option<Instant>,
    wake: Cell<Option<Wake>>,
    /// Is it on the lists?
    listed: Cell<bool>,
    /// The state of the descriptor that ended the wait.
    is: Cell<Events>,
    point: WaitPoint,
}

/// How a thread finds out which descriptors are ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Poller {
    /// By the system's epoll: a pump costs what has happened.
    #[default]
    Epoll,
    /// By the system's `poll`, as on systems that have nothing better: a pump costs what is waited
    /// for.
    Poll,
}

pub struct Reactor {
    events: EventQueue,
    /// `None` during a poll.
    backend: Cell<Option<Box<dyn Backend>>>,
    polling: Cell<bool>,
    /// Was the backend set by a user? Such a backend is not interrupted by sleepers elsewhere,
    /// and it may be code of the user's.
    foreign: Cell<bool>,
    next_id: Cell<u64>,
    descriptors: RefCell<Descriptors>,
    poller: Cell<Poller>,
    /// Waiters that are over, to be used again.
    spare: RefCell<Vec<Rc<Waiter>>>,
    /// Made in the first pump with a wait for a descriptor; `None` with [`Poller::Poll`].
    epoll: RefCell<Option<Epoll>>,
    /// Waits with a deadline, by deadline.
    deadlines: RefCell<BTreeMap<(Instant, u64), Rc<Waiter>>>,
    /// Clocks that have timers.
    clocks: RefCell<Vec<Rc<dyn Timers>>>,
    /// How many calls and waits there are that other threads will end.
    outstanding: Cell<usize>,
    /// How many waits for descriptors have ended since somebody asked.
    ready: Cell<usize>,
    /// Did some tasklet wait on for what another one was woken for, since somebody asked?
    crowded: Cell<bool>,
    /// How many bytes a socket may move before it waits for the loop once.
    burst: Cell<usize>,
    /// How many bytes the sockets had moved that have waited since somebody asked.
    moved: Cell<usize>,
    /// A vector that each poll uses again.
    scratch: Cell<Vec<PollFd>>,
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
    /// Drops all timers. A panic of what they own goes to the log.
    fn clear(&self);
}

impl Waiter {
    fn new(id: u64, interest: Option<(Fd, Events)>, deadline: Option<Instant>) -> Waiter {
        Waiter {
            id,
            interest,
            deadline,
            wake: Cell::new(None),
            listed: Cell::new(true),
            is: Cell::new(Events::NONE),
            point: WaitPoint::new(),
        }
    }

    /// The events of its descriptor that it waits for.
    fn wanted(&self) -> Events {
        self.interest.map_or(Events::NONE, |(_, events)| events)
    }

    /// Is the wait over when `is` holds for its descriptor? An event that was not asked for is the
    /// end of every wait.
    fn is_ended_by(&self, is: Events) -> bool {
        is.intersects(self.wanted() | Events::ALWAYS)
    }

    /// The state of the descriptor that ended the wait.
    pub fn found(&self) -> Events {
        self.is.get()
    }
}

/// How many waiters are kept. A connection that waits again and again needs no new one.
const SPARE: usize = 256;

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
        let (poller, unknown) = poller_of_process();
        let reactor = Rc::new(Reactor {
            events: EventQueue::of_loop(event::DEFAULT_LIMIT)?,
            backend: Cell::new(Some(Box::new(Os))),
            polling: Cell::new(false),
            foreign: Cell::new(false),
            next_id: Cell::new(0),
            descriptors: RefCell::default(),
            poller: Cell::new(poller),
            spare: RefCell::default(),
            epoll: RefCell::new(None),
            deadlines: RefCell::default(),
            clocks: RefCell::default(),
            outstanding: Cell::new(0),
            ready: Cell::new(0),
            crowded: Cell::new(false),
            burst: Cell::new(BURST),
            moved: Cell::new(0),
            scratch: Cell::default(),
            stop: Arc::default(),
            running: Cell::new(0),
        });
        REACTOR.set(Rc::into_raw(reactor.clone()));
        if let Some(name) = unknown {
            // The logger is code of the user's, and may want the reactor.
            contain("the logger", || {
                log::warn!("HSW_POLLER is epoll or poll, not {name:?}");
            });
        }
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
        drop((waiters, reactor.spare.take()));
        drop((reactor.scratch.take(), reactor.epoll.take()));
        let backend = reactor.backend.take();
        contain("the end of a main loop's backend", || drop(backend));
    }

    /// As [`end`](Self::end), where no code of the thread's own may run.
    pub fn abandon() {
        if let Some(reactor) = Reactor::take() {
            reactor.events.close();
            reactor.events.parker().signal().close();
            if let Ok(mut epoll) = reactor.epoll.try_borrow_mut() {
                drop(epoll.take());
            }
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

    /// Has the system asked again.
    pub fn clear_backend(&self) -> Box<dyn Backend> {
        let before = self.set_backend(Box::new(Os));
        self.foreign.set(false);
        before
    }

    pub fn set_backend(&self, backend: Box<dyn Backend>) -> Box<dyn Backend> {
        self.foreign.set(true);
        // Nobody asks it as long as the backend is there.
        self.drop_epoll();
        // `None` means that the backend polls just now; then it is dropped when it comes back.
        let before = self.backend.replace(Some(backend));
        before.unwrap_or_else(|| Box::new(Os))
    }

    pub fn burst(&self) -> usize {
        self.burst.get()
    }

    pub fn set_burst(&self, bytes: usize) {
        self.burst.set(bytes);
    }

    /// A socket has moved so many bytes and waits now.
    pub fn count_moved(&self, bytes: usize) {
        self.moved.set(self.moved.get().saturating_add(bytes));
    }

    /// How many bytes the sockets had moved that have waited since the last call of this.
    pub fn take_moved(&self) -> usize {
        self.moved.take()
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
        // It comes first: the clock may be the host's, and may bring something.
        let rest = Runtime::get().deadlines.rest();
        rest.is_none() && self.expects_nothing()
    }

    /// Is there nothing besides the clock's deadlines that could wake a tasklet?
    fn expects_nothing(&self) -> bool {
        !self.expects() && !self.has_work() && !Runtime::get().has_messages()
    }

    /// How many waits for descriptors there are, and how many timers of all kinds.
    pub fn waiting(&self) -> (usize, usize) {
        let timers: usize = self.clocks.borrow().iter().map(|c| c.pending()).sum();
        (
            self.descriptors.borrow().len(),
            self.deadlines.borrow().len() + timers,
        )
    }

    /// How many waits for descriptors have ended since the last call of this.
    pub fn take_ready(&self) -> usize {
        self.ready.take()
    }

    /// Has some tasklet waited on for what another one was woken for, since the last call of this?
    pub fn take_crowded(&self) -> bool {
        self.crowded.take()
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
    #[inline(never)]
    pub fn register(
        self: &Rc<Self>,
        interest: Option<(Fd, Events)>,
        deadline: Option<Instant>,
    ) -> Registered {
        let id = self.take_id();
        let waiter = self.waiter(id, interest, deadline);
        if let Some((fd, _)) = interest {
            self.wait_begins(fd, &waiter);
        }
        if let Some(at) = deadline {
            self.deadlines.borrow_mut().insert((at, id), waiter.clone());
        }
        Registered {
            reactor: self.clone(),
            waiter,
        }
    }

    /// Puts a wait on the lists that an event of any of these descriptors ends. There is one at
    /// least, each comes once, and nobody else waits for any of them: the wait stays at the others
    /// until it is taken off, and would be in the way of the next one there.
    pub fn register_all(
        self: &Rc<Self>,
        fds: impl Iterator<Item = Fd>,
        wanted: Events,
        deadline: Option<Instant>,
    ) -> RegisteredAll {
        let mut fds = fds.fuse();
        let first = self.register(fds.next().map(|fd| (fd, wanted)), deadline);
        let others: Vec<Fd> = fds.collect();
        others
            .iter()
            .for_each(|fd| self.wait_begins(*fd, &first.waiter));
        RegisteredAll { first, others }
    }

    fn wait_begins(&self, fd: Fd, waiter: &Rc<Waiter>) {
        let mut descriptors = self.descriptors.borrow_mut();
        let place = descriptors.insert(fd, waiter.clone());
        if let Some(epoll) = &mut *self.epoll.borrow_mut() {
            epoll.wait_begins(fd, place, waiter.wanted());
        }
    }

    /// A waiter that nobody else has.
    fn waiter(
        &self,
        id: u64,
        interest: Option<(Fd, Events)>,
        deadline: Option<Instant>,
    ) -> Rc<Waiter> {
        let spare = self.spare.borrow_mut().pop();
        if let Some(mut spare) = spare {
            // Always so: those that are kept have no other owner.
            if let Some(used) = Rc::get_mut(&mut spare) {
                (used.id, used.interest, used.deadline) = (id, interest, deadline);
                (used.wake, used.is) = (Cell::new(None), Cell::new(Events::NONE));
                used.listed = Cell::new(true);
                return spare;
            }
        }
        Rc::new(Waiter::new(id, interest, deadline))
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

    /// Takes a wait off the lists, if it is there.
    #[inline(never)]
    fn forget(&self, waiter: &Waiter) {
        if !waiter.listed.replace(false) {
            return;
        }
        // The entry of a map is dropped after the map's borrow: it may be the last reference.
        let by_descriptor = waiter
            .interest
            .and_then(|(fd, _)| self.descriptors.borrow_mut().remove(fd, waiter.id));
        let by_deadline = waiter
            .deadline
            .and_then(|at| self.deadlines.borrow_mut().remove(&(at, waiter.id)));
        drop((by_descriptor, by_deadline));
    }

    /// Wakes all that wait for `fd`, which is about to be closed.
    pub fn cancel(&self, fd: Fd) {
        let waiters = self.descriptors.borrow_mut().of(fd);
        for waiter in waiters {
            self.wake(&waiter, Wake::Closed);
        }
        let mut descriptors = self.descriptors.borrow_mut();
        if let (Some(place), Some(epoll)) = (descriptors.get(fd), &mut *self.epoll.borrow_mut()) {
            epoll.forget(fd, place);
        }
    }

    /// Somebody else may have closed `fd` since it was waited for, and opened it anew.
    pub fn doubt(&self, fd: Fd) {
        if let Some(place) = self.descriptors.borrow_mut().get(fd) {
            place.doubtful = place.told.is_some();
        }
    }

    pub fn poller(&self) -> Poller {
        self.poller.get()
    }

    /// Chooses how to find out which descriptors are ready.
    pub fn set_poller(&self, poller: Poller) {
        self.poller.set(poller);
        if poller == Poller::Poll {
            self.drop_epoll();
        }
    }

    fn drop_epoll(&self) {
        let epoll = self.epoll.take();
        for (_, place) in self.descriptors.borrow_mut().places() {
            place.told = None;
            place.listed = false;
        }
        drop(epoll);
    }
}

/// What the variable `HSW_POLLER` says, and what it says if that is unknown.
fn poller_of_process() -> (Poller, Option<String>) {
    match std::env::var("HSW_POLLER") {
        Ok(name) if name == "poll" => (Poller::Poll, None),
        Ok(name) if name != "epoll" && !name.is_empty() => (Poller::Epoll, Some(name)),
        _ => (Poller::Epoll, None),
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
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.reactor.forget(&self.waiter);
        // One that somebody else holds, or is parked at, is not used again.
        let is_spare = Rc::strong_count(&self.waiter) == 1 && self.waiter.point.is_empty();
        let mut spare = self.reactor.spare.borrow_mut();
        if is_spare && spare.len() < SPARE {
            spare.push(self.waiter.clone());
        }
    }
}

/// A wait for several descriptors, which is taken off the lists when this is dropped.
pub struct RegisteredAll {
    first: Registered,
    others: Vec<Fd>,
}

impl RegisteredAll {
    pub fn waiter(&self) -> &Rc<Waiter> {
        &self.first.waiter
    }
}

impl Drop for RegisteredAll {
    fn drop(&mut self) {
        let Registered { reactor, waiter } = &self.first;
        for fd in &self.others {
            let waiter = reactor.descriptors.borrow_mut().remove(*fd, waiter.id);
            drop(waiter);
        }
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
        let never = Box::new(WaitPoint::new());
        // SAFETY: the point is on nobody's stack: a box lies in the heap.
        if let Err(error) = unsafe { never.park(false) } {
            return error.into();
        }
    }
    crate::StateError::ThreadEnding.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::value::Slot;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

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

    #[test]
    fn an_interrupt_after_a_late_signal_ends_the_next_wait() {
        std::thread::spawn(|| {
            let reactor = Reactor::current().unwrap();
            // Somebody waits for a descriptor that is never ready, so the loop polls.
            let idle = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let registered = reactor.register(Some((idle.as_raw_fd(), Events::IN)), None);
            // The signal of a notification that another poll has been told of already.
            reactor.events.parker().signal().raise();
            reactor.events.poster().interrupt();
            reactor.pump(Some(Duration::ZERO)).unwrap();
            let start = Instant::now();
            reactor.pump(Some(Duration::from_secs(20))).unwrap();
            assert!(start.elapsed() < Duration::from_secs(10));
            drop(registered);
        })
        .join()
        .unwrap();
    }
}

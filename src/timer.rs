//! Clocks and their timers: wall time, and simulated time that can be paused, scaled and stepped.
//!
//! ```text
//!   Clock::wall()      ──┐ call_later, call_at, repeat, sleep
//!   SimClock::current()──┤        │
//!   SimClock::new()    ──┘        ▼
//!                          entries by time ──► next deadline of the main loop
//!                                          ──► pump: runs entries that are due
//! ```
//!
//! A moment of a clock is a [`Duration`] since its start. Timers that are due run in the
//! [pump](crate::MainLoop::pump) of the thread's main loop, on the tasklet that pumps, in the order
//! of their moments; timers of the same moment run in the order in which they were made. Nothing
//! runs early. Timers that a timer's function makes, of whatever clock, run in the next pump at the
//! earliest, so a pump ends.
//!
//! Simulated clocks stand still or run at another pace. The loop computes its wait anew each time,
//! so nothing has to be moved when the pace changes, and nothing polls. A change of pace loses no
//! time.
//!
//! A wait for a clock that stands still does not keep
//! [`MainLoop::run_until_idle`](crate::MainLoop::run_until_idle) running, and does not count as
//! something that could wake a tasklet. If all tasklets are blocked, and only such waits are left,
//! the last one that blocked gets [`Error::Deadlock`](crate::Error::Deadlock), whatever the order
//! in which main and the others have blocked.
//!
//! Cost: two allocations for a timer, O(log timers) to make one, to cancel it and to run it.

use crate::core::contain::contain_each;
use crate::core::runtime::Runtime;
use crate::core::scheduler::schedule_or;
use crate::core::thrown;
use crate::error::WaitError;
use crate::wait::reactor::{self, Reactor, Timers, Wake};
use crate::Result;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::rc::Rc;
use std::thread::LocalKey;
use std::time::{Duration, Instant};

/// After `delay` of wall time, calls `f` once. Errors: as [`Clock::call_later`].
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// let rung = Rc::new(Cell::new(false));
/// let bell = rung.clone();
/// hardswitch::timer::call_later(Duration::from_millis(5), move || bell.set(true))?;
/// hardswitch::MainLoop::current()?.run_until_idle()?;
/// assert!(rung.get());
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub fn call_later(delay: Duration, f: impl FnOnce() + 'static) -> Result<Timer> {
    Clock::wall()?.call_later(delay, f)
}

/// At a moment of wall time, calls `f` once. Errors: as [`Clock::call_later`].
pub fn call_at(at: Instant, f: impl FnOnce() + 'static) -> Result<Timer> {
    let clock = Clock::wall()?;
    clock.call_at(at.saturating_duration_since(clock.inner.since.get()), f)
}

/// Calls `f` each `period` of wall time: see [`Clock::repeat`].
pub fn repeat(period: Duration, f: impl FnMut() + 'static) -> Result<Timer> {
    Clock::wall()?.repeat(period, f)
}

/// A clock of the calling thread, and its timers. It is a handle, and stays on its thread.
#[derive(Clone)]
pub struct Clock {
    inner: Rc<Inner>,
}

/// A clock of simulated time: a [`Clock`] that can be paused, scaled and set.
///
/// ```
/// use hardswitch::timer::SimClock;
/// use std::time::Duration;
///
/// let clock = SimClock::new();
/// clock.pause();
/// let sleeper = clock.clone();
/// hardswitch::spawn(move || sleeper.sleep(Duration::from_secs(3600)))?;
/// hardswitch::run()?;
/// clock.advance(Duration::from_secs(3600));
/// hardswitch::MainLoop::current()?.tick()?; // it wakes up
/// assert_eq!(clock.pending(), 0);
/// # Ok::<(), hardswitch::Error>(())
/// ```
#[derive(Clone)]
pub struct SimClock {
    clock: Clock,
}

impl Deref for SimClock {
    type Target = Clock;

    fn deref(&self) -> &Clock {
        &self.clock
    }
}

/// A call that is to be made. Dropping it changes nothing; clones are the same timer.
#[derive(Clone)]
pub struct Timer {
    clock: Rc<Inner>,
    key: Rc<Cell<Option<Key>>>,
}

/// The moment, and the number that its reactor gave it.
type Key = (Duration, u64);

struct Inner {
    /// The clock showed `base` at `since`, and has run at `rate` since then (0: it stands still).
    base: Cell<Duration>,
    since: Cell<Instant>,
    rate: Cell<f64>,
    paused: Cell<bool>,
    entries: RefCell<BTreeMap<Key, Entry>>,
    /// Is the clock on the reactor's list?
    attached: Cell<bool>,
}

struct Entry {
    /// The key, shared with the timer.
    key: Rc<Cell<Option<Key>>>,
    action: Action,
}

enum Action {
    Wake(Rc<reactor::Waiter>),
    Once(Box<dyn FnOnce()>),
    Repeat(Duration, Rc<RefCell<dyn FnMut()>>),
}

thread_local! {
    // They have no destructors: `end` takes the clocks out when the thread ends.
    static WALL: Kept<Clock> = const { Kept::new(RefCell::new(None)) };
    static SIM: Kept<SimClock> = const { Kept::new(RefCell::new(None)) };
}

type Kept<C> = ManuallyDrop<RefCell<Option<C>>>;

/// The calling thread's clock of one kind. Errors: the thread is ending.
fn kept<C: Clone>(clock: &'static LocalKey<Kept<C>>, make: fn() -> C) -> Result<C> {
    if let Some(clock) = clock.with(|kept| kept.borrow().clone()) {
        return Ok(clock);
    }
    if Runtime::get().is_ending() {
        return Err(reactor::refuse_in_end());
    }
    let made = make();
    clock.with(|kept| kept.replace(Some(made.clone())));
    Ok(made)
}

/// The thread's part is over: drops its clocks. Their timers have been dropped before.
pub(crate) fn end() {
    let (wall, sim) = (WALL.with(|kept| kept.take()), SIM.with(|kept| kept.take()));
    drop((wall, sim));
}

impl Clock {
    /// The thread's clock of wall time; it starts with its first use. Errors: the thread is ending.
    pub fn wall() -> Result<Clock> {
        kept(&WALL, Clock::start)
    }

    fn start() -> Clock {
        Clock {
            inner: Rc::new(Inner {
                base: Cell::default(),
                since: Cell::new(Instant::now()),
                rate: Cell::new(1.0),
                paused: Cell::new(false),
                entries: RefCell::default(),
                attached: Cell::new(false),
            }),
        }
    }

    /// The time that the clock shows: the time since its start.
    pub fn now(&self) -> Duration {
        self.inner.now()
    }

    /// Calls `f` once, after `delay`. Errors: the system has no descriptor left for the main loop;
    /// the thread is ending.
    pub fn call_later(&self, delay: Duration, f: impl FnOnce() + 'static) -> Result<Timer> {
        self.call_at(self.now().saturating_add(delay), f)
    }

    /// Calls `f` once, when the clock shows `at`; in the next pump if that is past. Errors: as
    /// [`call_later`](Self::call_later).
    ///
    /// The tasklet that pumps the main loop calls `f`: work that takes long belongs in a tasklet
    /// that `f` spawns. A panic goes on to the caller of the pump; the other timers stay.
    pub fn call_at(&self, at: Duration, f: impl FnOnce() + 'static) -> Result<Timer> {
        self.arm(at, Action::Once(Box::new(f)))
    }

    /// Calls `f` each `period`, for the first time after one period, until cancelled.
    ///
    /// The beats are multiples of the period from now on: they do not drift. If the loop comes
    /// late, `f` is called once for all the beats that were missed. If `f` pumps itself, beats that
    /// come up meanwhile are left out. When the next beat lies beyond the range of a `Duration`,
    /// the timer is over.
    ///
    /// Errors: [`Error::Io`](crate::Error::Io) of kind `InvalidInput` for a period of zero;
    /// otherwise as [`call_later`](Self::call_later).
    pub fn repeat(&self, period: Duration, f: impl FnMut() + 'static) -> Result<Timer> {
        if period.is_zero() {
            return Err(refuse("a period of zero").into());
        }
        let f = Rc::new(RefCell::new(f));
        self.arm(self.now().saturating_add(period), Action::Repeat(period, f))
    }

    /// Blocks the calling tasklet for at least `time` of this clock. Zero lets the others run once.
    ///
    /// Errors: an error that was thrown at the tasklet while it slept,
    /// [`Error::BlockTrap`](crate::Error::BlockTrap); [`Error::Deadlock`](crate::Error::Deadlock)
    /// when the clock stands still, nobody else can run, and nothing else could wake anybody.
    pub fn sleep(&self, time: Duration) -> Result<()> {
        Ok(self.sleep_or(time)?)
    }

    /// As [`sleep`](Self::sleep); the error says whether it was thrown.
    pub(crate) fn sleep_or(&self, time: Duration) -> Result<(), WaitError> {
        self.sleep_until_or(self.now().saturating_add(time))
    }

    /// As [`sleep`](Self::sleep), until the clock shows `at`.
    pub fn sleep_until(&self, at: Duration) -> Result<()> {
        Ok(self.sleep_until_or(at)?)
    }

    pub(crate) fn sleep_until_or(&self, at: Duration) -> Result<(), WaitError> {
        if at <= self.now() {
            return schedule_or();
        }
        let reactor = Reactor::current().map_err(WaitError::own)?;
        let wait = reactor.register(None, None);
        let woken = Action::Wake(wait.waiter().clone());
        let _armed = Armed(self.arm(at, woken).map_err(WaitError::Hindered)?);
        reactor.block(wait.waiter()).map(drop)
    }

    /// When the next timer or sleeper is due, by this clock.
    pub fn next_due(&self) -> Option<Duration> {
        let entries = self.inner.entries.borrow();
        entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many timers and sleepers there are.
    pub fn pending(&self) -> usize {
        self.inner.entries.borrow().len()
    }

    fn arm(&self, at: Duration, action: Action) -> Result<Timer> {
        let inner = &self.inner;
        let reactor = Reactor::current()?;
        if !inner.attached.get() {
            reactor.attach(inner.clone());
            inner.attached.set(true);
        }
        let key = Rc::default();
        inner.insert(
            (at, reactor.take_id()),
            Entry {
                key: Rc::clone(&key),
                action,
            },
        );
        Ok(Timer {
            clock: inner.clone(),
            key,
        })
    }
}

impl SimClock {
    /// Makes another clock, at zero, that runs as wall time does.
    pub fn new() -> SimClock {
        SimClock {
            clock: Clock::start(),
        }
    }

    /// The thread's clock of simulated time, made on first use. Errors: the thread is ending.
    pub fn current() -> Result<SimClock> {
        kept(&SIM, SimClock::new)
    }

    /// Stops it. To stop it twice is fine.
    pub fn pause(&self) {
        self.inner.change(|inner| inner.paused.set(true));
    }

    /// Lets it run again. To call it twice is fine.
    pub fn resume(&self) {
        self.inner.change(|inner| inner.paused.set(false));
    }

    /// Does it stand still because it was [paused](Self::pause)?
    pub fn is_paused(&self) -> bool {
        self.inner.paused.get()
    }

    /// Lets it run `scale` times as fast as wall time; at 0 it stands still. Errors:
    /// [`Error::Io`](crate::Error::Io) of kind `InvalidInput` if `scale` is negative, not a number,
    /// or infinite.
    pub fn set_scale(&self, scale: f64) -> Result<()> {
        if !(scale.is_finite() && scale >= 0.0) {
            return Err(refuse("the scale of a clock must be finite and not negative").into());
        }
        self.inner.change(|inner| inner.rate.set(scale));
        Ok(())
    }

    /// How many times as fast as wall time it runs when it is not paused.
    pub fn scale(&self) -> f64 {
        self.inner.rate.get()
    }

    /// Puts it forward, paused or not. Timers that become due run in the next pump.
    pub fn advance(&self, by: Duration) {
        self.inner.change(|inner| {
            let base = &inner.base;
            base.set(base.get().saturating_add(by));
        });
    }

    /// Sets the time that it shows, forward or back. Timers keep their moments.
    pub fn set(&self, now: Duration) {
        self.inner.change(|inner| inner.base.set(now));
    }
}

impl Default for SimClock {
    fn default() -> SimClock {
        SimClock::new()
    }
}

fn refuse(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl Inner {
    fn rate(&self) -> f64 {
        match self.paused.get() {
            true => 0.0,
            false => self.rate.get(),
        }
    }

    fn now(&self) -> Duration {
        self.shows(Instant::now())
    }

    fn shows(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since.get());
        let passed = match self.rate() {
            0.0 => Duration::ZERO,
            1.0 => passed,
            rate => scaled(passed, rate),
        };
        self.base.get().saturating_add(passed)
    }

    /// Changes the pace. The clock shows the same before and after, unless that is the change. One
    /// moment ends the old pace and begins the new one: with two, the time between them would be
    /// lost.
    fn change(&self, f: impl FnOnce(&Inner)) {
        let now = Instant::now();
        self.base.set(self.shows(now));
        self.since.set(now);
        f(self);
    }

    fn insert(&self, key: Key, entry: Entry) {
        entry.key.set(Some(key));
        self.entries.borrow_mut().insert(key, entry);
    }

    /// Takes out the first entry that is due and whose number is less than `limit`.
    fn take_due(&self, now: Duration, limit: u64) -> Option<(Duration, Entry)> {
        let mut entries = self.entries.borrow_mut();
        let mut due = entries.range(..=(now, u64::MAX));
        let key = *due.find(|((_, id), _)| *id < limit)?.0;
        entries.remove(&key).map(|entry| (key.0, entry))
    }
}

fn scaled(time: Duration, by: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * by).unwrap_or(Duration::MAX)
}

impl Timers for Inner {
    fn next(&self) -> Option<Instant> {
        let at = self.entries.borrow().first_key_value()?.0 .0;
        // From the moment of the last change, so no clock is read.
        let left = at.saturating_sub(self.base.get());
        let wait = match self.rate() {
            _ if left.is_zero() => Duration::ZERO,
            0.0 => return None,
            1.0 => left,
            // Rounded up: it is better to be a little late than to poll once more.
            rate => scaled(left, 1.0 / rate).saturating_add(Duration::from_nanos(1)),
        };
        self.since.get().checked_add(wait)
    }

    fn expire(&self, reactor: &Reactor, limit: u64) -> usize {
        let begun = self.now();
        let (mut now, mut done) = (begun, 0);
        while let Some((at, entry)) = self.take_due(now, limit) {
            done += 1;
            entry.key.set(None);
            match entry.action {
                Action::Wake(waiter) => reactor.wake(&waiter, Wake::TimedOut),
                Action::Once(f) => thrown::guest(f),
                Action::Repeat(period, f) => {
                    // It is armed again before the call, in which it may cancel itself, or panic.
                    if let Some(next) = next_beat(at, period, now) {
                        let (key, action) = (entry.key, Action::Repeat(period, f.clone()));
                        self.insert((next, reactor.take_id()), Entry { key, action });
                    }
                    // The function may go with this call, and what it owns is a guest as well.
                    thrown::guest(move || {
                        if let Ok(mut f) = f.try_borrow_mut() {
                            f();
                        }
                    });
                }
            }
            // The function may have put the clock back.
            now = self.now().min(begun);
        }
        done
    }

    fn pending(&self) -> usize {
        self.entries.borrow().len()
    }

    fn detached(&self) {
        self.attached.set(false);
    }

    fn clear(&self) {
        let entries = self.entries.take();
        for entry in entries.values() {
            entry.key.set(None);
        }
        // They are dropped with nothing borrowed: their functions may own anything.
        contain_each(
            "the end of a timer that was not called",
            entries.into_values(),
        );
    }
}

/// The first multiple of `period` from `at` on that lies after `now`; `None` if no clock will show
/// it.
fn next_beat(at: Duration, period: Duration, now: Duration) -> Option<Duration> {
    const SECOND: u128 = 1_000_000_000;
    let missed = now.saturating_sub(at).as_nanos() / period.as_nanos();
    let next = at.as_nanos() + (missed + 1) * period.as_nanos();
    let seconds = u64::try_from(next / SECOND).ok()?;
    Some(Duration::new(seconds, (next % SECOND) as u32))
}

impl Timer {
    /// Cancels the timer: `f` will not be called (again). True if it would have been; to call it
    /// twice is fine.
    pub fn cancel(&self) -> bool {
        let Some(key) = self.key.take() else {
            return false;
        };
        let entry = self.clock.entries.borrow_mut().remove(&key);
        // The entry is dropped here, with nothing borrowed: its function may own anything.
        entry.is_some()
    }

    /// Will the function be called (again)?
    pub fn is_pending(&self) -> bool {
        self.key.get().is_some()
    }

    /// When the function will be called, by the timer's clock.
    pub fn due(&self) -> Option<Duration> {
        self.key.get().map(|(at, _)| at)
    }
}

/// A sleeper's timer, which is cancelled when the sleeper leaves and drops this.
struct Armed(Timer);

impl Drop for Armed {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now())
            .field("pending", &self.pending())
            .finish()
    }
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimClock")
            .field("now", &self.now())
            .field("scale", &self.scale())
            .field("paused", &self.is_paused())
            .field("pending", &self.pending())
            .finish()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("due", &self.due()).finish()
    }
}

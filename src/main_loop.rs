//! The loop that serves a thread's tasklets: events from other threads, sockets, timers, and runs
//! of runnable tasklets.
//!
//! There are two ways to drive it:
//!
//! * Tick-driven, for a game, which has a frame to draw: [`MainLoop::tick`] or
//!   [`MainLoop::tick_for`] once a frame. It does not sleep; at most it waits for a moment for a
//!   peer that is fast.
//! * Free-running, for a server, a tool, a test: [`MainLoop::run_until_idle`] or [`MainLoop::run`].
//!   It sleeps in the system while there is nothing to do.
//!
//! ```text
//!   pump:  run posted events
//!          ─► poll the sockets (wait ≤ next timer, wake-up or limit)
//!          ─► end the waits whose time has come, run timers
//!   then:  run the tasklets that were woken
//! ```
//!
//! A socket operation, [`sleep`] or a wait in [`sync`](crate::sync) called *from the main tasklet*
//! drives the loop itself until it is done. So does a tasklet that blocks on a channel when no
//! other can run. So a program that never makes a `MainLoop` works too. While main is busy
//! elsewhere, tasklets that wait depend on main's next pump.
//!
//! The loop may be driven from any tasklet of its thread, also nested: an event or a tasklet may
//! pump.
//!
//! **Tasklets that never wait do not starve the others.** A free-running loop pumps after 256 turns
//! of tasklets at the latest. So tasklets that only give way, or hand values to and fro, keep no
//! timer, socket or event waiting. (A [`run`](crate::run) of a tasklet is not cut short: it comes
//! back first.) Main pumps after each round of the others while it waits itself. A tick pumps, then
//! runs all that can run; again, up to 16 times in all, while several tasklets wait for the same;
//! [`MainLoop::tick_for`] has a limit. A socket whose data never ends lets the others run [every
//! MiB](crate::net::BURST), and after each operation that failed. An operation that need not wait
//! does not give way: a channel whose partner is there goes by its preference; a free lock, a
//! permit, a value in a queue are taken at once, however often. No tasklet is interrupted between
//! two calls of the library.

use crate::core::run::{run_or, run_with_or, Budget};
use crate::core::scheduler::schedule_or;
use crate::error::WaitError;
use crate::event::{PostError, Poster, Promise};
use crate::poll::shim::Backend;
use crate::thread::host_lock;
pub use crate::wait::reactor::Poller;
use crate::wait::reactor::{PumpError, Reactor, Wake, BURST};
use crate::wait::time::Deadline;
use crate::{Error, Result};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks the calling tasklet for at least `time`; the others run meanwhile.
///
/// Zero lets the others run once, as `schedule()` does. A time beyond the range of the clock is no
/// limit. Errors: an error that was thrown at the tasklet while it slept ([`Error::Exit`] when it
/// was killed), [`Error::BlockTrap`]; only without a limit, [`Error::Deadlock`] when nothing could
/// wake anybody.
///
/// Cost: one allocation, O(log sleepers) to fall asleep and to wake up. The [pump](MainLoop::pump)
/// after its time wakes it.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// hardswitch::sleep(Duration::from_millis(20))?;
/// assert!(start.elapsed() >= Duration::from_millis(20));
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub fn sleep(time: Duration) -> Result<()> {
    Ok(sleep_or(time)?)
}

/// As [`sleep`]; the error says whether it was thrown.
pub(crate) fn sleep_or(time: Duration) -> Result<(), WaitError> {
    if time.is_zero() {
        return schedule_or();
    }
    match Instant::now().checked_add(time) {
        Some(until) => sleep_until_or(until),
        None => {
            let reactor = Reactor::current().map_err(WaitError::own)?;
            reactor.wait(None, None).map(drop)
        }
    }
}

/// As [`sleep`], until a moment. If that is past, the others run once.
pub fn sleep_until(until: Instant) -> Result<()> {
    Ok(sleep_until_or(until)?)
}

fn sleep_until_or(until: Instant) -> Result<(), WaitError> {
    if until <= Instant::now() {
        return schedule_or();
    }
    let reactor = Reactor::current().map_err(WaitError::own)?;
    let wake = reactor.wait(None, Some(until))?;
    debug_assert_eq!(wake, Wake::TimedOut);
    Ok(())
}

/// The calling thread's loop. It is a handle, and stays on its thread.
///
/// ```
/// use hardswitch::MainLoop;
/// use std::time::Duration;
///
/// for i in 0..3 {
///     hardswitch::spawn(move || hardswitch::sleep(Duration::from_millis(10 * i)))?;
/// }
/// MainLoop::current()?.run_until_idle()?;
/// # Ok::<(), hardswitch::Error>(())
/// ```
#[derive(Clone)]
pub struct MainLoop {
    reactor: Rc<Reactor>,
}

/// How many pumps a tick has at most where no time limits it.
const ROUNDS: usize = 16;

/// How long a tick with a budget waits at a time for a peer that was fast in it.
const PATIENCE: Duration = Duration::from_micros(250);

/// How much has to come after such a wait before there is another one.
const AGAIN: usize = 64 * 1024;

/// How many turns tasklets have at most before a free-running loop pumps again. A pump that finds
/// nothing costs about as much as ten turns, or a hundred if there are waits for sockets.
const TURNS: u64 = 256;

impl MainLoop {
    /// The calling thread's loop, made on first use. Errors: the operating system has no descriptor
    /// left; the thread is ending.
    pub fn current() -> Result<MainLoop> {
        Ok(MainLoop {
            reactor: Reactor::current()?,
        })
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote {
            poster: self.reactor.events().poster(),
            stop: self.reactor.stop().clone(),
        }
    }

    /// Runs posted events, polls the sockets, ends the waits that are over; but does not run the
    /// tasklets. Returns how much was done: events run plus waits ended.
    ///
    /// Waits for at most `limit` (`None`: no limit), no longer than until the next timer, and not
    /// at all while tasklets are runnable or events are there. An interrupt ends the wait, and so
    /// does a signal.
    ///
    /// Errors:
    ///
    /// * [`Error::Io`](crate::Error::Io): the system's `poll` itself failed (out of memory).
    /// * An error that was thrown at the caller meanwhile, by another thread or by a [time
    ///   limit](crate::time::timeout).
    /// * [`Error::SwitchTrap`](crate::Error::SwitchTrap): it was called where nobody can run: from
    ///   the loop's [backend](Self::set_backend), in
    ///   [`allow_threads`](crate::thread::allow_threads) of a thread with a host lock, or in the
    ///   hook of a host lock.
    /// * [`StateError::ThreadEnding`](crate::StateError::ThreadEnding): the thread is ending.
    ///
    /// Cost: one system call, or two and more if it waits, and O(sockets with an event), or
    /// O(sockets waited for) with [`Poller::Poll`]; none if there are no such sockets and it does
    /// not wait.
    pub fn pump(&self, limit: Option<Duration>) -> Result<usize> {
        Ok(self.pump_or(limit)?)
    }

    /// As [`pump`](Self::pump); the error says whether it was thrown.
    pub(crate) fn pump_or(&self, limit: Option<Duration>) -> Result<usize, WaitError> {
        let done = self.reactor.pump(limit).map_err(WaitError::Hindered)?;
        crate::thread::raise().map_err(WaitError::Thrown)?;
        Ok(done)
    }

    /// One turn that never waits: a [`pump`](Self::pump), then tasklets run until all are blocked
    /// or done (`hardswitch::run()`).
    ///
    /// If several tasklets wait for the same, such as connections at a listener, a pump wakes one
    /// of them; then it goes on with another pump, 16 times at most.
    ///
    /// Call it from the main tasklet, once a frame. Tasklets that never block keep it busy: see
    /// [`tick_for`](Self::tick_for). Errors: those of `pump`; the uncaught error of a tasklet,
    /// after which the others stay queued for the next tick.
    pub fn tick(&self) -> Result<()> {
        Ok(self.tick_or()?)
    }

    pub(crate) fn tick_or(&self) -> Result<(), WaitError> {
        self.reactor.take_crowded();
        for _ in 0..ROUNDS {
            self.pump_or(Some(Duration::ZERO))?;
            run_or::<WaitError>()?;
            if !self.reactor.take_crowded() {
                break;
            }
        }
        Ok(())
    }

    /// As [`tick`](Self::tick), but stops running tasklets once `budget` is spent. Returns whether
    /// all were run until they blocked.
    ///
    /// While sockets have something for tasklets that are waiting, it goes on with another pump
    /// until the budget is spent: so a download is not slowed down to what one pump a frame can
    /// bring. When it has moved 1 MiB or more and then finds nothing, it waits for 250 us at most
    /// for more of it, within the budget, and again after each 64 KiB that come; otherwise it never
    /// waits. A thread that has joined a host lock does not wait at all.
    ///
    /// The pumps' time counts. All of it is time of the thread's [clock](crate::time::set_clock).
    /// That is looked at on every switch ([`run_with`](crate::run_with)), but at least one tasklet
    /// has its turn. Tasklets that got no turn are first in the next tick, so nobody starves. A
    /// tasklet that never gives way keeps its turn.
    pub fn tick_for(&self, budget: Duration) -> Result<bool> {
        Ok(self.tick_for_or(budget)?)
    }

    pub(crate) fn tick_for_or(&self, budget: Duration) -> Result<bool, WaitError> {
        let until = Deadline::after(budget).map_err(WaitError::own)?;
        let mut before = None;
        let mut rounds = 0;
        let mut wait = Duration::ZERO;
        let may_wait = !host_lock::is_member();
        self.reactor.take_ready();
        self.reactor.take_moved();
        let mut moved = 0_usize;
        loop {
            self.pump_or(Some(wait))?;
            let left = until.left();
            let run = run_with_or(left.map_or(Budget::UNLIMITED, Budget::time))?;
            // Without a limit a fast peer would keep it busy for ever, and so it would by a clock
            // that stands still.
            rounds = if left == before { rounds + 1 } else { 0 };
            let has_time = left != Some(Duration::ZERO) && rounds < ROUNDS;
            moved = moved.saturating_add(self.reactor.take_moved());
            let ready = self.reactor.take_ready() > 0;
            // A fast peer brings more in a moment; the rest of the frame would be lost for it.
            let hopes = may_wait && moved >= BURST && self.waiting().0 > 0;
            if run.runnable > 0 || !has_time || !(ready || hopes) {
                return Ok(run.runnable == 0);
            }
            wait = Duration::ZERO;
            if !ready {
                moved = BURST - AGAIN;
                // The tasklets have had time since it was asked.
                wait = PATIENCE.min(until.left().unwrap_or(PATIENCE));
            }
            before = left;
        }
    }

    /// Pumps, waits and runs tasklets until it is idle, or until it is [stopped](Remote::stop). It
    /// is idle when no tasklet is runnable, sleeping, at a socket, in an offload call or in a wait
    /// of [`sync`](crate::sync), there is no timer, and nobody has a [`Work`] guard. It does not
    /// wait for tasklets that are blocked on local channels, nor for a simulated clock that stands
    /// still. It waits for tasklets on channels between threads as long as another thread that uses
    /// the library can run.
    ///
    /// Errors: those of [`tick`](Self::tick). To call it again goes on; a stop that came meanwhile
    /// ends that call.
    pub fn run_until_idle(&self) -> Result<()> {
        Ok(self.free_run(true)?)
    }

    /// As [`run_until_idle`](Self::run_until_idle), but when idle it waits for events from other
    /// threads, until [stopped](Remote::stop).
    pub fn run(&self) -> Result<()> {
        Ok(self.free_run(false)?)
    }

    /// [`run_until_idle`](Self::run_until_idle) or [`run`](Self::run); the error says whether it
    /// was thrown.
    pub(crate) fn free_run(&self, until_idle: bool) -> Result<(), WaitError> {
        let running = Running::begin(&self.reactor);
        self.run_on(until_idle)?;
        running.over();
        Ok(())
    }

    fn run_on(&self, until_idle: bool) -> Result<(), WaitError> {
        loop {
            // If tasklets can still run after these turns, the next pump does not wait.
            crate::core::run::run_for(TURNS)?;
            if self.reactor.stop().load(Ordering::Acquire) {
                return Ok(());
            }
            if until_idle && crate::run_count() <= 1 && self.reactor.is_idle() {
                if !crate::thread::is_waiting() {
                    return Ok(());
                }
                // Other threads may wake somebody here, as long as one of them can run.
                match self.reactor.pump_for_threads(&|| false) {
                    Ok(_) => crate::thread::raise().map_err(WaitError::Thrown)?,
                    Err(PumpError::Deadlock) => return Ok(()),
                    Err(PumpError::Failed(error)) => return Err(WaitError::Hindered(error)),
                }
                continue;
            }
            let pumped = match until_idle {
                true => self.reactor.pump_until(&|| false),
                false => self.reactor.pump(None),
            };
            pumped.map_err(WaitError::Hindered)?;
            crate::thread::raise().map_err(WaitError::Thrown)?;
        }
    }

    /// Is there nothing that could wake a tasklet: no timer of a clock that runs, no socket waited
    /// for, no offload call, no wait in [`sync`](crate::sync), no event, no [`Work`] guard?
    pub fn is_idle(&self) -> bool {
        self.reactor.is_idle()
    }

    /// When the next sleeper, timeout or timer is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.reactor.next_deadline()
    }

    /// How many tasklets wait for sockets, and how many timers there are (sleepers, timeouts, those
    /// of [`timer`](crate::timer)). A tasklet that connects to several addresses at a time counts
    /// once for each.
    pub fn waiting(&self) -> (usize, usize) {
        self.reactor.waiting()
    }

    /// How the loop finds out which descriptors are ready.
    pub fn poller(&self) -> Poller {
        self.reactor.poller()
    }

    /// Chooses how the loop finds out which descriptors are ready, also for waits that have begun.
    /// By default that is epoll, or what the environment variable `HSW_POLLER` says (`epoll` or
    /// `poll`). A loop with a [backend](Self::set_backend) of its own always asks that.
    pub fn set_poller(&self, poller: Poller) {
        self.reactor.set_poller(poller);
    }

    /// How many bytes a socket may move without a wait.
    pub fn burst(&self) -> usize {
        self.reactor.burst()
    }

    /// Sets how many bytes a socket of this thread may move before its next operation waits for
    /// the loop once, which lets the others run. By default that is [`BURST`](crate::net::BURST),
    /// 1 MiB, which says what counts. It holds for a socket from its next wait on.
    ///
    /// It is the most that a pump does for a socket whose peer is fast. A [`tick`](Self::tick)
    /// pumps once, or up to 16 times while several tasklets wait for the same, so it limits a
    /// download to so many bytes a frame. [`tick_for`](Self::tick_for) serves such a
    /// socket again and again while it has time, and a free-running loop always: there a larger
    /// number only makes the others wait longer for their turn. With `usize::MAX` nothing but the
    /// peer ends a turn. With 0 each operation waits.
    pub fn set_burst(&self, bytes: usize) {
        self.reactor.set_burst(bytes);
    }

    /// Asks the system again, instead of a [backend](Self::set_backend); returns that.
    pub fn clear_backend(&self) -> Box<dyn Backend> {
        self.reactor.clear_backend()
    }

    /// From now on polls through `backend`, under the [shim](crate::poll::shim), instead of the
    /// operating system's `poll`; returns the previous backend. It is for ports and for tests.
    ///
    /// While the backend polls, the loop counts as asleep: code that the backend calls must not
    /// switch, wait or pump. If it tries, that fails with [`Error::SwitchTrap`] or
    /// [`Error::BlockTrap`]. The backend may replace itself; then it is dropped after its call, and
    /// this returns the system's. A panic of a backend goes on to the caller of the pump.
    pub fn set_backend(&self, backend: Box<dyn Backend>) -> Box<dyn Backend> {
        self.reactor.set_backend(backend)
    }
}

impl fmt::Debug for MainLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sockets, timers) = self.waiting();
        f.debug_struct("MainLoop")
            .field("sockets", &sockets)
            .field("timers", &timers)
            .finish_non_exhaustive()
    }
}

/// A free run. The outermost one clears the stop flag when it is over. A nested one leaves it set
/// for the outer ones, and one that fails leaves it set for the next run.
struct Running<'a>(&'a Reactor);

impl<'a> Running<'a> {
    fn begin(reactor: &'a Reactor) -> Running<'a> {
        reactor.running().set(reactor.running().get() + 1);
        Running(reactor)
    }
}

impl Running<'_> {
    fn over(self) {
        if self.0.running().get() == 1 {
            self.0.stop().store(false, Ordering::Release);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running().set(self.0.running().get() - 1);
    }
}

/// A reference to a loop for other threads: cheap to clone, usable from anywhere.
///
/// It promises nothing: a loop that only has `Remote`s left is idle, and a tasklet that blocks
/// there is told of the deadlock. A thread that will post says so by a [`Work`] guard.
#[derive(Clone, Debug)]
pub struct Remote {
    poster: Poster,
    stop: Arc<AtomicBool>,
}

impl Remote {
    /// Has the loop's thread run `event` in its next pump, and ends its wait. Errors: the thread is
    /// gone, or has not pumped for [`DEFAULT_LIMIT`](crate::event::DEFAULT_LIMIT) events; `event`
    /// is dropped then.
    ///
    /// An event runs on the tasklet that pumps. It may send on channels with a waiting receiver and
    /// spawn tasklets; work that blocks for long belongs in such a tasklet.
    pub fn post(&self, event: impl FnOnce() + Send + 'static) -> Result<(), PostError> {
        self.poster.post(event)
    }

    /// Has the loop wait for what its holder will [post](Self::post), until the guard is dropped.
    pub fn work(&self) -> Work {
        Work {
            promise: self.poster.promise(),
            stop: self.stop.clone(),
        }
    }

    /// Ends the loop's wait, or its next one.
    pub fn interrupt(&self) {
        self.poster.interrupt();
    }

    /// Ends [`MainLoop::run`] or [`MainLoop::run_until_idle`] once the tasklets that are runnable
    /// have run until they wait, or have had 256 turns. If neither is under way, ends the next one.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poster.interrupt();
    }
}

/// A promise that its holder, on any thread, will post to a loop: until it is dropped the loop is
/// not idle. So [`MainLoop::run_until_idle`] goes on. And if the last runnable tasklet of the
/// thread blocks, on a channel say, the thread sleeps instead of failing with [`Error::Deadlock`]
/// (if the process has other threads).
///
/// It is for threads that the library knows nothing of, as long as they have work for the loop. A
/// [`Remote`] may be kept by anybody.
///
/// ```
/// use hardswitch::MainLoop;
/// use std::{thread, time::Duration};
///
/// let main_loop = MainLoop::current()?;
/// let work = main_loop.remote().work();
/// let thread = thread::spawn(move || {
///     thread::sleep(Duration::from_millis(20)); // busy with something else
///     work.remote().post(|| println!("there it is")).unwrap();
/// });
/// main_loop.run_until_idle()?; // until the thread drops `work`
/// # thread.join().unwrap();
/// # Ok::<(), hardswitch::Error>(())
/// ```
#[must_use = "the loop does not wait any more when it is dropped"]
pub struct Work {
    promise: Promise,
    stop: Arc<AtomicBool>,
}

impl Work {
    /// A reference to the loop.
    pub fn remote(&self) -> Remote {
        Remote {
            poster: self.promise.poster().clone(),
            stop: self.stop.clone(),
        }
    }
}

impl Clone for Work {
    /// Makes one more promise: the loop waits until both are dropped.
    fn clone(&self) -> Work {
        self.remote().work()
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

const _: () = {
    const fn across_threads<T: Send + Sync>() {}
    across_threads::<Remote>();
    across_threads::<Work>();
    across_threads::<Error>();
};

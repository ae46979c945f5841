//! The thread's clock, and the waits that end at a time.
//!
//! Every timeout of this crate ([`Channel::receive_timeout`](crate::Channel::receive_timeout),
//! [`Select::wait_timeout`](crate::Select::wait_timeout), ...) is an entry in one
//! queue of the thread, ordered by deadline. It is looked at when somebody *fires*
//! what is due:
//!
//! | who fires | when |
//! |---|---|
//! | the main loop | in every [pump](crate::MainLoop::pump), which also waits no longer than until the next deadline |
//! | a host without a main loop, or without std | whenever it calls [`fire_due`] |
//! | the main tasklet | while it waits with a timeout itself |
//!
//! A timeout that nobody fires ends nothing: the tasklet stays blocked.
//!
//! The clock is the system's monotonic one. Without std there is none until the
//! host gives one ([`set_clock`]); budgets in time and timeouts other than zero
//! fail with [`StateError::NoClock`] until then.

use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use core::time::Duration;

use crate::error::{Result, StateError};
use crate::runtime::Runtime;
use crate::select;
use crate::tasklet::Task;

/// A monotonic clock: nanoseconds since any fixed moment.
pub type Clock = fn() -> u64;

/// The clock and the queue of a thread.
pub(crate) struct Timers {
    clock: Cell<Option<Clock>>,
    /// The first stand-in of the wait that ends, by deadline (nanoseconds) and,
    /// among equals, by age.
    queue: RefCell<BTreeMap<(u64, u64), *mut Task>>,
    made: Cell<u64>,
}

/// Where an entry is in the queue.
pub(crate) type Key = (u64, u64);

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers {
            clock: Cell::new(None),
            queue: RefCell::new(BTreeMap::new()),
            made: Cell::new(0),
        }
    }

    /// Nanoseconds; an error when there is no clock.
    pub(crate) fn now(&self) -> Result<u64> {
        match self.clock.get() {
            Some(clock) => Ok(clock()),
            None => system().ok_or(StateError::NoClock.into()),
        }
    }

    /// When `time` from now is; `None` when the clock cannot tell: never.
    pub(crate) fn after(&self, time: Duration) -> Result<Option<u64>> {
        let now = self.now()?;
        let time = u64::try_from(time.as_nanos()).ok();
        Ok(time.and_then(|time| now.checked_add(time)))
    }

    /// `first` is the first stand-in of a wait, which cancels the entry before
    /// it goes.
    pub(crate) fn add(&self, deadline: u64, first: *mut Task) -> Key {
        let key = (deadline, self.made.get());
        self.made.set(key.1 + 1);
        self.queue.borrow_mut().insert(key, first);
        key
    }

    pub(crate) fn cancel(&self, key: Key) {
        self.queue.borrow_mut().remove(&key);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Until the next deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        let at = self.queue.borrow().first_key_value()?.0 .0;
        let now = self.now().ok()?;
        Some(Duration::from_nanos(at.saturating_sub(now)))
    }

    /// Ends the waits whose time has come; none of their tasklets runs yet.
    pub(crate) fn fire(&self, runtime: &Runtime) -> usize {
        if self.queue.borrow().is_empty() {
            return 0;
        }
        let Ok(now) = self.now() else {
            return 0;
        };
        let mut fired = 0;
        loop {
            let mut queue = self.queue.borrow_mut();
            let first = match queue.first_entry() {
                Some(entry) if entry.key().0 <= now => entry.remove(),
                _ => return fired,
            };
            drop(queue);
            // SAFETY: a wait cancels its entry before its stand-ins go.
            unsafe { select::expire(runtime, first) };
            fired += 1;
        }
    }
}

#[cfg(feature = "std")]
fn system() -> Option<u64> {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    // 584 years.
    Some(Instant::now().saturating_duration_since(start).as_nanos() as u64)
}

#[cfg(not(feature = "std"))]
fn system() -> Option<u64> {
    None
}

/// What the calling thread's clock says; `None` without a clock.
///
/// The moment of zero is any, but the same for all threads that use the system's
/// clock. Timestamps of [`TaskletStats`](crate::TaskletStats) are of this clock.
pub fn now() -> Option<Duration> {
    Runtime::get().timers.now().ok().map(Duration::from_nanos)
}

/// Gives the calling thread another clock (`None`: the system's, if there is
/// one); returns the old one. Deadlines that run are compared with the new one.
///
/// For hosts without std, and for tests and simulations: with a clock that the
/// host moves, timeouts and budgets in time happen when the host says.
pub fn set_clock(clock: Option<Clock>) -> Option<Clock> {
    Runtime::get().timers.clock.replace(clock)
}

/// Ends the waits of the calling thread whose time has come; returns how many.
/// Their tasklets are queued, none has run yet.
///
/// For hosts that do not pump a main loop. Costs O(log timeouts) for each wait
/// that ends, and one look at the clock if there are any.
pub fn fire_due() -> usize {
    let runtime = Runtime::get();
    runtime.timers.fire(runtime)
}

/// How long until the next timeout of the calling thread is due: what a host may
/// sleep. `None` when no timeout runs.
pub fn until_next() -> Option<Duration> {
    Runtime::get().timers.next()
}

/// Timeouts of the calling thread that run.
pub fn timeouts() -> usize {
    Runtime::get().timers.waiting()
}

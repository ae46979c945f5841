//! The thread's clock, and the waits that end at a time.
//!
//! Every timeout of this crate ([`Channel::receive_timeout`](crate::Channel::receive_timeout),
//! [`Select::wait_timeout`](crate::Select::wait_timeout), [`timeout`], ...) is an entry in one
//! queue of the thread, ordered by deadline. The entries that are due are *fired*:
//!
//! | by | when |
//! |---|---|
//! | the main loop | in every [pump](crate::MainLoop::pump) |
//! | a host without a main loop, or without std | whenever it calls [`fire_due`] |
//! | the main tasklet | while it waits with a timeout itself |
//!
//! A pump also sleeps no longer than until the next deadline. A timeout that is not fired ends
//! nothing: the tasklet stays blocked.
//!
//! The clock is the system's monotonic one. Without std there is none until the
//! host gives one ([`set_clock`]); budgets in time and timeouts other than zero
//! fail with [`StateError::NoClock`] until then.
//!
//! **A host's clock may stand still**, and the main loop is not told when it runs again. The
//! loop sleeps for the time that is left by that clock. If the clock shows the same afterwards, the
//! loop sleeps again, for as long as the clock has shown the same. After [a second](STANDS) of that
//! the clock counts as standing still, until it shows another time: its timeouts do not keep
//! [`run_until_idle`](crate::MainLoop::run_until_idle) running, and are no hope for a tasklet that
//! blocks as the last one and gets [`Error::Deadlock`]. A host that moves its clock from another
//! thread holds a [`Work`](crate::main_loop::Work) guard, or moves the clock more often than that.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::marker::PhantomData;
use core::time::Duration;

use crate::core::current::current;
pub use crate::core::deadlines::Clock;
pub use crate::core::deadlines::STANDS;
use crate::core::deadlines::{Deadlines, Due, Key};
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::throw;
use crate::core::thrown::{self, TimeUp};
#[allow(unused_imports)] // for the documentation
use crate::error::StateError;
use crate::error::{Error, Result, Thrown};

/// A scope with a time limit.
struct Scope {
    tasklet: Tasklet,
    up: TimeUp,
    /// The level of the code that is limited; see [`thrown`].
    level: u32,
}

impl Due for Scope {
    /// Lets the wait that the tasklet is in fail, or, if that is over, its next wait.
    fn is_due(&self) {
        let up = Error::Thrown(Thrown::with_message(
            Box::new(self.up),
            "the time of an enclosing scope is up".into(),
        ));
        if let Err(error) = throw::throw_at(&self.tasklet, self.level, up) {
            log::error!("the time of a tasklet's scope is up, but it cannot be told: {error}");
        }
    }
}

/// A moment of the thread's clock: the end of one or several [`timeout`]s.
///
/// ```
/// use hardswitch::time::Deadline;
/// use hardswitch::{sleep, Error};
/// use std::time::Duration;
///
/// let all = Deadline::after(Duration::from_millis(30))?;
/// all.limit(|| sleep(Duration::from_millis(1)))?;
/// let rest = all.limit(|| sleep(Duration::from_secs(10)));
/// assert!(matches!(rest, Err(Error::Timeout)));
/// # Ok::<(), hardswitch::Error>(())
/// ```
///
/// It belongs to the clock of the thread that made it. Another thread may have another clock, so
/// it stays on its thread:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(hardswitch::time::Deadline::after(std::time::Duration::ZERO));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// Nanoseconds of the clock; the largest number stands for never.
    at: u64,
    _stays_here: PhantomData<*const ()>,
}

impl Deadline {
    /// The moment that is `time` from now. A time beyond the clock's range is never.
    ///
    /// # Errors
    /// [`StateError::NoClock`].
    pub fn after(time: Duration) -> Result<Deadline> {
        let at = Runtime::get().deadlines.after(time)?.unwrap_or(u64::MAX);
        Ok(Deadline {
            at,
            _stays_here: PhantomData,
        })
    }

    /// The time until then; zero when it is past, `None` when it is never (or there is no clock
    /// any more).
    pub fn left(&self) -> Option<Duration> {
        let now = Runtime::get().deadlines.now().ok()?;
        (self.at != u64::MAX).then(|| Duration::from_nanos(self.at.saturating_sub(now)))
    }

    /// [`timeout`] until this moment.
    ///
    /// # Errors
    /// Those of [`timeout`].
    pub fn limit<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        if self.at == u64::MAX {
            return f();
        }
        let runtime = Runtime::get();
        let deadlines = &runtime.deadlines;
        let key = deadlines.key(self.at);
        let up = TimeUp {
            thread: runtime.thread_id,
            scope: key.1,
        };
        let scope = Rc::new(Scope {
            tasklet: current(),
            up,
            // SAFETY: the running tasklet is live.
            level: unsafe { thrown::level_of(runtime.current()) },
        });
        deadlines.tell(key, scope);
        let result = {
            let _limit = Limit { deadlines, key, up };
            f()
        };
        match result {
            Err(Error::Thrown(thrown)) if thrown.downcast_ref() == Some(&up) => Err(Error::Timeout),
            other => other,
        }
    }
}

/// Ends a scope's limit when it is dropped: also when the scope is left by a panic.
struct Limit<'a> {
    deadlines: &'a Deadlines,
    key: Key,
    up: TimeUp,
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        self.deadlines.cancel(self.key);
        // The error was thrown, but no wait has failed with it: it is taken back.
        let runtime = Runtime::get();
        let ours = |error: &Error| matches!(error, Error::Thrown(thrown) if thrown.downcast_ref() == Some(&self.up));
        // SAFETY: the running tasklet is live, and `ours` runs no user code.
        drop(unsafe { thrown::take_first(runtime, runtime.current(), ours) });
    }
}

/// Calls `f`, with a time limit for all its waits: when `time` is up, the wait
/// that `f` is in, of any kind, fails (an error is
/// [thrown](crate::Tasklet::throw_pending) at the tasklet), and if `f` returns that error, the
/// call returns [`Error::Timeout`].
///
/// Calls nest. The error that is thrown names its call: to an inner call the error of an
/// outer one is like any other that passes through, and code in between that handles
/// `Error::Timeout` does not mistake it for its own. An `f` that does not wait is not
/// interrupted. If a wait has got its result when the time is up, also from
/// another thread and before the tasklet has run again, it keeps the result: then its next wait
/// fails at the latest, even if that could be answered at once. So a limit also holds for code
/// whose waits always succeed.
///
/// [This module](self) says what fires it, and when. Costs two allocations, and O(log timeouts)
/// to begin and to end.
///
/// ```
/// use hardswitch::{time::timeout, Channel, Error};
/// use std::time::Duration;
///
/// let (hello, nobody) = (Channel::new(), Channel::<()>::new());
/// let sender = hello.clone();
/// hardswitch::spawn(move || sender.send("hello"))?;
/// let result = timeout(Duration::from_millis(10), || {
///     assert_eq!(hello.receive()?, "hello");
///     nobody.receive()
/// });
/// assert!(matches!(result, Err(Error::Timeout)));
/// # Ok::<(), hardswitch::Error>(())
/// ```
///
/// # Errors
/// [`Error::Timeout`]; those of `f`; [`StateError::NoClock`].
pub fn timeout<R>(time: Duration, f: impl FnOnce() -> Result<R>) -> Result<R> {
    Deadline::after(time)?.limit(f)
}

/// The time of the calling thread's clock; `None` without a clock.
///
/// Zero may be any moment, but it is the same for all threads that use the system's
/// clock. Timestamps of [`TaskletStats`](crate::TaskletStats) are of this clock.
pub fn now() -> Option<Duration> {
    Runtime::get()
        .deadlines
        .now()
        .ok()
        .map(Duration::from_nanos)
}

/// Gives the calling thread another clock (`None`: the system's, if there is
/// one); returns the old one. Deadlines that run are compared with the new one.
///
/// For hosts without std, and for tests and simulations: with a clock that the
/// host moves, timeouts and budgets in time happen when the host says.
///
/// The clock is asked in the middle of switches. It may call everything that does not switch; what
/// would switch fails with [`StateError::RecursiveSchedule`]. A panic of it is logged and ignored:
/// the time stays what it was.
pub fn set_clock(clock: Option<Clock>) -> Option<Clock> {
    Runtime::get().deadlines.set_clock(clock)
}

/// Ends the waits and scopes of the calling thread whose time has come; returns how many.
/// Their tasklets are queued, none has run yet.
///
/// First reads the messages of other threads, so that what they sent in time counts; this may
/// run functions that they have sent.
///
/// For hosts that do not pump a main loop. Costs O(log timeouts) for each wait
/// that ends, and one look at the clock if there are any.
pub fn fire_due() -> usize {
    let runtime = Runtime::get();
    (runtime.above.read_inbox)();
    runtime.deadlines.fire(runtime)
}

/// The time until the next timeout of the calling thread is due: so long a host may
/// sleep. `None` when no timeout runs.
pub fn until_next() -> Option<Duration> {
    Runtime::get().deadlines.next()
}

/// Timeouts of the calling thread that run.
pub fn timeouts() -> usize {
    Runtime::get().deadlines.waiting()
}

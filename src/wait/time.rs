//! The thread's clock, and the waits that end at a time.
//!
//! Every timeout of this crate ([`Channel::receive_timeout`](crate::Channel::receive_timeout),
//! [`Select::wait_timeout`](crate::Select::wait_timeout), [`timeout`], ...) is an entry in one
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
//!
//! **A host's clock may stand still**, and nobody can tell the main loop when it runs again. The
//! loop sleeps for as long as is left by that clock; if the clock shows the same afterwards, for as
//! long again as it has done so. After [a second](STANDS) of that the clock counts as one that
//! stands still, until it shows something else: its timeouts do not keep
//! [`run_until_idle`](crate::MainLoop::run_until_idle) running, and are no hope for who blocks as
//! the last one, who gets [`Error::Deadlock`]. A host that moves its clock from another thread
//! holds a [`Work`](crate::main_loop::Work) guard, or moves it more often than that.

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
    /// Of the code that is limited; see [`thrown`].
    level: u32,
}

impl Due for Scope {
    /// The wait that the tasklet is in fails, or, if that is over, the next one.
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
/// It is of the clock of the thread that made it, which another thread need not have, so it stays
/// on its thread:
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(hardswitch::time::Deadline::after(std::time::Duration::ZERO));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// Nanoseconds of the clock; the end of time is never.
    at: u64,
    _stays_here: PhantomData<*const ()>,
}

impl Deadline {
    /// The moment that is `time` from now. A time that the clock cannot tell is never.
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

    /// Until then; zero when it is past, `None` when it is never (or there is no clock
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
        let timers = &runtime.deadlines;
        let key = timers.key(self.at);
        let up = TimeUp {
            thread: runtime.thread_id,
            scope: key.1,
        };
        let scope = Rc::new(Scope {
            tasklet: current(),
            up,
            // SAFETY: the running tasklet.
            level: unsafe { thrown::level_of(runtime.current()) },
        });
        timers.tell(key, scope);
        let result = {
            let _limit = Limit { timers, key, up };
            f()
        };
        match result {
            Err(Error::Thrown(thrown)) if thrown.downcast_ref() == Some(&up) => Err(Error::Timeout),
            other => other,
        }
    }
}

/// Ends a scope's limit, whatever way the scope is left.
struct Limit<'a> {
    timers: &'a Deadlines,
    key: Key,
    up: TimeUp,
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        self.timers.cancel(self.key);
        // Thrown, but nothing has failed of it any more.
        let runtime = Runtime::get();
        let ours = |error: &Error| matches!(error, Error::Thrown(thrown) if thrown.downcast_ref() == Some(&self.up));
        // SAFETY: the running tasklet.
        drop(unsafe { thrown::take(runtime, runtime.current(), ours) });
    }
}

/// Calls `f`, with a time limit for whatever it waits for: when `time` is up, the wait
/// that `f` is in, of any kind, fails (the tasklet is
/// [thrown at](crate::Tasklet::throw_pending)), and if `f` lets that error pass, the
/// call returns [`Error::Timeout`].
///
/// Calls nest. What is thrown says whose time is up: to an inner call the error of an
/// outer one is like any other that passes through, and code in between that handles
/// `Error::Timeout` does not mistake it for its own. An `f` that does not wait is not
/// interrupted. Who has got what it waits for when the time is up has it, also from
/// another thread and though it has not run since: then its next wait fails, at the latest,
/// and so does one that could be answered at once. So a limit holds however often something
/// comes.
///
/// Who fires it, and when, says this module. Costs two allocations, and O(log timeouts)
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

/// What the calling thread's clock says; `None` without a clock.
///
/// The moment of zero is any, but the same for all threads that use the system's
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
/// The clock is asked in the middle of switches. It may use whatever does not switch; what
/// would fails with [`StateError::RecursiveSchedule`]. A panic of it is logged and ignored: the
/// clock stands still then.
pub fn set_clock(clock: Option<Clock>) -> Option<Clock> {
    Runtime::get().deadlines.set_clock(clock)
}

/// Ends the waits and scopes of the calling thread whose time has come; returns how many.
/// Their tasklets are queued, none has run yet.
///
/// First reads what other threads have sent, so that what they brought in time counts; that may
/// run code of theirs.
///
/// For hosts that do not pump a main loop. Costs O(log timeouts) for each wait
/// that ends, and one look at the clock if there are any.
pub fn fire_due() -> usize {
    let runtime = Runtime::get();
    (runtime.above.read_inbox)();
    runtime.deadlines.fire(runtime)
}

/// How long until the next timeout of the calling thread is due: what a host may
/// sleep. `None` when no timeout runs.
pub fn until_next() -> Option<Duration> {
    Runtime::get().deadlines.next()
}

/// Timeouts of the calling thread that run.
pub fn timeouts() -> usize {
    Runtime::get().deadlines.waiting()
}

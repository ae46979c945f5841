//! When nobody else can run: who drives the loop, and until when.
//!
//! Whoever blocks leaves the run queue. If that is empty then, the innermost `run`
//! is woken, or main. Where neither can be, because main is blocked itself, nobody
//! would be left to serve the thread's timers, sockets and mail. So the last one
//! *drives the loop*: it pumps, and sleeps while there is nothing to do.
//!
//! | what it does | it drives |
//! |---|---|
//! | waits with a timeout, at a socket, in `sync`, for another thread | until its wait is over, or it is not the last one any more; main, until its wait is over |
//! | waits on a channel or in a select without a timeout | until its wait is over, or somebody else can run: then it blocks |
//! | ends, or leaves the queue | until somebody else can run: then it does |
//!
//! If nothing could wake anybody there is no point in it: that is a deadlock.

use crate::core::runtime::Runtime;
use crate::core::task::Task;
#[cfg(feature = "std")]
use crate::error::Error;
use crate::error::Result;
pub(crate) use crate::error::WaitError;

/// Is the running tasklet the last one: nobody else is in the queue, and nobody
/// waits for the queue to be empty?
#[inline]
pub(crate) fn is_last(runtime: &Runtime) -> bool {
    // SAFETY: whom to wake is a live task.
    runtime.run_count.get() <= 1 && unsafe { !(*runtime.wakeup()).floating() }
}

/// Would blocking leave nobody to end the wait? Main cannot tell.
pub(crate) fn must_drive(runtime: &Runtime, me: *mut Task) -> bool {
    me == runtime.main() || is_last(runtime)
}

/// Drives the loop for as long as the caller is the last one and its wait is not
/// `over`. True then; false when nothing could wake anybody.
///
/// Runs user code. The caller's slot is empty, or holds what somebody put there by
/// hand.
///
/// # Errors
/// What was thrown into the caller; what makes a pump fail.
#[cold]
#[inline(never)]
pub(crate) fn until_company(runtime: &Runtime, over: impl Fn() -> bool) -> Result<bool, WaitError> {
    let me = runtime.current();
    loop {
        if over() {
            return Ok(true);
        }
        raise(me).map_err(WaitError::Thrown)?;
        if !is_last(runtime) {
            return Ok(true);
        }
        if !turn(runtime, &over).map_err(WaitError::Hindered)? {
            return Ok(false);
        }
    }
}

pub(crate) use crate::core::thrown::raise;

/// In a thread that is ending nothing can be waited for that others must bring. A tasklet
/// that wants to waits for its next kill instead: so who carries on after each error uses
/// up its kills, and is given up. Main, which cannot be killed, is refused.
#[cfg(feature = "std")]
#[cold]
pub(crate) fn refuse_in_end() -> Error {
    let runtime = Runtime::get();
    if runtime.is_dying() {
        let never = crate::Channel::<()>::private();
        // Nobody sends there.
        if let Err(error) = never.park(false) {
            return error.into();
        }
    }
    crate::error::StateError::ThreadEnding.into()
}

#[cfg(feature = "std")]
mod sys {
    use super::*;
    use crate::net::reactor::{PumpError, Reactor};

    /// Pumps once, for as long as that takes, unless the caller's wait is `over`. False: nothing
    /// could come of it.
    pub(crate) fn turn(runtime: &Runtime, over: &dyn Fn() -> bool) -> Result<bool> {
        if runtime.is_ending() {
            return Ok(false);
        }
        let reactor = Reactor::existing();
        let reactor = reactor.as_ref();
        let has_work = || {
            runtime.has_mail()
                || runtime.timers.rest().is_some()
                || reactor.is_some_and(|reactor| reactor.has_work())
        };
        if has_work() {
            Reactor::current()?.pump_until(over)?;
            return Ok(true);
        }
        // Only other threads can help.
        let expected =
            reactor.is_some_and(|reactor| reactor.expects()) || crate::thread::is_known();
        if !expected || !crate::thread::has_company() {
            // Looked for once more: they help first, and take their promise back, or end, after it.
            return Ok(has_work());
        }
        match Reactor::current()?.pump_for_threads(over) {
            Ok(_) => Ok(true),
            Err(PumpError::Deadlock) => Ok(false),
            Err(PumpError::Failed(error)) => Err(error),
        }
    }
}

/// Without std there are timeouts only, and nobody sleeps.
#[cfg(not(feature = "std"))]
mod sys {
    use super::*;

    pub(crate) fn turn(runtime: &Runtime, _over: &dyn Fn() -> bool) -> Result<bool> {
        if runtime.timers.waiting() == 0 {
            return Ok(false);
        }
        crate::time::fire_due();
        core::hint::spin_loop();
        Ok(true)
    }
}

pub(crate) use sys::turn;

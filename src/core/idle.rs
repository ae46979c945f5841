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
use crate::core::thrown::raise;
use crate::error::WaitError;

/// Is the running tasklet the last one: nobody else is in the queue, and nobody
/// waits for the queue to be empty?
#[inline]
pub fn is_last(runtime: &Runtime) -> bool {
    // SAFETY: whom to wake is a live task.
    runtime.queue.len() <= 1 && unsafe { !(*runtime.wakeup()).floating() }
}

/// Would blocking leave nobody to end the wait? Main cannot tell.
pub fn must_drive(runtime: &Runtime, me: *mut Task) -> bool {
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
pub fn until_company(runtime: &Runtime, over: impl Fn() -> bool) -> Result<bool, WaitError> {
    let me = runtime.current();
    loop {
        if over() {
            return Ok(true);
        }
        raise(me).map_err(WaitError::Thrown)?;
        if !is_last(runtime) {
            return Ok(true);
        }
        if !(runtime.above.pump)(runtime, &over).map_err(WaitError::Hindered)? {
            return Ok(false);
        }
    }
}

//! The last tasklet that can run: when it pumps, and until when.
//!
//! A tasklet that blocks leaves the run queue. If the queue is empty then, the innermost `run`
//! is woken, or main. Where neither can be woken, because main is blocked itself, no tasklet
//! would be left to serve the thread's timers, sockets and messages. So the last one *pumps*,
//! and sleeps while there is nothing to do.
//!
//! | what the last tasklet does | it pumps until |
//! |---|---|
//! | waits on a channel or in a select, without a timeout | its wait is over, or another can run |
//! | waits for a time, a socket, `sync` or another thread | its wait is over, or see below |
//! | ends, or leaves the queue | another can run |
//!
//! When another tasklet can run, a tasklet on a channel blocks, and an ending one ends. A tasklet
//! in a wait of the second row pumps, unless it is main, only until it is not the last one.
//!
//! If nothing could wake a tasklet it does not pump: that is a deadlock.

use crate::core::runtime::Runtime;
use crate::core::task::Task;
use crate::core::thrown::raise;
use crate::error::WaitError;

/// Is the running tasklet the last one: no other is in the queue, and none waits for the queue to
/// be empty?
#[inline]
pub fn is_last(runtime: &Runtime) -> bool {
    // SAFETY: the tasklet to wake is a live task.
    runtime.queue.len() <= 1 && unsafe { !(*runtime.wakeup()).floating() }
}

/// Would blocking leave no tasklet that could end the wait? Main always pumps.
pub fn must_pump(runtime: &Runtime, me: *mut Task) -> bool {
    me == runtime.main() || is_last(runtime)
}

/// Pumps for as long as the caller is the last one and its wait is not
/// `over`. True then; false when nothing could wake a tasklet.
///
/// Runs user code. The caller's slot is empty, or holds a value that was put there by
/// hand.
///
/// # Errors
/// What was thrown at the caller; what makes a pump fail.
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

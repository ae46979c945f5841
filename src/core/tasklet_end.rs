//! The end of a tasklet: what becomes of the error that ended it, and which tasklet runs next.

use crate::core::contain::returned;
use crate::core::extra::ErrorHandler;
use crate::core::hooks::{after, HOOK_SWITCH, HOOK_THROWN};
use crate::core::idle;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{keep_for_arrival, make_runnable, may_switch, observed};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::leave_for_good;
use crate::core::value::Slot;
use crate::error::Error;
use crate::machine::os;

/// Ends the running tasklet; the error that ended it, if any, is in its slot. Returns
/// what its first function is to return.
///
/// # Safety
/// Called by the first frame of `me`, with nothing left on its stack to drop.
#[inline(never)]
pub unsafe fn end_running(me: *mut Task) -> usize {
    // SAFETY: `me` is the running tasklet; a runtime outlives its tasks. After `settle_error` and
    // `tell_wakeup` no user code runs on this stack. All tasks are live; the queue's reference to
    // `me` becomes `left`, released after the switch.
    unsafe {
        let runtime = Runtime::of(me);
        let failed = !(*me).slot.is_empty() && settle_error(runtime, me);
        let completed = &runtime.runs.completed;
        completed.set(completed.get() + 1);
        runtime.queue.remove(me);
        let mut next = runtime.queue.head();
        if failed || next.is_null() {
            next = runtime.wakeup();
            if failed || (*next).is(flag::BLOCKED) {
                next = tell_wakeup(runtime, me, failed);
            }
            make_runnable(runtime, next);
        }
        (*me).clear(flag::ALIVE | flag::STARTED | flag::BOUND);
        if runtime.hooks() & (HOOK_SWITCH | HOOK_THROWN) != 0 {
            next = observed_end(runtime, me, next);
        }
        runtime.left.set(me);
        runtime.later(after::LEFT);
        leave_for_good(runtime, me, next)
    }
}

/// What else the end of a tasklet has to do. Returns the tasklet that really runs next. An error
/// that user code has thrown at it since it ended is dropped: also the next function of the same
/// handle is not told.
///
/// # Safety
/// As [`end_running`].
#[cold]
#[inline(never)]
unsafe fn observed_end(runtime: &Runtime, me: *mut Task, mut next: *mut Task) -> *mut Task {
    // SAFETY: `me` is the running tasklet, which has ended, and `next` a live task.
    unsafe {
        if runtime.hooks() & HOOK_SWITCH != 0 {
            next = observed(runtime, me, 0, next, true);
        }
        if let Some(error) = thrown::at_end(runtime, me) {
            runtime.lose(Slot::bomb(error));
        }
        next
    }
}

/// The error that ended the tasklet goes to the error handlers, in its context. True when an
/// error remains: it is in `runtime.error`, for [`tell_wakeup`].
///
/// # Safety
/// `me` is the running tasklet.
#[cold]
#[inline(never)]
unsafe fn settle_error(runtime: &Runtime, me: *mut Task) -> bool {
    // SAFETY: `me` is the running tasklet; no reference to the slot is held while user code runs.
    unsafe {
        let slot = (*me).slot.take();
        let mut remains = None;
        let settled = os::catch(|| {
            remains = match slot.into_unit() {
                Ok(()) | Err(Error::Exit) => None,
                Err(error) => handle(runtime, me, error),
            };
            Ok(())
        });
        // The panic of a destructor: of the value, or of an error that was handled.
        let remains = settled.err().or(remains);
        let failed = remains.is_some();
        keep_for_arrival(runtime, remains);
        failed
    }
}

/// Tells the tasklet that waits for all others the error that remains of the ending one, which
/// has left the queue, or that no tasklet is left. Returns the tasklet that is next.
///
/// # Safety
/// As [`end_running`]; `failed`: an error remains.
#[cold]
#[inline(never)]
unsafe fn tell_wakeup(runtime: &Runtime, me: *mut Task, failed: bool) -> *mut Task {
    // SAFETY: `me` is the running tasklet, and the one to wake is a live task.
    unsafe {
        let (mut next, told) = if failed {
            let uncaught = runtime.error.borrow_mut().take();
            (runtime.wakeup(), uncaught.map(Slot::bomb))
        } else {
            leave_none_behind(runtime, me)
        };
        if let Some(told) = told {
            next = runtime.wakeup();
            runtime.lose((*next).slot.put(told));
        }
        next
    }
}

/// The ending tasklet, which has left the queue, leaves only a blocked main behind: so it stays
/// until a tasklet can run, or nothing could wake one. Returns the tasklet that is next, and what
/// that one is told: an error that is thrown at it, or the end of its wait.
///
/// # Safety
/// As [`end_running`].
#[cold]
#[inline(never)]
unsafe fn leave_none_behind(runtime: &Runtime, me: *mut Task) -> (*mut Task, Option<Slot>) {
    // SAFETY: `me` is the running tasklet; the queue's reference goes with it. Its slot has been
    // taken: a value that is put there by hand now is taken here.
    unsafe {
        runtime.queue.append(me);
        let mut uncaught = None;
        if may_switch(runtime) {
            let settled = os::catch(|| {
                let stayed = os::catch(|| {
                    idle::until_company(runtime, || false)?;
                    Ok(())
                });
                let slot = (*me).slot.take();
                let ended = match stayed {
                    Ok(()) => slot.into_unit(),
                    Err(error) => returned(slot, Err(error)),
                };
                uncaught = match ended {
                    Ok(()) | Err(Error::Exit) => None,
                    Err(error) => handle(runtime, me, error),
                };
                Ok(())
            });
            uncaught = settled.err().or(uncaught);
        }
        runtime.queue.remove(me);
        let uncaught = uncaught.map(Slot::bomb);
        let next = runtime.queue.head();
        if !next.is_null() {
            return (next, uncaught);
        }
        let next = runtime.wakeup();
        let told = match (*next).flags & flag::BLOCKED {
            flag::SENDING => Some(Error::MainSending),
            flag::RECEIVING => Some(Error::MainReceiving),
            flag::SELECTING => Some(Error::Deadlock),
            _ => None,
        };
        (next, uncaught.or(told.map(Slot::end)))
    }
}

/// Offers an uncaught error to the tasklet's own error handler, and the error which that handler
/// returns to the thread's handler; the error that remains goes to main.
#[cold]
#[inline(never)]
fn handle(runtime: &Runtime, me: *mut Task, error: Error) -> Option<Error> {
    // SAFETY: `me` is the running tasklet; its handler is copied, since it may set another one.
    let own = unsafe {
        (*me)
            .extra
            .as_ref()
            .and_then(|extra| extra.on_error.clone())
    };
    let mut error = error;
    if let Some(handler) = own {
        error = ask_handler(&handler, &error)?;
    }
    let Some(handler) = runtime.on_error.borrow().clone() else {
        return Some(error);
    };
    let remains = ask_handler(&handler, &error);
    // User code runs before what remains is returned: see `contain`.
    drop((error, handler));
    remains
}

fn ask_handler(handler: &ErrorHandler, error: &Error) -> Option<Error> {
    match os::catch(|| handler(error)) {
        Ok(()) => None,
        Err(Error::Exit) => None,
        Err(other) => Some(other),
    }
}

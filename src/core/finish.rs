//! The end of a tasklet: what becomes of the error that ended it, and who runs next.

use crate::core::contain::returned;
use crate::core::extra::ErrorHandler;
use crate::core::hooks::{after, HOOK_SWITCH, HOOK_THROWN};
use crate::core::idle;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{keep_for_arrival, make_runnable, may_switch, observed};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::leave;
use crate::core::value::Slot;
use crate::error::Error;
use crate::machine::os;

/// Ends the running tasklet; the error that ended it, if any, is in its slot. Returns
/// what its first function is to return.
///
/// # Safety
/// Called by the first frame of `me`, with nothing left on its stack to drop.
#[inline(never)]
pub unsafe fn end(me: *mut Task) -> usize {
    // SAFETY: the running tasklet; a runtime outlives its tasks. After `settle` and `tell` no user
    // code runs on this stack. All tasks are live; the queue's reference to `me` becomes
    // `left`, released after the switch.
    unsafe {
        let runtime = Runtime::of(me);
        let failed = !(*me).slot.is_empty() && settle(runtime, me);
        let completed = &runtime.runs.completed;
        completed.set(completed.get() + 1);
        runtime.queue.remove(me);
        let mut next = runtime.queue.head();
        if failed || next.is_null() {
            next = runtime.wakeup();
            if failed || (*next).is(flag::BLOCKED) {
                next = tell(runtime, me, failed);
            }
            make_runnable(runtime, next);
        }
        (*me).clear(flag::ALIVE | flag::STARTED | flag::BOUND);
        if runtime.hooks() & (HOOK_SWITCH | HOOK_THROWN) != 0 {
            next = leaves(runtime, me, next);
        }
        runtime.left.set(me);
        runtime.later(after::LEFT);
        leave(runtime, me, next)
    }
}

/// What some want to be done as a tasklet ends. Returns who really runs next. What user code has
/// thrown at it since it ended nobody is told: not the next function of the same handle either.
///
/// # Safety
/// As [`end`].
#[cold]
#[inline(never)]
unsafe fn leaves(runtime: &Runtime, me: *mut Task, mut next: *mut Task) -> *mut Task {
    // SAFETY: the caller's promise.
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

/// What ended the tasklet goes to the error handlers, in its context. True when an
/// error remains: it is in `runtime.error`, for [`tell`].
///
/// # Safety
/// `me` is the running tasklet.
#[cold]
#[inline(never)]
unsafe fn settle(runtime: &Runtime, me: *mut Task) -> bool {
    // SAFETY: the caller's promise; no reference to the slot is held while user code runs.
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
        // A destructor that panicked: of the value, or of an error that was handled.
        let remains = settled.err().or(remains);
        let failed = remains.is_some();
        keep_for_arrival(runtime, remains);
        failed
    }
}

/// Tells who waits for all others the error that remains of the ending tasklet, which has
/// left the queue, or that nobody is left. Returns who is next.
///
/// # Safety
/// As [`end`]; `failed`: an error remains.
#[cold]
#[inline(never)]
unsafe fn tell(runtime: &Runtime, me: *mut Task, failed: bool) -> *mut Task {
    // SAFETY: the caller's promise; whom to wake is a live task.
    unsafe {
        let (mut next, told) = if failed {
            let uncaught = runtime.error.borrow_mut().take();
            (runtime.wakeup(), uncaught.map(Slot::bomb))
        } else {
            leave_nobody(runtime, me)
        };
        if let Some(told) = told {
            next = runtime.wakeup();
            runtime.lose((*next).slot.put(told));
        }
        next
    }
}

/// The ending tasklet, which has left the queue, leaves main blocked and nobody else
/// behind: so it stays until somebody can run, or nothing could wake anybody. Returns
/// who is next, and what that one is told: an error that is thrown at it, or the end of
/// its wait.
///
/// # Safety
/// As [`end`].
#[cold]
#[inline(never)]
unsafe fn leave_nobody(runtime: &Runtime, me: *mut Task) -> (*mut Task, Option<Slot>) {
    // SAFETY: the running tasklet; the reference goes with it. Its slot has been
    // taken: what somebody puts there by hand nobody will take.
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

/// Offers an uncaught error to the tasklet's own error handler, and what that one
/// lets pass to the thread's; what comes back goes to main.
#[cold]
#[inline(never)]
fn handle(runtime: &Runtime, me: *mut Task, error: Error) -> Option<Error> {
    // SAFETY: the running tasklet; copied, since a handler may set another one.
    let own = unsafe {
        (*me)
            .extra
            .as_ref()
            .and_then(|extra| extra.on_error.clone())
    };
    let mut error = error;
    if let Some(handler) = own {
        error = ask(&handler, &error)?;
    }
    let Some(handler) = runtime.on_error.borrow().clone() else {
        return Some(error);
    };
    let remains = ask(&handler, &error);
    // User code, before what remains is returned: see `contain`.
    drop((error, handler));
    remains
}

fn ask(handler: &ErrorHandler, error: &Error) -> Option<Error> {
    match os::catch(|| handler(error)) {
        Ok(()) => None,
        Err(Error::Exit) => None,
        Err(other) => Some(other),
    }
}

//! The errors that are thrown at a tasklet which cannot be told at once.
//!
//! The transfer slot carries values in flight. An error that is thrown at the *running*
//! tasklet, by a message of another thread, a timeout or an event, must not go there: the next
//! operation that uses the slot would find it. It waits here, and is told once, by the
//! tasklet's next wait at the latest, whatever that wait is for. A wait that has already got its
//! result keeps it: then the wait after it tells the error.
//!
//! **Guests.** A tasklet that pumps runs events, timers and messages on its own stack. They are
//! its *guests*: not its code, and what is thrown at the tasklet is not
//! thrown at them. While it has guests, errors for the tasklet wait here even where a guest
//! blocks and the tasklet is not running. Guests nest; each error is for one level of them,
//! where 0 is the tasklet itself, and only code of that level is told.
//!
//! Cost: nothing until something is thrown; then `HOOK_THROWN` takes all switches of the
//! thread off the fast path until it has been told.

use core::mem;

use crate::core::contain::contain;
use crate::core::hooks::HOOK_THROWN;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::core::value::Slot;
use crate::error::{Error, Result, WaitError};

/// The level of the code that runs on its stack now.
///
/// # Safety
/// A live task.
pub unsafe fn level_of(task: *mut Task) -> u32 {
    // SAFETY: `task` is live.
    unsafe {
        match &(*task).extra {
            Some(extra) if (*task).is(flag::HOST) => extra.pending.guests,
            _ => 0,
        }
    }
}

/// Keeps `error` until code of `task` at `level` waits. A second kill for the same level is not
/// kept.
///
/// # Safety
/// A live task.
#[cold]
pub unsafe fn keep(runtime: &Runtime, task: *mut Task, level: u32, error: Error) {
    // SAFETY: `task` is live. No user code runs: an error that is not kept is an `Exit`.
    unsafe {
        let errors = &mut (*task).extra().pending.errors;
        let killed = |other: &(u32, Error)| other.0 == level && other.1.is_exit();
        if error.is_exit() && errors.iter().any(killed) {
            return;
        }
        errors.push((level, error));
    }
    runtime.thrown.set(runtime.thrown.get() + 1);
    runtime.set_hook(HOOK_THROWN, true);
}

/// Raises an error that was thrown at the calling code of the running tasklet.
#[inline(always)]
pub fn raise(me: *mut Task) -> Result<()> {
    // SAFETY: `me` is the running tasklet; a runtime outlives its tasks.
    let runtime = unsafe { Runtime::of(me) };
    if runtime.hooks() & HOOK_THROWN == 0 {
        return Ok(());
    }
    // SAFETY: `me` is the running tasklet, so it is live.
    unsafe { take_first(runtime, me, |_| true).map_or(Ok(()), Err) }
}

/// Does an error wait here for the calling code of the running tasklet?
pub fn waits(me: *mut Task) -> bool {
    // SAFETY: `me` is the running tasklet, so it is live; a runtime outlives its tasks.
    unsafe {
        let level = level_of(me);
        Runtime::of(me).hooks() & HOOK_THROWN != 0
            && (*me).extra.as_ref().is_some_and(|extra| {
                let errors = &extra.pending.errors;
                errors.iter().any(|(of, _)| *of >= level)
            })
    }
}

/// What is thrown when the time of a scope is up: it names the scope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TimeUp {
    pub thread: u64,
    pub scope: u64,
}

/// `error` was thrown at the running tasklet, and ended a wait whose partner has come all the
/// same. If it says that the time of a scope is up, the tasklet gets the result of the wait, and
/// is told the error by its next wait.
///
/// # Errors
/// `error`, if it is anything else.
pub fn put_off(error: Error) -> Result<(), WaitError> {
    match &error {
        Error::Thrown(thrown) if thrown.downcast_ref::<TimeUp>().is_some() => {
            let runtime = Runtime::get();
            // SAFETY: `me` is the running tasklet, so it is live.
            unsafe {
                let me = runtime.current();
                keep(runtime, me, level_of(me), error);
            }
            Ok(())
        }
        _ => Err(WaitError::Thrown(error)),
    }
}

/// Takes out the first error that is `wanted` of those that wait for the code of `task` which
/// runs now.
///
/// # Safety
/// A live task; `wanted` runs no user code.
#[cold]
#[inline(never)]
pub unsafe fn take_first(
    runtime: &Runtime,
    task: *mut Task,
    wanted: impl Fn(&Error) -> bool,
) -> Option<Error> {
    // SAFETY: `task` is live, and `wanted` runs no user code while the list is borrowed.
    let (_, error) = unsafe {
        let level = level_of(task);
        let errors = &mut (*task).extra.as_mut()?.pending.errors;
        let at = errors
            .iter()
            .position(|(of, error)| *of >= level && wanted(error))?;
        errors.remove(at)
    };
    told(runtime, 1);
    Some(error)
}

/// The tasklet has ended and waits no more: takes the errors that it was not told, and returns the
/// first.
///
/// # Safety
/// A live task.
#[cold]
pub unsafe fn at_end(runtime: &Runtime, task: *mut Task) -> Option<Error> {
    // SAFETY: `task` is live.
    let errors = unsafe { mem::take(&mut (*task).extra.as_mut()?.pending.errors) };
    told(runtime, errors.len());
    let mut errors = errors.into_iter().map(|(_, error)| error);
    let first = errors.next();
    errors.for_each(|error| runtime.lose(Slot::bomb(error)));
    first
}

fn told(runtime: &Runtime, count: usize) {
    let left = runtime.thrown.get() - count;
    runtime.thrown.set(left);
    if left == 0 {
        runtime.set_hook(HOOK_THROWN, false);
    }
}

/// Runs code of others on the running tasklet's stack. What is in its transfer slot is
/// put aside meanwhile.
pub fn guest<R>(f: impl FnOnce() -> R) -> R {
    let Some(runtime) = Runtime::existing() else {
        return f();
    };
    let _guest = Guest::enter(runtime.current());
    f()
}

/// A guest on a tasklet's stack. It ends when this is dropped, which may be while it unwinds.
struct Guest {
    task: *mut Task,
    kept: Slot,
}

impl Guest {
    fn enter(task: *mut Task) -> Guest {
        // SAFETY: `task` is the running tasklet, so it is live.
        unsafe {
            (*task).extra().pending.guests += 1;
            (*task).set(flag::HOST);
            Guest {
                task,
                kept: (*task).slot.take(),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: the tasklet lives as long as its frames, of which this is one. It is running
        // again. What the guest has left in the slot is dropped before the value that was put
        // aside comes back.
        unsafe {
            let left = (*self.task).slot.take();
            if !left.is_empty() {
                contain("a destructor of what an event left behind", || drop(left));
            }
            let pending = &mut (*self.task).extra().pending;
            pending.guests -= 1;
            if pending.guests == 0 {
                (*self.task).clear(flag::HOST);
            }
            if (*self.task).slot.is_empty() {
                (*self.task).slot.fill(self.kept.take());
            }
        }
    }
}

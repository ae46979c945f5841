//! What happens to a tasklet that nobody refers to any more, and to what an ended one lived on.

use crate::core::contain::contain;
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::scheduler;
use crate::core::task::{flag, Task};
use crate::core::throw;
use crate::error::Error;

/// One reference less.
///
/// # Safety
/// The caller owns the reference, and user code may run now: with the last
/// reference the transfer slot is dropped, and a tasklet that is alive is killed.
#[inline]
pub unsafe fn release(task: *mut Task) {
    // SAFETY: a counted reference keeps the task's cell.
    unsafe {
        (*task).refs -= 1;
        if (*task).refs == 0 {
            release_last::<false>(task);
        }
    }
}

/// How often a forgotten tasklet is killed before it is given up.
pub const KILLS: u32 = 10;

/// `CONTAIN`: no panic of a user's code comes out.
#[inline(never)]
unsafe fn release_last<const CONTAIN: bool>(task: *mut Task) {
    // SAFETY: nobody else refers to the task; while it is killed the count is
    // one, ours.
    unsafe {
        if CONTAIN && (*task).is(flag::STARTED | flag::BOUND) {
            return contain(LAST, || release_last::<false>(task));
        }
        // Again, if code that ran as it ended has bound it anew, and let go of it.
        while (*task).is(flag::STARTED | flag::BOUND) {
            if !(*task).is(flag::STARTED) {
                drop_unrun(task);
                break;
            }
            (*task).refs = 1;
            if !kill_forgotten(task) {
                return;
            }
            (*task).refs -= 1;
            if (*task).refs > 0 {
                return;
            }
        }
        Task::reclaim(task);
        let runtime = Runtime::of(task);
        if !(*task).slot.is_empty() || (*task).extra.is_some() {
            let (slot, extra) = ((*task).slot.take(), (*task).extra.take());
            runtime.free_task(task);
            // User code: last, when the task is no more.
            let rest = (slot, extra);
            if CONTAIN {
                contain(LAST, || drop(rest));
            } else {
                drop(rest);
            }
        } else {
            runtime.free_task(task);
        }
    }
}

const LAST: &str = "a destructor of what a tasklet had";

/// Drops the function of a tasklet that nobody refers to any more. User code, which cannot
/// come by a handle: without references it is listed nowhere.
#[cold]
#[inline(never)]
unsafe fn drop_unrun(task: *mut Task) {
    // SAFETY: it has not started, and is in no queue.
    let unbound = unsafe { Task::unbind(task) };
    // Its panic must not keep the rest from going.
    contain(LAST, || drop(unbound));
}

/// The end of a tasklet that was left for good: gives back what it lived on, and the
/// reference of the queue. No panic of a user's code comes out: it is not the business of
/// who arrives.
///
/// # Safety
/// As [`release`]; `task` is not the running tasklet.
#[inline]
pub unsafe fn bury(task: *mut Task) {
    // SAFETY: the caller's promise.
    unsafe {
        vacate(task);
        let_go(task);
    }
}

/// One reference less, of a tasklet that was left: as [`release`], and no panic comes out.
///
/// # Safety
/// As [`release`].
#[inline]
pub unsafe fn let_go(task: *mut Task) {
    // SAFETY: the caller's promise.
    unsafe {
        (*task).refs -= 1;
        if (*task).refs == 0 {
            release_last::<true>(task);
        }
    }
}

/// Gives back what a tasklet that was left for good lived on, if it has ended and somebody may bind it
/// again. No user code has run since it was left, so it is not bound to anything new.
///
/// # Safety
/// A live task that is not running, and is on no stack of its own if it is not alive.
#[inline]
pub unsafe fn vacate(task: *mut Task) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*task).refs > 1 && !(*task).is(flag::ALIVE) {
            Task::reclaim(task);
        }
    }
}

/// Kills a tasklet that nobody refers to any more. False when it lives on: as a
/// zombie, or until switching is possible again.
unsafe fn kill_forgotten(task: *mut Task) -> bool {
    // SAFETY: the caller holds a reference; `kill` is the ordinary operation.
    unsafe {
        let runtime = Runtime::of(task);
        for _ in 0..KILLS {
            if !(*task).is(flag::ALIVE) {
                return true;
            }
            if !scheduler::may_switch(runtime) {
                runtime.reap_later(task);
                return false;
            }
            // What the dying tasklet throws goes the uncaught way, not here.
            let handle = Tasklet::from_ref(task);
            let ended = throw::throw_in_place(&handle, Error::Exit);
            contain(LAST, || drop(ended));
        }
        if !(*task).is(flag::ALIVE) {
            return true;
        }
        (*task).set(flag::ZOMBIE);
        runtime.zombies.set(runtime.zombies.get() + 1);
        log::error!(
            "tasklet {:?} refused to end {KILLS} times: its stack is kept forever",
            (*task).name().unwrap_or("(unnamed)")
        );
        false
    }
}

/// The last reference to a task has just gone.
///
/// # Safety
/// `task` was live, its count is 0, and user code may run now.
pub unsafe fn last_reference(task: *mut Task) {
    // SAFETY: the caller's promise is that of `release_last`.
    unsafe { release_last::<false>(task) };
}

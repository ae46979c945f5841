//! The end of a tasklet without references, and what becomes of the stack of a tasklet that ended.

use crate::core::contain::{contain, drop_both};
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::scheduler;
use crate::core::task::{flag, Task};
use crate::core::throw;
use crate::error::Error;

/// Gives up one reference.
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

/// How often a tasklet that has to end is killed before it is given up: one that is forgotten, that
/// swallows its kills, or whose thread ends.
pub const KILLS: u32 = 10;

/// `CONTAIN`: no panic of user code comes out.
#[inline(never)]
unsafe fn release_last<const CONTAIN: bool>(task: *mut Task) {
    // SAFETY: the last reference has gone, so no other code uses the task; while it is killed the
    // count is one, which is ours.
    unsafe {
        if CONTAIN && (*task).is(flag::STARTED | flag::BOUND) {
            return contain(LAST, || release_last::<false>(task));
        }
        // Again, if code that ran as it ended has bound it anew, and given up the handle.
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
            // User code: last, when the task is freed.
            if CONTAIN {
                contain(LAST, || drop_both(slot, extra));
            } else {
                drop_both(slot, extra);
            }
        } else {
            runtime.free_task(task);
        }
    }
}

const LAST: &str = "a destructor of what a tasklet had";

/// Drops the function of a tasklet without references. This runs user code, which cannot get a
/// handle of the tasklet: without references it is in no list.
#[cold]
#[inline(never)]
unsafe fn drop_unrun(task: *mut Task) {
    // SAFETY: `task` has not started, and is in no queue: a queue would hold a reference.
    let unbound = unsafe { Task::unbind(task) };
    // A panic of its destructors must not keep the rest from being freed.
    contain(LAST, || drop(unbound));
}

/// The end of a tasklet that was left for good: gives back its stack, and the
/// reference of the queue. No panic of user code comes out: it is kept from the tasklet that
/// arrives.
///
/// # Safety
/// As [`release`]; `task` is not the running tasklet.
#[inline]
pub unsafe fn bury(task: *mut Task) {
    // SAFETY: the caller owns the queue's reference to `task`, which is not running.
    unsafe {
        // Without a handle that could bind it again, this is a part of its last release.
        if (*task).refs > 1 && !(*task).is(flag::ALIVE) {
            Task::reclaim(task);
        }
        release_left(task);
    }
}

/// As [`release`], for a tasklet that was left: no panic comes out.
///
/// # Safety
/// As [`release`].
#[inline]
pub unsafe fn release_left(task: *mut Task) {
    // SAFETY: the caller owns a reference, which keeps the task's cell.
    unsafe {
        (*task).refs -= 1;
        if (*task).refs == 0 {
            release_last::<true>(task);
        }
    }
}

/// Kills a tasklet that only the caller refers to. False when it lives on: as a
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
        give_up(runtime, task);
        contain("the logger", || {
            log::error!(
                "tasklet {:?} refused to end {KILLS} times: its stack is kept forever",
                (*task).name().unwrap_or("(unnamed)")
            );
        });
        false
    }
}

/// Makes a tasklet that refuses to end a zombie: it is listed and counted, and kept for ever.
///
/// # Safety
/// `task` is a live task of this runtime.
pub unsafe fn give_up(runtime: &Runtime, task: *mut Task) {
    // SAFETY: the caller's promise: the task is live.
    unsafe {
        if !(*task).is(flag::ZOMBIE) {
            (*task).set(flag::ZOMBIE);
            runtime.zombies.set(runtime.zombies.get() + 1);
        }
    }
}

/// The last reference to a task has just gone.
///
/// # Safety
/// `task` was live, its count is 0, and user code may run now.
pub unsafe fn last_reference(task: *mut Task) {
    // SAFETY: the count of `task` has just become 0, and user code may run now.
    unsafe { release_last::<false>(task) };
}

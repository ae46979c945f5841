//! Counted references to tasklets: the handle, and what happens when the last one goes.

use core::marker::PhantomData;
use core::ptr;

use crate::core::runtime::{Runtime, HOOK_ENDED};
use crate::core::scheduler;
use crate::core::task::{flag, Task};
use crate::error::Error;
use crate::machine::os;

/// One reference less.
///
/// # Safety
/// The caller owns the reference, and user code may run now: with the last
/// reference the transfer slot is dropped, and a tasklet that is alive is killed.
#[inline]
pub(crate) unsafe fn release(task: *mut Task) {
    // SAFETY: a counted reference keeps the task's cell.
    unsafe {
        (*task).refs -= 1;
        if (*task).refs == 0 {
            release_last::<false>(task);
        }
    }
}

/// How often a forgotten tasklet is killed before it is given up.
pub(crate) const KILLS: u32 = 10;

/// `CONTAIN`: no panic of a user's code comes out.
#[inline(never)]
unsafe fn release_last<const CONTAIN: bool>(task: *mut Task) {
    // SAFETY: nobody else refers to the task; while it is killed the count is
    // one, ours.
    unsafe {
        if CONTAIN && (*task).is(flag::STARTED | flag::BOUND) {
            return scheduler::contain(LAST, || release_last::<false>(task));
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
        let runtime = (*task).runtime;
        if !(*task).slot.is_empty() || (*task).extra.is_some() {
            let (slot, extra) = ((*task).slot.take(), (*task).extra.take());
            (*runtime).free_task(task);
            // User code: last, when the task is no more.
            let rest = (slot, extra);
            if CONTAIN {
                scheduler::contain(LAST, || drop(rest));
            } else {
                drop(rest);
            }
        } else {
            (*runtime).free_task(task);
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
    scheduler::contain(LAST, || drop(unbound));
}

/// The end of a tasklet that was left for good: gives back what it lived on, and the
/// reference of the queue. No panic of a user's code comes out: it is not the business of
/// who arrives.
///
/// # Safety
/// As [`release`]; `task` is not the running tasklet.
#[inline]
pub(crate) unsafe fn bury(task: *mut Task) {
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
pub(crate) unsafe fn let_go(task: *mut Task) {
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
pub(crate) unsafe fn vacate(task: *mut Task) {
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
        let runtime = &*(*task).runtime;
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
            let ended = scheduler::throw_in_place(&handle, Error::Exit);
            scheduler::contain(LAST, || drop(ended));
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

/// A counted reference to a tasklet of the calling thread.
///
/// Cloning is cheap and makes another reference to the same tasklet. When the
/// last reference to a tasklet that is alive goes away, the tasklet is killed
/// (it gets [`Error::Exit`]); one that never ran is dropped with its function.
/// The run queue and the channels hold references of their own, so a queued or
/// blocked tasklet needs no handle to live.
pub struct Tasklet {
    task: ptr::NonNull<Task>,
    _not_send: PhantomData<*mut ()>,
}

/// Handles can be forgotten, so any program can raise the count: it ends before the count goes
/// round, as with `Rc`. What queues add is bounded, and far less than the other half.
const MOST_HANDLES: u32 = u32::MAX / 2;

#[cold]
#[inline(never)]
fn too_many() -> ! {
    os::fatal(format_args!("more than 2^31 references to one tasklet"))
}

impl Tasklet {
    /// Another counted reference to `task`.
    ///
    /// # Safety
    /// `task` is a live control block of this thread.
    pub(crate) unsafe fn from_ref(task: *mut Task) -> Tasklet {
        // SAFETY: the caller's promise.
        unsafe {
            if (*task).refs >= MOST_HANDLES {
                too_many();
            }
            (*task).refs += 1;
        }
        // SAFETY: the reference just counted.
        unsafe { Tasklet::from_owned(task) }
    }

    /// For tests.
    pub(crate) fn count_forgotten(&self, more: u32) {
        // SAFETY: a live task; a count that is too high keeps it.
        unsafe { (*self.as_ptr()).refs = (*self.as_ptr()).refs.saturating_add(more) };
    }

    /// Takes over a counted reference.
    ///
    /// # Safety
    /// The caller owns a reference to `task`.
    pub(crate) unsafe fn from_owned(task: *mut Task) -> Tasklet {
        Tasklet {
            // SAFETY: a counted reference is not null.
            task: unsafe { ptr::NonNull::new_unchecked(task) },
            _not_send: PhantomData,
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut Task {
        self.task.as_ptr()
    }

    pub(crate) fn task(&self) -> &Task {
        // SAFETY: the handle keeps the cell; no `&mut Task` is held across
        // code of others.
        unsafe { self.task.as_ref() }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        // SAFETY: a runtime outlives its tasks.
        unsafe { &*self.task().runtime }
    }

    /// Has its thread ended? Who asks is a destructor that runs later still.
    pub(crate) fn has_no_thread(&self) -> bool {
        self.runtime().hooks() & HOOK_ENDED != 0
    }
}

impl Clone for Tasklet {
    fn clone(&self) -> Tasklet {
        // SAFETY: the handle keeps the cell.
        unsafe { Tasklet::from_ref(self.as_ptr()) }
    }
}

impl Drop for Tasklet {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the handle's own reference.
        unsafe { release(self.as_ptr()) };
    }
}

impl PartialEq for Tasklet {
    fn eq(&self, other: &Tasklet) -> bool {
        self.task == other.task
    }
}

impl Eq for Tasklet {}

impl core::hash::Hash for Tasklet {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.task.hash(state);
    }
}

//! Counted references to tasklets: the handle.

use core::marker::PhantomData;
use core::ptr;

use crate::core::hooks::HOOK_ENDED;
use crate::core::runtime::Runtime;
use crate::core::task::Task;
use crate::machine::os;

/// A counted reference to a tasklet of the calling thread.
///
/// Cloning is cheap and makes another reference to the same tasklet. When the
/// last reference to a tasklet that is alive goes away, the tasklet is killed
/// (it gets [`Error::Exit`](crate::Error::Exit)); one that never ran is dropped with its function.
/// The run queue and the channels hold references of their own, so a queued or
/// blocked tasklet needs no handle to live.
pub struct Tasklet {
    task: ptr::NonNull<Task>,
    _not_send: PhantomData<*mut ()>,
}

/// Handles can be forgotten, so any program can raise the count: the process is ended before the
/// count wraps, as with `Rc`. The references of queues are bounded, and far fewer than the other
/// half.
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
        // SAFETY: `task` is a live control block.
        unsafe {
            if (*task).refs >= MOST_HANDLES {
                too_many();
            }
            (*task).refs += 1;
        }
        // SAFETY: the reference that was just counted is handed over.
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
        unsafe { Runtime::of(self.as_ptr()) }
    }

    /// Has its thread ended? True only in destructors that run later still.
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
        let task = self.as_ptr();
        // SAFETY: the handle's own reference keeps the task until here.
        unsafe {
            (*task).refs -= 1;
            if (*task).refs == 0 {
                (self.runtime().above.last_reference)(task);
            }
        }
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

//! The run queue of a thread: a ring of tasklets, linked through their control blocks.

use core::cell::Cell;
use core::ptr;

use crate::core::task::{flag, Task};

/// The tasklets that can run, in the order of their turns. The running one is the head, except
/// inside an operation. Each member's place holds a counted reference to it.
#[repr(C)]
pub struct RunQueue {
    /// Null when it is empty.
    head: Cell<*mut Task>,
    len: Cell<usize>,
}

impl RunQueue {
    pub fn new() -> RunQueue {
        RunQueue {
            head: Cell::new(ptr::null_mut()),
            len: Cell::new(0),
        }
    }

    /// The first; null when it is empty.
    #[inline(always)]
    pub fn head(&self) -> *mut Task {
        self.head.get()
    }

    /// How many there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// Makes `task`, a member, the head: its turn has come.
    #[inline(always)]
    pub fn turn_to(&self, task: *mut Task) {
        self.head.set(task);
    }

    /// Appends `task` to the run queue. The queue takes over a reference.
    ///
    /// # Safety
    /// `task` is a live task of this thread and in no queue.
    #[inline]
    pub unsafe fn append(&self, task: *mut Task) {
        // SAFETY: `task` is live and in no queue.
        unsafe {
            debug_assert!((*task).floating());
            self.append_of(task, 0);
        }
    }

    /// [`append`](Self::append), which also clears the flags `old`.
    ///
    /// # Safety
    /// As `append`; but `task` may have a channel's flags if `old` are those.
    #[inline(always)]
    pub unsafe fn append_of(&self, task: *mut Task, old: u32) {
        let head = self.head.get();
        // SAFETY: ring members are live tasks with both links set.
        unsafe {
            (*task).exchange(old, flag::QUEUED);
            if head.is_null() {
                (*task).next = task;
                (*task).prev = task;
                self.head.set(task);
            } else {
                self.link_before(head, task);
            }
        }
        self.len.set(self.len.get() + 1);
    }

    /// Puts `task` right behind `place` in the run queue.
    ///
    /// # Safety
    /// As [`RunQueue::append`]; `place` is queued.
    #[inline]
    pub unsafe fn insert_after(&self, place: *mut Task, task: *mut Task) {
        // SAFETY: `task` is live and in no queue; `place` is queued.
        unsafe {
            debug_assert!((*task).floating());
            self.insert_after_of(place, task, 0);
        }
    }

    /// [`insert_after`](Self::insert_after), which also clears the flags `old`.
    ///
    /// # Safety
    /// As `insert_after` and [`append_of`](Self::append_of).
    #[inline(always)]
    pub unsafe fn insert_after_of(&self, place: *mut Task, task: *mut Task, old: u32) {
        // SAFETY: `task` is live; `place` is a ring member, so its neighbour is one as well.
        unsafe {
            (*task).exchange(old, flag::QUEUED);
            self.link_before((*place).next, task);
        }
        self.len.set(self.len.get() + 1);
    }

    /// Puts `task` into the place that `head` has at the head of the run queue. The
    /// queue takes over a reference to it; that to `head` is the caller's now.
    ///
    /// # Safety
    /// As [`RunQueue::append`]; `head` is the running tasklet and queued.
    #[inline(always)]
    pub unsafe fn replace(&self, head: *mut Task, task: *mut Task) {
        // SAFETY: ring members are live tasks with both links set.
        unsafe {
            debug_assert!((*task).floating() && (*head).is(flag::QUEUED));
            debug_assert!(self.head.get() == head);
            let (next, prev) = ((*head).next, (*head).prev);
            if next == head {
                (*task).next = task;
                (*task).prev = task;
            } else {
                (*task).next = next;
                (*task).prev = prev;
                (*prev).next = task;
                (*next).prev = task;
            }
            (*head).next = ptr::null_mut();
            (*head).prev = ptr::null_mut();
            (*head).clear(flag::QUEUED);
            (*task).set(flag::QUEUED);
        }
        self.head.set(task);
    }

    #[inline(always)]
    unsafe fn link_before(&self, place: *mut Task, task: *mut Task) {
        // SAFETY: `place` is a ring member, whose links are set; `task` is live and in no queue.
        unsafe {
            let prev = (*place).prev;
            (*task).next = place;
            (*task).prev = prev;
            (*prev).next = task;
            (*place).prev = task;
        }
    }

    /// Takes `task` out of the run queue; the reference is the caller's now.
    /// If it was the head, the next one is.
    ///
    /// # Safety
    /// `task` is queued on this thread.
    #[inline]
    pub unsafe fn remove(&self, task: *mut Task) {
        // SAFETY: `task` is queued on this thread.
        unsafe { self.unlink(task) };
    }

    /// [`remove`](Self::remove), inlined: for places where a call would cost more than the code.
    ///
    /// # Safety
    /// As `remove`.
    #[inline(always)]
    pub unsafe fn unlink(&self, task: *mut Task) {
        // SAFETY: ring members are live tasks with both links set.
        unsafe {
            debug_assert!((*task).is(flag::QUEUED));
            let (next, prev) = ((*task).next, (*task).prev);
            (*prev).next = next;
            (*next).prev = prev;
            if self.head.get() == task {
                self.head
                    .set(if next == task { ptr::null_mut() } else { next });
            }
            (*task).next = ptr::null_mut();
            (*task).prev = ptr::null_mut();
            (*task).clear(flag::QUEUED);
        }
        self.len.set(self.len.get() - 1);
    }
}

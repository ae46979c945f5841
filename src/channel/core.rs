//! A channel without its type: the queue of the tasklets that wait.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::ptr;

use super::stand_in;
use crate::core::contain::{contain, drop_used};
use crate::core::hooks::HOOK_ENDED;
use crate::core::release::release;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::core::value::{Slot, TaskSlot};
use crate::error::Error;

/// Which side goes on first when a sender and a receiver meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Preference {
    /// The receiver, at once; a sender goes to the end of the queue.
    #[default]
    Receiver = -1,
    /// The side that came second just continues.
    Neither = 0,
    /// The sender.
    Sender = 1,
}

impl Preference {
    /// By sign: negative, zero, positive.
    pub const fn from_sign(sign: i32) -> Preference {
        match sign {
            i32::MIN..=-1 => Preference::Receiver,
            0 => Preference::Neither,
            1..=i32::MAX => Preference::Sender,
        }
    }
}

/// Directions, as in the balance.
pub const SEND: i8 = 1;
pub const RECEIVE: i8 = -1;

/// The tasklet that comes second gives way to all others.
pub const SCHEDULE_ALL: u8 = 1;
/// Some in the queue are stand-ins of selecting tasklets.
const STAND_INS: u8 = 2;
/// Another thread could meet some of these stand-ins first: an operation that meets one must have
/// its [claim](stand_in::hold).
pub const CLAIMS: u8 = 4;

/// A channel without its type.
pub struct Core {
    runtime: *const Runtime,
    pub head: Cell<*mut Task>,
    tail: Cell<*mut Task>,
    /// Blocked senders, or minus the number of blocked receivers.
    pub balance: Cell<isize>,
    pub preference: Cell<i8>,
    /// The reasons against the fast paths: [`SCHEDULE_ALL`], [`STAND_INS`], [`CLAIMS`].
    pub mode: Cell<u8>,
    pub closing: Cell<bool>,
    /// It is the library's own: the channel callback is not called for it.
    pub private: Cell<bool>,
    /// Stand-ins of selecting tasklets in the queue.
    stand_ins: Cell<u32>,
    pub user_data: RefCell<Option<Rc<dyn Any>>>,
}

impl Core {
    pub fn new() -> Core {
        let runtime = Runtime::get();
        runtime.channel_made();
        Core {
            runtime,
            head: Cell::new(ptr::null_mut()),
            tail: Cell::new(ptr::null_mut()),
            balance: Cell::new(0),
            preference: Cell::new(Preference::Receiver as i8),
            mode: Cell::new(0),
            closing: Cell::new(false),
            private: Cell::new(false),
            stand_ins: Cell::new(0),
            user_data: RefCell::new(None),
        }
    }

    /// Makes it one of the library's own: the channel callback is not told of it, and it is not
    /// counted.
    pub fn make_private(&self) {
        self.private.set(true);
        self.runtime().private_channels(1);
    }

    pub fn set_preference(&self, preference: Preference) {
        self.preference.set(preference as i8);
    }

    /// Has its thread ended?
    #[inline(always)]
    pub fn has_no_thread(&self) -> bool {
        self.runtime().hooks() & HOOK_ENDED != 0
    }

    pub fn runtime(&self) -> &Runtime {
        // SAFETY: a runtime outlives its channels, which it counts (`channel_made`).
        unsafe { &*self.runtime }
    }

    /// Does a partner wait for an operation of direction `dir`?
    #[inline(always)]
    pub fn partner_waits(&self, dir: i8) -> bool {
        if dir == SEND {
            self.balance.get() < 0
        } else {
            self.balance.get() > 0
        }
    }

    /// Does a partner wait for an operation of direction `dir`? If so it is the caller's: no other
    /// thread can meet it any more. The operation follows, or [`unsecure`](Core::unsecure) if it
    /// fails.
    #[inline(always)]
    pub fn secure(&self, dir: i8) -> bool {
        self.partner_waits(dir) && (self.mode.get() & CLAIMS == 0 || self.claim_first(dir))
    }

    #[cold]
    #[inline(never)]
    pub fn claim_first(&self, dir: i8) -> bool {
        while self.partner_waits(dir) {
            let head = self.head.get();
            // SAFETY: the first of a queue that is not empty; one without a claim is a stand-in.
            unsafe {
                if stand_in::hold(head) {
                    return true;
                }
                self.take_stand_in(head);
            }
        }
        false
    }

    /// Gives up the partner that was [secured](Core::secure), if it still waits: the operation has
    /// failed.
    #[cold]
    #[inline(never)]
    pub fn unsecure(&self) {
        let (head, runtime) = (self.head.get(), self.runtime());
        // SAFETY: a first member of the queue is live.
        unsafe {
            if !head.is_null() && stand_in::is_held(runtime, head) {
                stand_in::begin_anew(runtime, head);
            }
        }
    }

    /// Takes out the stand-ins that another thread has met, so that the balance is right.
    #[inline]
    pub fn settle(&self) {
        if self.mode.get() & CLAIMS != 0 {
            self.take_out_met();
        }
    }

    #[cold]
    #[inline(never)]
    fn take_out_met(&self) {
        let mut task = self.head.get();
        while !task.is_null() {
            // SAFETY: members of the queue; one whose claim is gone is a stand-in.
            unsafe {
                let next = (*task).next;
                if !stand_in::can_be_met(task) {
                    self.take_stand_in(task);
                }
                task = next;
            }
        }
    }

    /// Appends `task`; the channel takes over a reference.
    #[inline(always)]
    pub unsafe fn push(&self, task: *mut Task, dir: i8) {
        // SAFETY: list members are live tasks; `task` is floating.
        unsafe {
            debug_assert!((*task).floating());
            let tail = self.tail.get();
            (*task).prev = tail;
            (*task).next = ptr::null_mut();
            if tail.is_null() {
                self.head.set(task);
            } else {
                (*tail).next = task;
            }
            self.tail.set(task);
            (*task).channel = ptr::from_ref(self).cast();
            (*task).set(if dir == SEND {
                flag::SENDING
            } else {
                flag::RECEIVING
            });
        }
        self.balance.set(self.balance.get() + isize::from(dir));
    }

    /// Takes `task` out; its reference is the caller's now.
    #[inline(always)]
    pub unsafe fn take(&self, task: *mut Task) {
        // SAFETY: `task` is a member of the list.
        unsafe {
            let (next, prev) = ((*task).next, (*task).prev);
            if prev.is_null() {
                self.head.set(next);
            } else {
                (*prev).next = next;
            }
            if next.is_null() {
                self.tail.set(prev);
            } else {
                (*next).prev = prev;
            }
            (*task).next = ptr::null_mut();
            (*task).prev = ptr::null_mut();
            (*task).channel = ptr::null();
            let dir = if (*task).is(flag::SENDING) { 1 } else { -1 };
            self.balance.set(self.balance.get() - dir);
            (*task).clear(flag::BLOCKED);
        }
    }

    /// Exchanges the slots of `me`, whose operation has direction `DIR`, and of the partner that
    /// has waited longest, and takes the partner out of the queue. The partner's links and flags
    /// are not changed here: the caller puts it into the run queue at once, which writes them.
    #[inline(always)]
    pub unsafe fn exchange_with_first<const DIR: i8>(&self, me: *mut Task) -> *mut Task {
        // SAFETY: the caller has seen that a partner waits, and members of the list are live.
        unsafe {
            let partner = self.head.get();
            debug_assert!((*partner).prev.is_null());
            let next = (*partner).next;
            self.head.set(next);
            if next.is_null() {
                self.tail.set(next);
            } else {
                (*next).prev = ptr::null_mut();
            }
            (*partner).channel = ptr::null();
            self.balance.set(self.balance.get() + isize::from(DIR));
            Slot::swap(
                TaskSlot::raw(&raw mut (*me).slot),
                TaskSlot::raw(&raw mut (*partner).slot),
            );
            partner
        }
    }

    /// Appends the stand-in of a selecting tasklet.
    ///
    /// # Safety
    /// It is in no queue.
    pub unsafe fn push_stand_in(&self, stand_in: *mut Task, dir: i8) {
        // SAFETY: the stand-in is live and in no queue.
        unsafe { self.push(stand_in, dir) };
        self.stand_ins.set(self.stand_ins.get() + 1);
        // SAFETY: the stand-in is live.
        let claims = if unsafe { stand_in::claim_of(stand_in).is_some() } {
            CLAIMS
        } else {
            0
        };
        self.mode.set(self.mode.get() | STAND_INS | claims);
    }

    /// Takes a stand-in out.
    ///
    /// # Safety
    /// It is in this queue.
    pub unsafe fn take_stand_in(&self, stand_in: *mut Task) {
        // SAFETY: the stand-in is a member of this queue.
        unsafe { self.take(stand_in) };
        self.stand_ins.set(self.stand_ins.get() - 1);
        if self.stand_ins.get() == 0 {
            self.mode.set(self.mode.get() & !(STAND_INS | CLAIMS));
        }
    }

    pub fn head(&self) -> *mut Task {
        self.head.get()
    }

    pub fn closing(&self) -> bool {
        self.closing.get()
    }

    /// Takes over the value of the sender that has waited longest, and queues the
    /// sender. It does not switch, and calls no callback. `None` when no sender waits.
    pub fn collect(&self) -> Option<Slot> {
        if !self.secure(RECEIVE) {
            return None;
        }
        let runtime = self.runtime();
        let head = self.head.get();
        // SAFETY: a member of the queue; a sender's slot holds its value.
        unsafe {
            let value = (*head).slot.take();
            self.wake_first(runtime);
            Some(value)
        }
    }

    /// Gives `value` to the receiver that has waited longest, and queues the receiver. It does not
    /// switch, calls no callback, and leaves the caller's slot alone, whatever was thrown at the
    /// caller meanwhile. False, and `value` is dropped, when no receiver waits.
    pub fn serve(&self, value: Slot) -> bool {
        if !self.secure(SEND) {
            return false;
        }
        let runtime = self.runtime();
        // SAFETY: a member of the queue is live. A value that was put into its slot by hand is
        // dropped when all is done.
        let by_hand = unsafe {
            let by_hand = (*self.head.get()).slot.put(value);
            self.wake_first(runtime);
            by_hand
        };
        drop_used(by_hand);
        true
    }

    /// Puts the first of the queue, whose slot has been dealt with, into the run
    /// queue.
    unsafe fn wake_first(&self, runtime: &Runtime) {
        // SAFETY: a member of the queue; its reference moves to the run queue.
        unsafe {
            let head = self.head.get();
            let task = stand_in::whose(head);
            let woken = if task == head {
                self.take(task);
                true
            } else {
                stand_in::meet_stand_in(head)
            };
            if woken {
                runtime.queue.append(task);
            }
        }
    }

    /// Closes the channel, and lets all waits fail with [`Error::Closed`].
    /// Returns how many.
    pub fn close_and_wake(&self) -> usize {
        self.closing.set(true);
        let runtime = self.runtime();
        let mut lost = Vec::new();
        let mut woken = 0;
        // SAFETY: members of the queue are live; the values that they were sending are dropped
        // when all is done, since that runs user code.
        unsafe {
            while !self.head.get().is_null() {
                let head = self.head.get();
                if !stand_in::hold(head) {
                    self.take_stand_in(head);
                    continue;
                }
                let old = (*head).slot.put(Slot::end(Error::Closed));
                if !old.is_empty() {
                    lost.push(old);
                }
                self.wake_first(runtime);
                woken += 1;
            }
        }
        // Each by itself: a panic of one keeps neither the others nor the count from the caller.
        lost.into_iter().for_each(drop_used);
        woken
    }
}

/// Takes a blocked task out of its channel; the reference is the caller's.
///
/// # Safety
/// `task` is blocked.
#[inline(never)]
pub unsafe fn unlink_blocked(task: *mut Task) {
    // SAFETY: a blocked task's channel is alive: its frames hold it.
    unsafe {
        if (*task).is(flag::SELECTING) {
            stand_in::withdraw(task);
        } else {
            (*(*task).channel.cast::<Core>()).take(task);
        }
    }
}

impl Drop for Core {
    /// Tasklets that are still blocked become paused; one to which there is no other
    /// reference is killed.
    fn drop(&mut self) {
        // SAFETY: list members are live tasks whose reference is ours.
        unsafe {
            loop {
                let head = self.head.get();
                if head.is_null() {
                    break;
                }
                let task = stand_in::whose(head);
                if task == head {
                    self.take(task);
                } else if stand_in::is_waiting(head) {
                    stand_in::withdraw(task);
                } else {
                    // Its tasklet pumps while it waits, and the queue has no reference to it.
                    self.take_stand_in(head);
                    continue;
                }
                // All of them are released, whatever user code does.
                contain("the end of a tasklet that waited on a channel", || {
                    release(task)
                });
            }
        }
        if self.private.get() {
            self.runtime().private_channels(-1);
        }
        self.runtime().channel_gone();
    }
}

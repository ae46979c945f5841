//! Stand-ins: waiting for several channels at once, and for a time.
//!
//! A tasklet can be in one channel's queue only, so a select that has to wait puts
//! a *stand-in* into the queue of each of its channels: a control block, in the
//! heap, that says whose it is. When a partner meets one, the value goes into (or
//! comes out of) the stand-in's slot, all stand-ins of the select leave their
//! channels, and the tasklet is woken. Nothing of it lies on a stack.
//!
//! ```text
//!   channel a:  head ─► [stand-in 0 ─ of T] ─► (another receiver)
//!   channel b:  head ─► (a sender) ─► [stand-in 1 ─ of T]
//!   T: in no queue, SELECTING; T.next = stand-in 0
//! ```
//!
//! Channels with a stand-in in their queue have a bit set that takes operations
//! off the fast path: a channel that nobody selects on does not notice.
//!
//! Sends and receives with a timeout are selects with one case.
//!
//! **Claims.** A select that has a channel between threads among its cases can be met by another thread at any moment. Then whoever meets one
//! of its stand-ins must have the select's [claim](super::claim) first, and so must the select itself, to end because the time is up or something was
//! thrown. Stand-ins whose claim is gone are as good as not there. A select of local channels has no claim.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

use super::case::Case;
use super::claim::Claim;
use super::core::Core;
use crate::core::deadlines::Key;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::core::value::{Slot, TaskSlot};

/// Whose place in a queue it is: of the task itself, or of the one for which it
/// stands in.
///
/// # Safety
/// A live task or stand-in.
#[inline]
pub unsafe fn whose(task: *mut Task) -> *mut Task {
    // SAFETY: the caller's promise; a stand-in keeps its tasklet in `sp`.
    unsafe {
        if (*task).is(flag::STAND_IN) {
            (*task).sp as *mut Task
        } else {
            task
        }
    }
}

/// The first stand-in of the same select.
unsafe fn first_of(stand_in: *mut Task) -> *mut Task {
    // SAFETY: they are elements of one slice; `switches` is the index.
    unsafe { stand_in.sub((*stand_in).switches as usize) }
}

/// Is the tasklet blocked in this select? (Else it drives the loop.)
///
/// # Safety
/// A stand-in in a queue.
pub unsafe fn waits(stand_in: *mut Task) -> bool {
    // SAFETY: the caller's promise; the tasklet is live while its stand-ins are.
    unsafe {
        let task = whose(stand_in);
        (*task).is(flag::SELECTING) && (*task).next == first_of(stand_in)
    }
}

/// The claim of a stand-in's select, if it has one.
///
/// # Safety
/// A stand-in.
pub unsafe fn claim_of<'a>(stand_in: *mut Task) -> Option<&'a Claim> {
    // SAFETY: what a first stand-in has for a window is its select's claim, which `StandIns` keeps
    // until they are gone.
    unsafe { (*first_of(stand_in)).window.cast::<Claim>().as_ref() }
}

/// Could another thread meet it first?
///
/// # Safety
/// A stand-in.
pub unsafe fn has_claim(stand_in: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe { claim_of(stand_in).is_some() }
}

/// Does nobody but the caller meet it from now on? True: [`met`] or [`begin_anew`] follows, before anything else runs but the channel callback.
///
/// # Safety
/// A task in a channel's queue.
pub unsafe fn claim(task: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if !(*task).is(flag::STAND_IN) || (*task).is(flag::HELD) {
            return true;
        }
        let Some(claim) = claim_of(task) else {
            return true;
        };
        let won = claim.take();
        if won {
            let inside = Runtime::of(task).in_channel_callback.get();
            (*task).set(if inside {
                flag::HELD | flag::HELD_INSIDE
            } else {
                flag::HELD
            });
        }
        won
    }
}

/// Has no other thread met it?
///
/// # Safety
/// A task in a channel's queue.
pub unsafe fn can_be_met(task: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        !(*task).is(flag::STAND_IN)
            || (*task).is(flag::HELD)
            || claim_of(task).is_none_or(|claim| claim.is_open())
    }
}

/// The select is over, if no other thread has met it. Nobody shall, from now on. False: one has.
pub unsafe fn close_claim(first: *mut Task) -> bool {
    // SAFETY: the first stand-in of a select.
    unsafe { claim_of(first).is_none_or(|claim| claim.take()) }
}

/// Its partner, who has its claim, cannot meet it after all: the select leaves its channels, and does everything again.
///
/// # Safety
/// A stand-in in a queue.
pub unsafe fn begin_anew(runtime: &Runtime, stand_in: *mut Task) {
    // SAFETY: the caller's promise; the reference moves to the run queue.
    unsafe {
        (*first_of(stand_in)).set(flag::ANEW);
        if end(stand_in) {
            runtime.queue.append(whose(stand_in));
        }
    }
}

pub unsafe fn leave_channels(first: *mut Task) {
    // SAFETY: `refs` elements; whatever is in a queue has its channel set.
    unsafe {
        for i in 0..(*first).refs as usize {
            let stand_in = first.add(i);
            if let Some(channel) = (*stand_in).channel.cast::<Core>().as_ref() {
                channel.take_stand_in(stand_in);
            }
        }
    }
}

/// Ends the select of a tasklet that is blocked in one. Its reference is the
/// caller's.
///
/// # Safety
/// `SELECTING`.
pub unsafe fn withdraw(task: *mut Task) {
    // SAFETY: the caller's promise: `next` is the first stand-in.
    unsafe {
        let first = core::mem::replace(&mut (*task).next, core::ptr::null_mut());
        (*task).clear(flag::SELECTING);
        close_claim(first);
        leave_channels(first);
    }
}

/// The stand-in has met a partner; the values have been exchanged. True when its
/// tasklet was blocked: it is floating now, and its reference is the caller's.
///
/// # Safety
/// A stand-in in a queue.
pub unsafe fn met(stand_in: *mut Task) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        (*stand_in).set(flag::MET);
        end(stand_in)
    }
}

unsafe fn end(stand_in: *mut Task) -> bool {
    // SAFETY: as `met`.
    unsafe {
        if waits(stand_in) {
            withdraw(whose(stand_in));
            return true;
        }
        leave_channels(first_of(stand_in));
        false
    }
}

/// The time of a select is up. Its tasklet is queued, unless another thread has just met it: then that thread's message will do so.
///
/// # Safety
/// The first stand-in of a select that is not over.
pub unsafe fn expire(runtime: &Runtime, first: *mut ()) {
    let first = first.cast::<Task>();
    // SAFETY: the caller's promise; the reference moves to the run queue.
    unsafe {
        if !close_claim(first) {
            return;
        }
        (*first).set(flag::EXPIRED);
        if end(first) {
            runtime.queue.append(whose(first));
        }
    }
}

/// The stand-ins of a select, and the entry of its timeout. They leave their
/// queues when this is dropped.
pub struct StandIns<'a> {
    pub runtime: &'a Runtime,
    tasks: *mut [Task],
    timeout: Option<Key>,
    /// What other threads know of the select: its claim is in there.
    shared: Option<Arc<dyn Any>>,
}

impl<'a> StandIns<'a> {
    /// Takes over the values to send.
    pub fn new(runtime: &'a Runtime, me: *mut Task, cases: &mut [Case]) -> StandIns<'a> {
        // At least one: the first knows the select.
        let count = cases.len().max(1);
        let tasks: Box<[Task]> = (0..count)
            .map(|index| {
                let mut task = Task::new(core::ptr::from_ref(runtime).cast(), flag::STAND_IN);
                task.sp = me as usize;
                task.switches = index as u64;
                task.refs = if index == 0 { count as u32 } else { 0 };
                if let Some(case) = cases.get_mut(index) {
                    task.slot.fill(case.slot.take());
                }
                task
            })
            .collect();
        StandIns {
            runtime,
            tasks: Box::into_raw(tasks),
            timeout: None,
            shared: None,
        }
    }

    pub fn first(&self) -> *mut Task {
        self.tasks.cast()
    }

    /// From now on other threads may know of the select, whose claim is in `shared`.
    ///
    /// # Safety
    /// `claim` lives as long as `shared` does.
    pub unsafe fn share(&mut self, claim: *const Claim, shared: Arc<dyn Any>) {
        // SAFETY: ours, in no queue. `shared` stays until they are gone.
        unsafe { (*self.first()).window = claim.cast() };
        self.shared = Some(shared);
    }

    /// What the stand-in of a case holds.
    pub fn slot(&mut self, case: usize) -> &mut TaskSlot {
        // SAFETY: ours; one for each case.
        unsafe { &mut (*self.tasks)[case].slot }
    }

    pub fn flag(&mut self, case: usize, flag: u32) {
        // SAFETY: as `slot`.
        unsafe { (*self.tasks)[case].set(flag) };
    }

    /// Which one has met a partner.
    pub fn met(&self) -> Option<usize> {
        // SAFETY: ours; only flags are read.
        unsafe { (0..self.tasks.len()).find(|&i| (*self.first().add(i)).is(flag::MET)) }
    }

    pub fn expired(&self) -> bool {
        // SAFETY: as `met`.
        unsafe { (*self.first()).is(flag::EXPIRED) }
    }

    /// Must the select begin anew?
    pub fn anew(&self) -> bool {
        // SAFETY: as `met`.
        unsafe { (*self.first()).is(flag::ANEW) }
    }

    /// Is there no more to wait for?
    pub fn is_over(&self) -> bool {
        // SAFETY: as `met`.
        let first = unsafe { (*self.first()).flags };
        first & (flag::EXPIRED | flag::ANEW) != 0 || self.met().is_some()
    }

    /// Puts the stand-ins into the queues of the channels.
    pub fn enter(&self, cases: &[Case]) {
        for (i, case) in cases.iter().enumerate() {
            if let Some(core) = case.near() {
                // SAFETY: ours, in no queue.
                unsafe { core.push_stand_in(self.first().add(i), case.direction) };
            }
        }
    }

    /// The select is over: out of all queues, and the values that were not sent
    /// go back. Returns what the case that was met holds.
    pub fn close(&mut self, cases: &mut [Case]) -> Option<(usize, Slot)> {
        self.leave();
        let met = self.met();
        let mut outcome = None;
        for (i, case) in cases.iter_mut().enumerate() {
            // SAFETY: ours, in no queue any more.
            let slot = unsafe { (*self.first().add(i)).slot.take() };
            if met == Some(i) {
                outcome = Some((i, slot));
            } else {
                case.slot = slot;
            }
        }
        outcome
    }

    /// From now on the select ends at the deadline.
    pub fn limit(&mut self, deadline: u64) {
        // SAFETY: the entry is cancelled before the stand-ins go.
        self.timeout = Some(unsafe {
            let first = self.first().cast();
            self.runtime.deadlines.call(deadline, expire, first)
        });
    }

    pub fn leave(&mut self) {
        if let Some(key) = self.timeout.take() {
            self.runtime.deadlines.cancel(key);
        }
        // SAFETY: ours.
        unsafe { leave_channels(self.first()) };
    }
}

impl Drop for StandIns<'_> {
    fn drop(&mut self) {
        self.leave();
        // SAFETY: made from a box, and in no queue any more.
        drop(unsafe { Box::from_raw(self.tasks) });
    }
}

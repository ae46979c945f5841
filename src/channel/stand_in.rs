//! Stand-ins: waiting for several channels at once, and for a time.
//!
//! A tasklet can be in one channel's queue only. So a select that has to wait puts a *stand-in*
//! into the queue of each of its channels; each names its tasklet. When a partner meets one, the
//! value goes into the stand-in's slot, or comes out of it; all stand-ins of the select leave their
//! channels, and the tasklet is woken. No stand-in lies on a stack.
//!
//! ```text
//!   channel a:  head ─► [stand-in 0 ─ of T] ─► (another receiver)
//!   channel b:  head ─► (a sender) ─► [stand-in 1 ─ of T]
//!   T: in no queue, SELECTING; T.next = stand-in 0
//! ```
//!
//! Channels with a stand-in in their queue have a bit set that takes operations off the fast path:
//! a channel without a select pays nothing.
//!
//! Sends and receives with a timeout are selects with one case.
//!
//! **Claims.** A select that has a channel between threads among its cases can be met by another
//! thread at any moment. Then a partner that meets one of its stand-ins must have the select's
//! [claim](super::claim) first, and so must the select itself when it ends because the time is up
//! or an error was thrown at it. A stand-in whose claim is gone counts as absent. A select of local
//! channels has no claim.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::ptr;

use super::case::Case;
use super::claim::Claim;
use super::core::Core;
use crate::core::deadlines::Key;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::core::value::{Slot, TaskSlot};

/// A select's place in a channel's queue.
///
/// A queue has control blocks for members, and its fast paths do not ask what they are: a stand-in
/// has the same layout. It keeps data of its own in fields that only a tasklet needs; only its
/// methods know which. (A common head of two types would cost the fast paths nothing, and
/// save 40 bytes a case; but then a reference to a queue's member could be to neither.)
#[repr(transparent)]
pub struct StandIn(Task);

/// Flags of a stand-in: bits of [`flag`] that no tasklet uses.
mod state {
    /// It has met a partner.
    pub const MET: u32 = 1 << 19;
    /// Of the first of a select: the time is up.
    pub const EXPIRED: u32 = 1 << 20;
    /// It is about to be met: its partner has the claim.
    pub const HELD: u32 = 1 << 22;
    /// Of the first of a select: the select must begin again.
    pub const ANEW: u32 = 1 << 23;
    /// Held by an operation in the channel callback of another one, which may hold it already.
    pub const HELD_INSIDE: u32 = 1 << 24;
}

impl StandIn {
    /// One of the `count` stand-ins of a select of `owner`.
    fn new(runtime: &Runtime, owner: *mut Task, index: usize, count: usize) -> StandIn {
        let mut task = Task::new(ptr::from_ref(runtime).cast(), flag::STAND_IN);
        task.sp = owner as usize;
        task.switches = index as u64;
        task.refs = count as u32;
        StandIn(task)
    }

    /// The tasklet that waits.
    fn owner(&self) -> *mut Task {
        self.0.sp as *mut Task
    }

    /// Its index among the stand-ins of its select.
    fn index(&self) -> usize {
        self.0.switches as usize
    }

    /// How many stand-ins its select has.
    fn count(&self) -> usize {
        self.0.refs as usize
    }

    /// Asked of the first of a select: the select's claim, if it has one.
    fn claim<'a>(&self) -> Option<&'a Claim> {
        // SAFETY: the caller of `set_claim` keeps the claim for as long as the stand-ins live.
        unsafe { self.0.window.cast::<Claim>().as_ref() }
    }

    /// # Safety
    /// The claim lives for as long as the stand-ins of the select do.
    unsafe fn set_claim(&mut self, claim: *const Claim) {
        self.0.window = claim.cast();
    }

    fn is(&self, state: u32) -> bool {
        self.0.is(state)
    }

    fn set(&mut self, state: u32) {
        self.0.set(state);
    }
}

/// The member of a queue as a stand-in; `None` when it is a tasklet.
///
/// # Safety
/// A live member of a channel's queue.
#[inline]
unsafe fn as_stand_in(member: *mut Task) -> Option<*mut StandIn> {
    // SAFETY: the member is live, and the flag says that it was made as a stand-in.
    unsafe { (*member).is(flag::STAND_IN).then_some(member.cast()) }
}

/// The tasklet that waits with this member of a queue: the member itself, or the one for which it
/// stands in.
///
/// # Safety
/// A live member of a channel's queue, or a live task.
#[inline]
pub unsafe fn whose(member: *mut Task) -> *mut Task {
    // SAFETY: the member is live.
    unsafe { as_stand_in(member).map_or(member, |stand_in| (*stand_in).owner()) }
}

/// The first stand-in of the same select.
unsafe fn first_of(stand_in: *mut StandIn) -> *mut StandIn {
    // SAFETY: the stand-ins of a select are elements of one slice, and `index` says which.
    unsafe { stand_in.sub((*stand_in).index()) }
}

/// Is the tasklet blocked in this select? If not, it pumps.
///
/// # Safety
/// A stand-in in a queue.
pub unsafe fn is_waiting(stand_in: *mut Task) -> bool {
    // SAFETY: the stand-in is live, and its tasklet lives for as long as its stand-ins.
    unsafe {
        let stand_in = stand_in.cast::<StandIn>();
        let owner = (*stand_in).owner();
        (*owner).is(flag::SELECTING) && (*owner).next == first_of(stand_in).cast()
    }
}

/// The claim of a stand-in's select, if it has one.
///
/// # Safety
/// A live stand-in.
pub unsafe fn claim_of<'a>(stand_in: *mut Task) -> Option<&'a Claim> {
    // SAFETY: the stand-in is live, and so is the first of its select.
    unsafe { (*first_of(stand_in.cast())).claim() }
}

/// Makes sure that only the caller can meet it from now on. If true, [`meet_stand_in`] or
/// [`begin_anew`] follows; only the channel callback may run before that.
///
/// # Safety
/// A member of a channel's queue.
pub unsafe fn hold(member: *mut Task) -> bool {
    // SAFETY: the member is live.
    unsafe {
        let Some(stand_in) = as_stand_in(member) else {
            return true;
        };
        if (*stand_in).is(state::HELD) {
            return true;
        }
        let Some(claim) = claim_of(member) else {
            return true;
        };
        let won = claim.take();
        if won {
            let inside = Runtime::of(member).in_channel_callback.get();
            (*stand_in).set(match inside {
                true => state::HELD | state::HELD_INSIDE,
                false => state::HELD,
            });
        }
        won
    }
}

/// Is it a stand-in that the calling operation has [held](hold)? An operation that is refused in a
/// channel callback gives up only what it holds itself, not what the operation outside holds.
///
/// # Safety
/// A member of a channel's queue.
pub unsafe fn is_held(runtime: &Runtime, member: *mut Task) -> bool {
    let mine = match runtime.in_channel_callback.get() {
        true => state::HELD_INSIDE,
        false => state::HELD,
    };
    // SAFETY: the member is live.
    unsafe { as_stand_in(member).is_some_and(|stand_in| (*stand_in).is(mine)) }
}

/// Has no other thread met it?
///
/// # Safety
/// A member of a channel's queue.
pub unsafe fn can_be_met(member: *mut Task) -> bool {
    // SAFETY: the member is live.
    unsafe {
        as_stand_in(member).is_none_or(|stand_in| {
            (*stand_in).is(state::HELD) || claim_of(member).is_none_or(Claim::is_open)
        })
    }
}

/// Ends the select, so that no partner can meet it from now on. False: another thread has met it
/// already.
///
/// # Safety
/// The first stand-in of a select.
pub unsafe fn close_claim(first: *mut Task) -> bool {
    // SAFETY: the stand-in is live.
    unsafe { claim_of(first).is_none_or(Claim::take) }
}

/// The partner that [holds](hold) the select cannot meet it after all: the select leaves its
/// channels, and does everything again.
///
/// # Safety
/// A stand-in in a queue.
pub unsafe fn begin_anew(runtime: &Runtime, stand_in: *mut Task) {
    // SAFETY: the stand-in is live; the reference to its tasklet moves to the run queue.
    unsafe {
        (*first_of(stand_in.cast())).set(state::ANEW);
        if end_wait(stand_in) {
            runtime.queue.append(whose(stand_in));
        }
    }
}

/// Takes all stand-ins of a select out of the queues they are in.
///
/// # Safety
/// The first stand-in of a select.
pub unsafe fn leave_channels(first: *mut Task) {
    // SAFETY: the select has `count` stand-ins; one that is in a queue has its channel set.
    unsafe {
        for i in 0..(*first.cast::<StandIn>()).count() {
            let stand_in = first.add(i);
            if let Some(channel) = (*stand_in).channel.cast::<Core>().as_ref() {
                channel.take_stand_in(stand_in);
            }
        }
    }
}

/// Ends the select in which a tasklet is blocked. The reference to the tasklet is the caller's.
///
/// # Safety
/// `task` is live and `SELECTING`.
pub unsafe fn withdraw(task: *mut Task) {
    // SAFETY: a selecting tasklet's `next` is the first stand-in.
    unsafe {
        let first = core::mem::replace(&mut (*task).next, ptr::null_mut());
        (*task).clear(flag::SELECTING);
        close_claim(first);
        leave_channels(first);
    }
}

/// The stand-in has met a partner; the values have been exchanged. True when its tasklet was
/// blocked: the tasklet is floating now, and the reference to it is the caller's.
///
/// # Safety
/// A stand-in in a queue.
pub unsafe fn meet_stand_in(stand_in: *mut Task) -> bool {
    // SAFETY: the stand-in is live.
    unsafe {
        (*stand_in.cast::<StandIn>()).set(state::MET);
        end_wait(stand_in)
    }
}

/// A partner on another thread has met the case with this index: as [`meet_stand_in`].
///
/// # Safety
/// The first stand-in of a select that is not over, which has such a case.
pub unsafe fn meet_case(first: *mut Task, case: usize) -> bool {
    // SAFETY: the stand-ins of a select are elements of one slice, one for each case.
    unsafe { meet_stand_in(first.add(case)) }
}

unsafe fn end_wait(stand_in: *mut Task) -> bool {
    // SAFETY: a live stand-in; if its tasklet is blocked, it is so in this select.
    unsafe {
        if is_waiting(stand_in) {
            withdraw(whose(stand_in));
            return true;
        }
        leave_channels(first_of(stand_in.cast()).cast());
        false
    }
}

/// The time of a select is up. Its tasklet is queued, unless another thread has just met it: then
/// that thread's message will queue it.
///
/// # Safety
/// The first stand-in of a select that is not over.
unsafe fn expire(runtime: &Runtime, first: *mut ()) {
    let first = first.cast::<Task>();
    // SAFETY: the stand-in is live; the reference to its tasklet moves to the run queue.
    unsafe {
        if !close_claim(first) {
            return;
        }
        (*first.cast::<StandIn>()).set(state::EXPIRED);
        if end_wait(first) {
            runtime.queue.append(whose(first));
        }
    }
}

/// The stand-ins of a select, and the entry of its timeout. They leave their queues when this is
/// dropped.
pub struct StandIns<'a> {
    pub runtime: &'a Runtime,
    all: *mut [StandIn],
    timeout: Option<Key>,
    /// The part of the select that other threads use: its claim is in there.
    shared: Option<Arc<dyn Any>>,
}

impl<'a> StandIns<'a> {
    /// Takes over the values to send.
    pub fn new(runtime: &'a Runtime, me: *mut Task, cases: &mut [Case]) -> StandIns<'a> {
        // At least one: the first stands for the select.
        let count = cases.len().max(1);
        let all: Box<[StandIn]> = (0..count)
            .map(|index| {
                let mut stand_in = StandIn::new(runtime, me, index, count);
                if let Some(case) = cases.get_mut(index) {
                    stand_in.0.slot.fill(case.slot.take());
                }
                stand_in
            })
            .collect();
        StandIns {
            runtime,
            all: Box::into_raw(all),
            timeout: None,
            shared: None,
        }
    }

    /// The first, which stands for the select.
    pub fn first(&self) -> *mut Task {
        self.at(0).cast()
    }

    fn at(&self, index: usize) -> *mut StandIn {
        debug_assert!(index < self.all.len());
        // SAFETY: an element of the slice.
        unsafe { self.all.cast::<StandIn>().add(index) }
    }

    /// From now on other threads may know of the select, whose claim is in `shared`.
    ///
    /// # Safety
    /// `claim` lives as long as `shared` does.
    pub unsafe fn share(&mut self, claim: *const Claim, shared: Arc<dyn Any>) {
        // SAFETY: the stand-in is ours and in no queue. `shared`, and with it the claim, is kept
        // until the stand-ins are freed.
        unsafe { (*self.at(0)).set_claim(claim) };
        self.shared = Some(shared);
    }

    /// The slot of a case's stand-in.
    pub fn slot(&mut self, case: usize) -> &mut TaskSlot {
        // SAFETY: the stand-ins are ours; there is one for each case.
        unsafe { &mut (*self.at(case)).0.slot }
    }

    /// The case has met a partner on another thread.
    pub fn set_met(&mut self, case: usize) {
        // SAFETY: the stand-ins are ours; there is one for each case.
        unsafe { (*self.at(case)).set(state::MET) };
    }

    /// The index of the case that has met a partner.
    pub fn met(&self) -> Option<usize> {
        // SAFETY: the stand-ins are ours; only flags are read.
        (0..self.all.len()).find(|&i| unsafe { (*self.at(i)).is(state::MET) })
    }

    /// Is the time up?
    pub fn expired(&self) -> bool {
        // SAFETY: the stand-ins are ours; only flags are read.
        unsafe { (*self.at(0)).is(state::EXPIRED) }
    }

    /// Must the select begin again?
    pub fn anew(&self) -> bool {
        // SAFETY: the stand-ins are ours; only flags are read.
        unsafe { (*self.at(0)).is(state::ANEW) }
    }

    /// Is the wait over?
    pub fn is_over(&self) -> bool {
        self.expired() || self.anew() || self.met().is_some()
    }

    /// Puts the stand-ins into the queues of the channels.
    pub fn enter(&self, cases: &[Case]) {
        for (i, case) in cases.iter().enumerate() {
            if let Some(core) = case.near() {
                // SAFETY: the stand-in is ours and in no queue.
                unsafe { core.push_stand_in(self.at(i).cast(), case.direction) };
            }
        }
    }

    /// The select is over: takes the stand-ins out of all queues, and gives the values that were
    /// not sent back to their cases. Returns the case that was met, with the content of its slot.
    pub fn close(&mut self, cases: &mut [Case]) -> Option<(usize, Slot)> {
        self.leave();
        let met = self.met();
        let mut outcome = None;
        for (i, case) in cases.iter_mut().enumerate() {
            let slot = self.slot(i).take();
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
        // SAFETY: `expire` may be called with the first stand-in until the entry is cancelled,
        // which `leave` does before the stand-ins are freed.
        self.timeout = Some(unsafe {
            let first = self.first().cast();
            self.runtime.deadlines.call(deadline, expire, first)
        });
    }

    /// Takes the stand-ins and the timeout out of all queues.
    pub fn leave(&mut self) {
        if let Some(key) = self.timeout.take() {
            self.runtime.deadlines.cancel(key);
        }
        // SAFETY: the first stand-in of our select.
        unsafe { leave_channels(self.first()) };
    }
}

impl Drop for StandIns<'_> {
    fn drop(&mut self) {
        self.leave();
        // SAFETY: `all` was made from a box, and no stand-in is in a queue any more.
        drop(unsafe { Box::from_raw(self.all) });
    }
}

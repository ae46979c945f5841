//! The transfer: evict, restore, switch, and what the resumed tasklet does
//! first.
//!
//! A switch has three parts. An operation (`op`) runs on the leaving tasklet's
//! stack *below* its save area, decides, and calls
//!
//! 1. [`plan`], which takes all the memory that the switch needs and can fail.
//!    Nothing has changed yet: an operation that fails leaves no trace.
//! 2. [`commit`], which cannot fail: it moves the bytes and returns the stack
//!    pointer to go on with.
//! 3. The resumed tasklet calls [`arrive`]: it takes what its transfer slot
//!    holds *before* any destructor can run, and only then releases what the
//!    switch left behind. Those destructors may send, spill and switch as they
//!    like: the slot they find is empty.

use crate::core::above::above;
use crate::core::bugs;
use crate::core::contain::{contain, contain_each, drop_used};
use crate::core::exceptions;
use crate::core::hooks::{after, HOOK_ANY, HOOK_FP};
use crate::core::release::{bury, release, release_left};
use crate::core::runtime::Runtime;
use crate::core::sanitizer;
use crate::core::task::{flag, Task, Window};
use crate::core::thrown;
use crate::core::value::{Slot, TaskSlot};
use crate::error::{Error, Result, WaitError};
use crate::machine::arch::{self, Copying};
use crate::machine::os;
use crate::machine::valgrind;

/// Runs `op` on the caller's stack, below what it is about to leave there, and goes on where `op`
/// says. Comes back when the caller is resumed.
///
/// # Safety
/// The caller is the running tasklet. `op` returns a save area of a live task, or the exchange
/// that brings one in, and does not unwind. `arg` is what `op` expects.
#[inline(always)]
pub unsafe fn enter(op: arch::TransferOp, arg: *mut ()) {
    // SAFETY: the caller is the running tasklet, and `op` returns a save area or an exchange and
    // does not unwind: this is all that the port asks for.
    unsafe { sanitizer::transfer(op, arg) };
}

/// [`enter`] for an op that does not look at the save area and calls no code of others. Then the
/// port may save registers late.
///
/// # Safety
/// As [`enter`], and what the port's `transfer_late` asks.
#[inline(always)]
pub unsafe fn enter_unwatched(op: arch::TransferOp, arg: *mut ()) {
    // SAFETY: the caller keeps the conditions.
    unsafe {
        if sanitizer::OWN_STACKS {
            enter(op, arg);
        } else {
            arch::transfer_late(op, arg);
        }
    }
}

/// [`enter_unwatched`] for an op that calls code of others only if something watches switches.
///
/// # Safety
/// As [`enter_unwatched`], while no bit of [`HOOK_ANY`] is set.
#[inline(always)]
pub unsafe fn enter_late(runtime: &Runtime, op: arch::TransferOp, arg: *mut ()) {
    // SAFETY: the caller keeps the conditions.
    unsafe {
        if arch::SAVES_LATE && runtime.hooks() & HOOK_ANY == 0 {
            enter_unwatched(op, arg);
        } else {
            enter(op, arg);
        }
    }
}

/// Takes the memory that a switch from `prev`, whose save area is at `sp`, to
/// `next` needs. Fails with nothing changed.
///
/// # Safety
/// Both are live tasks of the runtime; `prev` is running.
#[inline(always)]
pub unsafe fn plan(runtime: &Runtime, prev: *mut Task, sp: usize, next: *mut Task) -> Result<()> {
    // SAFETY: `prev` and `next` are live tasks; windows live as long as the runtime, and a
    // resident is a live task.
    unsafe {
        if !(*next).is(flag::AWAY) {
            return Ok(());
        }
        let window = &*(*next).window;
        let resident = window.resident.get();
        if resident.is_null() {
            return Ok(());
        }
        let sp = if resident == prev { sp } else { (*resident).sp };
        let len = window.top - (*resident).low(sp);
        if (*resident).buffer.fits_slice(len) {
            return Ok(());
        }
        plan_buffer(runtime, resident, len)
    }
}

#[cold]
#[inline(never)]
unsafe fn plan_buffer(runtime: &Runtime, resident: *mut Task, len: usize) -> Result<()> {
    // SAFETY: a live task, which has a window.
    unsafe {
        // So it was left while it ran on a stack that is not its window: its bytes could not
        // come back to where they lie now.
        if len > (*(*resident).window).size() {
            (*resident).overflowed();
        }
        runtime
            .slices
            .fit(&mut (*resident).buffer, len, &runtime.budget)
    }
}

/// [`plan`] for the end of `prev`. The memory ceiling does not refuse it: the end frees more
/// than this takes.
///
/// # Safety
/// As [`plan`].
#[inline(always)]
unsafe fn plan_end(runtime: &Runtime, prev: *mut Task, next: *mut Task) -> Result<()> {
    // SAFETY: both are live tasks of the runtime, and `prev` is running.
    match unsafe { plan(runtime, prev, 0, next) } {
        // SAFETY: `plan` asked for a resident's buffer, so there is one.
        Err(Error::MemoryCeiling(_)) => unsafe {
            let window = &*(*next).window;
            let resident = window.resident.get();
            let len = window.top - (*resident).low((*resident).sp);
            let budget = &runtime.budget;
            let ceiling = budget.set_ceiling(usize::MAX);
            let fitted = runtime.slices.fit(&mut (*resident).buffer, len, budget);
            budget.set_ceiling(ceiling);
            fitted
        },
        other => other,
    }
}

/// Makes `next` the running tasklet. Returns what the op returns: the address of
/// its save area, in place, or the exchange that brings it in.
///
/// # Safety
/// `plan` succeeded for the same two and nothing was switched since; `prev`'s
/// registers are saved at `sp`; called in tail position of an `op`.
#[inline(always)]
pub unsafe fn commit(runtime: &Runtime, prev: *mut Task, sp: usize, next: *mut Task) -> usize {
    // SAFETY: both are live tasks, for which `plan` has just succeeded.
    unsafe {
        (*prev).check_room(sp);
        (*prev).sp = sp;
        runtime.set_running(next);
        (*next).switches += 1;
        let eh = &*runtime.eh.get();
        if ((*prev).flags | (*next).flags) & flag::SPECIAL != 0 || !eh.caught.is_null() {
            special(runtime, prev, next);
        }
        if (*next).is(flag::AWAY) {
            return bring_in(runtime, sp, next);
        }
        sanitizer::leaving(runtime, prev, next, false);
        (*next).sp
    }
}

/// Is switching possible, has a switch nothing else to do, and is no exception on its way or
/// being handled?
#[inline(always)]
pub fn way_is_clear(runtime: &Runtime) -> bool {
    // SAFETY: this thread's exception globals. One test for both words.
    let eh = runtime.eh.get();
    let excepted = || unsafe { (*eh).caught as usize | (*eh).uncaught as usize };
    !sanitizer::OWN_STACKS && runtime.hooks() & HOOK_ANY == 0 && excepted() == 0 && !os::unwinding()
}

/// Is the [way clear](way_is_clear), and does `next` [fit](next_fits)? Then [`swap`] is the whole
/// transfer: there is nothing to plan.
///
/// # Safety
/// Both are live tasks of the runtime, `next` only where switching is possible;
/// `prev` is running.
#[inline(always)]
pub unsafe fn plain(runtime: &Runtime, prev: *mut Task, next: *mut Task) -> bool {
    // SAFETY: `prev` is live, and so is `next` where switching is possible. Inside a schedule
    // callback `prev` is not in the queue, and `next` is not a task: so `next` is looked at only
    // if nothing forbids to switch.
    unsafe { way_is_clear(runtime) && next_fits(prev, next) }
}

/// To be asked where the [way is clear](way_is_clear): are the bytes of `next` in place, has it
/// nothing of its own to be exchanged, and is there room for the save area of `prev`? The flags
/// of `prev` need not be asked.
///
/// # Safety
/// Both are live tasks of the runtime; `prev` is running.
#[inline(always)]
pub unsafe fn next_fits(prev: *mut Task, next: *mut Task) -> bool {
    // SAFETY: both are live tasks. The running one is not away.
    unsafe { (*next).flags & (flag::SPECIAL | flag::AWAY) == 0 && !Task::is_low(prev) }
}

/// Makes `next` the running tasklet and changes stacks; comes back when it is
/// `prev`'s turn again.
///
/// # Safety
/// `plain` said so, and nothing has happened since.
#[inline(always)]
pub unsafe fn swap(runtime: &Runtime, prev: *mut Task, next: *mut Task) {
    // SAFETY: the bytes of `next` are in place; `prev` is the running tasklet.
    unsafe {
        runtime.set_running(next);
        (*next).switches += 1;
        arch::swap(&raw mut (*prev).sp, (*next).sp);
    }
}

/// To be asked before [`plan_away`], together with whether the [way is clear](way_is_clear): are
/// the bytes of `next` away, and is that all that is special about it?
///
/// # Safety
/// A live task.
#[inline(always)]
pub unsafe fn next_is_away(next: *mut Task) -> bool {
    // SAFETY: a live task.
    unsafe { (*next).flags & (flag::SPECIAL | flag::AWAY) == flag::AWAY }
}

/// A planned switch to a tasklet that is away: the usual case.
pub struct Away<'a> {
    window: &'a Window,
    resident: *mut Task,
    low: usize,
    top: usize,
    /// The save area to go on with.
    to: usize,
}

/// Plans a switch to `next`, which is away, where the [way is clear](way_is_clear) and neither
/// has anything of its own to be exchanged. `None` in all cases but the usual one: the window has
/// a resident, which has not overrun it; the resident's buffer fits; no segments are in use.
///
/// # Safety
/// As [`plan`].
#[inline(always)]
pub unsafe fn plan_away<'a>(prev: *mut Task, sp: usize, next: *mut Task) -> Option<Away<'a>> {
    // SAFETY: both are live tasks; windows live as long as the runtime, and a resident is a live
    // task.
    unsafe {
        let window = &*(*next).window;
        let resident = window.resident.get();
        if resident.is_null() || sp < (*prev).limit {
            return None;
        }
        let both = (*resident).flags | (*next).flags;
        if both & (flag::SEGMENT | flag::LENT) != 0
            && (both & flag::SEGMENT != 0 || !window.intact())
        {
            return None;
        }
        // Read before the store below: the compiler must assume that the store changes them.
        let (top, to) = (window.top, (*next).sp);
        (*prev).sp = sp;
        let low = (*resident).sp;
        if !(*resident).buffer.fits_slice(top - low) {
            return None;
        }
        Some(Away {
            window,
            resident,
            low,
            top,
            to,
        })
    }
}

/// Commits what [`plan_away`] has planned.
///
/// # Safety
/// As [`commit`] and [`arch::exchange`].
#[inline(always)]
pub unsafe fn go_away(runtime: &Runtime, away: Away, sp: usize, next: *mut Task) -> usize {
    let Away {
        window,
        resident,
        low,
        top,
        to,
    } = away;
    // SAFETY: `plan_away` has just planned this switch between two live tasks; it has checked
    // that the resident's buffer holds its bytes.
    unsafe {
        runtime.set_running(next);
        (*next).switches += 1;
        let out = take_out(resident, low, top);
        let into = take_in(window, out, next, to, top);
        runtime.count_copied(&out, &into);
        arch::exchange(sp, out, into, to, runtime.exchange_memory())
    }
}

/// The rare parts of a switch: C++ exception globals, control words.
#[cold]
unsafe fn special(runtime: &Runtime, prev: *mut Task, next: *mut Task) {
    // SAFETY: live tasks; no code that relies on the control words runs between their
    // change and the switch.
    unsafe {
        exceptions::exchange_words(runtime, prev, next);
        let now = arch::FpEnv::read();
        match ((*prev).is(flag::FP_ENV), (*next).is(flag::FP_ENV)) {
            (false, false) => {}
            (false, true) => {
                runtime.thread_fp.set(now);
                runtime.set_hook(HOOK_FP, true);
                (*next).extra().fp.write();
            }
            (true, true) => {
                (*prev).extra().fp = now;
                (*next).extra().fp.write();
            }
            (true, false) => {
                (*prev).extra().fp = now;
                runtime.set_hook(HOOK_FP, false);
                runtime.thread_fp.get().write();
            }
        }
    }
}

/// Has `next`'s bytes brought into its window, and the bytes that lie there moved to the
/// resident's slice: notes both as done, and returns the copying that is left to do. `save` is the
/// save area of the op, if there is one.
#[inline(never)]
unsafe fn bring_in(runtime: &Runtime, save: usize, next: *mut Task) -> usize {
    // SAFETY: `plan` made room for the resident's bytes; live tasks.
    unsafe {
        let window = &*(*next).window;
        let resident = window.resident.get();
        let out = if resident.is_null() {
            Copying::NOTHING
        } else {
            let low = (*resident).low((*resident).sp);
            if !window.intact() {
                (*resident).overflowed();
            }
            take_out(resident, low, window.top)
        };
        let into = take_in(window, out, next, (*next).low((*next).sp), window.top);
        runtime.exchange(save, out, into, (*next).sp)
    }
}

/// The resident's bytes, from `low` to the window's `top`, go to its slice.
#[inline(always)]
unsafe fn take_out(resident: *mut Task, low: usize, top: usize) -> Copying {
    // SAFETY: a live task, whose buffer has been fitted, in a window that is intact.
    unsafe {
        (*resident).set(flag::AWAY);
        let len = top - low;
        debug_assert!(len <= (*resident).buffer.capacity());
        Copying::new(low, (*resident).buffer.ptr() as usize, len)
    }
}

/// `next`'s bytes come in, to `low` and up to the window's `top`.
#[inline(always)]
unsafe fn take_in(
    window: &Window,
    out: Copying,
    next: *mut Task,
    low: usize,
    top: usize,
) -> Copying {
    // SAFETY: a slice holds the bytes from `low` to the top of the window.
    unsafe {
        (*next).clear(flag::AWAY);
        window.resident.set(next);
        let into = Copying::new((*next).buffer.ptr() as usize, low, top - low);
        valgrind::slices(&out, &into);
        into
    }
}

/// Goes to `next` for good: `prev` has ended. Returns what the first function of `prev` is to
/// return.
///
/// # Safety
/// `prev` is the running tasklet and is not needed any more, except that the
/// reference in `runtime.left` keeps its control block.
#[inline(always)]
pub unsafe fn leave_for_good(runtime: &Runtime, prev: *mut Task, next: *mut Task) -> usize {
    // SAFETY: both are live tasks; windows live as long as the runtime, and nothing of this stack
    // is needed any more.
    unsafe {
        let own_window = (*prev).window;
        if !own_window.is_null() {
            (*own_window).resident.set(core::ptr::null_mut());
        }
        if (*next).is(flag::AWAY) {
            if let Err(error) = plan_end(runtime, prev, next) {
                os::fatal(format_args!(
                    "a tasklet ended, and the next cannot be resumed: {error}"
                ));
            }
        }
        runtime.set_running(next);
        (*next).switches += 1;
        if ((*prev).flags | (*next).flags) & flag::SPECIAL != 0
            || !(*runtime.eh.get()).caught.is_null()
        {
            special(runtime, prev, next);
            // The C++ exceptions that it was handling belong to nobody now, also not to the
            // next function that the same handle is bound to.
            (*prev).clear(flag::EH_SAVED);
        }
        let sp = if (*next).is(flag::AWAY) {
            bring_in(runtime, arch::NO_SAVE_AREA, next)
        } else {
            (*next).sp
        };
        sanitizer::leaving(runtime, prev, next, true);
        sp
    }
}

/// What a resumed tasklet does first: takes its slot, then lets the destructors
/// run that had to wait for the switch. Returns the slot, or the error that the slot carried, or
/// why the operation failed. The error tells whether it was thrown.
///
/// # Safety
/// `me` is the running tasklet.
#[inline(never)]
pub unsafe fn arrive(runtime: &Runtime, me: *mut Task) -> Result<Slot, WaitError> {
    // SAFETY: `me` is the running tasklet, and takes its own slot.
    let slot = unsafe {
        if runtime.after.get() != 0 {
            return arrive_slow(runtime, me);
        }
        (*me).slot.take()
    };
    if slot.is_bomb() {
        return Err(raise_bomb(slot));
    }
    Ok(slot)
}

/// [`arrive`] for operations that expect nothing.
///
/// # Safety
/// As [`arrive`].
#[inline(always)]
pub unsafe fn arrive_unit<E: From<WaitError>>(runtime: &Runtime, me: *mut Task) -> Result<(), E> {
    // SAFETY: `me` is the running tasklet.
    unsafe {
        if runtime.after.get() == 0 && (*me).slot.is_empty() {
            return Ok(());
        }
        arrive_unit_slow::<false, E>(runtime, me)
    }
}

/// [`arrive_unit`] for a tasklet that has only let others run: tells it at once what was thrown
/// at it, since nothing has been handed over that could be lost.
///
/// # Safety
/// As [`arrive`].
#[inline(always)]
pub unsafe fn arrive_turn<E: From<WaitError>>(runtime: &Runtime, me: *mut Task) -> Result<(), E> {
    // SAFETY: `me` is the running tasklet.
    unsafe {
        if runtime.after.get() == 0 && (*me).slot.is_empty() {
            return Ok(());
        }
        arrive_unit_slow::<true, E>(runtime, me)
    }
}

/// `TURN`: as [`arrive_turn`].
#[inline(never)]
unsafe fn arrive_unit_slow<const TURN: bool, E: From<WaitError>>(
    runtime: &Runtime,
    me: *mut Task,
) -> Result<(), E> {
    // SAFETY: `me` is the running tasklet; what was left behind is owned by the runtime until it
    // is taken here.
    unsafe {
        // All that happened is that a tasklet has ended: there is nothing to claim.
        if runtime.after.get() == after::LEFT && (*me).slot.is_empty() {
            runtime.after.set(0);
            bury(runtime.left.replace(core::ptr::null_mut()));
        } else {
            arrive(runtime, me)?.into_unit::<E>()?;
        }
        if TURN {
            thrown::raise(me).map_err(WaitError::Thrown)?;
        }
        Ok(())
    }
}

/// [`arrive`] for operations that expect a `T`.
///
/// # Safety
/// As [`arrive`].
#[inline(always)]
pub unsafe fn arrive_with<T: 'static, E: From<WaitError>>(
    runtime: &Runtime,
    me: *mut Task,
) -> Result<T, E> {
    // SAFETY: `me` is the running tasklet, and takes its own slot.
    unsafe {
        if runtime.after.get() == 0 {
            if let Some(value) = Slot::take_as::<T>(TaskSlot::raw(&raw mut (*me).slot)) {
                return Ok(value);
            }
        }
        arrive_with_slow(runtime, me)
    }
}

#[cold]
#[inline(never)]
unsafe fn arrive_with_slow<T: 'static, E: From<WaitError>>(
    runtime: &Runtime,
    me: *mut Task,
) -> Result<T, E> {
    // SAFETY: `me` is the running tasklet.
    let slot = unsafe { arrive(runtime, me)? };
    Ok(opened(slot)?)
}

/// What was received, as a `T`.
pub fn opened<T: 'static>(slot: Slot) -> Result<T, WaitError> {
    match slot.open::<T>() {
        Ok(result) => result,
        Err(slot) if slot.is_empty() => Err(WaitError::own(Error::ValueLost)),
        Err(_) => Err(WaitError::own(Error::WrongType)),
    }
}

const REPORT: &str = "the report of a deadlock";

#[cold]
fn raise_bomb(slot: Slot) -> WaitError {
    match slot.into_unit() {
        Err(ended) => {
            if let WaitError::Hindered(error @ (Error::MainReceiving | Error::MainSending)) = &ended
            {
                contain(REPORT, || (above().report_deadlock)(error));
            }
            ended
        }
        Ok(()) => unreachable!("only bombs are raised"),
    }
}

#[cold]
unsafe fn arrive_slow(runtime: &Runtime, me: *mut Task) -> Result<Slot, WaitError> {
    // SAFETY: `me` is running, so no other tasklet takes its slot; what was left
    // behind is owned by the runtime until it is taken here.
    unsafe {
        let after = runtime.after.replace(0);
        let failed = if after & after::FAILED != 0 {
            runtime.error.borrow_mut().take()
        } else {
            None
        };
        // The order is the point: first the value is claimed ...
        let claims = failed.is_none() || after & after::UNSENT != 0;
        let slot = bugs::claim_early(me, claims);
        // ... and then user code may run.
        let left = match after & after::LEFT {
            0 => core::ptr::null_mut(),
            _ => runtime.left.replace(core::ptr::null_mut()),
        };
        // The stack of a tasklet that ended goes first: user code finds the tasklet in the list of
        // all, and may bind it again, to another stack.
        if !left.is_null() && !(*left).is(flag::ALIVE) {
            Task::reclaim(left);
        }
        // Panics of that code are kept from the tasklet that arrives, and take nothing from it.
        if after & after::LOST != 0 {
            let lost = core::mem::take(&mut *runtime.lost.borrow_mut());
            contain_each("a destructor of a value that nobody got", lost);
        }
        if !left.is_null() {
            release_left(left);
        }
        if after & after::REAP != 0 {
            for task in runtime.take_reaped() {
                contain("the end of a forgotten tasklet", || release(task));
            }
        }
        if after & after::TURN != 0 {
            (runtime.above.turn_over)();
        }
        if after & after::INBOX != 0 {
            // What it throws at the running tasklet is told by the tasklet's next wait: this one
            // is over.
            contain("what another thread asked for", runtime.above.read_inbox);
        }
        let slot = bugs::claim_late(me, claims, slot);
        match failed {
            Some(error) => {
                // A value that was not sent is dropped first: see `contain::returned`.
                drop_used(slot);
                if matches!(error, Error::Deadlock) {
                    contain(REPORT, || (runtime.above.report_deadlock)(&error));
                }
                Err(match after & after::RAISED {
                    0 => WaitError::Hindered(error),
                    _ => WaitError::Thrown(error),
                })
            }
            None if slot.is_bomb() => Err(raise_bomb(slot)),
            None => Ok(slot),
        }
    }
}

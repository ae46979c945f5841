//! The scheduler: which tasklet runs next. The rules are those of Stackless, event by event.
//!
//! Each public operation checks its own conditions, then enters
//! `transfer::enter` with an *op* that plans, changes the queues and commits.
//! An op that fails has changed nothing.

use crate::core::contain::{contain_as, drop_used, returned};
use crate::core::exceptions;
use crate::core::hooks::{
    after, HOOK_BUDGET, HOOK_ENDED, HOOK_FLAT, HOOK_INBOX, HOOK_LOCK, HOOK_LOCKED, HOOK_REFUSE,
    HOOK_RUNTIMES, HOOK_SCHEDULE, HOOK_STATS, HOOK_SWITCH, HOOK_THROWN,
};
use crate::core::idle;
use crate::core::measure;
use crate::core::references::Tasklet;
use crate::core::run;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::{
    arrive, arrive_turn, arrive_unit, commit, enter, enter_late, enter_unwatched, go_away,
    next_is_away, plain, plan, plan_away, swap, way_is_clear,
};
use crate::core::value::{Slot, Value};
use crate::error::{Error, Result, StateError, WaitError};
use crate::machine::os;

/// Is switching possible at all now?
#[inline(always)]
pub fn may_switch(runtime: &Runtime) -> bool {
    (runtime.hooks() & HOOK_REFUSE == 0 && !unwinding(runtime)) || look_again(runtime)
}

/// Something forbids to switch. If it is only that the list of C++ runtimes has changed, reads
/// the list and asks again.
#[cold]
#[inline(never)]
fn look_again(runtime: &Runtime) -> bool {
    if runtime.hooks() & HOOK_RUNTIMES == 0 {
        return false;
    }
    exceptions::look(runtime);
    may_switch(runtime)
}

/// Is a Rust panic or a C++ exception on its way through this stack?
#[inline(always)]
pub fn unwinding(runtime: &Runtime) -> bool {
    // SAFETY: this thread's exception globals.
    os::unwinding()
        || unsafe { (*runtime.eh.get()).uncaught != 0 } && exceptions::on_the_way(runtime)
}

/// May a switch from `prev` to `next` happen? Takes the memory it needs.
///
/// # Safety
/// As [`plan`].
#[inline(always)]
pub unsafe fn prepare(
    runtime: &Runtime,
    prev: *mut Task,
    sp: usize,
    next: *mut Task,
) -> Result<()> {
    if runtime.hooks() & (HOOK_REFUSE | HOOK_THROWN) != 0 || unwinding(runtime) {
        hindered(runtime, prev)?;
    }
    // SAFETY: both are live tasks of the runtime, and `prev` is running.
    unsafe { plan(runtime, prev, sp, next) }
}

/// An error if `prev` shall not switch: it may not, or something was thrown at it.
#[cold]
#[inline(never)]
fn hindered(runtime: &Runtime, prev: *mut Task) -> Result<()> {
    if !may_switch(runtime) {
        return Err(refused(runtime));
    }
    thrown::raise(prev).inspect_err(|_| runtime.later(after::RAISED))
}

#[cold]
pub fn refused(runtime: &Runtime) -> Error {
    if runtime.hooks() & HOOK_ENDED != 0 {
        StateError::NoThread.into()
    } else if runtime.hooks() & HOOK_LOCKED != 0 {
        StateError::RecursiveSchedule.into()
    } else {
        Error::SwitchTrap
    }
}

/// For an op that ends without a switch: keeps the error for the caller of the op.
#[cold]
pub fn fail(runtime: &Runtime, error: Error, what: u32) {
    keep_for_arrival(runtime, Some(error));
    runtime.later(what);
}

/// Keeps the error for the tasklet that arrives. An earlier error that was not taken (a rare
/// case) is not dropped here, where no user code may run.
pub fn keep_for_arrival(runtime: &Runtime, error: Option<Error>) {
    if let Some(before) = runtime.error.replace(error) {
        runtime.lose(Slot::bomb(before));
    }
}

/// The last part of a switch that is sure to happen: the callback, the transfer.
///
/// # Safety
/// As [`commit`].
#[inline(always)]
pub unsafe fn go(runtime: &Runtime, prev: *mut Task, sp: usize, next: *mut Task) -> usize {
    let mut next = next;
    // SAFETY: both are live tasks, `prepare` succeeded for them, and nothing was switched since.
    unsafe {
        if runtime.hooks() & HOOK_SWITCH != 0 {
            next = observed(runtime, prev, sp, next, false);
        }
        commit(runtime, prev, sp, next)
    }
}

/// What else a switch has to do: budgets, statistics, the callback. Returns the tasklet that
/// really runs next.
///
/// # Safety
/// As [`go`]; `ending`: `prev` has ended, and `sp` means nothing.
#[cold]
#[inline(never)]
pub unsafe fn observed(
    runtime: &Runtime,
    prev: *mut Task,
    sp: usize,
    mut next: *mut Task,
    ending: bool,
) -> *mut Task {
    let hooks = runtime.hooks();
    note_for_arrival(runtime, hooks);
    // Clocks and callbacks are user code: they cannot take the next tasklet out of the queue.
    let before = runtime.next.replace(next);
    // SAFETY: `prev` and `next` are live tasks of the runtime; `prev` is running or has ended.
    unsafe {
        if hooks & HOOK_BUDGET != 0 {
            next = run::divert(runtime, prev, sp, next, ending);
            runtime.next.set(next);
        }
        if hooks & HOOK_STATS != 0 {
            measure::switched(runtime, prev, next, ending);
        }
        if hooks & HOOK_SCHEDULE != 0 {
            call_schedule_callback(runtime, prev, next);
        }
    }
    runtime.next.set(before);
    next
}

/// Leaves what other threads want to the tasklet that arrives, since here no user code may run,
/// and nothing may wait.
fn note_for_arrival(runtime: &Runtime, hooks: u32) {
    if hooks & HOOK_INBOX != 0 {
        runtime.later(after::INBOX);
    }
    if hooks & HOOK_LOCK != 0 && (runtime.above.turn_is_up)() {
        runtime.later(after::TURN);
    }
}

/// Calls the schedule callback. It cannot switch, and it cannot take `next` out
/// of the queue.
#[cold]
fn call_schedule_callback(runtime: &Runtime, prev: *mut Task, next: *mut Task) {
    let Some(callback) = runtime.on_schedule.borrow().clone() else {
        return;
    };
    // SAFETY: both stay live during the call: the caller holds references.
    let (prev, next) = unsafe { (Tasklet::from_ref(prev), Tasklet::from_ref(next)) };
    call_locked(runtime, "schedule", || {
        let callback = callback;
        callback(Some(&prev), &next);
    });
    drop((prev, next));
}

/// Calls a callback, in which switching fails. This holds for what comes after it as well: a
/// panic goes to the log, and loggers, panic payloads and the callback's destructor are user code.
pub fn call_locked(runtime: &Runtime, which: &str, callback: impl FnOnce()) {
    runtime.locked(|| contain_as(format_args!("the {which} callback"), callback));
}

/// The tasklet that runs when `prev` leaves the queue and no other one is in it: the one to wake
/// then, unless it is blocked.
///
/// `blocks`: `prev` goes to a channel (else it floats, and may be woken itself).
/// A deadlock takes the value that the tasklet to wake was waiting to hand over.
///
/// # Safety
/// `prev` is running and alone in the queue.
#[cold]
unsafe fn when_empty(runtime: &Runtime, prev: *mut Task, blocks: bool) -> Result<*mut Task> {
    // SAFETY: watchdogs and main are live tasks.
    unsafe {
        let wakeup = runtime.wakeup();
        let floating = if wakeup == prev {
            !blocks
        } else {
            (*wakeup).floating()
        };
        if floating {
            return Ok(wakeup);
        }
        // Stackless does the same: the slot of the tasklet that should have been woken is
        // emptied.
        if wakeup != prev {
            runtime.lose((*wakeup).slot.take());
        }
        Err(Error::Deadlock)
    }
}

/// The part of an op with which the running tasklet `me` leaves the run queue to block, and the
/// next one runs. `join` puts `me` where it waits, and the queue's reference goes with it. When it
/// cannot block nothing has changed, and `failed` (bits of [`after`]) says how the caller will
/// find out.
///
/// # Safety
/// As [`prepare`] and [`go`]; `join` runs no user code.
#[inline(always)]
pub unsafe fn block(
    runtime: &Runtime,
    me: *mut Task,
    sp: usize,
    failed: u32,
    join: impl FnOnce(),
) -> usize {
    // SAFETY: `me` is running; the next one in the queue, and the one to wake, are live tasks.
    unsafe {
        let mut next = (*me).next;
        let alone = next == me;
        if alone {
            match when_empty(runtime, me, true) {
                Ok(wakeup) => next = wakeup,
                Err(error) => {
                    fail(runtime, error, failed);
                    return sp;
                }
            }
        }
        if let Err(error) = prepare(runtime, me, sp, next) {
            fail(runtime, error, failed);
            return sp;
        }
        runtime.queue.remove(me);
        join();
        if alone {
            revive(runtime, me, next);
        }
        go(runtime, me, sp, next)
    }
}

/// Puts a floating `wakeup` into the queue. An exception that `prev` was about
/// to send reaches it as well.
///
/// # Safety
/// `wakeup` is floating; `prev` is another task.
#[cold]
unsafe fn revive(runtime: &Runtime, prev: *mut Task, wakeup: *mut Task) {
    // SAFETY: live tasks; the queue gets a reference of its own.
    unsafe {
        if let Some(error) = (*prev).slot.peek_bomb() {
            runtime.lose((*wakeup).slot.put(Slot::bomb(error)));
        }
        (*wakeup).refs += 1;
        runtime.queue.append(wakeup);
    }
}

/// Puts `task` into the queue, out of its channel if it is blocked on one.
///
/// # Safety
/// A live task of this thread.
#[inline(always)]
pub unsafe fn make_runnable(runtime: &Runtime, task: *mut Task) {
    // SAFETY: the reference of the channel moves to the queue; a floating task
    // gets a new one.
    unsafe {
        if (*task).is(flag::BLOCKED) {
            (runtime.above.unlink)(task);
            runtime.queue.append(task);
        } else if !(*task).is(flag::QUEUED) {
            (*task).refs += 1;
            runtime.queue.append(task);
        }
    }
}

/// Gives up the queue's reference to the running tasklet, which leaves. If it
/// was the last one, it is released after the switch.
///
/// # Safety
/// The caller owns the reference; a switch follows.
unsafe fn release_after(runtime: &Runtime, task: *mut Task) {
    // SAFETY: the caller owns a reference to `task`, so it is live.
    unsafe {
        if (*task).refs > 1 {
            (*task).refs -= 1;
        } else {
            runtime.left.set(task);
            runtime.later(after::LEFT);
        }
    }
}

pub fn may_insert(task: &Task) -> Result<()> {
    if task.is(flag::BLOCKED) {
        return Err(StateError::RunBlocked.into());
    }
    if !task.is(flag::QUEUED | flag::ALIVE) {
        return Err(StateError::RunDead.into());
    }
    Ok(())
}

/// Arguments of `op_schedule`. They lie on the caller's stack, and only this op reads them.
struct ScheduleArgs {
    value: Slot,
    remove: bool,
}

unsafe extern "C" fn op_schedule(args: *mut (), sp: usize) -> usize {
    // SAFETY: `args` is what `reschedule` passes; we are the running tasklet,
    // and between `prepare` and `go` no user code runs.
    unsafe {
        let args = &mut *args.cast::<ScheduleArgs>();
        let runtime = Runtime::get();
        let me = runtime.current();
        let mut next = (*me).next;
        let mut woken = false;
        if args.remove && next == me {
            match when_empty(runtime, me, false) {
                Ok(wakeup) => next = wakeup,
                Err(error) => {
                    fail(runtime, error, after::FAILED);
                    return sp;
                }
            }
            woken = next != me;
        }
        if next != me {
            if let Err(error) = prepare(runtime, me, sp, next) {
                fail(runtime, error, after::FAILED);
                return sp;
            }
        }
        let value = args.value.take();
        core::mem::forget(core::mem::replace(&mut args.value, (*me).slot.put(value)));
        if next == me {
            return schedule_alone(runtime, me, sp);
        }
        if args.remove {
            runtime.queue.remove(me);
            release_after(runtime, me);
            if woken {
                revive(runtime, me, next);
            }
        }
        go(runtime, me, sp, next)
    }
}

pub fn reschedule(value: Slot, remove: bool) -> Result<Slot, WaitError> {
    let runtime = Runtime::get();
    let me = runtime.current();
    let mut admitted = thrown::raise(me).map_err(WaitError::Thrown);
    let alone = || idle::is_last(runtime) && me != runtime.wakeup() && may_switch(runtime);
    if admitted.is_ok() && remove && alone() {
        admitted = idle::until_company(runtime, || false).map(drop);
    }
    if let Err(ended) = admitted {
        return returned(value, Err(ended));
    }
    let mut args = ScheduleArgs { value, remove };
    // SAFETY: `args` outlives the call and is read by `op_schedule` only; `me` is running.
    unsafe {
        enter(op_schedule, (&raw mut args).cast());
        let result = arrive(runtime, me);
        drop_used(args.value);
        result
    }
}

/// Lets the other tasklets of the queue run; comes back when it is this one's
/// turn again.
///
/// # Errors
/// [`Error::SwitchTrap`], no memory for a slice; or what was thrown into the
/// caller meanwhile.
#[inline]
pub fn schedule() -> Result<()> {
    schedule_or()
}

/// As [`schedule`]; the error can tell whether it was thrown.
#[inline(always)]
pub fn schedule_or<E: From<WaitError>>() -> Result<(), E> {
    let runtime = Runtime::get();
    let me = runtime.current();
    // SAFETY: `me` is the running tasklet.
    unsafe {
        if !(*me).slot.is_empty() {
            return schedule_slow();
        }
        pass_turn(runtime, me);
        arrive_turn(runtime, me)
    }
}

/// As [`schedule`]; the error says whether it could not switch, or something was thrown.
pub fn give_way() -> Result<(), WaitError> {
    let runtime = Runtime::get();
    let me = runtime.current();
    thrown::raise(me).map_err(WaitError::Thrown)?;
    // SAFETY: `me` is the running tasklet. A value that was put into the slot by hand is dropped on
    // arrival.
    unsafe {
        pass_turn(runtime, me);
        arrive_unit(runtime, me)
    }
}

/// Lets the others run, and comes back when it is the turn of `me` again.
///
/// # Safety
/// `me` is the running tasklet of `runtime`.
#[inline(always)]
unsafe fn pass_turn(runtime: &Runtime, me: *mut Task) {
    let this = runtime as *const Runtime as *mut ();
    // SAFETY: `op_yield` gets the runtime that it expects. Where the way is clear `me` is in the
    // queue, and its neighbour there is a live task. The op neither reads nor writes the save area,
    // and what it calls that could unwind runs only if something watches switches (Saved late).
    unsafe {
        let next = (*me).next;
        if next != me && plain(runtime, me, next) {
            swap(runtime, me, next);
        } else {
            enter_late(runtime, op_yield, this);
        }
    }
}

#[cold]
#[inline(never)]
fn schedule_slow<E: From<WaitError>>() -> Result<(), E> {
    Ok(reschedule(Slot::EMPTY, false).map(drop)?)
}

/// [`op_schedule`] for the common case: nothing in the slot, nothing to leave.
unsafe extern "C" fn op_yield(runtime: *mut (), sp: usize) -> usize {
    // SAFETY: `pass_turn` passes the thread's runtime; the running tasklet and its neighbour in the
    // queue are live tasks.
    unsafe {
        let runtime = &*(runtime as *const Runtime);
        let me = runtime.current();
        let next = (*me).next;
        if next == me {
            return schedule_alone(runtime, me, sp);
        }
        // In this order: only where the way is clear is there a next tasklet for certain.
        if way_is_clear(runtime) && next_is_away(next) {
            if let Some(away) = plan_away(me, sp, next) {
                return go_away(runtime, away, sp, next);
            }
        }
        if let Err(error) = prepare(runtime, me, sp, next) {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        go(runtime, me, sp, next)
    }
}

/// `schedule` with no other tasklet in the queue: nothing happens, unless a budget is
/// used up or other threads want something.
#[inline(always)]
unsafe fn schedule_alone(runtime: &Runtime, me: *mut Task, sp: usize) -> usize {
    if runtime.hooks() & (HOOK_BUDGET | HOOK_INBOX | HOOK_LOCK | HOOK_THROWN) == 0 {
        return sp;
    }
    // SAFETY: an op calls this: `me` is the running tasklet, with its registers saved at `sp`.
    unsafe { schedule_alone_observed(runtime, me, sp) }
}

#[cold]
#[inline(never)]
unsafe fn schedule_alone_observed(runtime: &Runtime, me: *mut Task, sp: usize) -> usize {
    if let Err(error) = thrown::raise(me) {
        fail(runtime, error, after::FAILED | after::RAISED);
        return sp;
    }
    note_for_arrival(runtime, runtime.hooks());
    if runtime.hooks() & HOOK_BUDGET == 0 || !may_switch(runtime) {
        return sp;
    }
    // SAFETY: `me` is the running tasklet; the tasklet that `divert_alone` names is queued, and
    // the memory for the switch has been taken.
    unsafe {
        if (*me).is(flag::QUEUED) && (*me).next == me {
            let next = run::divert_alone(runtime, me, sp);
            if next != me {
                return go(runtime, me, sp, next);
            }
        }
    }
    sp
}

/// As [`schedule`]; returns `value`, or what was put into the tasklet's
/// transfer slot meanwhile ([`Tasklet::set_tempval`]).
///
/// # Errors
/// As [`schedule`].
pub fn schedule_with(value: Value) -> Result<Value> {
    Ok(Value(reschedule(value.0, false)?))
}

/// As [`schedule`], but leaves the queue: the tasklet is paused until it is
/// inserted or run.
///
/// # Errors
/// As [`schedule`].
pub fn schedule_remove() -> Result<()> {
    Ok(reschedule(Slot::EMPTY, true).map(drop)?)
}

/// [`schedule_remove`] with a value, as [`schedule_with`].
///
/// # Errors
/// As [`schedule`].
pub fn schedule_remove_with(value: Value) -> Result<Value> {
    Ok(Value(reschedule(value.0, true)?))
}

unsafe extern "C" fn op_run_tasklet<const REMOVE: bool>(task: *mut (), sp: usize) -> usize {
    // SAFETY: `run_tasklet` passes a task, which its handle keeps live; no user code runs between
    // `prepare` and `go`.
    unsafe {
        let task = task.cast::<Task>();
        let runtime = Runtime::of(task);
        let me = runtime.current();
        if let Err(error) = prepare(runtime, me, sp, task) {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        make_runnable(runtime, task);
        if runtime.hooks() & HOOK_FLAT != 0 {
            run::flatten(runtime, me, task, !REMOVE);
        }
        if REMOVE {
            runtime.queue.remove(me);
            release_after(runtime, me);
        }
        go(runtime, me, sp, task)
    }
}

/// The change of the queue, when the [way is clear](way_is_clear) and leaving the queue does not
/// release the caller.
#[inline(always)]
unsafe fn take_turn<const REMOVE: bool>(
    runtime: &Runtime,
    me: *mut Task,
    task: *mut Task,
    flags: u32,
) {
    // SAFETY: live tasks, `me` is running and referred to; the queue's reference to
    // `me` becomes the one to `task`, or `task` gets a new one.
    unsafe {
        match (REMOVE, flags & flag::QUEUED != 0) {
            (false, true) => {}
            (false, false) => {
                (*task).refs += 1;
                runtime.queue.append(task);
            }
            (true, true) => {
                (*me).refs -= 1;
                runtime.queue.unlink(me);
            }
            (true, false) => {
                (*me).refs -= 1;
                (*task).refs += 1;
                runtime.queue.replace(me, task);
            }
        }
    }
}

/// [`op_run_tasklet`] where the way is clear and only the bytes of `task` are away.
unsafe extern "C" fn op_bring_in<const REMOVE: bool>(task: *mut (), sp: usize) -> usize {
    // SAFETY: `run_tasklet` passes a live task that is away, which its handle keeps; the way is
    // clear, and no user code runs here.
    unsafe {
        let next = task.cast::<Task>();
        let runtime = Runtime::of(next);
        let me = runtime.current();
        let Some(away) = plan_away(me, sp, next) else {
            return op_run_tasklet::<REMOVE>(task, sp);
        };
        take_turn::<REMOVE>(runtime, me, next, (*next).flags);
        go_away(runtime, away, sp, next)
    }
}

/// The result of running `task` when it cannot run, or runs already.
#[cold]
#[inline(never)]
unsafe fn run_not<E: From<WaitError>>(me: *mut Task, task: *mut Task) -> Result<(), E> {
    // SAFETY: live tasks, `me` is running.
    unsafe {
        may_insert(&*task).map_err(WaitError::Hindered)?;
        (*me).slot.take().into_unit()
    }
}

/// Makes `target` the next one to run, and with `REMOVE` leaves the queue.
#[inline(always)]
pub fn run_tasklet<const REMOVE: bool, E: From<WaitError>>(target: &Tasklet) -> Result<(), E> {
    let task = target.as_ptr();
    // SAFETY: the handle keeps the task, and the task its runtime.
    unsafe {
        let runtime = Runtime::of(task);
        let me = runtime.current();
        let flags = (*task).flags;
        if task == me {
            return run_not(me, task);
        }
        let how = flags & (flag::ALIVE | flag::BLOCKED | flag::SPECIAL | flag::AWAY);
        let free = || way_is_clear(runtime) && !(REMOVE && (*me).refs == 1);
        if how == flag::ALIVE && free() && !Task::is_low(me) {
            take_turn::<REMOVE>(runtime, me, task, flags);
            swap(runtime, me, task);
        } else if how == flag::ALIVE | flag::AWAY && free() {
            // The op leaves the save area alone, and calls no code of others (Saved late).
            enter_unwatched(op_bring_in::<REMOVE>, task.cast());
        } else if flags & (flag::ALIVE | flag::BLOCKED) != flag::ALIVE {
            return run_not(me, task);
        } else {
            enter(op_run_tasklet::<REMOVE>, task.cast());
        }
        arrive_turn(runtime, me)
    }
}

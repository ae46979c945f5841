//! The scheduler: who runs next. Stackless' rules, to the event.
//!
//! Each public operation checks its own conditions, then enters
//! `transfer::enter` with an *op* that plans, changes the queues and commits.
//! An op that fails has changed nothing.

use alloc::vec::Vec;

use crate::core::contain::{contain_as, drop_used};
use crate::core::exceptions;
use crate::core::extra::ErrorHandler;
use crate::core::hooks::{
    after, HOOK_BUDGET, HOOK_CHANNEL, HOOK_ENDED, HOOK_FLAT, HOOK_INBOX, HOOK_LOCK, HOOK_LOCKED,
    HOOK_REFUSE, HOOK_RUNTIMES, HOOK_SCHEDULE, HOOK_STATS, HOOK_SWITCH, HOOK_THROWN,
};
use crate::core::idle;
use crate::core::measure;
use crate::core::references::Tasklet;
use crate::core::run;
use crate::core::runtime::{ChannelCallback, Runtime, ScheduleCallback};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::{
    arrive, arrive_turn, arrive_unit, clear, commit, enter, go_away, leave, plain, plan, plan_away,
    swap,
};
use crate::core::value::{Slot, Value};
use crate::error::{Error, Result, StateError, WaitError};
use crate::machine::os;

/// Is switching possible at all now?
#[inline(always)]
pub fn may_switch(runtime: &Runtime) -> bool {
    (runtime.hooks() & HOOK_REFUSE == 0 && !unwinding(runtime)) || look_again(runtime)
}

/// There is a reason against it. Is it only that the list of C++ runtimes has changed?
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
    // SAFETY: the caller's promise.
    unsafe { plan(runtime, prev, sp, next) }
}

/// Why `prev` shall not switch, if so: it may not, or something was thrown at it.
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

/// Leaves an op without a switch: the caller will find the error.
#[cold]
pub fn fail(runtime: &Runtime, error: Error, what: u32) {
    keep_for_arrival(runtime, Some(error));
    runtime.later(what);
}

/// Nobody has taken an earlier one, as a rule; it is not dropped here, where no user code may run.
fn keep_for_arrival(runtime: &Runtime, error: Option<Error>) {
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
    // SAFETY: the caller's promise.
    unsafe {
        if runtime.hooks() & HOOK_SWITCH != 0 {
            next = observed(runtime, prev, sp, next, false);
        }
        commit(runtime, prev, sp, next)
    }
}

/// What some want to be done on every switch: budgets, statistics, the callback.
/// Returns who really runs next.
///
/// # Safety
/// As [`go`]; `ending`: `prev` has ended, and `sp` means nothing.
#[cold]
#[inline(never)]
unsafe fn observed(
    runtime: &Runtime,
    prev: *mut Task,
    sp: usize,
    mut next: *mut Task,
    ending: bool,
) -> *mut Task {
    let hooks = runtime.hooks();
    note(runtime, hooks);
    // Clocks and callbacks are a user's: they cannot take who is next out of the queue.
    let before = runtime.next.replace(next);
    // SAFETY: the caller's promise.
    unsafe {
        if hooks & HOOK_BUDGET != 0 {
            next = run::divert(runtime, prev, sp, next, ending);
            runtime.next.set(next);
        }
        if hooks & HOOK_STATS != 0 {
            measure::switched(runtime, prev, next, ending);
        }
        if hooks & HOOK_SCHEDULE != 0 {
            notify(runtime, prev, next);
        }
    }
    runtime.next.set(before);
    next
}

/// What other threads want: the matter of whoever arrives, since here no user code
/// may run, and nothing may wait.
fn note(runtime: &Runtime, hooks: u32) {
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
fn notify(runtime: &Runtime, prev: *mut Task, next: *mut Task) {
    let Some(callback) = runtime.on_schedule.borrow().clone() else {
        return;
    };
    // SAFETY: both are live for the duration: the caller holds references.
    let (prev, next) = unsafe { (Tasklet::from_ref(prev), Tasklet::from_ref(next)) };
    call_locked(runtime, "schedule", || {
        let callback = callback;
        callback(Some(&prev), &next);
    });
    drop((prev, next));
}

/// Calls a callback, in which nobody may switch. Nor may what comes of it: a panic goes to
/// the log, and loggers, payloads and the callback's end are a user's code as well.
pub fn call_locked(runtime: &Runtime, which: &str, callback: impl FnOnce()) {
    runtime.locked(|| contain_as(format_args!("the {which} callback"), callback));
}

/// Who runs when `prev` leaves the queue and nobody else is in it.
///
/// `blocks`: `prev` goes to a channel (else it floats, and may be woken itself).
/// A deadlock takes the value that the woken one was waiting to hand over.
///
/// # Safety
/// `prev` is running and alone in the queue.
#[cold]
pub unsafe fn when_empty(runtime: &Runtime, prev: *mut Task, blocks: bool) -> Result<*mut Task> {
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
        // What Stackless does as well: the slot of the one who should have
        // been woken is emptied.
        if wakeup != prev {
            runtime.lose((*wakeup).slot.take());
        }
        Err(Error::Deadlock)
    }
}

/// Puts a floating `wakeup` into the queue. An exception that `prev` was about
/// to send reaches it as well.
///
/// # Safety
/// `wakeup` is floating; `prev` is another task.
#[cold]
pub unsafe fn revive(runtime: &Runtime, prev: *mut Task, wakeup: *mut Task) {
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
    // SAFETY: the caller's promise.
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

/// Arguments of `op_schedule`; on the caller's stack, which nobody else reads.
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
            return alone(runtime, me, sp);
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
    thrown::raise(me).map_err(WaitError::Thrown)?;
    if remove && idle::is_last(runtime) && me != runtime.wakeup() && may_switch(runtime) {
        idle::until_company(runtime, || false)?;
    }
    let mut args = ScheduleArgs { value, remove };
    // SAFETY: `args` outlives the call and is read by our own op only.
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

/// As [`schedule`]; the error can tell what was thrown.
#[inline(always)]
pub fn schedule_or<E: From<WaitError>>() -> Result<(), E> {
    let runtime = Runtime::get();
    let me = runtime.current();
    // SAFETY: our own op; `me` is running.
    unsafe {
        if !(*me).slot.is_empty() {
            return schedule_slow();
        }
        let next = (*me).next;
        if next != me && plain(runtime, me, next) {
            swap(runtime, me, next);
        } else {
            enter(op_yield, runtime as *const Runtime as *mut ());
        }
        arrive_turn(runtime, me)
    }
}

/// As [`schedule`], and says whether it could not switch, or something was thrown.
pub fn give_way() -> Result<(), WaitError> {
    let runtime = Runtime::get();
    let me = runtime.current();
    thrown::raise(me).map_err(WaitError::Thrown)?;
    // SAFETY: as `schedule`. What somebody put into the slot by hand is dropped on arrival.
    unsafe {
        let next = (*me).next;
        if next != me && plain(runtime, me, next) {
            swap(runtime, me, next);
        } else {
            enter(op_yield, runtime as *const Runtime as *mut ());
        }
        arrive_unit(runtime, me)
    }
}

#[cold]
#[inline(never)]
fn schedule_slow<E: From<WaitError>>() -> Result<(), E> {
    Ok(reschedule(Slot::EMPTY, false).map(drop)?)
}

/// [`op_schedule`] for the common case: nothing in the slot, nothing to leave.
unsafe extern "C" fn op_yield(runtime: *mut (), sp: usize) -> usize {
    // SAFETY: `runtime` is the argument that `schedule` passes.
    unsafe {
        let runtime = &*(runtime as *const Runtime);
        let me = runtime.current();
        let next = (*me).next;
        if next == me {
            return alone(runtime, me, sp);
        }
        if let Err(error) = prepare(runtime, me, sp, next) {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        go(runtime, me, sp, next)
    }
}

/// `schedule` with nobody else in the queue: nothing happens, unless a budget is
/// used up or other threads want something.
#[inline(always)]
unsafe fn alone(runtime: &Runtime, me: *mut Task, sp: usize) -> usize {
    if runtime.hooks() & (HOOK_BUDGET | HOOK_INBOX | HOOK_LOCK | HOOK_THROWN) == 0 {
        return sp;
    }
    // SAFETY: as the ops that call this.
    unsafe { alone_observed(runtime, me, sp) }
}

#[cold]
#[inline(never)]
unsafe fn alone_observed(runtime: &Runtime, me: *mut Task, sp: usize) -> usize {
    if let Err(error) = thrown::raise(me) {
        fail(runtime, error, after::FAILED | after::RAISED);
        return sp;
    }
    note(runtime, runtime.hooks());
    if runtime.hooks() & HOOK_BUDGET == 0 || !may_switch(runtime) {
        return sp;
    }
    // SAFETY: the caller's promise; whom `divert_alone` names is queued, and the
    // memory for the switch has been taken.
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

/// As [`schedule`]; returns `value`, or what somebody put into the tasklet's
/// transfer slot meanwhile ([`Tasklet::set_tempval`]).
///
/// # Errors
/// As [`schedule`].
pub fn schedule_with(value: Value) -> Result<Value> {
    Ok(Value(reschedule(value.0, false)?))
}

/// As [`schedule`], but leaves the queue: the tasklet is paused until somebody
/// inserts or runs it.
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
    // SAFETY: `task` is what `run_tasklet` passes, and the handle there keeps
    // it; no user code runs between `prepare` and `go`.
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

/// The change of the queue, when the way is [`clear`] and the caller is not released
/// by leaving the queue.
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
    // SAFETY: as `op_run_tasklet`.
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

/// What running `task` comes to when it cannot run, or runs already.
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
        let free = || clear(runtime) && !(REMOVE && (*me).refs == 1);
        if how == flag::ALIVE && free() && !Task::is_low(me) {
            take_turn::<REMOVE>(runtime, me, task, flags);
            swap(runtime, me, task);
        } else if how == flag::ALIVE | flag::AWAY && free() {
            enter(op_bring_in::<REMOVE>, task.cast());
        } else if flags & (flag::ALIVE | flag::BLOCKED) != flag::ALIVE {
            return run_not(me, task);
        } else {
            enter(op_run_tasklet::<REMOVE>, task.cast());
        }
        arrive_turn(runtime, me)
    }
}

struct ThrowArgs {
    task: *mut Task,
    bomb: Slot,
}

unsafe extern "C" fn op_throw(args: *mut (), sp: usize) -> usize {
    // SAFETY: as `op_run_tasklet`.
    unsafe {
        let args = &mut *args.cast::<ThrowArgs>();
        let runtime = Runtime::get();
        let me = runtime.current();
        let task = args.task;
        // What was thrown at the caller is told when it is back: this one is not to be lost.
        let prepared = match may_switch(runtime) {
            true => plan(runtime, me, sp, task),
            false => Err(refused(runtime)),
        };
        if let Err(error) = prepared {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        // What was on its way is the caller's to drop, when it is back.
        let bomb = args.bomb.take();
        core::mem::forget(core::mem::replace(&mut args.bomb, (*task).slot.put(bomb)));
        make_runnable(runtime, task);
        if runtime.hooks() & HOOK_FLAT != 0 {
            run::flatten(runtime, me, task, true);
        }
        go(runtime, me, sp, task)
    }
}

/// The running tasklet was killed, and has not ended: its next wait tells it again.
pub fn exit_again(runtime: &Runtime) {
    let me = runtime.current();
    // SAFETY: the running tasklet.
    unsafe { thrown::keep(runtime, me, thrown::level_of(me), Error::Exit) };
}

pub fn throw(target: &Tasklet, error: Error, pending: bool) -> Result<(), WaitError> {
    let runtime = Runtime::get();
    let task = target.as_ptr();
    // SAFETY: the handle keeps the task.
    let hosts = unsafe { (*task).is(flag::HOST) };
    if hosts && target.is_alive() && !target.has_no_thread() {
        // SAFETY: as above. Not at its guests: neither at one that blocks nor at the caller.
        unsafe { thrown::keep(runtime, task, 0, error) };
        return Ok(());
    }
    if task == runtime.current() {
        return Err(WaitError::Thrown(error));
    }
    match pending {
        true => throw_there(target, error),
        false => throw_in_place(target, error),
    }
}

/// Is there nobody left to throw `error` at? Then what comes of it.
fn too_late(target: &Tasklet, error: &Error) -> Option<Result<(), WaitError>> {
    let state = if target.has_no_thread() {
        StateError::NoThread
    } else if !target.is_alive() {
        StateError::ThrowDead
    } else {
        return None;
    };
    Some(match error {
        Error::Exit => Ok(()),
        _ => Err(WaitError::own(state)),
    })
}

/// Throws `error` at another tasklet, wherever it is, at its turn.
pub fn throw_there(target: &Tasklet, error: Error) -> Result<(), WaitError> {
    if let Some(result) = too_late(target, &error) {
        return result;
    }
    let (runtime, task) = (Runtime::get(), target.as_ptr());
    (runtime.above.interrupt)(runtime, task);
    // SAFETY: the handle keeps the task.
    unsafe {
        let lost = (*task).slot.put(Slot::bomb(error));
        make_runnable(runtime, task);
        drop_used(lost);
    }
    Ok(())
}

/// Throws `error` at code of `target` that runs at `level`, at its turn: ends its wait. Whose
/// wait is over already, and who has perhaps what it was for, is told by the next one. (Not so
/// [`Tasklet::throw_pending`], which is Stackless' and takes its place.)
///
/// # Errors
/// As [`Tasklet::throw_pending`].
pub fn throw_at(target: &Tasklet, level: u32, error: Error) -> Result<()> {
    // SAFETY: the handle keeps the task.
    unsafe {
        let task = target.as_ptr();
        let runtime = Runtime::of(task);
        let goes_on = runtime.current() == task || (*task).has_all(flag::QUEUED | flag::STARTED);
        if goes_on || thrown::level_of(task) > level {
            thrown::keep(runtime, task, level, error);
            return Ok(());
        }
    }
    Ok(throw_there(target, error)?)
}

/// Throws `error` at another tasklet, wherever it is, and switches there.
pub fn throw_in_place(target: &Tasklet, error: Error) -> Result<(), WaitError> {
    if let Some(result) = too_late(target, &error) {
        return result;
    }
    let (runtime, task) = (Runtime::get(), target.as_ptr());
    let mut args = ThrowArgs {
        task,
        bomb: Slot::bomb(error),
    };
    // SAFETY: the handle keeps the task; `args` outlives the call.
    unsafe {
        enter(op_throw, (&raw mut args).cast());
        let result = arrive(runtime, runtime.current()).and_then(Slot::into_unit);
        drop_used(args.bomb);
        result
    }
}

/// Ends the running tasklet; the error that ended it, if any, is in its slot. Returns
/// what its first function is to return.
///
/// # Safety
/// Called by the first frame of `me`, with nothing left on its stack to drop.
#[inline(never)]
pub unsafe fn end(me: *mut Task) -> usize {
    // SAFETY: the running tasklet; a runtime outlives its tasks. After `settle` and `tell` no user
    // code runs on this stack. All tasks are live; the queue's reference to `me` becomes
    // `left`, released after the switch.
    unsafe {
        let runtime = Runtime::of(me);
        let failed = !(*me).slot.is_empty() && settle(runtime, me);
        let completed = &runtime.runs.completed;
        completed.set(completed.get() + 1);
        runtime.queue.remove(me);
        let mut next = runtime.queue.head();
        if failed || next.is_null() {
            next = runtime.wakeup();
            if failed || (*next).is(flag::BLOCKED) {
                next = tell(runtime, me, failed);
            }
            make_runnable(runtime, next);
        }
        (*me).clear(flag::ALIVE | flag::STARTED | flag::BOUND);
        if runtime.hooks() & (HOOK_SWITCH | HOOK_THROWN) != 0 {
            next = leaves(runtime, me, next);
        }
        runtime.left.set(me);
        runtime.later(after::LEFT);
        leave(runtime, me, next)
    }
}

/// What some want to be done as a tasklet ends. Returns who really runs next. What user code has
/// thrown at it since it ended nobody is told: not the next function of the same handle either.
///
/// # Safety
/// As [`end`].
#[cold]
#[inline(never)]
unsafe fn leaves(runtime: &Runtime, me: *mut Task, mut next: *mut Task) -> *mut Task {
    // SAFETY: the caller's promise.
    unsafe {
        if runtime.hooks() & HOOK_SWITCH != 0 {
            next = observed(runtime, me, 0, next, true);
        }
        if let Some(error) = thrown::at_end(runtime, me) {
            runtime.lose(Slot::bomb(error));
        }
        next
    }
}

/// What ended the tasklet goes to the error handlers, in its context. True when an
/// error remains: it is in `runtime.error`, for [`tell`].
///
/// # Safety
/// `me` is the running tasklet.
#[cold]
#[inline(never)]
unsafe fn settle(runtime: &Runtime, me: *mut Task) -> bool {
    // SAFETY: the caller's promise; no reference to the slot is held while user code runs.
    unsafe {
        let slot = (*me).slot.take();
        let mut remains = None;
        let settled = os::catch(|| {
            remains = match slot.into_unit() {
                Ok(()) | Err(Error::Exit) => None,
                Err(error) => handle(runtime, me, error),
            };
            Ok(())
        });
        // A destructor that panicked: of the value, or of an error that was handled.
        let remains = settled.err().or(remains);
        let failed = remains.is_some();
        keep_for_arrival(runtime, remains);
        failed
    }
}

/// Tells who waits for all others the error that remains of the ending tasklet, which has
/// left the queue, or that nobody is left. Returns who is next.
///
/// # Safety
/// As [`end`]; `failed`: an error remains.
#[cold]
#[inline(never)]
unsafe fn tell(runtime: &Runtime, me: *mut Task, failed: bool) -> *mut Task {
    // SAFETY: the caller's promise; whom to wake is a live task.
    unsafe {
        let (mut next, told) = if failed {
            let uncaught = runtime.error.borrow_mut().take();
            (runtime.wakeup(), uncaught.map(Slot::bomb))
        } else {
            leave_nobody(runtime, me)
        };
        if let Some(told) = told {
            next = runtime.wakeup();
            runtime.lose((*next).slot.put(told));
        }
        next
    }
}

/// The ending tasklet, which has left the queue, leaves main blocked and nobody else
/// behind: so it stays until somebody can run, or nothing could wake anybody. Returns
/// who is next, and what that one is told: an error that is thrown at it, or the end of
/// its wait.
///
/// # Safety
/// As [`end`].
#[cold]
#[inline(never)]
unsafe fn leave_nobody(runtime: &Runtime, me: *mut Task) -> (*mut Task, Option<Slot>) {
    // SAFETY: the running tasklet; the reference goes with it. Its slot has been
    // taken: what somebody puts there by hand nobody will take.
    unsafe {
        runtime.queue.append(me);
        let mut uncaught = None;
        if may_switch(runtime) {
            let settled = os::catch(|| {
                let stayed = os::catch(|| {
                    idle::until_company(runtime, || false)?;
                    Ok(())
                });
                let thrown = (*me).slot.take().into_unit();
                uncaught = match stayed.and(thrown) {
                    Ok(()) | Err(Error::Exit) => None,
                    Err(error) => handle(runtime, me, error),
                };
                Ok(())
            });
            uncaught = settled.err().or(uncaught);
        }
        runtime.queue.remove(me);
        let uncaught = uncaught.map(Slot::bomb);
        let next = runtime.queue.head();
        if !next.is_null() {
            return (next, uncaught);
        }
        let next = runtime.wakeup();
        let told = match (*next).flags & flag::BLOCKED {
            flag::SENDING => Some(Error::MainSending),
            flag::RECEIVING => Some(Error::MainReceiving),
            flag::SELECTING => Some(Error::Deadlock),
            _ => None,
        };
        (next, uncaught.or(told.map(Slot::end)))
    }
}

/// Offers an uncaught error to the tasklet's own error handler, and what that one
/// lets pass to the thread's; what comes back goes to main.
#[cold]
#[inline(never)]
fn handle(runtime: &Runtime, me: *mut Task, error: Error) -> Option<Error> {
    // SAFETY: the running tasklet; copied, since a handler may set another one.
    let own = unsafe {
        (*me)
            .extra
            .as_ref()
            .and_then(|extra| extra.on_error.clone())
    };
    let mut error = error;
    if let Some(handler) = own {
        error = ask(&handler, &error)?;
    }
    let Some(handler) = runtime.on_error.borrow().clone() else {
        return Some(error);
    };
    let remains = ask(&handler, &error);
    // User code, before what remains is returned: see `contain`.
    drop((error, handler));
    remains
}

fn ask(handler: &ErrorHandler, error: &Error) -> Option<Error> {
    match os::catch(|| handler(error)) {
        Ok(()) => None,
        Err(Error::Exit) => None,
        Err(other) => Some(other),
    }
}

/// The running tasklet of the calling thread.
pub fn current() -> Tasklet {
    // SAFETY: the running tasklet is a live task.
    unsafe { Tasklet::from_ref(Runtime::get().current()) }
}

/// The main tasklet of the calling thread: its original flow of control.
pub fn main_tasklet() -> Tasklet {
    // SAFETY: main lives as long as the runtime.
    unsafe { Tasklet::from_ref(Runtime::get().main()) }
}

/// A number of the calling thread that no other thread has had. Costs nothing.
pub fn thread_id() -> u64 {
    Runtime::get().thread_id
}

/// Tasklets in the run queue of the calling thread, the running one included.
pub fn run_count() -> usize {
    Runtime::get().queue.len()
}

/// Handles of all tasklets of the calling thread that are referred to.
pub fn tasklets() -> Vec<Tasklet> {
    Runtime::get().all_tasklets()
}

/// Adds `delta` to the thread's switch trap and returns the old level. While it
/// is not 0, whatever would switch fails with [`Error::SwitchTrap`] and changes
/// nothing. A tasklet may still end.
///
/// # Panics
/// When the level would leave the range of an `i32`; it stays as it is then.
pub fn switch_trap(delta: i32) -> i32 {
    let runtime = Runtime::get();
    let level = runtime.trap().checked_add(delta);
    runtime.set_trap(level.expect("the switch trap has as many levels as it can have"))
}

/// Sets the schedule callback of the thread; returns the old one.
pub fn set_schedule_callback(callback: Option<ScheduleCallback>) -> Option<ScheduleCallback> {
    let runtime = Runtime::get();
    runtime.set_hook(HOOK_SCHEDULE, callback.is_some());
    runtime.on_schedule.replace(callback)
}

/// Sets the channel callback of the thread; returns the old one.
pub fn set_channel_callback(callback: Option<ChannelCallback>) -> Option<ChannelCallback> {
    let runtime = Runtime::get();
    runtime.set_hook(HOOK_CHANNEL, callback.is_some());
    runtime.on_channel.replace(callback)
}

/// Sets the error handler of the thread; returns the old one.
pub fn set_error_handler(handler: Option<ErrorHandler>) -> Option<ErrorHandler> {
    Runtime::get().on_error.replace(handler)
}

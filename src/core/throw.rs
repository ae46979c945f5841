//! Throwing errors at tasklets: at once, or at their turn.

use crate::core::contain::drop_used;
use crate::core::hooks::{after, HOOK_FLAT};
use crate::core::references::Tasklet;
use crate::core::run;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{fail, go, make_runnable, may_switch, refused};
use crate::core::task::{flag, Task};
use crate::core::thrown;
use crate::core::transfer::{arrive, enter, plan};
use crate::core::value::Slot;
use crate::error::{Error, Result, StateError, WaitError};

struct ThrowArgs {
    task: *mut Task,
    bomb: Slot,
}

unsafe extern "C" fn op_throw(args: *mut (), sp: usize) -> usize {
    // SAFETY: `throw_in_place` passes its arguments, and its handle keeps the task live; no user
    // code runs between `plan` and `go`.
    unsafe {
        let args = &mut *args.cast::<ThrowArgs>();
        let runtime = Runtime::get();
        let me = runtime.current();
        let task = args.task;
        // Only `plan`, not `prepare`: an error that was thrown at the caller is told when the
        // caller is back, so that `bomb` is not lost.
        let prepared = match may_switch(runtime) {
            true => plan(runtime, me, sp, task),
            false => Err(refused(runtime)),
        };
        if let Err(error) = prepared {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        // The caller drops what was in the slot, when it is back.
        let bomb = args.bomb.take();
        core::mem::forget(core::mem::replace(&mut args.bomb, (*task).slot.put(bomb)));
        make_runnable(runtime, task);
        if runtime.hooks() & HOOK_FLAT != 0 {
            run::flatten(runtime, me, task, true);
        }
        go(runtime, me, sp, task)
    }
}

/// The running tasklet was killed, and has not ended: its next wait fails with `Exit` again.
pub fn exit_again(runtime: &Runtime) {
    let me = runtime.current();
    // SAFETY: `me` is the running tasklet, so it is live.
    unsafe { thrown::keep(runtime, me, thrown::level_of(me), Error::Exit) };
}

pub fn throw(target: &Tasklet, error: Error, pending: bool) -> Result<(), WaitError> {
    let runtime = Runtime::get();
    let task = target.as_ptr();
    // SAFETY: the handle keeps the task.
    let hosts = unsafe { (*task).is(flag::HOST) };
    if hosts && target.is_alive() && !target.has_no_thread() {
        // Level 0: it is thrown neither at a guest that blocks nor at the caller.
        // SAFETY: the handle keeps the task live.
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

/// The result of throwing `error` at a tasklet that is not alive or has no thread; `None` if it
/// can still be thrown.
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
fn throw_there(target: &Tasklet, error: Error) -> Result<(), WaitError> {
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

/// Throws `error` at code of `target` that runs at `level`, at its turn: ends its wait. A tasklet
/// whose wait is over already, and which may have got what it waited for, is told by its next
/// wait. (Unlike [`Tasklet::throw_pending`], which does as Stackless: there the error replaces the
/// result of the wait.)
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

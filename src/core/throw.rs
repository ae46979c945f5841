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

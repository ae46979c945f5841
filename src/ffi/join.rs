//! Tasklets with a result that another tasklet waits for.

use core::ffi::c_void;
use core::ptr;

use alloc::format;
use alloc::rc::Rc;

use super::entry_function::at_root;
use super::failure::{Failure, Subject};
use super::handle::Kind;
use super::object::{self, ask, ask_or_fail, get, hand_out, handle_of_thread};
use super::status::RawStatus;
use super::tasklet::{hsw_tasklet, label};
use super::tasklet_options::{destroyer, hsw_tasklet_options, Options};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, thread_state, time_limit, Done};
use crate::error::WaitError;
use crate::join::{self, JoinHandle};
use crate::Error;

/// A handle of a tasklet's result; the rules for its owner and thread are those of `hsw_tasklet`.
/// With the last handle, a result that nobody took is freed; the tasklet runs on all the same.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_join {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// As `hsw_entry`, with a result. When it returns `HSW_OK`, the result is what it has written to
/// `*result` (null at first). When it returns another status, the tasklet that joins it fails with
/// `HSW_ERR_THROWN`, and whatever it has written to `*result` is still its own to free.
pub type hsw_join_entry =
    Option<unsafe extern "C" fn(argument: *mut c_void, result: *mut *mut c_void) -> RawStatus>;

pub(super) type CJoin = Rc<JoinHandle<Owned>>;

handle_of_thread!(hsw_join, CJoin, Join, joins);

/// An entry function with its argument, and how its result is freed.
struct Task {
    function: unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> RawStatus,
    argument: Owned,
    destroy_result: hsw_destroy,
}

impl Task {
    fn run(self) -> Result<Owned, Error> {
        let mut result = ptr::null_mut();
        let function = self.function;
        // SAFETY: the function is an `hsw_join_entry` that accepts this argument (contract of the
        // interface); if it is unwound, the process ends (`thread_state::returning`).
        at_root(self.argument, |argument| unsafe {
            thread_state::unwindable(function)(argument, &raw mut result)
        })?;
        Ok(Owned::new(result, self.destroy_result))
    }
}

/// As `hsw_spawn`, for a tasklet with a result, which `hsw_join_wait` gets. `destroy_result` (may
/// be null) frees a result that nobody takes. A failure of the tasklet goes to the caller of
/// `hsw_join_wait`, and neither to `hsw_run` nor to an error handler.
#[no_mangle]
pub unsafe extern "C" fn hsw_join_spawn(
    function: hsw_join_entry,
    argument: *mut c_void,
    destroy_result: hsw_destroy,
    options: *const hsw_tasklet_options,
    join: *mut hsw_join,
) -> hsw_status {
    entry(|| {
        // SAFETY: `options` is null or points to options whose strings end in a zero byte (contract
        // of the interface); the same for the next block.
        let argument = Owned::new(argument, unsafe { destroyer(options) });
        let function = function.ok_or(Failure::Null("function"))?;
        let join = out(join, "join")?;
        let options = unsafe { Options::read(options) }?;
        let task = Task {
            function,
            argument,
            destroy_result,
        };
        let handle = join::spawn_with(options.builder(), move || task.run())
            .map_err(|error| options.failure(error))?;
        let tasklet = handle.tasklet().clone();
        match hand_out(Rc::new(handle)) {
            Ok(number) => join.set(number),
            Err(failure) => {
                // A call that fails has done nothing.
                drop(tasklet.kill());
                return Err(failure);
            }
        }
        Ok(())
    })
}

/// Makes another handle of the same, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_join_retain(join: hsw_join, other: *mut hsw_join) -> hsw_status {
    object::retain(join, other)
}

/// Gives a handle back. It is stale from now on.
#[no_mangle]
pub extern "C" fn hsw_join_release(join: hsw_join) -> hsw_status {
    object::release(join)
}

/// Waits until the tasklet has ended, for at most `timeout_ns` nanoseconds (0: not at all;
/// `HSW_NO_LIMIT`: as long as it takes), and takes its result, which is the caller's.
///
/// `HSW_ERR_THROWN`: the tasklet failed, or something was thrown at the caller;
/// `hsw_last_error_payload` has what an exception carries, otherwise `hsw_last_error_cause` has the
/// status that the tasklet returned. `HSW_ERR_PANICKED`: it panicked. `HSW_ERR_STATE`: it was
/// killed. `HSW_ERR_CLOSED`: the result has been taken before. `HSW_ERR_TIMEOUT`: the time is over;
/// the tasklet goes on, and can be joined again.
///
/// The result stays until a call has returned it: a caller that is killed, or thrown at, before
/// this call has returned leaves it to the next caller.
#[no_mangle]
pub unsafe extern "C" fn hsw_join_wait(
    join: hsw_join,
    timeout_ns: u64,
    result: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let result = out(result, "result")?;
        let handle = get(join)?;
        let time = time_limit(timeout_ns)?;
        not_taken(&handle)?;
        let joined = handle.wait(time);
        result.set(joined.map_err(|ended| about(&handle, ended))?.take().0);
        Ok(())
    })
}

#[inline(never)] // its locals would lie in every parked tasklet
fn not_taken(handle: &JoinHandle<Owned>) -> Done {
    if !handle.is_taken() {
        return Ok(());
    }
    let who = label(handle.tasklet());
    Err(Failure::Told(
        hsw_status::HSW_ERR_CLOSED,
        format!("the result of tasklet '{who}' has been taken"),
    ))
}

/// An error of the wait itself gets the tasklet's name; what was thrown has words of its own.
#[inline(never)] // its locals would lie in every parked tasklet
fn about(handle: &JoinHandle<Owned>, ended: WaitError) -> Failure {
    let tasklet = || Subject::Named(Kind::Tasklet, label(handle.tasklet()));
    Failure::from(ended).about(tasklet)
}

/// Whether the tasklet has ended, so that its result can be had without waiting (unless it was
/// taken already).
#[no_mangle]
pub unsafe extern "C" fn hsw_join_is_done(join: hsw_join, done: *mut bool) -> hsw_status {
    ask(join, done, "done", |handle| handle.is_done())
}

/// The tasklet, for its name, its state or a kill. The caller owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_join_tasklet(join: hsw_join, tasklet: *mut hsw_tasklet) -> hsw_status {
    ask_or_fail(join, tasklet, "tasklet", |handle| {
        hand_out(handle.tasklet().clone())
    })
}

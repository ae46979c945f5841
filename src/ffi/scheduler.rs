//! The scheduler of the calling thread.

use core::cell::Cell;
use core::ffi::{c_char, c_void, CStr};

use alloc::rc::Rc;
use alloc::string::ToString;

use super::failure::Failure;
use super::last_error;
use super::object;
use super::payload;
use super::status::{self, RawStatus};
use super::tasklet::hsw_tasklet;
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, out, set_if_wanted, thread_state};
use crate::core::scheduler::{reschedule, schedule_or};
use crate::core::value::Slot;
use crate::error::WaitError;
use crate::{Error, Value};

/// Called before each switch: `previous` (the null handle when main starts) is still the current
/// tasklet. The handles are lent for the time of the call; `hsw_tasklet_retain` makes one to keep.
/// It must neither switch nor unwind.
pub type hsw_schedule_callback =
    Option<unsafe extern "C" fn(previous: hsw_tasklet, next: hsw_tasklet, user: *mut c_void)>;

/// Called at the beginning of each channel operation, also of one that then fails. The handle of
/// the tasklet is lent for the time of the call. It must neither use the channel nor unwind.
pub type hsw_channel_callback = Option<
    unsafe extern "C" fn(
        channel_id: usize,
        tasklet: hsw_tasklet,
        sending: bool,
        will_block: bool,
        user: *mut c_void,
    ),
>;

/// An error that a tasklet ended with, for the error handler. All of it is lent for the time of the
/// call.
#[repr(C)]
pub struct hsw_uncaught {
    /// The status of the error.
    pub status: hsw_status,
    /// Its words; never null.
    pub message: *const c_char,
    /// The payload of an exception of C's, else null.
    pub payload: *mut c_void,
    /// The function given with the payload, else null.
    pub destroy: hsw_destroy,
}

/// Called in a tasklet that ends with an error other than `HSW_ERR_EXIT`. To return `HSW_OK` means
/// that the error has been dealt with; after any other answer the error goes on to the innermost
/// `hsw_run`. During the call the error is the tasklet's last one, and `hsw_error_last` can keep
/// it. The handler must not unwind.
pub type hsw_error_handler =
    Option<unsafe extern "C" fn(error: *const hsw_uncaught, user: *mut c_void) -> RawStatus>;

/// The callbacks that are set: the next call that sets one returns the previous one.
#[derive(Default)]
pub(super) struct Hooks {
    schedule: Cell<(hsw_schedule_callback, usize)>,
    channel: Cell<(hsw_channel_callback, usize)>,
    error: Cell<(hsw_error_handler, usize)>,
    pub(super) clock: Cell<super::run::hsw_clock>,
}

impl Hooks {
    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.schedule.take();
        self.channel.take();
        self.error.take();
        self.clock.take();
    }
}

/// Runs all tasklets until none is runnable. Fails with the error of a tasklet that nobody handled;
/// the other tasklets stay queued, and the next call goes on with them.
#[no_mangle]
pub extern "C" fn hsw_run() -> hsw_status {
    entry(|| Ok(crate::core::run::run_or::<WaitError>()?))
}

/// Lets the others run once; the caller goes to the end of the run queue.
#[no_mangle]
pub extern "C" fn hsw_schedule() -> hsw_status {
    entry(|| Ok(schedule_or::<WaitError>()?))
}

/// Pauses the caller and lets the others run. The caller goes on when somebody inserts or runs it.
#[no_mangle]
pub extern "C" fn hsw_schedule_remove() -> hsw_status {
    entry(|| Ok(reschedule(Slot::EMPTY, true).map(drop)?))
}

fn schedule_with(
    value: *mut c_void,
    destroy: hsw_destroy,
    returned: *mut *mut c_void,
    remove: bool,
) -> hsw_status {
    entry(|| {
        let value = Owned::new(value, destroy);
        let returned = out(returned, "returned")?;
        let got = Value(reschedule(Slot::new(value), remove)?);
        let pointer = match got.downcast::<Owned>() {
            Ok(owned) => owned.take().0,
            Err(other) if other.is_none() => core::ptr::null_mut(),
            Err(_) => return Err(Failure::own(Error::WrongType)),
        };
        returned.set(pointer);
        Ok(())
    })
}

/// As `hsw_schedule`, with a value in the caller's transfer slot. The value comes back in
/// `*returned`, unless somebody has put another one there. It is the runtime's during the call,
/// also when that fails (then `destroy` frees it), and the caller's after it.
#[no_mangle]
pub unsafe extern "C" fn hsw_schedule_with(
    value: *mut c_void,
    destroy: hsw_destroy,
    returned: *mut *mut c_void,
) -> hsw_status {
    schedule_with(value, destroy, returned, false)
}

/// As `hsw_schedule_remove`, with a value as in `hsw_schedule_with`.
#[no_mangle]
pub unsafe extern "C" fn hsw_schedule_remove_with(
    value: *mut c_void,
    destroy: hsw_destroy,
    returned: *mut *mut c_void,
) -> hsw_status {
    schedule_with(value, destroy, returned, true)
}

/// The tasklet that is running. The caller owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_current(current: *mut hsw_tasklet) -> hsw_status {
    object::make(current, "current", || Ok(crate::current()))
}

/// The main tasklet of the thread. The caller owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_main(main_tasklet: *mut hsw_tasklet) -> hsw_status {
    object::make(main_tasklet, "main_tasklet", || Ok(crate::main_tasklet()))
}

/// How many tasklets are in the run queue, the running one included.
#[no_mangle]
pub extern "C" fn hsw_run_count() -> usize {
    super::quietly(0, crate::run_count)
}

/// A number of the calling thread that no other thread has had. Never 0.
#[no_mangle]
pub extern "C" fn hsw_thread_id() -> u64 {
    super::quietly(0, crate::thread_id)
}

/// Adds to the level of the thread's switch trap and returns the old level. While the level is not
/// 0, every switch fails with `HSW_ERR_SWITCH_TRAP` and changes nothing.
///
/// It is for code of others that a switch would break; above all for initialisers that run at the
/// first use of something (a `static` or `thread_local` of a C++ function, `pthread_once`,
/// `call_once`). The guards of these tell threads apart, but not the tasklets of one thread. If
/// such an initialiser switches, the process ends or waits for ever.
#[no_mangle]
pub extern "C" fn hsw_switch_trap(delta: i32) -> i32 {
    super::quietly(0, || crate::switch_trap(delta))
}

/// A handle that is lent to a callback and taken back after it.
pub(super) struct Lent(hsw_tasklet);

impl Lent {
    pub(super) fn new(tasklet: Option<&crate::Tasklet>) -> Lent {
        let nothing = hsw_tasklet { handle: 0 };
        Lent(object::hand_out_or_none(tasklet.cloned()).unwrap_or(nothing))
    }

    pub(super) fn handle(&self) -> hsw_tasklet {
        self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.0.handle != 0 {
            // The callback may have released the handle that was only lent to it: then nothing is
            // left to do.
            drop(object::take_back(self.0));
        }
    }
}

/// Sets the schedule callback; null clears it. `user` is passed on. The previous ones go to `old`
/// and `old_user`, which may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_set_schedule_callback(
    callback: hsw_schedule_callback,
    user: *mut c_void,
    old: *mut hsw_schedule_callback,
    old_user: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let hook = callback.map(|callback| -> crate::ScheduleCallback {
            Rc::new(move |previous, next| {
                let (previous, next) = (Lent::new(previous), Lent::new(Some(next)));
                // SAFETY: `callback` has this type, does not unwind, and accepts `user` (contract
                // of the interface).
                thread_state::call_back(|| unsafe {
                    thread_state::unwindable(callback)(previous.handle(), next.handle(), user)
                });
            })
        });
        let previous =
            thread_state::with(|part| Ok(part.hooks.schedule.replace((callback, user as usize))))?;
        drop(crate::set_schedule_callback(hook));
        set_if_wanted(old, previous.0);
        set_if_wanted(old_user, previous.1 as *mut c_void);
        Ok(())
    })
}

/// Sets the channel callback; otherwise as `hsw_set_schedule_callback`.
#[no_mangle]
pub unsafe extern "C" fn hsw_set_channel_callback(
    callback: hsw_channel_callback,
    user: *mut c_void,
    old: *mut hsw_channel_callback,
    old_user: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let hook = callback.map(|callback| -> crate::ChannelCallback {
            Rc::new(move |channel, tasklet, sending, will_block| {
                let tasklet = Lent::new(Some(tasklet));
                // SAFETY: `callback` has this type, does not unwind, and accepts `user` (contract
                // of the interface).
                thread_state::call_back(|| unsafe {
                    thread_state::unwindable(callback)(
                        channel,
                        tasklet.handle(),
                        sending,
                        will_block,
                        user,
                    )
                });
            })
        });
        let previous =
            thread_state::with(|part| Ok(part.hooks.channel.replace((callback, user as usize))))?;
        drop(crate::set_channel_callback(hook));
        set_if_wanted(old, previous.0);
        set_if_wanted(old_user, previous.1 as *mut c_void);
        Ok(())
    })
}

/// An error handler of C's, as the runtime calls it.
pub(super) fn error_hook(
    handler: unsafe extern "C" fn(*const hsw_uncaught, *mut c_void) -> RawStatus,
    user: *mut c_void,
) -> crate::ErrorHandler {
    Rc::new(move |error: &Error| {
        let words = last_error::c_words(error.to_string());
        let (payload, destroy) =
            payload::payload_of(error).unwrap_or((core::ptr::null_mut(), None));
        let uncaught = hsw_uncaught {
            status: status::status_of(error),
            message: CStr::as_ptr(&words),
            payload,
            destroy,
        };
        // SAFETY: `handler` has this type, does not unwind, and accepts `user` (contract of the
        // interface).
        let answer = thread_state::call_back(|| {
            // The same status as in `hsw_uncaught`.
            last_error::record(Failure::own(error.clone()));
            unsafe { thread_state::unwindable(handler)(&raw const uncaught, user) }
        });
        if answer.0 == hsw_status::HSW_OK as i32 {
            Ok(())
        } else {
            Err(error.clone())
        }
    })
}

/// Sets the error handler; otherwise as `hsw_set_schedule_callback`.
#[no_mangle]
pub unsafe extern "C" fn hsw_set_error_handler(
    handler: hsw_error_handler,
    user: *mut c_void,
    old: *mut hsw_error_handler,
    old_user: *mut *mut c_void,
) -> hsw_status {
    entry(|| {
        let hook = handler.map(|handler| error_hook(handler, user));
        let previous =
            thread_state::with(|part| Ok(part.hooks.error.replace((handler, user as usize))))?;
        drop(crate::set_error_handler(hook));
        set_if_wanted(old, previous.0);
        set_if_wanted(old_user, previous.1 as *mut c_void);
        Ok(())
    })
}

/// Ends the calling thread's part of the runtime. It kills the tasklets, whose code unwinds and
/// frees what it has; cancels the timers; frees what was posted to the loop and has not run, and
/// the `user` of abandoned calls; and makes every handle of the thread's objects stale. Objects
/// that destructors make meanwhile end too, after ten rounds at the latest. From then on posts of
/// other threads are refused. The thread keeps its number, if it attaches again.
///
/// `HSW_ERR_STATE`: the caller is not the main tasklet, or is in a function that the library has
/// called there, as that of a timer. A thread that ends without this call does the same; without
/// std this call is the only way.
#[no_mangle]
pub extern "C" fn hsw_thread_exit() -> hsw_status {
    entry(|| {
        if crate::lifecycle::inside_tasklet() {
            let words = "only the main tasklet may end the thread's runtime";
            return Err(Failure::Told(hsw_status::HSW_ERR_STATE, words.into()));
        }
        if thread_state::is_made() && thread_state::is_inside() {
            let words = "a function that the library has called cannot end the thread's runtime";
            return Err(Failure::Told(hsw_status::HSW_ERR_STATE, words.into()));
        }
        thread_state::leave();
        Ok(())
    })
}

/// How many handles of the calling thread's objects are live: tasklets, channels, queues, sockets,
/// clocks and timers. For finding leaks.
#[no_mangle]
pub extern "C" fn hsw_live_handles() -> usize {
    super::quietly(0, || {
        thread_state::with(|part| Ok(part.live())).unwrap_or(0)
    })
}

//! Tasklets.

use core::ffi::{c_char, c_void};

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use super::entry_function::{hsw_entry, Call};
use super::failure::{Failure, Subject};
use super::handle::Kind;
use super::object::{self, ask, get, hand_out, hand_out_or_none, handle_of_thread, tell};
use super::payload;
use super::run::HSW_NO_LIMIT;
use super::scheduler::hsw_error_handler;
use super::tasklet_options::{destroyer, hsw_tasklet_options, Options, NOWHERE};
use super::value::{hsw_destroy, Owned};
use super::{entry, hsw_status, set_if_wanted, write_text};
use crate::core::measure;
use crate::core::scheduler::run_tasklet;
use crate::core::throw::throw;
use crate::error::WaitError;
use crate::{Error, Tasklet, Value};

/// A handle of a tasklet. It belongs to the thread that got it and to one owner, who gives it back
/// with `hsw_tasklet_release`. All zero is the null handle, which names nothing.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_tasklet {
    /// Opaque; zero is nothing. Two handles of one tasklet differ: compare `hsw_tasklet_id`.
    pub handle: u64,
}

/// The state of a tasklet: bits of `hsw_tasklet_state`.
pub const HSW_TASKLET_ALIVE: u32 = 1;
/// Alive, and neither queued nor blocked.
pub const HSW_TASKLET_PAUSED: u32 = 2;
/// Waiting on a channel.
pub const HSW_TASKLET_BLOCKED: u32 = 4;
/// In the run queue, or blocked (as in Stackless).
pub const HSW_TASKLET_SCHEDULED: u32 = 8;
/// The main tasklet of its thread.
pub const HSW_TASKLET_MAIN: u32 = 16;
/// The tasklet that is running.
pub const HSW_TASKLET_CURRENT: u32 = 32;
/// Its block trap is set.
pub const HSW_TASKLET_BLOCK_TRAP: u32 = 64;
/// It shares a window.
pub const HSW_TASKLET_SLICED: u32 = 128;
/// It was killed ten times and refused to end; it is kept for ever.
pub const HSW_TASKLET_ZOMBIE: u32 = 256;

handle_of_thread!(hsw_tasklet, Tasklet, Tasklet, tasklets);

/// The name, for messages.
pub fn label(tasklet: &Tasklet) -> String {
    tasklet
        .name()
        .unwrap_or_else(|| format!("#{}", tasklet.id()))
}

/// Runs an operation of a tasklet; an error of it gets the tasklet's name.
fn with_tasklet<R>(
    tasklet: hsw_tasklet,
    operation: impl FnOnce(&Tasklet) -> Result<R, WaitError>,
) -> Result<R, Failure> {
    let tasklet = get(tasklet)?;
    operation(&tasklet).map_err(|ended| {
        let subject = || Subject::Named(Kind::Tasklet, label(&tasklet));
        Failure::from(ended).about(subject)
    })
}

/// Makes a tasklet that will call `function(argument)` and appends it to the run queue. It first
/// runs when the caller blocks, schedules or runs the others.
///
/// The argument is the tasklet's from now on, also when this call fails:
/// `options->destroy_argument` frees it. It must not point to a sliced stack, the caller's own
/// included. `options` may be null. `tasklet` may be null: then nobody holds a handle, and the
/// tasklet lives until it ends.
#[no_mangle]
pub unsafe extern "C" fn hsw_spawn(
    function: hsw_entry,
    argument: *mut c_void,
    options: *const hsw_tasklet_options,
    tasklet: *mut hsw_tasklet,
) -> hsw_status {
    entry(|| {
        // SAFETY: `options` is null, or as `Options::read` asks (contract of the interface); the
        // same for the next block.
        let call = Call::new(function, argument, unsafe { destroyer(options) })?;
        let options = unsafe { Options::read(options) }?;
        let spawned = options
            .builder()
            .spawn(move || call.run())
            .map_err(|error| options.failure(error))?;
        if !tasklet.is_null() {
            match hand_out(spawned.clone()) {
                Ok(handle) => set_if_wanted(tasklet, handle),
                Err(failure) => {
                    // A call that fails has done nothing.
                    drop(spawned.kill());
                    return Err(failure);
                }
            }
        }
        Ok(())
    })
}

/// Makes a tasklet that has no function yet: see `hsw_tasklet_bind`.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_new(
    options: *const hsw_tasklet_options,
    tasklet: *mut hsw_tasklet,
) -> hsw_status {
    object::make(tasklet, "tasklet", || {
        // SAFETY: `options` is null, or as `Options::read` asks (contract of the interface).
        let options = unsafe { Options::read(options) }?;
        options
            .builder()
            .build()
            .map_err(|error| options.failure(error))
    })
}

/// Makes another handle of the same tasklet, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_retain(
    tasklet: hsw_tasklet,
    other: *mut hsw_tasklet,
) -> hsw_status {
    object::retain(tasklet, other)
}

/// Gives a handle back; it is stale from now on. The tasklet lives on while it is queued or runs,
/// or there are other handles of it. If it is paused, the release of its last handle kills it.
#[no_mangle]
pub extern "C" fn hsw_tasklet_release(tasklet: hsw_tasklet) -> hsw_status {
    object::release(tasklet)
}

/// Binds a function, and keeps the site that the tasklet was made at: the caller of `bind` is only
/// a line of this library.
fn bind_without_site(
    tasklet: &Tasklet,
    bind: impl FnOnce(&Tasklet) -> Result<(), Error>,
) -> Result<(), Error> {
    let site = tasklet.stats().spawned_at;
    bind(tasklet)?;
    if crate::statistics() {
        // SAFETY: the handle keeps the task alive.
        unsafe { measure::bound_at(tasklet.as_ptr(), site.unwrap_or(NOWHERE)) };
    }
    Ok(())
}

/// Gives a tasklet that is not alive a function to run. It is *bound* then, and alive after
/// `hsw_tasklet_setup`. The argument is the tasklet's from now on, also when this call fails;
/// `destroy_argument` frees it.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_bind(
    tasklet: hsw_tasklet,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let call = Call::new(function, argument, destroy_argument)?;
        with_tasklet(tasklet, |t| {
            bind_without_site(t, |t| t.bind(move || call.run())).map_err(WaitError::Hindered)
        })
    })
}

/// As `hsw_tasklet_bind`, but the tasklet is alive and paused at once: `hsw_tasklet_insert` starts
/// it.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_bind_paused(
    tasklet: hsw_tasklet,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let call = Call::new(function, argument, destroy_argument)?;
        with_tasklet(tasklet, |t| {
            bind_without_site(t, |t| t.bind_paused(move || call.run())).map_err(WaitError::Hindered)
        })
    })
}

/// As `hsw_tasklet_bind`, with an argument that may be used and freed on any thread. So the tasklet
/// may move to another thread before it starts (`hsw_tasklet_bind_thread`).
#[cfg(feature = "std")]
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_bind_send(
    tasklet: hsw_tasklet,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let call =
            super::entry_function::SentCall(Call::new(function, argument, destroy_argument)?);
        with_tasklet(tasklet, |t| {
            bind_without_site(t, |t| t.bind_send(move || call.run())).map_err(WaitError::Hindered)
        })
    })
}

/// Takes the function away again. The tasklet ends without running anything; its argument is freed.
#[no_mangle]
pub extern "C" fn hsw_tasklet_unbind(tasklet: hsw_tasklet) -> hsw_status {
    entry(|| with_tasklet(tasklet, |t| t.unbind().map_err(WaitError::Hindered)))
}

/// Makes a bound tasklet alive and appends it to the run queue.
#[no_mangle]
pub extern "C" fn hsw_tasklet_setup(tasklet: hsw_tasklet) -> hsw_status {
    entry(|| with_tasklet(tasklet, |t| t.setup().map_err(WaitError::Hindered)))
}

/// Appends a paused tasklet to the run queue. No-op for one that is queued.
#[no_mangle]
pub extern "C" fn hsw_tasklet_insert(tasklet: hsw_tasklet) -> hsw_status {
    entry(|| with_tasklet(tasklet, |t| t.insert().map_err(WaitError::Hindered)))
}

/// Takes a tasklet out of the run queue: paused. No-op for one that is not queued.
#[no_mangle]
pub extern "C" fn hsw_tasklet_remove(tasklet: hsw_tasklet) -> hsw_status {
    entry(|| with_tasklet(tasklet, |t| t.remove().map_err(WaitError::Hindered)))
}

/// Switches to the tasklet at once. The caller stays at its place in the run queue.
#[no_mangle]
pub extern "C" fn hsw_tasklet_run(tasklet: hsw_tasklet) -> hsw_status {
    entry(|| with_tasklet(tasklet, run_tasklet::<false, _>))
}

/// Switches to the tasklet at once and pauses the caller.
#[no_mangle]
pub extern "C" fn hsw_tasklet_switch(tasklet: hsw_tasklet) -> hsw_status {
    entry(|| with_tasklet(tasklet, run_tasklet::<true, _>))
}

/// Throws an exception into the tasklet: the call it waits in returns `HSW_ERR_THROWN`. With
/// `pending` the tasklet is only made runnable, otherwise it runs at once. The payload is the
/// runtime's from now on, also when this call fails; the last copy of the exception frees it with
/// `destroy`, on whatever thread that is. `message` may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_throw(
    tasklet: hsw_tasklet,
    payload: *mut c_void,
    destroy: hsw_destroy,
    message: *const c_char,
    pending: bool,
) -> hsw_status {
    entry(|| {
        // SAFETY: `message` is null or ends in a zero byte (contract of the interface).
        let error = unsafe { payload::thrown(payload, destroy, message) };
        with_tasklet(tasklet, |t| throw(t, error, pending))
    })
}

/// Kills the tasklet: the call it waits in returns `HSW_ERR_EXIT`. With `pending` the tasklet is
/// only made runnable, otherwise it runs at once, to its end if it obeys. No-op for a tasklet that
/// is dead.
#[no_mangle]
pub extern "C" fn hsw_tasklet_kill(tasklet: hsw_tasklet, pending: bool) -> hsw_status {
    entry(|| with_tasklet(tasklet, |t| throw(t, Error::Exit, pending)))
}

pub fn state_bits(t: &Tasklet) -> u32 {
    let bits = [
        (t.is_alive(), HSW_TASKLET_ALIVE),
        (t.is_paused(), HSW_TASKLET_PAUSED),
        (t.is_blocked(), HSW_TASKLET_BLOCKED),
        (t.is_scheduled(), HSW_TASKLET_SCHEDULED),
        (t.is_main(), HSW_TASKLET_MAIN),
        (t.is_current(), HSW_TASKLET_CURRENT),
        (t.block_trap(), HSW_TASKLET_BLOCK_TRAP),
        (t.is_sliced(), HSW_TASKLET_SLICED),
        (t.is_zombie(), HSW_TASKLET_ZOMBIE),
    ];
    let set = bits.iter().filter(|(is, _)| *is);
    set.fold(0, |sum, (_, bit)| sum | bit)
}

/// The state of the tasklet: the sum of the bits `HSW_TASKLET_ALIVE` and so on that hold.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_state(tasklet: hsw_tasklet, state: *mut u32) -> hsw_status {
    ask(tasklet, state, "state", state_bits)
}

/// Sets or clears the block trap: with it, an operation that would block the tasklet fails with
/// `HSW_ERR_BLOCK_TRAP`. `old` may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_set_block_trap(
    tasklet: hsw_tasklet,
    on: bool,
    old: *mut bool,
) -> hsw_status {
    object::exchange(tasklet, old, |t| t.set_block_trap(on))
}

/// Sets or clears the atomic flag: an atomic tasklet is not interrupted by a run with a budget.
/// `old` may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_set_atomic(
    tasklet: hsw_tasklet,
    on: bool,
    old: *mut bool,
) -> hsw_status {
    object::exchange(tasklet, old, |t| t.set_atomic(on))
}

/// Sets or clears Stackless' flag that allows interrupts in nested interpreter calls. Native code
/// has no such calls: the flag is kept, and changes nothing. `old` may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_set_ignore_nesting(
    tasklet: hsw_tasklet,
    on: bool,
    old: *mut bool,
) -> hsw_status {
    object::exchange(tasklet, old, |t| t.set_ignore_nesting(on))
}

/// The next tasklet in the run queue; or, of a tasklet that is blocked on a channel and waits for
/// nothing else, in that channel's queue. The null handle at the end, and for a tasklet that waits
/// in a select or with a time limit. (A tasklet that drives the main loop while it waits, as main
/// does, is in the run queue. `hsw_channel_waiting` tells all that wait on a channel.) The caller
/// owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_next(
    tasklet: hsw_tasklet,
    next: *mut hsw_tasklet,
) -> hsw_status {
    object::ask_or_fail(tasklet, next, "next", |t| hand_out_or_none(t.next()))
}

/// The tasklet before it, otherwise as `hsw_tasklet_next`.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_prev(
    tasklet: hsw_tasklet,
    prev: *mut hsw_tasklet,
) -> hsw_status {
    object::ask_or_fail(tasklet, prev, "prev", |t| hand_out_or_none(t.prev()))
}

/// A number that is the tasklet's alone while it lives: equal ids name the same tasklet. Never 0.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_id(tasklet: hsw_tasklet, id: *mut usize) -> hsw_status {
    ask(tasklet, id, "id", |t| t.id())
}

/// The name, "" when it has none: at most `capacity` bytes including the final zero are written to
/// `buffer`, which may be null when `capacity` is 0. `length` (may be null) gets the length of the
/// whole name, without the zero.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_name(
    tasklet: hsw_tasklet,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> hsw_status {
    entry(|| {
        let name = get(tasklet)?.name().unwrap_or_default();
        // SAFETY: `buffer` is null or has `capacity` writable bytes (contract of the interface).
        unsafe { write_text(&name, buffer, capacity, length) }
    })
}

/// The place in the host's source where the tasklet was made: the file, written to `buffer` as by
/// `hsw_tasklet_name` ("" when it is not known), and the line (`line` may be null; 0 when it is not
/// known). It is known for tasklets that were made while `hsw_set_statistics` was on, with a site
/// in their `hsw_tasklet_options`.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_site(
    tasklet: hsw_tasklet,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
    line: *mut u32,
) -> hsw_status {
    entry(|| {
        let site = get(tasklet)?.stats().spawned_at.unwrap_or(NOWHERE);
        // SAFETY: `buffer` is null or has `capacity` writable bytes (contract of the interface).
        unsafe { write_text(site.file(), buffer, capacity, length) }?;
        set_if_wanted(line, site.line());
        Ok(())
    })
}

/// Takes the value out of a tasklet's transfer slot: the one that its `hsw_schedule_with`, or its
/// pending receive, would return. Null when the slot is empty. The value is the caller's.
/// `HSW_ERR_WRONG_TYPE`: it is a value of the Rust side, and stays there.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_take_tempval(
    tasklet: hsw_tasklet,
    value: *mut *mut c_void,
) -> hsw_status {
    object::ask_or_fail(tasklet, value, "value", |t| {
        match t.take_tempval().downcast::<Owned>() {
            Ok(owned) => Ok(owned.take().0),
            Err(other) if other.is_none() => Ok(core::ptr::null_mut()),
            Err(other) => {
                drop(t.set_tempval(other));
                Err(Failure::own(Error::WrongType))
            }
        }
    })
}

/// Puts a value into a tasklet's transfer slot. It is the runtime's from now on, also when this
/// call fails; `destroy` frees it. The old value is freed.
#[no_mangle]
pub extern "C" fn hsw_tasklet_set_tempval(
    tasklet: hsw_tasklet,
    value: *mut c_void,
    destroy: hsw_destroy,
) -> hsw_status {
    let value = Value::new(Owned::new(value, destroy));
    tell(tasklet, |t| drop(t.set_tempval(value)))
}

/// Keeps a pointer of the host's with the tasklet. The previous pointer is freed with the function
/// that came with it. This one is freed with `destroy` (may be null) when it is replaced, when the
/// tasklet and its last handle are gone, or when this call fails.
#[no_mangle]
pub extern "C" fn hsw_tasklet_set_user_data(
    tasklet: hsw_tasklet,
    data: *mut c_void,
    destroy: hsw_destroy,
) -> hsw_status {
    let data = Rc::new(Owned::new(data, destroy));
    tell(tasklet, |t| drop(t.set_user_data(Some(data))))
}

/// The pointer that was set; null when there is none. It stays the tasklet's.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_user_data(
    tasklet: hsw_tasklet,
    data: *mut *mut c_void,
) -> hsw_status {
    ask(tasklet, data, "data", |t| {
        let kept = t.user_data_as::<Owned>();
        kept.map_or(core::ptr::null_mut(), |owned| owned.peek().0)
    })
}

/// Sets an error handler for this tasklet; null clears it. It is asked before the thread's handler
/// (`hsw_set_error_handler`), which is asked if this one does not return `HSW_OK`.
#[no_mangle]
pub extern "C" fn hsw_tasklet_set_error_handler(
    tasklet: hsw_tasklet,
    handler: hsw_error_handler,
    user: *mut c_void,
) -> hsw_status {
    tell(tasklet, |t| {
        let hook = handler.map(|handler| super::scheduler::error_hook(handler, user));
        drop(t.set_error_handler(hook));
    })
}

/// The thread that the tasklet belongs to, as `hsw_thread_id` says it there.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_thread_id(tasklet: hsw_tasklet, id: *mut u64) -> hsw_status {
    ask(tasklet, id, "id", |t| t.thread_id())
}

/// When a tasklet ran, in nanoseconds of the thread's clock; measured while `hsw_set_statistics` is
/// on.
#[repr(C)]
pub struct hsw_tasklet_times {
    /// How long it has run, the sum of all turns.
    pub run_ns: u64,
    /// When it was first switched to; `HSW_NO_LIMIT`: not yet, or not measured.
    pub started_ns: u64,
    /// When it ended; `HSW_NO_LIMIT`: not yet, or not measured.
    pub ended_ns: u64,
}

/// The times of one tasklet.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_get_times(
    tasklet: hsw_tasklet,
    times: *mut hsw_tasklet_times,
) -> hsw_status {
    ask(tasklet, times, "times", |t| {
        let stats = t.stats();
        let ns = |time: core::time::Duration| time.as_nanos() as u64;
        hsw_tasklet_times {
            run_ns: ns(stats.run_time),
            started_ns: stats.started.map_or(HSW_NO_LIMIT, ns),
            ended_ns: stats.ended.map_or(HSW_NO_LIMIT, ns),
        }
    })
}

/// Measurements of a tasklet.
#[repr(C)]
pub struct hsw_tasklet_stats {
    /// How often it was switched to.
    pub switches: u64,
    /// Bytes of live stack while parked; 0 while it runs and when it has no stack.
    pub stack_bytes: usize,
    /// Bytes of the heap buffer that holds its slice.
    pub slice_bytes: usize,
}

/// The figures of one tasklet.
#[no_mangle]
pub unsafe extern "C" fn hsw_tasklet_get_stats(
    tasklet: hsw_tasklet,
    stats: *mut hsw_tasklet_stats,
) -> hsw_status {
    ask(tasklet, stats, "stats", |t| {
        let stats = t.stats();
        hsw_tasklet_stats {
            switches: stats.switches,
            stack_bytes: stats.stack_bytes,
            slice_bytes: stats.slice_bytes,
        }
    })
}

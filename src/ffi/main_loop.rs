//! The main loop, what other threads may ask of it, and sleeping.

use core::ffi::c_void;
use core::time::Duration;
use std::time::Instant;

use super::entry_function::{hsw_entry, Call, SentCall};
use super::object::{self, get, handle_of_process, tell};
use super::run::{nanoseconds, HSW_NO_LIMIT};
use super::value::hsw_destroy;
use super::{entry, hsw_status, out, set_if_wanted, time_limit, Failure};
use crate::event::PostError;
use crate::main_loop::{Remote, Work};
use crate::MainLoop;

fn current() -> Result<MainLoop, Failure> {
    MainLoop::current().map_err(Failure::own)
}

/// One frame: wakes the tasklets whose sleep is over, whose socket is ready or whose worker has
/// answered, then runs tasklets until none is runnable or `budget_ns` nanoseconds are over. With a
/// budget it may wait within it, 250 us at a time, for a peer that has brought 1 MiB or more in
/// this frame; otherwise it never waits. `HSW_NO_LIMIT`: no budget. `complete` (may be null) tells
/// whether all tasklets ran until they blocked.
///
/// The clock is looked at on every switch, but at least one tasklet has its turn. A tasklet that
/// got no turn is among the first in the next tick. Call it from the main tasklet. Fails with the
/// error of a tasklet that nobody handled; the other tasklets stay queued for the next tick.
#[no_mangle]
pub unsafe extern "C" fn hsw_tick(budget_ns: u64, complete: *mut bool) -> hsw_status {
    entry(|| {
        let main_loop = current()?;
        let all = match time_limit(budget_ns)? {
            Some(budget) => main_loop.tick_for_or(budget)?,
            None => {
                main_loop.tick_or()?;
                true
            }
        };
        set_if_wanted(complete, all);
        Ok(())
    })
}

/// Wakes tasklets as `hsw_tick` does, but runs none. Waits up to `limit_ns` nanoseconds for
/// something to happen (`HSW_NO_LIMIT`: as long as it takes), and not at all while tasklets are
/// runnable. `done` (may be null) gets how many things happened. A game loop calls this in the rest
/// of its frame, instead of sleeping.
#[no_mangle]
pub unsafe extern "C" fn hsw_pump(limit_ns: u64, done: *mut usize) -> hsw_status {
    entry(|| {
        set_if_wanted(done, current()?.pump_or(time_limit(limit_ns)?)?);
        Ok(())
    })
}

/// Pumps, waits and runs tasklets until none is runnable, sleeping, waiting for a socket or in an
/// offload call, and nobody has an `hsw_work` of the loop. For programs without frames.
#[no_mangle]
pub extern "C" fn hsw_run_until_idle() -> hsw_status {
    entry(|| Ok(current()?.free_run(true)?))
}

/// As `hsw_run_until_idle`, but when idle it waits for what other threads send (`hsw_loop_post`),
/// until `hsw_loop_stop`. For threads that serve others.
#[no_mangle]
pub extern "C" fn hsw_run_until_stopped() -> hsw_status {
    entry(|| Ok(current()?.free_run(false)?))
}

/// What the calling thread's loop waits for.
#[repr(C)]
pub struct hsw_loop_info {
    /// Is there nothing that could wake a tasklet: no timer, no socket waited for, no offload call,
    /// no event, no `hsw_work`? (Another thread may still do so.)
    pub idle: bool,
    /// Tasklets that wait for sockets.
    pub sockets: usize,
    /// Sleepers, timeouts and timers.
    pub timers: usize,
    /// Nanoseconds until the first of those is due; `HSW_NO_LIMIT`: there is none.
    pub next_ns: u64,
}

/// Sets how many bytes a socket of the calling thread may move before its next operation waits for
/// the loop once, which lets the others run; 1 MiB by default. It is the most that a pump does for
/// a socket whose peer is fast: a smaller number makes the turns of such a socket shorter, with a
/// larger one the others wait longer for theirs. `SIZE_MAX`: nothing but the peer ends a turn; 0:
/// each operation waits. It holds for a socket from its next wait on.
#[no_mangle]
pub extern "C" fn hsw_loop_set_burst(bytes: usize) -> hsw_status {
    entry(|| {
        current()?.set_burst(bytes);
        Ok(())
    })
}

/// How many bytes `hsw_loop_set_burst` has set.
#[no_mangle]
pub unsafe extern "C" fn hsw_loop_get_burst(bytes: *mut usize) -> hsw_status {
    entry(|| {
        out(bytes, "bytes")?.set(current()?.burst());
        Ok(())
    })
}

/// What the calling thread's loop waits for.
#[no_mangle]
pub unsafe extern "C" fn hsw_get_loop_info(info: *mut hsw_loop_info) -> hsw_status {
    entry(|| {
        let wanted = out(info, "info")?;
        let main_loop = current()?;
        let (sockets, timers) = main_loop.waiting();
        let due = main_loop.next_deadline();
        let due = due.map(|at| at.saturating_duration_since(Instant::now()));
        let next = due.into_iter().chain(crate::time::until_next()).min();
        wanted.set(hsw_loop_info {
            idle: main_loop.is_idle(),
            sockets,
            timers: timers + crate::time::timeouts(),
            next_ns: next.map_or(HSW_NO_LIMIT, nanoseconds),
        });
        Ok(())
    })
}

/// A reference to a thread's main loop. Any thread may use it, and give it back. It does not keep
/// the loop alive.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_loop {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

handle_of_process!(hsw_loop, Remote, Loop);

/// The calling thread's loop, for other threads. The caller owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_loop_current(main_loop: *mut hsw_loop) -> hsw_status {
    object::make(main_loop, "main_loop", || Ok(current()?.remote()))
}

/// Makes another handle of the same loop, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_loop_retain(main_loop: hsw_loop, other: *mut hsw_loop) -> hsw_status {
    object::retain(main_loop, other)
}

/// Gives a handle back. It is stale from now on, for all threads.
#[no_mangle]
pub extern "C" fn hsw_loop_release(main_loop: hsw_loop) -> hsw_status {
    object::release(main_loop)
}

/// Has the loop's thread call `function(argument)` in its next pump, and ends its wait. Events are
/// called in the order they came, on the tasklet that pumps. They may send on channels with a
/// waiting receiver, and spawn tasklets; work that blocks for long belongs in such a tasklet.
///
/// If the function returns something other than `HSW_OK`, that is the failure of a tasklet made for
/// this purpose: it goes to the error handler, or arrives from the next `hsw_run` or `hsw_tick`.
///
/// The argument is the runtime's from now on, also when this call fails: `destroy_argument` frees
/// it, on whatever thread, when the function has returned or will not be called. It must not point
/// to a sliced stack.
///
/// `HSW_ERR_STATE`: the thread is gone. `HSW_ERR_LIMIT`: 16,384 events wait for its next pump.
#[no_mangle]
pub unsafe extern "C" fn hsw_loop_post(
    main_loop: hsw_loop,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
) -> hsw_status {
    entry(|| {
        let call = SentCall(Call::new(function, argument, destroy_argument)?);
        let posted = get(main_loop)?.post(move || call.call_back());
        posted.map_err(|error| {
            let status = match error {
                PostError::Closed => hsw_status::HSW_ERR_STATE,
                PostError::Full => hsw_status::HSW_ERR_LIMIT,
            };
            Failure::Told(status, error.to_string())
        })
    })
}

/// Ends the loop's wait (in `hsw_pump`, and in the runs that wait), or its next one if it does not
/// wait now. No-op when the thread is gone.
#[no_mangle]
pub extern "C" fn hsw_loop_interrupt(main_loop: hsw_loop) -> hsw_status {
    tell(main_loop, Remote::interrupt)
}

/// Ends `hsw_run_until_stopped` or `hsw_run_until_idle` once the tasklets that are runnable have
/// run. If neither is under way, ends the next one. No-op when the thread is gone.
#[no_mangle]
pub extern "C" fn hsw_loop_stop(main_loop: hsw_loop) -> hsw_status {
    tell(main_loop, Remote::stop)
}

/// A promise that its holder will post to a loop. Until it is given back the loop is not idle, and
/// if the last runnable tasklet of its thread blocks, the thread sleeps instead of failing with
/// `HSW_ERR_DEADLOCK` (if the process has other threads). It is for threads that the library knows
/// nothing of, as long as they have work for the loop. (An `hsw_loop` alone promises nothing:
/// anybody may keep one.) Any thread may use it, and give it back.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_work {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

handle_of_process!(hsw_work, Work, Work);

/// Has the loop wait for what the caller will post. The caller owns the handle.
#[no_mangle]
pub unsafe extern "C" fn hsw_loop_work(main_loop: hsw_loop, work: *mut hsw_work) -> hsw_status {
    object::make(work, "work", || Ok(get(main_loop)?.work()))
}

/// One more promise, with an owner of its own: the loop waits until both are given back.
#[no_mangle]
pub unsafe extern "C" fn hsw_work_retain(work: hsw_work, other: *mut hsw_work) -> hsw_status {
    object::retain(work, other)
}

/// Ends the promise. Ends the loop's wait as well, if this was the last promise and nothing else is
/// left to wait for.
#[no_mangle]
pub extern "C" fn hsw_work_release(work: hsw_work) -> hsw_status {
    object::release(work)
}

/// Blocks the calling tasklet for at least this many nanoseconds; the others run meanwhile. 0 lets
/// them run once, as `hsw_schedule` does; `HSW_NO_LIMIT` sleeps until the tasklet is killed.
/// `HSW_ERR_ARGUMENT`: any other number above `INT64_MAX`, which negative numbers become.
#[no_mangle]
pub extern "C" fn hsw_sleep(nanoseconds: u64) -> hsw_status {
    entry(|| {
        let time = time_limit(nanoseconds)?.unwrap_or(Duration::MAX);
        Ok(crate::main_loop::sleep_or(time)?)
    })
}

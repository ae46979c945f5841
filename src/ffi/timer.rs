//! Clocks and their timers.

use core::ffi::c_void;
use core::ops::Deref;
use core::time::Duration;

use alloc::format;

use super::entry_function::{hsw_entry, Call};
use super::object::{self, get, hand_out, handle_of_thread};
use super::run::nanoseconds;
use super::value::hsw_destroy;
use super::{entry, hsw_status, out, set_if_wanted, time_limit, Done, Failure};
use crate::timer::{Clock, SimClock, Timer};
use crate::Error;

/// A handle of a clock that has timers; the rules for its owner and thread are those of
/// `hsw_tasklet`. (The function of `hsw_set_clock` is a different thing: the source of time for
/// budgets and for the timeouts of channels.)
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_timer_clock {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// A handle of a timer; the rules for its owner and thread are those of `hsw_tasklet`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct hsw_timer {
    /// Opaque; zero is nothing.
    pub handle: u64,
}

/// The clock that a handle names.
#[derive(Clone)]
pub(super) enum CClock {
    Wall(Clock),
    Sim(SimClock),
}

impl Deref for CClock {
    type Target = Clock;

    fn deref(&self) -> &Clock {
        match self {
            CClock::Wall(clock) => clock,
            CClock::Sim(clock) => clock,
        }
    }
}

handle_of_thread!(hsw_timer_clock, CClock, TimerClock, clocks);
handle_of_thread!(hsw_timer, Timer, Timer, timers);

fn simulated(clock: hsw_timer_clock) -> Result<SimClock, Failure> {
    match get(clock)? {
        CClock::Sim(clock) => Ok(clock),
        CClock::Wall(_) => Err(Failure::Argument(
            "the clock of wall time cannot be paused, scaled or set".into(),
        )),
    }
}

/// A duration or a moment of C's; `HSW_NO_LIMIT` becomes the longest there is.
fn stretch(time_ns: u64) -> Result<Duration, Failure> {
    Ok(time_limit(time_ns)?.unwrap_or(Duration::MAX))
}

/// Hands the timer out, if a handle is wanted. If that fails the timer is cancelled.
fn armed(timer: Result<Timer, Error>, wanted: *mut hsw_timer) -> Done {
    let timer = timer.map_err(Failure::own)?;
    if wanted.is_null() {
        return Ok(());
    }
    match hand_out(timer.clone()) {
        Ok(handle) => {
            set_if_wanted(wanted, handle);
            Ok(())
        }
        Err(failure) => {
            timer.cancel();
            Err(failure)
        }
    }
}

/// Gets the calling thread's clock of wall time, which follows the system's monotonic clock from
/// its first use on.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_clock_wall(clock: *mut hsw_timer_clock) -> hsw_status {
    object::make(clock, "clock", || {
        Clock::wall().map(CClock::Wall).map_err(Failure::own)
    })
}

/// Gets the calling thread's clock of simulated time: the same clock with each call. It runs as
/// wall time does until the host changes that.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_clock_simulated(clock: *mut hsw_timer_clock) -> hsw_status {
    object::make(clock, "clock", || {
        SimClock::current().map(CClock::Sim).map_err(Failure::own)
    })
}

/// Makes another clock of simulated time, which shows zero.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_clock_new(clock: *mut hsw_timer_clock) -> hsw_status {
    object::make(clock, "clock", || Ok(CClock::Sim(SimClock::new())))
}

/// Makes another handle of the same clock, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_clock_retain(
    clock: hsw_timer_clock,
    other: *mut hsw_timer_clock,
) -> hsw_status {
    object::retain(clock, other)
}

/// Gives a handle back; it is stale from now on. The clock's timers still fire.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_release(clock: hsw_timer_clock) -> hsw_status {
    object::release(clock)
}

/// What the clock shows: nanoseconds since its start.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_clock_now(
    clock: hsw_timer_clock,
    now_ns: *mut u64,
) -> hsw_status {
    object::ask(clock, now_ns, "now_ns", |clock| nanoseconds(clock.now()))
}

/// Stops a clock of simulated time. To stop it twice is fine. `HSW_ERR_ARGUMENT`, here and in the
/// next four functions: it is the clock of wall time.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_pause(clock: hsw_timer_clock) -> hsw_status {
    entry(|| {
        simulated(clock)?.pause();
        Ok(())
    })
}

/// Lets a stopped clock run again. To call it twice is fine.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_resume(clock: hsw_timer_clock) -> hsw_status {
    entry(|| {
        simulated(clock)?.resume();
        Ok(())
    })
}

/// Lets the clock run `scale` times as fast as wall time; at 0 it stands still. `HSW_ERR_ARGUMENT`:
/// `scale` is negative, infinite or no number.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_set_scale(clock: hsw_timer_clock, scale: f64) -> hsw_status {
    entry(|| {
        let clock = simulated(clock)?;
        if !(scale.is_finite() && scale >= 0.0) {
            return Err(Failure::Argument(format!(
                "scale: {scale} is not a finite number from 0 on"
            )));
        }
        clock.set_scale(scale).map_err(Failure::own)
    })
}

/// Puts the clock forward, paused or not. Functions that become due are called in the next pump.
/// `HSW_ERR_ARGUMENT`: `by_ns` is more than `INT64_MAX`.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_advance(clock: hsw_timer_clock, by_ns: u64) -> hsw_status {
    entry(|| {
        let clock = simulated(clock)?;
        clock.advance(stretch(by_ns)?);
        Ok(())
    })
}

/// Sets the time that the clock shows, forward or back; `HSW_NO_LIMIT` is the latest there is.
/// Timers keep their moments. `HSW_ERR_ARGUMENT`: any other number above `INT64_MAX`.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_set(clock: hsw_timer_clock, now_ns: u64) -> hsw_status {
    entry(|| {
        simulated(clock)?.set(stretch(now_ns)?);
        Ok(())
    })
}

/// Figures of a clock.
#[repr(C)]
pub struct hsw_timer_clock_info {
    /// Whether it shows simulated time, not wall time.
    pub simulated: bool,
    /// Does it stand still because it was paused?
    pub paused: bool,
    /// How many times as fast as wall time it runs when it is not paused.
    pub scale: f64,
    /// Timers and sleepers that wait.
    pub pending: usize,
    /// When the next of them is due, by this clock; `HSW_NO_LIMIT` when there is none, or the
    /// moment is too late for this number.
    pub next_due_ns: u64,
}

/// The figures of a clock.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_clock_get_info(
    clock: hsw_timer_clock,
    info: *mut hsw_timer_clock_info,
) -> hsw_status {
    entry(|| {
        let info = out(info, "info")?;
        let clock = get(clock)?;
        let (simulated, paused, scale) = match &clock {
            CClock::Wall(_) => (false, false, 1.0),
            CClock::Sim(clock) => (true, clock.is_paused(), clock.scale()),
        };
        info.set(hsw_timer_clock_info {
            simulated,
            paused,
            scale,
            pending: clock.pending(),
            next_due_ns: clock
                .next_due()
                .map_or(super::run::HSW_NO_LIMIT, nanoseconds),
        });
        Ok(())
    })
}

/// Blocks the calling tasklet for at least this many nanoseconds of this clock; the others run
/// meanwhile. 0 lets them run once; `HSW_NO_LIMIT` sleeps until the tasklet is killed.
/// `HSW_ERR_ARGUMENT`: any other number above `INT64_MAX`, which negative numbers become.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_sleep(clock: hsw_timer_clock, time_ns: u64) -> hsw_status {
    entry(|| {
        let clock = get(clock)?;
        Ok(clock.sleep_or(stretch(time_ns)?)?)
    })
}

/// As `hsw_timer_clock_sleep`, until the clock shows `at_ns`. If that is past, the others run once;
/// `HSW_NO_LIMIT` never comes.
#[no_mangle]
pub extern "C" fn hsw_timer_clock_sleep_until(clock: hsw_timer_clock, at_ns: u64) -> hsw_status {
    entry(|| {
        let clock = get(clock)?;
        Ok(clock.sleep_until_or(stretch(at_ns)?)?)
    })
}

/// Has `function(argument)` called once, after `delay_ns` nanoseconds of the clock and never
/// before. It is called in a pump of the thread's main loop (`hsw_tick`, `hsw_pump`), on the
/// tasklet that pumps; several due functions are called in the order of their moments. Work that
/// takes long, or blocks, belongs in a tasklet that the function spawns. If the function returns
/// something other than `HSW_OK`, that is the failure of a tasklet made for this purpose: it goes
/// to the error handler, or arrives from the next `hsw_run` or `hsw_tick`.
///
/// The argument is the timer's from now on, also when this call fails: `destroy_argument` (may be
/// null) frees it when the function has returned, the timer is cancelled, or the thread ends.
/// `timer` may be null: then the timer cannot be cancelled.
///
/// `HSW_ERR_ARGUMENT`: the delay is more than `INT64_MAX`, which negative numbers become, and not
/// `HSW_NO_LIMIT`.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_call_later(
    clock: hsw_timer_clock,
    delay_ns: u64,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
    timer: *mut hsw_timer,
) -> hsw_status {
    entry(|| {
        let alarm = Call::new(function, argument, destroy_argument)?;
        let clock = get(clock)?;
        armed(
            clock.call_later(stretch(delay_ns)?, move || alarm.call_back()),
            timer,
        )
    })
}

/// As `hsw_timer_call_later`, when the clock shows `at_ns`: in the next pump if that is past, and
/// never with `HSW_NO_LIMIT`.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_call_at(
    clock: hsw_timer_clock,
    at_ns: u64,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
    timer: *mut hsw_timer,
) -> hsw_status {
    entry(|| {
        let alarm = Call::new(function, argument, destroy_argument)?;
        let clock = get(clock)?;
        armed(
            clock.call_at(stretch(at_ns)?, move || alarm.call_back()),
            timer,
        )
    })
}

/// As `hsw_timer_call_later`, every `period_ns` nanoseconds, until the timer is cancelled or the
/// thread ends; failures do not end it. It keeps its beat: however many periods were missed, it is
/// called once for them. `HSW_ERR_ARGUMENT`: also for a period of zero.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_repeat(
    clock: hsw_timer_clock,
    period_ns: u64,
    function: hsw_entry,
    argument: *mut c_void,
    destroy_argument: hsw_destroy,
    timer: *mut hsw_timer,
) -> hsw_status {
    entry(|| {
        let alarm = Call::new(function, argument, destroy_argument)?;
        let clock = get(clock)?;
        if period_ns == 0 {
            return Err(Failure::Argument("period_ns: a period of zero".into()));
        }
        armed(
            clock.repeat(stretch(period_ns)?, move || alarm.call_back()),
            timer,
        )
    })
}

/// Makes another handle of the same timer, with an owner of its own.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_retain(timer: hsw_timer, other: *mut hsw_timer) -> hsw_status {
    object::retain(timer, other)
}

/// Gives a handle back; it is stale from now on. The timer still fires: call `hsw_timer_cancel`
/// first to stop it.
#[no_mangle]
pub extern "C" fn hsw_timer_release(timer: hsw_timer) -> hsw_status {
    object::release(timer)
}

/// Cancels a timer: the function will not be called (again). `was_pending` (may be null) tells
/// whether it would have been. To cancel a timer twice, or one that has fired, is fine; then
/// `was_pending` is false.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_cancel(timer: hsw_timer, was_pending: *mut bool) -> hsw_status {
    object::exchange(timer, was_pending, |timer| timer.cancel())
}

/// Whether the function will be called (again), and if so when, by the timer's clock (`UINT64_MAX`:
/// too late for this number). Each may be null; `due_ns` is left alone if no call is to come.
#[no_mangle]
pub unsafe extern "C" fn hsw_timer_state(
    timer: hsw_timer,
    pending: *mut bool,
    due_ns: *mut u64,
) -> hsw_status {
    entry(|| {
        let due = get(timer)?.due();
        set_if_wanted(pending, due.is_some());
        if let Some(at) = due {
            set_if_wanted(due_ns, nanoseconds(at));
        }
        Ok(())
    })
}

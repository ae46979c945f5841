//! Runs with a budget, the order of tasklets, the clock, and measurements.

use core::ffi::c_void;
use core::time::Duration;

use super::entry_function::hsw_entry;
use super::failure::Failure;
use super::last_error;
use super::object::hand_out_or_none;
use super::tasklet::hsw_tasklet;
use super::{entry, hsw_status, out, quietly, set_if_wanted, thread_state, time_limit};
use crate::{Budget, Error, StateError};

/// How long a run may take, in turns of tasklets and in time; the limit that is reached first
/// counts. `HSW_NO_LIMIT` is no limit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hsw_budget {
    /// How often a tasklet may be switched to. A tasklet that schedules while no other can run uses
    /// a turn as well. With 0 nobody runs.
    pub switches: u64,
    /// Nanoseconds. 0 allows one turn.
    pub time_ns: u64,
}

/// No limit: of a budget, or of the time that a call waits.
pub const HSW_NO_LIMIT: u64 = 0xffff_ffff_ffff_ffff;

/// What `hsw_run_with` has done.
#[repr(C)]
pub struct hsw_run_report {
    /// Tasklets that are still in the run queue, the caller not included.
    pub runnable: usize,
    /// Turns that tasklets had.
    pub switches: u64,
    /// Tasklets that ended.
    pub completed: u64,
    /// What is left of the budget; `HSW_NO_LIMIT` where there was no limit.
    pub left: hsw_budget,
    /// Whether the budget was used up.
    pub used_up: bool,
    /// The tasklet that was giving way at that moment, if it is still queued; else the null handle.
    /// The caller owns the handle.
    pub interrupted: hsw_tasklet,
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(HSW_NO_LIMIT)
}

impl hsw_budget {
    fn read(&self) -> Result<Budget, Failure> {
        let mut budget = Budget::UNLIMITED;
        if self.switches != HSW_NO_LIMIT {
            budget = budget.and_switches(self.switches);
        }
        if let Some(time) = time_limit(self.time_ns)? {
            budget = budget.and_time(time);
        }
        Ok(budget)
    }

    fn from(budget: Budget) -> hsw_budget {
        hsw_budget {
            switches: budget.max_switches().unwrap_or(HSW_NO_LIMIT),
            time_ns: budget.max_time().map_or(HSW_NO_LIMIT, nanoseconds),
        }
    }
}

/// As `hsw_run`, but comes back when the budget is used up; the other tasklets stay queued, and the
/// next run goes on with them. The budget is checked when tasklets switch: one that never gives way
/// keeps its turn. Atomic tasklets are not interrupted. `report` may be null.
#[no_mangle]
pub unsafe extern "C" fn hsw_run_with(
    budget: *const hsw_budget,
    report: *mut hsw_run_report,
) -> hsw_status {
    entry(|| {
        // SAFETY: `budget` is null or points to a readable budget (contract of the interface).
        let budget = unsafe { budget.as_ref() }.ok_or(Failure::Null("budget"))?;
        let done = crate::core::run::run_with_or(budget.read()?)?;
        if report.is_null() {
            return Ok(());
        }
        let interrupted = hand_out_or_none(done.interrupted)?;
        set_if_wanted(
            report,
            hsw_run_report {
                runnable: done.runnable,
                switches: done.switches,
                completed: done.completed,
                left: hsw_budget::from(done.left),
                used_up: done.used_up,
                interrupted,
            },
        );
        Ok::<(), Failure>(())
    })
}

/// Sets for the calling thread whether `hsw_tasklet_run` nests, as in Stackless (the default), or
/// puts its target first and leaves the order of all others. Returns the old setting.
#[no_mangle]
pub extern "C" fn hsw_set_use_nested_tasklets(nested: bool) -> bool {
    quietly(true, || crate::set_use_nested_tasklets(nested))
}

/// Sets whether the run times of the calling thread's tasklets are measured; not by default.
/// Returns the old setting.
#[no_mangle]
pub extern "C" fn hsw_set_statistics(on: bool) -> bool {
    quietly(false, || crate::set_statistics(on))
}

/// A monotonic clock: nanoseconds since any fixed moment. It must not unwind or call this library.
pub type hsw_clock = Option<unsafe extern "C" fn() -> u64>;

fn ask_clock_of_c() -> u64 {
    let clock = thread_state::with(|part| Ok(part.hooks.clock.get()));
    match clock {
        // SAFETY: `clock` is an `hsw_clock` that does not unwind (contract of the interface).
        Ok(Some(clock)) => thread_state::returning(|| unsafe { thread_state::unwindable(clock)() }),
        _ => 0,
    }
}

/// Gives the calling thread a clock for budgets, timeouts and measurements; null: the system's.
/// Without std there is no clock of the system: budgets in time and timeouts fail with
/// `HSW_ERR_STATE` until the host gives one.
#[no_mangle]
pub extern "C" fn hsw_set_clock(clock: hsw_clock) -> hsw_status {
    entry(|| {
        thread_state::with(|part| {
            part.hooks.clock.set(clock);
            Ok(())
        })?;
        crate::time::set_clock(clock.map(|_| ask_clock_of_c as crate::time::Clock));
        Ok::<(), Failure>(())
    })
}

/// The time of the calling thread's clock, in nanoseconds.
#[no_mangle]
pub unsafe extern "C" fn hsw_now_ns(now: *mut u64) -> hsw_status {
    entry(|| {
        let now = out(now, "now")?;
        let time = crate::time::now().ok_or_else(|| Failure::own(StateError::NoClock))?;
        now.set(nanoseconds(time));
        Ok(())
    })
}

/// Ends the waits of the calling thread whose time has come; returns how many. For hosts that do
/// not pump the main loop: `hsw_pump` does the same.
#[no_mangle]
pub extern "C" fn hsw_fire_due() -> usize {
    quietly(0, crate::time::fire_due)
}

/// Calls `function(argument)` with a time limit for all its waits. When `timeout_ns` nanoseconds
/// are over, the wait that it is in, of any kind, fails with `HSW_ERR_THROWN`; if the function
/// passes that on (`return status`), this call fails with `HSW_ERR_TIMEOUT`. Otherwise it returns
/// what the function returned. `HSW_NO_LIMIT`: no limit. Calls nest. A function that does not wait
/// is not interrupted. `argument` may point to the caller's stack.
///
/// The clock is looked at as in `hsw_channel_send_timeout`.
#[no_mangle]
pub unsafe extern "C" fn hsw_timeout(
    timeout_ns: u64,
    function: hsw_entry,
    argument: *mut c_void,
) -> hsw_status {
    entry(|| {
        let time = time_limit(timeout_ns)?;
        let function = function.ok_or(Failure::Null("function"))?;
        // SAFETY: `function` is an `hsw_entry` that accepts this argument (contract of the
        // interface); if it is unwound, the process ends (`thread_state::returning`).
        let call = || {
            last_error::passed_on(thread_state::inside(|| unsafe {
                thread_state::unwindable(function)(argument)
            }))
        };
        let Some(time) = time else {
            return call().map_err(|(_, failure)| failure);
        };
        let mut passed = None;
        let ended = crate::time::timeout(time, || {
            call().map_err(|(error, failure)| {
                passed = Some((matches!(error, Error::Thrown(_)), failure));
                error
            })
        });
        match (ended, passed) {
            (Ok(()), _) => Ok(()),
            // The limit's own exception has become the timeout of this call.
            (Err(error @ Error::Timeout), Some((true, _))) => Err(Failure::own(error)),
            (Err(_), Some((_, failure))) => Err(failure),
            (Err(error), None) => Err(Failure::own(error)),
        }
    })
}

/// Nanoseconds until the next wait with a timeout is due; `HSW_NO_LIMIT` when there is none.
#[no_mangle]
pub extern "C" fn hsw_until_next_ns() -> u64 {
    quietly(HSW_NO_LIMIT, || {
        crate::time::until_next().map_or(HSW_NO_LIMIT, nanoseconds)
    })
}

/// Counters of the calling thread.
#[repr(C)]
pub struct hsw_counters {
    /// Tasklets that were ever made, main included.
    pub tasklets_made: u64,
    /// Tasklets that have run to their end.
    pub tasklets_completed: u64,
    /// Turns that tasklets had in the last `hsw_run_with`.
    pub last_run_switches: u64,
    /// Tasklets that ended in the last `hsw_run_with`.
    pub last_run_completed: u64,
    /// Channels and queues of the host that exist.
    pub channels: usize,
    /// Waits with a timeout that are going on.
    pub timeouts: usize,
}

/// The counters of the calling thread.
#[no_mangle]
pub unsafe extern "C" fn hsw_get_counters(counters: *mut hsw_counters) -> hsw_status {
    entry(|| {
        let wanted = out(counters, "counters")?;
        let stats = crate::stats();
        wanted.set(hsw_counters {
            tasklets_made: stats.tasklets_made,
            tasklets_completed: stats.tasklets_completed,
            last_run_switches: stats.last_run_switches,
            last_run_completed: stats.last_run_completed,
            channels: stats.channels,
            timeouts: stats.timeouts,
        });
        Ok(())
    })
}

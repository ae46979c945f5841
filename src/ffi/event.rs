//! The main loop and sleeping.

use core::time::Duration;

use super::{entry, hsw_status, set_if_wanted, time_limit};
use crate::MainLoop;

/// One frame: wakes the tasklets whose sleep is over, whose socket is ready or whose worker has answered, then runs tasklets until
/// none is runnable or `budget_ns` nanoseconds are over. Never waits. `HSW_NO_LIMIT`: no budget. `complete` (may be null) tells
/// whether all ran until they blocked.
///
/// The clock is looked at on every switch, after one turn at least; who did not get a turn is first in the next tick. Call it from the main tasklet. Fails with the error of a tasklet that nobody handled; the others
/// stay queued for the next tick.
#[no_mangle]
pub unsafe extern "C" fn hsw_tick(budget_ns: u64, complete: *mut bool) -> hsw_status {
    entry(|| {
        let main_loop = MainLoop::current()?;
        let all = match time_limit(budget_ns) {
            Some(budget) => main_loop.tick_for(budget)?,
            None => {
                main_loop.tick()?;
                true
            }
        };
        set_if_wanted(complete, all);
        Ok(())
    })
}

/// Wakes tasklets as `hsw_tick` does, but runs none. Waits up to `limit_ns` nanoseconds for something to happen (`HSW_NO_LIMIT`: as
/// long as it takes), and not at all while tasklets are runnable. `done` (may be null) gets how much happened. What a game loop
/// calls in the rest of its frame, instead of sleeping.
#[no_mangle]
pub unsafe extern "C" fn hsw_pump(limit_ns: u64, done: *mut usize) -> hsw_status {
    entry(|| {
        set_if_wanted(done, MainLoop::current()?.pump(time_limit(limit_ns))?);
        Ok(())
    })
}

/// Pumps, waits and runs tasklets until none is runnable, sleeping, at a socket or in an offload call. For programs without frames.
#[no_mangle]
pub extern "C" fn hsw_run_until_idle() -> hsw_status {
    entry(|| Ok(MainLoop::current()?.run_until_idle()?))
}

/// Blocks the calling tasklet for at least so many nanoseconds; the others run meanwhile. 0 lets them run once, as `hsw_schedule`.
#[no_mangle]
pub extern "C" fn hsw_sleep(nanoseconds: u64) -> hsw_status {
    entry(|| {
        Ok(crate::sleep(
            time_limit(nanoseconds).unwrap_or(Duration::MAX),
        )?)
    })
}

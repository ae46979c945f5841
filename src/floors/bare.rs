//! Without std: the library knows no other threads, and there is no loop to sleep in.

use crate::core::above::Ending;
use crate::core::runtime::Runtime;
use crate::error::Result;
use crate::wait::time;

pub(super) fn attached(_: &Runtime) {}

pub(super) fn ending(_: Ending) -> bool {
    false
}

pub(super) fn watch_forks() {}

pub(super) fn attend(_: &Runtime) -> Result<()> {
    Ok(())
}

pub(super) fn read_inbox() {}

pub(super) fn turn_is_up() -> bool {
    false
}

pub(super) fn turn_over() {}

/// Without std only timeouts are served, and nothing sleeps.
pub(super) fn pump(runtime: &Runtime, _over: &dyn Fn() -> bool) -> Result<bool> {
    if runtime.deadlines.waiting() == 0 {
        return Ok(false);
    }
    time::fire_due();
    core::hint::spin_loop();
    Ok(true)
}

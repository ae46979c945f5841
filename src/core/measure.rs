//! What is measured about each tasklet: where it was spawned, when it began and
//! ended, how long it ran. It is off until it is asked for, and costs nothing then.

use alloc::boxed::Box;
use core::time::Duration;

use crate::core::extra::{Measured, Site};
use crate::core::hooks::HOOK_STATS;
use crate::core::runtime::Runtime;
use crate::core::task::{flag, Task};

/// Measurements of one tasklet. Times are those of the thread's clock
/// ([`time::now`](crate::time::now)); they and the spawn site are there if
/// [`set_statistics`] was on when they could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskletStats {
    /// How often it was switched to.
    pub switches: u64,
    /// Bytes of live stack while parked; 0 while it runs and when it has none.
    pub stack_bytes: usize,
    /// Bytes of the heap buffer that holds its slice (kept while it runs).
    pub slice_bytes: usize,
    /// Bytes of its frames that spills have moved to the heap.
    pub spilled_bytes: usize,
    /// How long it has run, all turns together.
    pub run_time: Duration,
    /// When it was first switched to.
    pub started: Option<Duration>,
    /// When it ended.
    pub ended: Option<Duration>,
    /// Where in the host's source it was made, or its function last bound.
    pub spawned_at: Option<Site>,
}

/// Measures, from now on, the run times of the calling thread's tasklets, their
/// first and last moment, and where they are spawned; returns the old setting.
///
/// Costs, while on: a look at the clock on every switch, and an allocation of
/// some hundred bytes for each tasklet that runs. While off, nothing. Without a
/// clock the spawn sites alone are kept.
pub fn set_statistics(on: bool) -> bool {
    let runtime = Runtime::get();
    let old = statistics();
    if on && !old {
        runtime.since.set(runtime.deadlines.now().unwrap_or(0));
    }
    runtime.set_hook(HOOK_STATS, on);
    old
}

/// Is it measured? See [`set_statistics`].
pub fn statistics() -> bool {
    Runtime::get().hooks() & HOOK_STATS != 0
}

/// On a switch from `prev` to `next`.
///
/// # Safety
/// Live tasks.
#[cold]
pub unsafe fn switched(runtime: &Runtime, prev: *mut Task, next: *mut Task, ending: bool) {
    let Ok(now) = runtime.deadlines.now() else {
        return;
    };
    let passed = now.saturating_sub(runtime.since.replace(now));
    // SAFETY: both are live tasks; no reference outlives its use.
    unsafe {
        let of_prev = (*prev).measured();
        of_prev.run_time += passed;
        if ending {
            of_prev.ended = Some(now);
        }
        (*next).measured().started.get_or_insert(now);
    }
}

/// Keeps the site of a spawn or bind.
///
/// # Safety
/// A live task.
#[cold]
#[inline(never)]
pub unsafe fn bound_at(task: *mut Task, site: Site) {
    // SAFETY: `task` is live.
    let measured = unsafe { (*task).measured() };
    *measured = Measured {
        site: Some(site),
        ..Measured::default()
    };
}

/// The figures of `task`.
///
/// # Safety
/// A live task, of which no reference exists.
pub unsafe fn of(task: *mut Task, runtime: &Runtime, current: bool) -> TaskletStats {
    // The clock may be the host's, which is user code: it is asked before the task is looked at.
    let now = match current && runtime.hooks() & HOOK_STATS != 0 {
        true => runtime.deadlines.now().ok(),
        false => None,
    };
    // SAFETY: it is live, and no user code runs while this reference is used.
    let task = unsafe { &*task };
    let measured = match &task.extra {
        Some(extra) => extra.measured.as_deref().copied().unwrap_or_default(),
        None => Measured::default(),
    };
    let mut run_time = measured.run_time;
    if let Some(now) = now {
        run_time += now.saturating_sub(runtime.since.get());
    }
    TaskletStats {
        switches: task.switches,
        stack_bytes: if current || !task.is(flag::BOUND | flag::STARTED) {
            0
        } else {
            task.live_stack()
        },
        slice_bytes: task.buffer.capacity(),
        spilled_bytes: task.spilled_bytes(),
        run_time: Duration::from_nanos(run_time),
        started: measured.started.map(Duration::from_nanos),
        ended: measured.ended.map(Duration::from_nanos),
        spawned_at: measured.site,
    }
}

impl Task {
    /// Its measurements, made on first use.
    fn measured(&mut self) -> &mut Measured {
        let place = &mut self.extra().measured;
        place.get_or_insert_with(|| Box::new(Measured::default()))
    }
}

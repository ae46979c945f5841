//! Running tasklets: `run`, runs with a budget, and the stack of the tasklets that wait
//! in one.
//!
//! A tasklet that calls [`run`] leaves the run queue and is pushed on the thread's stack
//! of *watchdogs*. When the queue is empty, or a tasklet ends with an error, the
//! innermost watchdog is woken. A budget adds a third reason: it is used up. Budgets
//! are looked at on switches only, and only while there is one: `scheduler::go`
//! tests a bit for all that switches may have to do beside switching.

use core::time::Duration;

use crate::core::budgets::Entry;
use crate::core::contain::returned;
use crate::core::deadlines::Deadlines;
use crate::core::hooks::{after, HOOK_BUDGET, HOOK_FLAT};
use crate::core::hooks::{HOOK_INBOX, HOOK_LOCK, HOOK_THROWN};
use crate::core::references::Tasklet;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{fail, go, prepare};
use crate::core::task::{flag, Task};
use crate::core::transfer::{arrive, arrive_turn, arrive_unit, enter, plain, plan, swap};
use crate::core::value::Slot;
use crate::error::{Result, WaitError};

/// How long a run may take: in switches, in time, or both (whichever comes first).
///
/// A switch is a turn of a tasklet: it is counted when the tasklet is switched to. A
/// `schedule()` of a tasklet that is alone in the queue counts as one as well, so
/// a tasklet that polls cannot keep the caller away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    switches: Option<u64>,
    time: Option<Duration>,
}

impl Budget {
    /// No limit: as [`run`].
    pub const UNLIMITED: Budget = Budget {
        switches: None,
        time: None,
    };

    /// At most `count` turns of tasklets (`RunNTasklets` of CCP's successor of
    /// Stackless). With 0 no tasklet runs.
    pub const fn switches(count: u64) -> Budget {
        Budget::UNLIMITED.and_switches(count)
    }

    /// At most `time` (`RunWithTimeout` there). Zero is one turn: each call makes some
    /// progress. A time beyond the clock's range is no limit.
    pub const fn time(time: Duration) -> Budget {
        Budget::UNLIMITED.and_time(time)
    }

    /// With a limit of turns in addition.
    pub const fn and_switches(mut self, count: u64) -> Budget {
        self.switches = Some(count);
        self
    }

    /// With a limit of time in addition.
    pub const fn and_time(mut self, time: Duration) -> Budget {
        self.time = Some(time);
        self
    }

    /// The limit of turns.
    pub const fn max_switches(&self) -> Option<u64> {
        self.switches
    }

    /// The limit of time.
    pub const fn max_time(&self) -> Option<Duration> {
        self.time
    }
}

/// What a [`run_with`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// Tasklets that are still in the run queue, the caller not included. 0: all
    /// have ended, are blocked, or are paused.
    pub runnable: usize,
    /// What is left of the budget.
    pub left: Budget,
    /// Turns that tasklets had.
    pub switches: u64,
    /// Tasklets that ended.
    pub completed: u64,
    /// True when the budget was used up, also if no tasklet is left in the queue.
    pub used_up: bool,
    /// The tasklet that was giving way when the budget was used up, if it is still queued (as
    /// in a soft interrupt of Stackless). For a hard one, [remove](Tasklet::remove)
    /// it: it is paused then, until it is inserted.
    pub interrupted: Option<Tasklet>,
}

/// Turns that the thread's tasklets have had.
fn turns(runtime: &Runtime) -> u64 {
    runtime.switches.get() + runtime.runs.alone.get()
}

/// Called on a switch from `prev` to `next` while a budget runs. Returns the tasklet that is to
/// run: `next`, or the owner of a budget that is used up. The outermost budget comes first; its
/// owner is queued in front of `next`. When an atomic `prev` gives way the next switch decides.
/// `ending`: `prev` has ended and needs no memory for its bytes.
///
/// # Safety
/// All live tasks; `next` is queued; `prev`'s save area is at `sp`.
pub unsafe fn divert(
    runtime: &Runtime,
    prev: *mut Task,
    sp: usize,
    next: *mut Task,
    ending: bool,
) -> *mut Task {
    // SAFETY: `prev` and `next` are live tasks; an owner waits in `run`, so it is live.
    unsafe {
        if !ending && (*prev).is(flag::ATOMIC) {
            return next;
        }
        // The clock may be the host's: it is asked before anything is borrowed or decided.
        let timed = (runtime.runs.budgets.borrow().iter()).any(|entry| entry.deadline.is_some());
        let now = match timed {
            true => runtime.deadlines.now().unwrap_or(0),
            false => 0,
        };
        for entry in runtime.runs.budgets.borrow_mut().iter_mut() {
            let owner = entry.owner;
            if owner == next {
                return next;
            }
            let late = |deadline| now >= deadline;
            let used_up = entry.turns.is_some_and(|limit| turns(runtime) >= limit)
                || entry.deadline.is_some_and(late);
            // An owner that is about to enter its run, or that something else has woken.
            if !used_up || owner == prev || !(*owner).floating() {
                continue;
            }
            if entry.patient && entry.level + 1 < runtime.watchdogs.borrow().len() {
                continue;
            }
            if !ending && plan(runtime, prev, sp, owner).is_err() {
                // No memory to park `prev` for it: the next switch tries again.
                return next;
            }
            entry.used_up = true;
            // An earlier victim stays: to drop its handle may run user code.
            if !ending && (*prev).is(flag::QUEUED) && entry.victim.is_none() {
                entry.victim = Some(Tasklet::from_ref(prev));
            }
            (*owner).refs += 1;
            runtime.queue.insert_after((*next).prev, owner);
            return owner;
        }
    }
    next
}

/// A tasklet that is alone in the queue gives way while a budget runs: this counts as a turn,
/// although nothing switches. Returns the tasklet to switch to.
///
/// # Safety
/// `me` is running, alone in the queue, with its save area at `sp`; switching is
/// allowed.
pub unsafe fn divert_alone(runtime: &Runtime, me: *mut Task, sp: usize) -> *mut Task {
    // SAFETY: `me` is running and queued, with its save area at `sp`.
    let next = unsafe { divert(runtime, me, sp, me, false) };
    if next == me {
        let alone = &runtime.runs.alone;
        alone.set(alone.get() + 1);
    }
    next
}

/// Limits of a run.
struct Limits {
    /// The count of turns and the time at which it is used up.
    turns: Option<u64>,
    deadline: Option<u64>,
    patient: bool,
}

unsafe extern "C" fn op_run(limits: *mut (), sp: usize) -> usize {
    // SAFETY: `limits` is null, or the limits that `run_for` and `run_with_or` keep during the
    // call; `me` is the running tasklet, and between `prepare` and `go` no user code runs.
    unsafe {
        let runtime = Runtime::get();
        let me = runtime.current();
        let next = (*me).next;
        if next == me {
            // Alone in the queue, the caller itself is the one to wake.
            runtime.watchdogs.borrow_mut().push(me);
            (*me).refs += 1;
            return sp;
        }
        if let Err(error) = prepare(runtime, me, sp, next) {
            fail(runtime, error, after::FAILED);
            return sp;
        }
        become_watchdog(runtime, me);
        if let Some(limits) = limits.cast::<Limits>().as_ref() {
            runtime.runs.budgets.borrow_mut().push(Entry {
                owner: me,
                level: runtime.watchdogs.borrow().len() - 1,
                turns: limits.turns,
                deadline: limits.deadline,
                patient: limits.patient,
                used_up: false,
                victim: None,
            });
            runtime.set_hook(HOOK_BUDGET, true);
        }
        go(runtime, me, sp, next)
    }
}

/// Runs the queued tasklets until none is left that can go on; meanwhile the caller waits
/// outside of the queue. May be called from any tasklet and nests.
///
/// # Errors
/// The uncaught error of a tasklet (the others stay queued); what was thrown
/// into the caller; [`Error::SwitchTrap`](crate::Error::SwitchTrap).
pub fn run() -> Result<()> {
    run_or()
}

/// As [`run`]; the error can tell whether it was thrown, for example by a tasklet that has failed.
#[inline(always)]
pub fn run_or<E: From<WaitError>>() -> Result<(), E> {
    let runtime = Runtime::get();
    if runtime.hooks() & (HOOK_INBOX | HOOK_LOCK | HOOK_THROWN) != 0 {
        (runtime.above.attend)(runtime).map_err(WaitError::Thrown)?;
    }
    let me = runtime.current();
    // SAFETY: `op_run` may get null; `me` is running, and its neighbour in the queue is live.
    unsafe {
        let next = (*me).next;
        if next != me && plain(runtime, me, next) {
            become_watchdog(runtime, me);
            swap(runtime, me, next);
        } else {
            enter(op_run, core::ptr::null_mut());
            if runtime.after.get() & after::FAILED != 0 {
                return arrive_unit(runtime, me);
            }
        }
        // Our place among the watchdogs goes before anything else may run.
        unwind_watchdogs(runtime, me);
        arrive_turn(runtime, me)
    }
}

/// As [`run`], for a loop that has more to do than to run tasklets: comes back after
/// `turns_at_most` turns as well. A `run` that one of the tasklets is in is not cut short, however
/// long it takes.
///
/// # Errors
/// As [`run`].
pub fn run_for(turns_at_most: u64) -> Result<(), WaitError> {
    let runtime = Runtime::get();
    (runtime.above.attend)(runtime).map_err(WaitError::Thrown)?;
    let me = runtime.current();
    if runtime.queue.len() <= 1 {
        return Ok(());
    }
    let mut limits = Limits {
        turns: Some(turns(runtime) + turns_at_most),
        deadline: None,
        patient: true,
    };
    // SAFETY: `me` is running; `limits` outlives the call and is read by `op_run` only.
    unsafe {
        enter(op_run, (&raw mut limits).cast());
        if runtime.after.get() & after::FAILED != 0 {
            return arrive_unit(runtime, me);
        }
        unwind_watchdogs(runtime, me);
        arrive_turn(runtime, me)
    }
}

/// The queue's reference to the running tasklet moves to the stack of watchdogs.
///
/// # Safety
/// Others are queued; a switch to one of them follows.
#[inline(always)]
unsafe fn become_watchdog(runtime: &Runtime, me: *mut Task) {
    runtime.watchdogs.borrow_mut().push(me);
    // SAFETY: the running tasklet is queued.
    unsafe { runtime.queue.remove(me) };
}

/// As [`run`], but comes back at once when `budget` is used up; the others stay
/// queued, and the next run goes on where this one stopped.
///
/// Budgets are checked on switches: a tasklet that never gives way keeps its
/// turn. An [atomic](crate::atomic) tasklet that gives way is not interrupted:
/// the next switch of one that is not atomic decides.
///
/// Runs nest, also with budgets. All budgets hold; when several are used up, the
/// outermost run comes back first. The callers of the inner ones are queued then, and come back
/// when it is their turn (as in Stackless, where the outermost run with a timeout
/// owns the interrupt). A rendezvous is interrupted like any other switch: the
/// value has been handed over, and the partner is first in the queue.
///
/// Costs nothing on switches outside of such a run; inside, a few nanoseconds
/// per switch, and a look at the clock if the budget is one of time.
///
/// ```
/// use hardswitch::Budget;
///
/// for _ in 0..3 {
///     hardswitch::spawn(|| {})?;
/// }
/// let report = hardswitch::run_with(Budget::switches(2))?;
/// assert_eq!((report.completed, report.runnable), (2, 1));
/// # Ok::<(), hardswitch::Error>(())
/// ```
///
/// # Errors
/// As [`run`]; [`StateError::NoClock`](crate::StateError::NoClock) for a budget in
/// time where there is no clock.
pub fn run_with(budget: Budget) -> Result<RunReport> {
    Ok(run_with_or(budget)?)
}

pub fn run_with_or(budget: Budget) -> Result<RunReport, WaitError> {
    let runtime = Runtime::get();
    if runtime.hooks() & (HOOK_INBOX | HOOK_LOCK | HOOK_THROWN) != 0 {
        (runtime.above.attend)(runtime).map_err(WaitError::Thrown)?;
    }
    let runs = &runtime.runs;
    let me = runtime.current();
    // The clock may be the host's, and do anything that does not switch: it is asked once, before
    // anything is counted.
    let now = || runtime.deadlines.now().map_err(WaitError::Hindered);
    let begun = budget.time.map(|_| now()).transpose()?;
    let deadline = budget.time.zip(begun);
    let deadline = deadline.and_then(|(time, begun)| Deadlines::later(begun, time));
    let (start, completed) = (turns(runtime), runs.completed.get());
    let mut limits = Limits {
        turns: budget.switches.map(|n| start.saturating_add(n)),
        deadline,
        patient: false,
    };
    let mut report = RunReport {
        runnable: runtime.queue.len() - 1,
        left: budget,
        switches: 0,
        completed: 0,
        used_up: budget.switches == Some(0),
        interrupted: None,
    };
    if report.used_up || report.runnable == 0 {
        runs.last.set((0, 0));
        return Ok(report);
    }
    // SAFETY: `me` is running; `limits` outlives the call and is read by `op_run` only.
    let result = unsafe {
        enter(op_run, (&raw mut limits).cast());
        if runtime.after.get() & after::FAILED != 0 {
            return match arrive(runtime, me) {
                Ok(_) => unreachable!("the failure was just seen"),
                Err(ended) => Err(ended),
            };
        }
        let ours = unwind_watchdogs(runtime, me);
        // The switch back to us is no turn of a tasklet.
        report.switches = turns(runtime) - start - 1;
        report.completed = runs.completed.get() - completed;
        report.runnable = runtime.queue.len() - 1;
        if let Some((used_up, victim)) = ours {
            report.used_up = used_up;
            report.interrupted = victim;
        }
        arrive(runtime, me)
    };
    runs.last.set((report.switches, report.completed));
    if let Err(ended) = result.and_then(Slot::into_unit) {
        return returned(report, Err(ended));
    }
    report.left = Budget {
        switches: budget.switches.map(|n| n.saturating_sub(report.switches)),
        time: match (budget.time, begun) {
            (Some(time), Some(begun)) => {
                let passed = now()?.saturating_sub(begun);
                Some(time.saturating_sub(Duration::from_nanos(passed)))
            }
            _ => None,
        },
    };
    Ok(report)
}

/// The caller of `run` is back: its entry and all deeper ones go. Deeper callers
/// that still wait are made runnable. Returns, of the caller's own budget, whether it was used up,
/// and the tasklet that was interrupted.
unsafe fn unwind_watchdogs(runtime: &Runtime, me: *mut Task) -> Option<(bool, Option<Tasklet>)> {
    // SAFETY: the entries hold references; the one to `me` cannot be the last, since `me` is
    // queued.
    unsafe {
        let level = {
            let mut watchdogs = runtime.watchdogs.borrow_mut();
            if watchdogs.last() == Some(&me) {
                watchdogs.pop();
                debug_assert!((*me).refs > 1);
                (*me).refs -= 1;
                watchdogs.len()
            } else {
                drop(watchdogs);
                unwind_deeper(runtime, me)?
            }
        };
        if runtime.hooks() & HOOK_BUDGET == 0 {
            return None;
        }
        unwind_budgets(runtime, level)
    }
}

/// [`unwind_watchdogs`] for when others called `run` after `me`. Returns the index of the entry of
/// `me`; `None`: an outer `run` was woken first and has taken that entry.
#[cold]
#[inline(never)]
unsafe fn unwind_deeper(runtime: &Runtime, me: *mut Task) -> Option<usize> {
    // SAFETY: the entries hold references to live tasks.
    unsafe {
        let (level, popped) = {
            let mut watchdogs = runtime.watchdogs.borrow_mut();
            let level = watchdogs.iter().rposition(|&task| task == me)?;
            (level, watchdogs.split_off(level))
        };
        for task in popped.into_iter().rev() {
            if (*task).floating() {
                runtime.queue.append(task);
            } else {
                debug_assert!((*task).refs > 1);
                (*task).refs -= 1;
            }
        }
        Some(level)
    }
}

#[cold]
#[inline(never)]
fn unwind_budgets(runtime: &Runtime, level: usize) -> Option<(bool, Option<Tasklet>)> {
    let mut gone = {
        let mut budgets = runtime.runs.budgets.borrow_mut();
        let first = budgets.partition_point(|entry| entry.level < level);
        let gone = budgets.split_off(first);
        runtime.set_hook(HOOK_BUDGET, !budgets.is_empty());
        gone
    };
    let ours = match gone.first_mut() {
        Some(entry) if entry.level == level => Some((entry.used_up, entry.victim.take())),
        _ => None,
    };
    // A tasklet that was interrupted is queued: no handle in here is the last one.
    drop(gone);
    ours
}

/// Sets for the calling thread whether [`Tasklet::run`] nests (the default, as in Stackless).
/// Returns the old setting.
///
/// * Nested: the queue goes on *behind* `t`. Tasklets that are queued between `t` and the caller
///   run before the caller comes back; tasklets that are queued before `t` wait.
/// * Flat: `t` alone is put first. The caller comes right behind it, and the order of all others
///   stays. Main, which waits for all of them, comes last.
///
/// So with t1, t2 and t3 queued, `t2.run()` from main runs t2, t3, and main; or
/// (flat) t2, t1, t3, and main. [`Tasklet::throw`] and `kill` do the
/// same, and [`Tasklet::switch`], except that its caller leaves the queue.
/// This is `set_use_nested_tasklets` of CCP's successor of Stackless.
pub fn set_use_nested_tasklets(nested: bool) -> bool {
    !Runtime::get().set_hook(HOOK_FLAT, !nested)
}

/// See [`set_use_nested_tasklets`].
pub fn use_nested_tasklets() -> bool {
    Runtime::get().hooks() & HOOK_FLAT == 0
}

/// In flat order: moves `task`, which will run now, and the caller behind it if
/// it is to come back there.
///
/// # Safety
/// Both are queued; `me` is running, and another than `task`.
#[cold]
pub unsafe fn flatten(runtime: &Runtime, me: *mut Task, task: *mut Task, behind: bool) {
    // SAFETY: both are queued; they are taken out and put back, so the references stay.
    unsafe {
        runtime.queue.remove(task);
        runtime.queue.insert_after(me, task);
        if behind && me != runtime.main() {
            runtime.queue.remove(me);
            runtime.queue.insert_after(task, me);
        }
    }
}

//! How a tasklet waits: it blocks; or it pumps, when nobody else would.

use super::pump::PumpError;
use super::{Reactor, Waiter, Wake};
use crate::core::hooks::HOOK_LOCKED;
use crate::core::idle::must_pump;
use crate::core::runtime::Runtime;
use crate::core::scheduler;
use crate::core::task::flag;
use crate::core::thrown;
use crate::error::WaitError;
use crate::poll::shim::{Events, Fd};
use crate::wait::company::company;
use crate::{Error, Result};
use std::rc::Rc;
use std::time::Instant;

impl Reactor {
    /// Registers, blocks the tasklet, and takes the wait off the lists again.
    ///
    /// Errors: an error that was thrown at the tasklet while it waited; `BlockTrap`; if it had to
    /// pump, the errors of a pump.
    #[inline(always)]
    pub fn wait(
        self: &Rc<Self>,
        interest: Option<(Fd, Events)>,
        deadline: Option<Instant>,
    ) -> Result<Wake, WaitError> {
        let registered = self.register(interest, deadline);
        self.block(&registered.waiter)
    }

    /// Does a wait of the running tasklet for a descriptor that is ready cost little, and block
    /// nobody else? Then epoll is asked, others can run meanwhile, and nothing keeps the tasklet
    /// from blocking. An atomic one does not let others run unless it must.
    pub fn waits_cheaply(&self) -> bool {
        let runtime = Runtime::get();
        let me = runtime.current();
        // SAFETY: `me` is the running tasklet of this thread, so it is live.
        let may_block = || unsafe { !(*me).is(flag::BLOCK_TRAP | flag::ATOMIC) };
        self.epoll.borrow().is_some()
            && !must_pump(runtime, me)
            && runtime.hooks() & HOOK_LOCKED == 0
            && may_block()
    }

    /// Blocks the tasklet until somebody wakes `waiter`.
    // All that is between a caller and the switch is inlined: one frame lies on the stack of every
    // tasklet that waits, and in its slice, instead of four.
    #[inline(always)]
    pub fn block(&self, waiter: &Rc<Waiter>) -> Result<Wake, WaitError> {
        loop {
            if let Some(wake) = waiter.wake.take() {
                return Ok(wake);
            }
            let over = || waiter.wake.get().is_some();
            // SAFETY: a waiter is counted, so it lies in the heap.
            round(false, over, || unsafe { waiter.point.park(false) })?;
        }
    }
}

/// One round of the running tasklet's wait. Blocks it by `block`; or, when that would leave nobody
/// to pump, pumps and lets others run unless the wait is `over`. The caller tests its condition
/// again after each round. `for_threads`: as [`Reactor::pump_for_threads`].
///
/// Errors: an error that was thrown at the tasklet; `BlockTrap`; `Deadlock`, if nothing could end
/// the wait; the errors of a pump.
#[inline(always)]
pub fn round(
    for_threads: bool,
    over: impl Fn() -> bool,
    block: impl FnOnce() -> Result<(), WaitError>,
) -> Result<(), WaitError> {
    let runtime = Runtime::get();
    match must_pump(runtime, runtime.current()) {
        true => round_of_last(runtime, for_threads, &over),
        false => block(),
    }
}

/// A [`round`] of a tasklet that must pump.
#[inline(never)]
fn round_of_last(
    runtime: &Runtime,
    for_threads: bool,
    over: &dyn Fn() -> bool,
) -> Result<(), WaitError> {
    let me = runtime.current();
    // A tasklet in the middle of a switch must not drive the loop.
    if runtime.hooks() & HOOK_LOCKED != 0 {
        return Err(WaitError::Hindered(scheduler::refused(runtime)));
    }
    // SAFETY: `me` is the running tasklet of this thread, so it is live.
    if unsafe { (*me).is(flag::BLOCK_TRAP) } {
        return Err(WaitError::Hindered(Error::BlockTrap));
    }
    thrown::raise(me).map_err(WaitError::Thrown)?;
    let pumped = match for_threads {
        true => {
            let reactor = Reactor::current().map_err(WaitError::own)?;
            reactor
                .pump_for_threads(over)
                .map(drop)
                .map_err(Error::from)
        }
        false => match turn(runtime, over) {
            Ok(false) if crate::run_count() <= 1 && !over() => Err(Error::Deadlock),
            pumped => pumped.map(drop),
        },
    };
    pumped.map_err(WaitError::Hindered)?;
    if crate::run_count() > 1 && !over() {
        return scheduler::give_way();
    }
    Ok(())
}

/// Pumps once, for as long as that takes, unless the caller's wait is `over`. False: nothing
/// could come of it.
pub fn turn(runtime: &Runtime, over: &dyn Fn() -> bool) -> Result<bool> {
    if runtime.is_ending() {
        return Ok(false);
    }
    let reactor = Reactor::existing();
    let reactor = reactor.as_ref();
    let has_work = || {
        runtime.has_messages()
            || runtime.deadlines.rest().is_some()
            || reactor.is_some_and(|reactor| reactor.has_work())
    };
    if has_work() {
        Reactor::current()?.pump_until(over)?;
        return Ok(true);
    }
    // Only other threads can help.
    let expected = reactor.is_some_and(|reactor| reactor.expects()) || (company().is_known)();
    if !expected || !(company().is_there)() {
        // Looked for once more: they help first, and take their promise back, or end, after it.
        return Ok(has_work());
    }
    match Reactor::current()?.pump_for_threads(over) {
        Ok(_) => Ok(true),
        Err(PumpError::Deadlock) => Ok(false),
        Err(PumpError::Failed(error)) => Err(error),
    }
}

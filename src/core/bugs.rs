//! Historical mistakes, which a test can put back to see that `tests/seed_bug.rs` finds them: the
//! flags `hsw_bug_late_claim` and `hsw_bug_spill_clobber`. Without the flags nothing here costs
//! anything.

use crate::core::task::Task;
use crate::core::value::Slot;

/// The late claim. The spill bug needs it, too: a spill can clobber only a value that still waits
/// in the slot.
const CLAIMS_LATE: bool = cfg!(any(hsw_bug_late_claim, hsw_bug_spill_clobber));

/// Takes the slot of the tasklet that arrives, if it `claims` it: the right order, before any
/// destructor runs.
///
/// # Safety
/// `me` is the running tasklet.
#[inline(always)]
pub unsafe fn claim_early(me: *mut Task, claims: bool) -> Slot {
    if CLAIMS_LATE || !claims {
        return Slot::EMPTY;
    }
    // SAFETY: `me` is the running tasklet, and takes its own slot.
    unsafe { (*me).slot.take() }
}

/// Returns the slot that [`claim_early`] has taken. With the bug, takes it only now, after the
/// destructors.
///
/// # Safety
/// `me` is the running tasklet.
#[inline(always)]
pub unsafe fn claim_late(me: *mut Task, claims: bool, early: Slot) -> Slot {
    if CLAIMS_LATE && claims {
        // SAFETY: `me` is the running tasklet, and takes its own slot.
        return unsafe { (*me).slot.take() };
    }
    early
}

/// With the spill bug, drops the value that waits in the slot of a tasklet that spills.
///
/// # Safety
/// `me` is the running tasklet.
#[inline(always)]
pub unsafe fn clobber(me: *mut Task) {
    if cfg!(hsw_bug_spill_clobber) {
        // SAFETY: `me` is the running tasklet.
        drop(unsafe { (*me).slot.take() });
    }
}

/// With the spill bug, true: an operation puts back what was in the slot even if that is over,
/// so that only the spill loses it.
#[inline(always)]
pub fn always_puts_back() -> bool {
    cfg!(hsw_bug_spill_clobber)
}

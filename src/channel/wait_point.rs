//! A place where tasklets wait to be woken, and nothing else: for the waits of the library itself.

use super::core::{Core, Preference, RECEIVE, SEND};
use crate::core::task::Task;
use crate::core::value::Slot;
use crate::error::WaitError;

/// A tasklet that is parked here is blocked, as on a channel: other code sees it so, and it can
/// be killed. The channel callback is not told of it, and no statistics count it.
pub struct WaitPoint(Core);

impl WaitPoint {
    pub fn new() -> WaitPoint {
        let core = Core::new();
        core.make_private();
        // The side that wakes goes on.
        core.set_preference(Preference::Sender);
        WaitPoint(core)
    }

    /// Blocks the running tasklet until it is woken. It looks as if it sends, or receives.
    ///
    /// # Errors
    /// The error that was thrown at it, or why it cannot block.
    ///
    /// # Safety
    /// The point lies in the heap: others use it while the tasklet's stack is elsewhere.
    // Its frame would lie on the stack of every tasklet that waits.
    #[inline(always)]
    pub unsafe fn park(&self, sends: bool) -> Result<(), WaitError> {
        match sends {
            true => self.0.park::<SEND>(),
            false => self.0.park::<RECEIVE>(),
        }
    }

    /// Queues the tasklet that has waited longest, if one waits as a receiver. It does not switch.
    pub fn wake(&self) -> bool {
        self.0.serve(Slot::new(()))
    }

    /// Does nobody wait here?
    pub fn is_empty(&self) -> bool {
        self.0.balance.get() == 0
    }

    /// Does the blocked tasklet wait here?
    ///
    /// # Safety
    /// A live task.
    pub unsafe fn holds(&self, task: *mut Task) -> bool {
        // SAFETY: the caller says that it is live.
        unsafe { core::ptr::eq((*task).channel.cast(), &raw const self.0) }
    }
}

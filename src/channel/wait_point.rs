//! A place where tasklets wait to be woken, and nothing else: for what this library waits for itself.

use super::core::{Core, Preference, RECEIVE, SEND};
use crate::core::task::Task;
use crate::core::value::Slot;
use crate::error::WaitError;

/// A tasklet that is parked here is blocked, as on a channel: so it looks to everybody, and it can
/// be killed. The channel callback is not told of it, and no statistics count it.
pub struct WaitPoint(Core);

impl WaitPoint {
    pub fn new() -> WaitPoint {
        let core = Core::new();
        core.make_private();
        // Whoever wakes somebody goes on.
        core.set_preference(Preference::Sender);
        WaitPoint(core)
    }

    /// Blocks the running tasklet until it is woken. It looks as if it sends, or receives.
    ///
    /// # Errors
    /// What was thrown at it; why it cannot block.
    pub fn park(&self, sends: bool) -> Result<(), WaitError> {
        match sends {
            true => self.0.park::<SEND>(),
            false => self.0.park::<RECEIVE>(),
        }
    }

    /// Queues the tasklet that has waited longest, if one waits as a receiver; nobody switches.
    pub fn wake(&self) -> bool {
        self.0.serve(Slot::new(()))
    }

    /// Is it here that a blocked tasklet waits?
    ///
    /// # Safety
    /// A live task.
    pub unsafe fn holds(&self, task: *mut Task) -> bool {
        // SAFETY: the caller says that it is live.
        unsafe { core::ptr::eq((*task).channel.cast(), &raw const self.0) }
    }
}

//! What the core calls on the floors above it: one table of functions. Each runtime is given the
//! table when it is made, so the core names no module above it.
//!
//! Most of these calls are rare. The hot paths (a channel's operations, the scheduler) make none.

use crate::core::runtime::Runtime;
use crate::core::task::Task;
use crate::error::{Error, Result};

/// The functions above the core, for this build: see [`above`].
pub struct Above {
    /// The calling thread has no runtime and needs one: makes it.
    pub create: fn() -> &'static Runtime,
    /// A runtime was made, and is that of the calling thread.
    pub attached: fn(&Runtime),
    /// The thread's part ends: see [`Ending`]. Answers whether something was dropped.
    pub ending: fn(Ending) -> bool,

    /// From now on there is something that a fork of the process must not leave half done.
    pub watch_forks: fn(),

    /// Before others run: does what other threads want.
    ///
    /// Errors: an error that one of them has thrown at the running tasklet.
    pub attend: fn(&Runtime) -> Result<()>,
    /// Reads the messages of other threads. Runs functions that they have sent.
    pub read_inbox: fn(),
    /// Does the host lock go to another thread now? Asked in the middle of a switch.
    pub turn_is_up: fn() -> bool,
    /// Gives the host lock to another thread, and waits until it is back.
    pub turn_over: fn(),
    /// No tasklet can run: waits once for anything that could wake one, as long as that takes,
    /// unless the function says that it need not. False: nothing could wake one.
    pub pump: fn(&Runtime, &dyn Fn() -> bool) -> Result<bool>,

    /// Takes a blocked task out of what it is blocked on; its reference is the caller's.
    pub unlink: unsafe fn(*mut Task),
    /// Something is thrown at a task: ends its wait, if it waits without being blocked.
    pub interrupt: fn(&Runtime, *mut Task),
    /// The last reference to a task has gone: its end. Runs user code.
    pub last_reference: unsafe fn(*mut Task),
    /// Tells the log about a deadlock. Runs user code: loggers.
    pub report_deadlock: fn(&Error),
}

/// How far the end of a thread's part has come, in this order
/// (or [`Abandon`](Ending::Abandon) alone).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Functions that have not started and may run elsewhere can be taken over, or are dropped.
    SetFree,
    /// Drops what would have run later. Tasklets that are left are killed, and this is asked again
    /// while something was dropped.
    LetGo,
    /// No code of the thread runs any more: other threads are told.
    Close,
    /// The last: the thread is no more.
    Leave,
    /// The thread ends where its tasklets cannot be ended. Other threads are told, nothing is
    /// dropped.
    Abandon,
}

extern "Rust" {
    /// Defined once, by the file that knows all floors.
    fn hsw_above() -> &'static Above;
}

/// The table of this build.
///
/// The linker finds it, as it finds a program's global allocator: the first call of a thread, on
/// any floor, makes its runtime, and must not name the top floor.
pub fn above() -> &'static Above {
    // SAFETY: the one definition (`src/floors/mod.rs`) has this type, and may always be called.
    unsafe { hsw_above() }
}

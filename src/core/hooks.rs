//! What a switch has to do beside switching: bits of
//! [`Runtime::hooks`](crate::core::runtime::Runtime), tested before a switch, and bits of
//! `Runtime::after`, tested by the tasklet that arrives.

/// What a resumed tasklet has to do before it goes on.
pub mod after {
    /// Release the tasklet that was left for good.
    pub const LEFT: u32 = 1;
    /// The operation failed before it switched: `error` says why.
    pub const FAILED: u32 = 2;
    /// With `FAILED`: the value to send is still in the caller's slot.
    pub const UNSENT: u32 = 4;
    /// Forgotten tasklets wait to be killed.
    pub const REAP: u32 = 8;
    /// Other threads have sent something.
    pub const INBOX: u32 = 16;
    /// Drop the values that no tasklet will get.
    pub const LOST: u32 = 32;
    /// With `FAILED`: `error` was [thrown](crate::core::thrown) at the caller.
    pub const RAISED: u32 = 128;
    /// The thread's turn with the host lock is up.
    pub const TURN: u32 = 64;
}

pub const HOOK_SCHEDULE: u32 = 1;
pub const HOOK_CHANNEL: u32 = 2;
/// A run with a budget is under way.
pub const HOOK_BUDGET: u32 = 4;
/// Run times are measured.
pub const HOOK_STATS: u32 = 8;
/// Other threads have sent something.
pub const HOOK_INBOX: u32 = 16;
/// Other threads wait for the host lock that this one has.
pub const HOOK_LOCK: u32 = 256;
/// All that a switch may have to do beside switching.
pub const HOOK_SWITCH: u32 = HOOK_SCHEDULE | HOOK_BUDGET | HOOK_STATS | HOOK_INBOX | HOOK_LOCK;
/// The switch trap is set.
pub const HOOK_TRAPPED: u32 = 32;
/// A callback is running.
pub const HOOK_LOCKED: u32 = 64;
/// The thread has ended; what is left of its tasklets has no thread.
pub const HOOK_ENDED: u32 = 512;
/// The list of C++ runtimes that the process knows has changed: see `exceptions`.
pub const HOOK_RUNTIMES: u32 = 1024;
/// The running tasklet has floating-point control words of its own: to leave it is
/// [special](crate::core::task::flag::SPECIAL).
pub const HOOK_FP: u32 = 1 << 12;
/// Switching fails; with [`HOOK_RUNTIMES`] alone only until the list has been read.
pub const HOOK_REFUSE: u32 = HOOK_TRAPPED | HOOK_LOCKED | HOOK_ENDED | HOOK_RUNTIMES;
/// A tasklet has not been told yet what was [thrown](crate::core::thrown) at it.
pub const HOOK_THROWN: u32 = 2048;
/// See [`set_use_nested_tasklets`](crate::set_use_nested_tasklets).
pub const HOOK_FLAT: u32 = 128;
/// All that makes a switch more than a [plain](crate::core::transfer::plain) one.
pub const HOOK_ANY: u32 = HOOK_SWITCH | HOOK_REFUSE | HOOK_FLAT | HOOK_THROWN | HOOK_FP;

//! Flags that are set for a scope.
//!
//! A guard restores the state that it found, so guards nest. No guard can be sent to another
//! thread.

use core::marker::PhantomData;

use crate::core::current::{current, switch_trap};
use crate::core::references::Tasklet;

/// See [`atomic`].
#[must_use = "the scope ends when this is dropped"]
#[derive(Debug)]
pub struct Atomic {
    before: bool,
    _not_send: PhantomData<*mut ()>,
}

/// Makes the running tasklet atomic until the guard is dropped. No budget of a
/// [`run_with`](crate::run_with) interrupts it, and the end of its turn does not make it give up
/// its thread's host lock (`thread::HostLock`). It still switches when it blocks or schedules, and
/// a wait gives the lock up.
///
/// As in Stackless, the guard restores the flag of the tasklet that is running *when it is
/// dropped*, also if the guard was moved to that tasklet. It costs a few instructions.
///
/// ```
/// let me = hardswitch::current();
/// {
///     let _atomic = hardswitch::atomic();
///     assert!(me.is_atomic());
///     drop(hardswitch::atomic()); // nests
///     assert!(me.is_atomic());
/// }
/// assert!(!me.is_atomic());
/// ```
pub fn atomic() -> Atomic {
    Atomic {
        before: current().set_atomic(true),
        _not_send: PhantomData,
    }
}

impl Drop for Atomic {
    fn drop(&mut self) {
        current().set_atomic(self.before);
    }
}

/// See [`block_trap`].
#[must_use = "the scope ends when this is dropped"]
#[derive(Debug)]
pub struct BlockTrap {
    tasklet: Tasklet,
    before: bool,
}

/// Forbids the running tasklet to block until the guard is dropped: an operation that would block
/// fails with [`Error::BlockTrap`](crate::Error::BlockTrap) and changes nothing. It is for
/// callbacks that must come back.
///
/// The guard restores the flag of the same tasklet.
pub fn block_trap() -> BlockTrap {
    let tasklet = current();
    let before = tasklet.set_block_trap(true);
    BlockTrap { tasklet, before }
}

impl Drop for BlockTrap {
    fn drop(&mut self) {
        self.tasklet.set_block_trap(self.before);
    }
}

/// See [`switch_trapped`].
#[must_use = "the scope ends when this is dropped"]
#[derive(Debug)]
pub struct SwitchTrap {
    _not_send: PhantomData<*mut ()>,
}

/// Forbids every switch of the thread until the guard is dropped: an operation that would switch
/// fails with [`Error::SwitchTrap`](crate::Error::SwitchTrap) and changes nothing. It adds a level
/// to [`switch_trap`].
///
/// It is for code of others that a switch would break; above all for initialisers of thread-locals
/// and of values that are made once (`thread_local!`, `OnceLock`, `LazyLock`, `Once`). Another
/// tasklet of the thread would find the value half made, or wait for ever for its own thread. If an
/// initialiser calls code that might switch, hold this guard in it:
///
/// ```
/// thread_local! {
///     static TABLE: Vec<u32> = {
///         let _guard = hardswitch::switch_trapped();
///         assert!(matches!(load(), Err(hardswitch::Error::SwitchTrap)));
///         Vec::new()
///     };
/// }
/// fn load() -> hardswitch::Result<()> {
///     hardswitch::Channel::<()>::new().receive()
/// }
/// hardswitch::spawn(|| TABLE.with(|table| assert!(table.is_empty())))?;
/// hardswitch::run()?;
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub fn switch_trapped() -> SwitchTrap {
    switch_trap(1);
    SwitchTrap {
        _not_send: PhantomData,
    }
}

impl Drop for SwitchTrap {
    fn drop(&mut self) {
        switch_trap(-1);
    }
}

//! What a thread may ask about its tasklets, and the callbacks that it sets.

use alloc::vec::Vec;

use crate::core::extra::ErrorHandler;
use crate::core::hooks::{HOOK_CHANNEL, HOOK_SCHEDULE};
use crate::core::references::Tasklet;
use crate::core::runtime::{ChannelCallback, Runtime, ScheduleCallback};
#[allow(unused_imports)] // for the documentation
use crate::error::{Error, StateError};

/// The running tasklet of the calling thread.
pub fn current() -> Tasklet {
    // SAFETY: the running tasklet is a live task.
    unsafe { Tasklet::from_ref(Runtime::get().current()) }
}

/// The main tasklet of the calling thread: its original flow of control.
pub fn main_tasklet() -> Tasklet {
    // SAFETY: main lives as long as the runtime.
    unsafe { Tasklet::from_ref(Runtime::get().main()) }
}

/// A number of the calling thread that no other thread has had. Costs nothing.
pub fn thread_id() -> u64 {
    Runtime::get().thread_id
}

/// Tasklets in the run queue of the calling thread, the running one included.
pub fn run_count() -> usize {
    Runtime::get().queue.len()
}

/// Handles of all tasklets of the calling thread that are referred to.
pub fn tasklets() -> Vec<Tasklet> {
    Runtime::get().all_tasklets()
}

/// Adds `delta` to the thread's switch trap and returns the old level. While it
/// is not 0, every operation that would switch fails with [`Error::SwitchTrap`] and changes
/// nothing. A tasklet may still end.
///
/// # Panics
/// When the level would leave the range of an `i32`; it stays as it is then.
pub fn switch_trap(delta: i32) -> i32 {
    let runtime = Runtime::get();
    let level = runtime.trap().checked_add(delta);
    runtime.set_trap(level.expect("the switch trap has as many levels as it can have"))
}

/// Sets the schedule callback of the thread; returns the old one.
pub fn set_schedule_callback(callback: Option<ScheduleCallback>) -> Option<ScheduleCallback> {
    let runtime = Runtime::get();
    runtime.set_hook(HOOK_SCHEDULE, callback.is_some());
    runtime.on_schedule.replace(callback)
}

/// Sets the channel callback of the thread; returns the old one.
pub fn set_channel_callback(callback: Option<ChannelCallback>) -> Option<ChannelCallback> {
    let runtime = Runtime::get();
    runtime.set_hook(HOOK_CHANNEL, callback.is_some());
    runtime.on_channel.replace(callback)
}

/// Sets the error handler of the thread; returns the old one.
pub fn set_error_handler(handler: Option<ErrorHandler>) -> Option<ErrorHandler> {
    Runtime::get().on_error.replace(handler)
}

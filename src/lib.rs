//! Tasklets and channels on hard-switched, sliced stacks.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

extern crate alloc;

mod arch;
mod channel;
mod debug;
mod error;
#[cfg(feature = "std")]
pub mod event;
pub mod ffi;
#[cfg(feature = "std")]
pub mod main_loop;
pub mod net;
#[cfg(feature = "std")]
pub mod offload;
mod os;
mod runtime;
mod sanitizer;
mod scheduler;
pub mod spill;
mod stack;
mod tasklet;
mod transfer;
mod valgrind;
mod value;

pub use channel::{Channel, Iter, Preference};
pub use debug::dump_tasklets;
#[cfg(feature = "std")]
pub use debug::{Backtrace, Frame};
pub use error::{Error, Result, SettingsError, StateError, Thrown};
#[cfg(feature = "std")]
pub use main_loop::{sleep, sleep_until, MainLoop};
pub use runtime::{stats, Settings, Stats};
pub use scheduler::{
    current, main_tasklet, run, run_count, schedule, schedule_remove, schedule_remove_with,
    schedule_with, set_channel_callback, set_error_handler, set_schedule_callback, switch_trap,
    tasklets, ChannelCallback, ErrorHandler, ScheduleCallback,
};
pub use tasklet::{spawn, Builder, Outcome, Tasklet, TaskletStats};
pub use value::Value;

/// Switches for the tests of this crate. Not for users; may change at any time.
#[doc(hidden)]
pub mod testing {
    /// Makes slice allocations of this thread fail after `count` more; `None`
    /// ends it.
    pub fn fail_slices_after(count: Option<u64>) {
        crate::runtime::Runtime::get().slices.fail_after(count);
    }
}

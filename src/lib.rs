//! Tasklets and channels on hard-switched, sliced stacks.
//!
//! A [`Tasklet`] is a thread of control within an OS thread; thousands of them
//! take turns, and talk over [`Channel`]s. Every function that may block returns a
//! [`Result`]. [`spawn`] makes tasklets with a stack of their own, which is
//! safe; [`Builder::sliced`] makes tasklets that share a window and cost only their
//! live bytes while they are parked, under a contract.
//!
//! ```
//! use hardswitch::{run, spawn, Channel, Result};
//!
//! fn main() -> Result<()> {
//!     let talk = Channel::new();
//!     let words = talk.clone();
//!     spawn(move || words.send_sequence(["ready", "steady", "go"]).map(drop))?;
//!     spawn(move || {
//!         for _ in 0..3 {
//!             println!("{}", talk.receive()?);
//!         }
//!         Ok(())
//!     })?;
//!     run()
//! }
//! ```
//!
//! | to | see |
//! |---|---|
//! | schedule, run, look around | [`schedule`], [`run`], [`current`], [`tasklets`], [`stats`] |
//! | set limits | [`Settings`] |
//! | recurse deeply in a small window | [`spill`] |
//! | wait for sockets, timers, worker threads | [`net`], [`main_loop`], [`timer`], [`offload`] |
//! | wait for the result of a tasklet, or for several things | [`join`], [`Select`] |
//! | limit how long anything may take | [`time::timeout`] |
//! | share data between tasklets and threads | [`sync`]; not at all: [`Local`] |
//! | keep things by key in few bytes | [`dict`] |
//! | keep values with names, of types made at run time | [`record`] |
//! | call from C and C++ | [`ffi`], `include/hardswitch.hpp` |
//!
//! The behaviour is Stackless Python's; the documentation of each item says
//! what differs. `docs/hard-switch.md` explains the switch.
#![cfg_attr(not(feature = "std"), no_std)]
// Some items are used only by threads, sockets and the loop, and so not without std. These modules
// have one `cfg` each, and there is none here.
#![cfg_attr(not(feature = "std"), allow(dead_code))]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

extern crate alloc;

mod builder;
mod channel;
mod core;
mod debug;
pub mod dict;
mod error;
pub mod ffi;
mod floors;
mod guard;
pub mod join;
mod lifecycle;
mod machine;
pub mod net;
mod poll;
pub mod record;
mod select;
mod tasklet;
mod tasklet_local;
mod wait;

pub use self::core::body::Outcome;
pub use self::core::current::{
    current, main_tasklet, run_count, set_channel_callback, set_error_handler,
    set_schedule_callback, switch_trap, tasklets, thread_id,
};
pub use self::core::extra::{ErrorHandler, Site};
pub use self::core::measure::{set_statistics, statistics, TaskletStats};
pub use self::core::run::{
    run, run_with, set_use_nested_tasklets, use_nested_tasklets, Budget, RunReport,
};
pub use self::core::runtime::{ChannelCallback, ScheduleCallback};
pub use self::core::scheduler::{schedule, schedule_remove, schedule_remove_with, schedule_with};
pub use self::core::settings::Settings;
pub use self::core::spill;
pub use self::core::stats::{stats, Stats};
pub use self::core::value::Value;
pub use builder::{spawn, Builder};
pub use channel::queue::{QueueChannel, QueueIter};
pub use channel::{Channel, Iter, Preference, TryIter};
pub use debug::dump_tasklets;
pub use error::{Error, Result, SettingsError, StateError, Thrown};
pub use guard::{atomic, block_trap, switch_trapped, Atomic, BlockTrap, SwitchTrap};
#[cfg(not(feature = "std"))]
pub use lifecycle::end_thread;
pub use select::{Receivable, ReceiveCase, Select, Selected, SendCase, Sendable};
pub use tasklet::Tasklet;
pub use tasklet_local::Local;
pub use wait::time;

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        pub mod main_loop;
        pub mod offload;
        pub mod sync;
        pub mod thread;
        pub mod timer;

        pub use debug::{Backtrace, Frame};
        pub use main_loop::{sleep, sleep_until, MainLoop};
        pub use wait::event;
    }
}

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// Switches for the tests of this crate. Not for users; may change at any time.
#[doc(hidden)]
pub mod testing {
    /// Makes slice allocations of this thread fail after `count` more; `None`
    /// ends it.
    pub fn fail_slices_after(count: Option<u64>) {
        crate::core::runtime::Runtime::get()
            .slices
            .fail_after(count);
    }

    /// Counts `more` references to `tasklet` that are never given back, as if so many handles had
    /// been forgotten.
    pub fn forget_handles(tasklet: &crate::Tasklet, more: u32) {
        tasklet.count_forgotten(more);
    }

    /// How many memory mappings a process may have. The first call reads it from a file.
    pub fn mappings() -> usize {
        crate::machine::os::mappings()
    }

    /// Lowers the memory ceiling of this thread to what is in use now.
    pub fn close_ceiling() {
        let budget = &crate::core::runtime::Runtime::get().budget;
        budget.ceiling.set(budget.used.get());
    }
}

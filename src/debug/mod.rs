//! Looking at tasklets from outside: backtraces, listings, and what debuggers need to find them.
//! Nothing here runs during a switch.

mod deadlock;
mod dump;

pub(crate) use deadlock::report_deadlock;
pub use dump::dump_tasklets;

cfg_if::cfg_if! {
    if #[cfg(feature = "std")] {
        mod backtrace;

        use backtrace::write_backtrace;
        pub(crate) use backtrace::is_called_by;
        pub use backtrace::{Backtrace, Frame};
    } else {
        /// There are no backtraces.
        fn write_backtrace(_: &mut impl core::fmt::Write, _: &crate::Tasklet) -> core::fmt::Result {
            Ok(())
        }

        pub(crate) fn is_called_by(_: usize) -> bool {
            false
        }
    }
}

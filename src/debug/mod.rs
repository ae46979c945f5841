//! Looking at tasklets from outside: backtraces, listings, and what debuggers need to find them.
//! Nothing here runs during a switch.

#[cfg(feature = "std")]
mod backtrace;
mod dump;

#[cfg(feature = "std")]
pub(crate) use backtrace::is_called_by;
#[cfg(feature = "std")]
pub use backtrace::{Backtrace, Frame};
pub use dump::dump_tasklets;
pub(crate) use dump::report_deadlock;

//! The report of a deadlock.

use alloc::string::String;

use super::dump_tasklets;
use crate::error::Error;

/// Called when the deadlock `error` is about to be returned. Lists all tasklets when the log target
/// `hardswitch::deadlock` is on at level debug; with backtraces, at level trace.
#[cold]
pub(crate) fn report_deadlock(error: &Error) {
    const TARGET: &str = "hardswitch::deadlock";
    if !log::log_enabled!(target: TARGET, log::Level::Debug) {
        return;
    }
    let backtraces = log::log_enabled!(target: TARGET, log::Level::Trace);
    let mut text = String::new();
    // Writing to a `String` does not fail.
    let _ = dump_tasklets(&mut text, backtraces);
    log::debug!(target: TARGET, "{error} {text}");
}

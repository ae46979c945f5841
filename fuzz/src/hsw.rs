//! The C interface as its header declares it, and how often each function was called.
#![allow(non_camel_case_types, missing_docs)]

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

// The symbols come from it.
use hardswitch as _;

include!(concat!(env!("OUT_DIR"), "/hsw.rs"));

/// No limit, of budgets and times.
pub const HSW_NO_LIMIT: u64 = u64::MAX;

static CALLS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

/// Changes with each call: programs that do the same in the same order have the same.
static COURSE: AtomicU64 = AtomicU64::new(0);
/// Prints each call.
pub static TRACE: AtomicBool = AtomicBool::new(false);

fn called(function: usize) {
    CALLS[function].fetch_add(1, Relaxed);
    happened(function as u64);
    if TRACE.load(Relaxed) {
        let thread = std::thread::current();
        eprintln!("{}: {}", thread.name().unwrap_or("main"), NAMES[function]);
    }
}

/// Adds to the course of the program; of one thread alone it repeats.
pub fn happened(what: u64) {
    let course = COURSE.load(Relaxed) ^ what;
    COURSE.store(
        course.wrapping_mul(0x100_0000_01b3).rotate_left(23),
        Relaxed,
    );
}

/// What all calls since the last time come to.
pub fn take_course() -> u64 {
    COURSE.swap(0, Relaxed)
}

/// Functions that have not been called yet.
pub fn never_called() -> Vec<&'static str> {
    let calls = CALLS.iter().map(|calls| calls.load(Relaxed));
    let never = NAMES.iter().zip(calls).filter(|(_, calls)| *calls == 0);
    never.map(|(name, _)| *name).collect()
}

/// Calls of all functions together.
pub fn calls() -> u64 {
    CALLS.iter().map(|calls| calls.load(Relaxed)).sum()
}

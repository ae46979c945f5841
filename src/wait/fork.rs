//! Who made something: the thread, and whether that was before a fork. A child process has one
//! thread, the one that forked.

use crate::core::runtime::new_thread_id;
use crate::machine::os;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many forks led to this process since the library was loaded.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The number of the thread that survived the last fork.
static SURVIVOR: AtomicU64 = AtomicU64::new(0);

pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// The thread that made something, and the number of forks at that time.
pub struct Origin {
    forks: u32,
    thread: u64,
}

impl Origin {
    pub fn here() -> Origin {
        Origin {
            forks: forks(),
            thread: os::thread_id(new_thread_id),
        }
    }

    /// Was its thread lost in a fork?
    pub fn is_lost(&self) -> bool {
        self.forks != forks() && self.thread != SURVIVOR.load(Ordering::Relaxed)
    }
}

/// To be called in the child process, by the thread that forked.
pub fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    SURVIVOR.store(os::thread_id(new_thread_id), Ordering::Relaxed);
}

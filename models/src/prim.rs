//! What `src/thread/prim.rs` is in the library: here with loom's threads, and with the two calls of the system that put a thread to sleep.

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU8, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;

use loom::sync::Condvar;
use std::time::Duration;

loom::lazy_static! {
    /// The kernel's queue of sleepers: one for all words is enough, who is woken in vain looks again.
    static ref SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
}

/// Compares and sleeps in one step, as the kernel does.
pub(crate) fn sleep_on(word: &AtomicU32, value: u32, timeout: Option<Duration>) {
    assert!(timeout.is_none(), "a model has no clock");
    let mut guard = SLEEPERS.0.lock().unwrap();
    while word.load(Ordering::SeqCst) == value {
        guard = SLEEPERS.1.wait(guard).unwrap();
    }
}

pub(crate) fn wake_on(_word: &AtomicU32) {
    drop(SLEEPERS.0.lock().unwrap());
    SLEEPERS.1.notify_all();
}

/// A descriptor that can be polled.
pub(crate) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn new() -> Signal {
        Signal {
            raised: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn raise(&self) {
        *self.raised.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub(crate) fn lower(&self) {
        *self.raised.lock().unwrap() = false;
    }

    /// `poll` without a time limit.
    pub(crate) fn wait(&self) {
        let mut raised = self.raised.lock().unwrap();
        while !*raised {
            raised = self.changed.wait(raised).unwrap();
        }
    }
}

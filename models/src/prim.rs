//! The primitives that `src/wait/prim.rs` is in the library: here with loom's threads, and with
//! models of the two system calls that put a thread to sleep and wake it.

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;

use loom::cell::UnsafeCell;
use loom::sync::Condvar;
use std::mem::MaybeUninit;
use std::time::Duration;

pub(crate) fn pause() {
    loom::thread::yield_now();
}

/// Room for a value; loom sees it when two threads use it at the same time. It remembers whether it
/// is full, so a value that is put on another one, or taken twice, is seen as well.
pub(crate) struct Place<V>(UnsafeCell<(MaybeUninit<V>, bool)>);

// SAFETY: as in the library.
unsafe impl<V: Send> Sync for Place<V> {}

impl<V> Place<V> {
    pub(crate) fn new() -> Place<V> {
        Place(UnsafeCell::new((MaybeUninit::uninit(), false)))
    }

    pub(crate) unsafe fn put(&self, value: V) {
        self.0.with_mut(|place| {
            // SAFETY: loom makes sure that nobody else uses it.
            let place = unsafe { &mut *place };
            assert!(!std::mem::replace(&mut place.1, true), "put on a value");
            place.0.write(value);
        });
    }

    pub(crate) unsafe fn take(&self) -> V {
        self.0.with_mut(|place| {
            // SAFETY: as in `put`; it is full.
            let place = unsafe { &mut *place };
            assert!(std::mem::replace(&mut place.1, false), "taken twice");
            unsafe { place.0.assume_init_read() }
        })
    }
}

loom::lazy_static! {
    /// The kernel's queue of sleepers. One for all words is enough: a thread that is woken in vain
    /// looks again.
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

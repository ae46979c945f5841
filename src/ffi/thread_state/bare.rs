//! Without std there are no thread-locals: the first thread that calls has the interface to itself.
//! Other threads are detected by their runtime.

use super::*;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

struct Storage {
    /// The number of the runtime that owns it; 0 if none does. Unlike an address, it is never
    /// given twice.
    owner: AtomicU64,
    part: UnsafeCell<Option<Part>>,
    /// The number of the last owner.
    number: UnsafeCell<Option<Number>>,
}

// SAFETY: only the owner touches `part` and `number`: `with` and `leave` compare `owner` with
// the caller's runtime first.
unsafe impl Sync for Storage {}

static STORAGE: Storage = Storage {
    owner: AtomicU64::new(0),
    part: UnsafeCell::new(None),
    number: UnsafeCell::new(None),
};

/// As with std; the owner is recognised by its runtime.
pub(in super::super) fn is_made() -> bool {
    Runtime::existing().is_some()
}

/// Calls `f` with the calling thread's part.
pub(in super::super) fn with<R>(f: impl FnOnce(&Part) -> Result<R, Failure>) -> Result<R, Failure> {
    let me = crate::thread_id();
    match STORAGE
        .owner
        .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
    {
        // SAFETY: the exchange has just made it ours, and nobody has a reference to the content
        // yet.
        Ok(_) => unsafe {
            let first = Number {
                tag: 1,
                generations: Vec::new(),
            };
            let number = (*STORAGE.number.get()).take().unwrap_or(first);
            *STORAGE.part.get() = Some(Part::new(number));
        },
        Err(owner) if owner == me => {}
        Err(_) => {
            return Err(Failure::Limit(
                "one thread may use the C interface where there is no std",
            ))
        }
    }
    // SAFETY: it is ours, and from here on there are only shared references to it, until
    // `leave`.
    match unsafe { &*STORAGE.part.get() } {
        Some(part) => f(part),
        None => Err(Failure::ThreadEnding),
    }
}

/// Does the interface belong to the calling thread?
fn is_ours() -> bool {
    Runtime::existing()
        .is_some_and(|runtime| runtime.thread_id == STORAGE.owner.load(Ordering::Relaxed))
}

fn clear() -> bool {
    // SAFETY: only `leave` calls this, for the owner, and a shared reference is all that is
    // made.
    unsafe { &*STORAGE.part.get() }
        .as_ref()
        .is_some_and(Part::clear)
}

/// As with std. Afterwards another thread may have the interface.
pub(in super::super) fn leave() {
    if !is_ours() {
        return crate::lifecycle::thread_exit(|| false);
    }
    crate::lifecycle::thread_exit(clear);
    // SAFETY: it is still ours, since `owner` has the number of the runtime that has just
    // ended. No call of `with` is under way, so nobody has a reference.
    let part = unsafe { (*STORAGE.part.get()).take() };
    let number = part.as_ref().map(Part::number);
    drop(part);
    // SAFETY: still ours, until `owner` is set to 0 below.
    unsafe { *STORAGE.number.get() = number };
    STORAGE.owner.store(0, Ordering::Release);
}

//! A place for an object that any thread may use, and that any thread may give up meanwhile,
//! without a lock.
//!
//! ```text
//!   word:  [ generation 22 | FULL | LIVE | pins 40 ]
//!
//!                 fill()               release()               the last unpin()
//!   (empty)  ────────────►  LIVE FULL ───────────►  FULL, pins  ────────────►  (empty), the object is the caller's
//!                            pin() ✓                 pin() ✗, generation + 1
//! ```
//!
//! Whoever works on the object has pinned it; it leaves with the last pin after its release, once.
//! Who comes with a handle of an earlier generation pins for a moment before it finds out, so it
//! may be the last one, too. All changes of the word are read-modify-writes: who takes the object
//! out sees what all who unpinned it did.
//!
//! `models/` runs this source in all orders of its threads.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use super::prim::{AtomicU64, Ordering};

const PIN: u64 = 1;
const PINS: u64 = LIVE - 1;
const LIVE: u64 = 1 << 40;
const FULL: u64 = 1 << 41;
const GENERATION: u32 = 42;

pub(crate) struct Slot<T> {
    word: AtomicU64,
    object: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the object is looked at by several threads at a time (`Sync`), and leaves on any of them
// (`Send`).
unsafe impl<T: Send + Sync> Sync for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Slot<T> {}

impl<T> Slot<T> {
    pub(crate) fn new() -> Slot<T> {
        Slot {
            word: AtomicU64::new(0),
            object: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Puts an object in. Returns the generation that it has here.
    ///
    /// # Safety
    /// The slot is new, or [`unpin`](Slot::unpin) has emptied it since it was filled last.
    pub(crate) unsafe fn fill(&self, object: T) -> u32 {
        // SAFETY: the caller's promise; nobody looks before LIVE is set.
        unsafe { (*self.object.get()).write(object) };
        let before = self.word.fetch_or(LIVE | FULL, Ordering::Release);
        (before >> GENERATION) as u32
    }

    /// Pins the slot. True if the object of that generation is in it and has not been released: it
    /// stays until the [`unpin`](Slot::unpin), which is due in any case.
    #[inline]
    pub(crate) fn pin(&self, generation: u32) -> bool {
        // A test's switch: looks first; what is released in between leaves under the hands of who
        // works on it.
        let early = cfg!(hsw_bug_late_pin).then(|| self.word.load(Ordering::Acquire));
        let pinned = self.word.fetch_add(PIN, Ordering::Acquire);
        let before = early.unwrap_or(pinned);
        before & LIVE != 0 && (before >> GENERATION) as u32 == generation
    }

    /// Undoes a [`pin`](Slot::pin). The last one gets an object that was released: the slot is
    /// empty then.
    #[inline]
    #[must_use = "the slot is empty if it returns the object"]
    pub(crate) fn unpin(&self) -> Option<T> {
        let before = self.word.fetch_sub(PIN, Ordering::Release);
        if before & (PINS | LIVE | FULL) != FULL | PIN {
            return None;
        }
        self.empty(before - PIN)
    }

    #[cold]
    #[inline(never)]
    fn empty(&self, word: u64) -> Option<T> {
        // Fails if somebody has pinned it since, who will come by here, or has been here.
        self.word
            .compare_exchange(word, word & !FULL, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // SAFETY: it was FULL, and is not any more: this happens once after each `fill`. Nobody has
        // it pinned, and nobody will.
        Some(unsafe { (*self.object.get()).assume_init_read() })
    }

    /// Makes the object's generation a past one. False: it was already. The caller has pinned it.
    pub(crate) fn release(&self, generation: u32) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & LIVE != 0 && (word >> GENERATION) as u32 == generation {
            let released = (word & !LIVE) + (1 << GENERATION);
            match self.word.compare_exchange_weak(
                word,
                released,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// The generation of the object that is in it, or will be next.
    pub(crate) fn generation(&self) -> u32 {
        (self.word.load(Ordering::Relaxed) >> GENERATION) as u32
    }

    /// The object.
    ///
    /// # Safety
    /// The caller has pinned it, successfully.
    #[inline]
    pub(crate) unsafe fn object(&self) -> &T {
        // SAFETY: the caller's promise: it was filled before that, and stays.
        unsafe { (*self.object.get()).assume_init_ref() }
    }
}

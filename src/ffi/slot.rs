//! A place for an object that any thread may use, and that any thread may give up meanwhile,
//! without a lock.
//!
//! ```text
//!   word:  [ generation 22 | FULL | LIVE | pins 40 ]
//!
//!            fill()            release()            the last unpin() takes the object
//!   (empty) ───────► LIVE FULL ─────────► FULL, pins ───────► (empty)
//!                     pin() ✓              pin() ✗, generation + 1
//! ```
//!
//! Whoever works on the object has pinned it. After the release, the last unpin takes the object
//! out, once. A caller with a handle of an earlier generation pins the slot for a moment before it
//! finds out that the handle is stale, so its unpin may be that last one, too. All changes of the
//! word are read-modify-writes: whoever takes the object out sees what all who unpinned it did.
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

// SAFETY: several threads may use the object at a time (`T: Sync`), and any of them may take it out
// (`T: Send`). Access is ordered by the word: see the module.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}
// SAFETY: the slot owns its object, which is `Send`.
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
        // SAFETY: the slot is empty, as the caller has promised, so nobody else writes to it; and
        // nobody reads it before LIVE is set below.
        unsafe { (*self.object.get()).write(object) };
        let before = self.word.fetch_or(LIVE | FULL, Ordering::Release);
        (before >> GENERATION) as u32
    }

    /// Pins the slot. True if the object of that generation is in it and has not been released; it
    /// stays until the [`unpin`](Slot::unpin). The `unpin` is due in either case.
    #[inline]
    pub(crate) fn pin(&self, generation: u32) -> bool {
        // A switch of the tests that breaks this: it checks before it pins. An object that is
        // released in between is taken out while a caller works on it.
        let early = cfg!(hsw_bug_late_pin).then(|| self.word.load(Ordering::Acquire));
        let pinned = self.word.fetch_add(PIN, Ordering::Acquire);
        let before = early.unwrap_or(pinned);
        before & LIVE != 0 && (before >> GENERATION) as u32 == generation
    }

    /// Undoes a [`pin`](Slot::pin). The last unpin after a release returns the object, and the slot
    /// is empty then.
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
        // Fails if somebody has pinned the slot since: that one's `unpin` comes by here later, or
        // has already.
        self.word
            .compare_exchange(word, word & !FULL, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // SAFETY: the exchange has taken FULL away, which happens once after each `fill`; so the
        // object is initialised and taken out once. There are no pins, and no new pin can succeed
        // since the generation is past.
        Some(unsafe { (*self.object.get()).assume_init_read() })
    }

    /// Makes the object's generation a past one. False if it was already. The caller has pinned it.
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

    /// The generation of the object that is in the slot, or of the next one.
    pub(crate) fn generation(&self) -> u32 {
        (self.word.load(Ordering::Relaxed) >> GENERATION) as u32
    }

    /// The object.
    ///
    /// # Safety
    /// The caller has pinned the slot with success, and does not unpin it during the borrow.
    #[inline]
    pub(crate) unsafe fn object(&self) -> &T {
        // SAFETY: pinned with success, as the caller has promised: so it has been filled, and
        // nobody takes the object out before the unpin.
        unsafe { (*self.object.get()).assume_init_ref() }
    }
}

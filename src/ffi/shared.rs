//! The tables of objects that belong to the process, so that any thread may use them.
//!
//! To look one up takes no lock: a table's slots never move, and are never freed, only used again.
//! A call pins its object, so another thread may release the handle meanwhile. A released object is
//! dropped by the last call that works on it, when that has nothing of the table any more.
//!
//! ```text
//!   blocks:  [0] ─► 64 slots    [1] ─► 128 slots    [2] ─► 256 slots ...
//!            each is made when the first of its slots is needed
//!   free:    ─► slot ─► slot ─► ...
//!            a stack; a count tells its states apart when the same slot is on top again
//! ```

use alloc::boxed::Box;
use core::borrow::Borrow;
use core::ops::Deref;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::failure::Failure;
use super::handle::{self, Fault, Kind, Parts, PROCESS};
use super::slot::Slot;

const FIRST_BLOCK: u32 = 64;
/// Enough blocks for all indices that a handle can have.
const BLOCKS: usize = (handle::INDEX_BITS - FIRST_BLOCK.ilog2() + 1) as usize;
const NO_PLACE: u32 = 0;

/// The table of a kind.
pub(super) struct Shared<T: 'static> {
    kind: Kind,
    blocks: [AtomicPtr<Place<T>>; BLOCKS],
    made: AtomicU32,
    /// In the upper half a count of the changes; in the lower half the first free place, as its
    /// index + 1 (0: there is none).
    free: AtomicU64,
}

/// A slot of a table.
struct Place<T: 'static> {
    slot: Slot<T>,
    table: &'static Shared<T>,
    index: u32,
    /// The next free place, as in `Shared::free`.
    next: AtomicU32,
}

/// An object that a call works on.
pub(super) struct Pinned<T: 'static>(&'static Place<T>);

/// The block that holds an index, and the position in that block.
fn position(index: u32) -> (usize, usize) {
    let block = (index / FIRST_BLOCK + 1).ilog2();
    let before = FIRST_BLOCK * ((1 << block) - 1);
    (block as usize, (index - before) as usize)
}

impl<T: Send + Sync + 'static> Shared<T> {
    pub(super) const fn new(kind: Kind) -> Self {
        Shared {
            kind,
            blocks: [const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS],
            made: AtomicU32::new(0),
            free: AtomicU64::new(0),
        }
    }

    /// Makes a handle of `object`.
    pub(super) fn insert(&'static self, object: T) -> Result<Result<u64, Fault>, Failure> {
        alone()?;
        let place = match self.take_free().map_or_else(|| self.make(), Ok) {
            Ok(place) => place,
            Err(fault) => return Ok(Err(fault)),
        };
        // SAFETY: the place is empty: it is new, or was on the list of free ones, which only empty
        // places are put on. We have taken it, so it is ours alone.
        let generation = unsafe { place.slot.fill(object) };
        let parts = Parts {
            generation,
            index: place.index,
        };
        Ok(Ok(parts.handle(self.kind, PROCESS)))
    }

    /// The object that `id` names.
    #[inline]
    pub(super) fn get(&'static self, id: u64) -> Result<Result<Pinned<T>, Fault>, Failure> {
        alone()?;
        Ok(self.pin(id).map(|(pinned, _)| pinned))
    }

    #[inline]
    fn pin(&'static self, id: u64) -> Result<(Pinned<T>, u32), Fault> {
        let Parts { generation, index } = Parts::of(id, self.kind, PROCESS)?;
        let place = self.place(index).ok_or(Fault::Stale)?;
        let good = place.slot.pin(generation);
        let pinned = Pinned(place);
        if !good {
            return Err(Fault::Stale);
        }
        Ok((pinned, generation))
    }

    /// Ends a handle: it is stale from now on. The object is dropped together with the returned
    /// value, or by the last call that works on it.
    pub(super) fn remove(&'static self, id: u64) -> Result<Result<Pinned<T>, Fault>, Failure> {
        alone()?;
        Ok(self.pin(id).and_then(|(pinned, generation)| {
            let ours = pinned.0.slot.release(generation);
            ours.then_some(pinned).ok_or(Fault::Stale)
        }))
    }

    #[inline]
    fn place(&'static self, index: u32) -> Option<&'static Place<T>> {
        let (block, at) = position(index);
        let block = self.blocks[block].load(Ordering::Acquire);
        // SAFETY: `position` says at most as many places as the block has, and a block is never
        // freed.
        (!block.is_null()).then(|| unsafe { &*block.add(at) })
    }

    /// A place that nobody has used yet.
    fn make(&'static self) -> Result<&'static Place<T>, Fault> {
        let more = |made: u32| (made >> handle::INDEX_BITS == 0).then_some(made + 1);
        let index = self
            .made
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Fault::Full)?;
        if let Some(place) = self.place(index) {
            return Ok(place);
        }
        let (block, at) = position(index);
        let first = index - at as u32;
        let fresh: Box<[Place<T>]> = (first..first + (FIRST_BLOCK << block))
            .map(|index| Place {
                slot: Slot::new(),
                table: self,
                index,
                next: AtomicU32::new(NO_PLACE),
            })
            .collect();
        let fresh = Box::into_raw(fresh);
        let installed = self.blocks[block].compare_exchange(
            ptr::null_mut(),
            fresh.cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        let block = match installed {
            Ok(_) => fresh.cast(),
            Err(theirs) => {
                // SAFETY: it comes from `Box::into_raw` above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                theirs
            }
        };
        // SAFETY: `position` says at most as many places as the block has, and a block is never
        // freed.
        Ok(unsafe { &*block.add(at) })
    }

    fn take_free(&'static self) -> Option<&'static Place<T>> {
        let mut top = self.free.load(Ordering::Acquire);
        loop {
            let index = (top as u32).checked_sub(1)?;
            let place = self.place(index)?;
            // Another thread may have taken the place meanwhile and changed its `next`. Then the
            // count is another one, and the exchange fails.
            let next = after(top, place.next.load(Ordering::Relaxed));
            match self
                .free
                .compare_exchange_weak(top, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(place),
                Err(now) => top = now,
            }
        }
    }
}

impl<T> Shared<T> {
    fn give_free(&self, place: &Place<T>) {
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            place.next.store(top as u32, Ordering::Relaxed);
            match self.free.compare_exchange_weak(
                top,
                after(top, place.index + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

/// The next value of `Shared::free`.
fn after(top: u64, place: u32) -> u64 {
    ((top >> 32) + 1) << 32 | u64::from(place)
}

impl<T: 'static> Deref for Pinned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this value exists, so its pin succeeded: `Shared::pin` hands out no other. The
        // object stays until the `unpin` in `drop`.
        unsafe { self.0.slot.object() }
    }
}

impl<T: 'static> Borrow<T> for Pinned<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: 'static> Drop for Pinned<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(object) = self.0.slot.unpin() {
            leave(self.0, object);
        }
    }
}

/// Called by the last call that worked on a released object.
#[cold]
#[inline(never)]
fn leave<T>(place: &'static Place<T>, object: T) {
    // A place whose generations are used up is never used again: so a stale handle is always
    // detected.
    if place.slot.generation() <= handle::LAST_GENERATION {
        place.table.give_free(place);
    }
    // This may run destructors and tasklets, which may come back here.
    drop(object);
}

/// With std, the calling thread may be any.
#[cfg(feature = "std")]
#[inline]
fn alone() -> Result<(), Failure> {
    Ok(())
}

/// Without std, one thread has the interface to itself, which `thread_state` checks.
#[cfg(not(feature = "std"))]
fn alone() -> Result<(), Failure> {
    super::thread_state::with(|_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    /// A table that lives for ever, as the real ones do. The list is where a leak detector finds
    /// it.
    fn table<T: Send + Sync>() -> &'static Shared<T> {
        static TABLES: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
        let table: &'static Shared<T> = Box::leak(Box::new(Shared::new(Kind::Lock)));
        TABLES.lock().unwrap().push(ptr::from_ref(table) as usize);
        table
    }

    fn insert<T: Send + Sync>(table: &'static Shared<T>, object: T) -> u64 {
        table.insert(object).ok().unwrap().unwrap()
    }

    fn look<T: Send + Sync + Clone>(table: &'static Shared<T>, id: u64) -> Result<T, Fault> {
        table.get(id).ok().unwrap().map(|pinned| T::clone(&pinned))
    }

    fn remove<T: Send + Sync>(table: &'static Shared<T>, id: u64) -> Result<Pinned<T>, Fault> {
        table.remove(id).ok().unwrap()
    }

    fn index(id: u64) -> u64 {
        id & ((1 << handle::INDEX_BITS) - 1)
    }

    #[test]
    fn each_index_has_a_position_of_its_own() {
        let mut expected =
            (0..BLOCKS).flat_map(|block| (0..64usize << block).map(move |at| (block, at)));
        for index in 0..100_000 {
            assert_eq!(Some(position(index)), expected.next());
        }
        let last = position((1 << handle::INDEX_BITS) - 1);
        assert!(last.0 < BLOCKS && last.1 < 64 << last.0, "{last:?}");
    }

    #[test]
    fn a_released_handle_is_stale_also_when_its_slot_is_used_again() {
        let table = table();
        let first = insert(table, "first");
        assert_eq!(look(table, first), Ok("first"));
        drop(remove(table, first).unwrap());
        let second = insert(table, "second");
        assert_ne!(first, second);
        assert_eq!(look(table, first), Err(Fault::Stale));
        assert!(remove(table, first).is_err());
        assert_eq!(look(table, second), Ok("second"));
        for made_up in [second + 1, second + 64, second | 0xffffff, u64::MAX, 1] {
            assert_eq!(look(table, made_up), Err(Fault::Stale), "{made_up:#x}");
        }
        assert_eq!(look(table, 0), Err(Fault::Null));
    }

    #[test]
    fn a_released_object_stays_for_who_works_on_it_and_leaves_with_the_last() {
        let (table, object) = (table(), Arc::new(()));
        let id = insert(table, object.clone());
        let works = [(); 2].map(|()| table.get(id).ok().unwrap().unwrap());
        drop(remove(table, id).unwrap());
        assert_eq!(look(table, id), Err(Fault::Stale));
        assert!(remove(table, id).is_err());
        assert_eq!(Arc::strong_count(&object), 2);
        let other = insert(table, object.clone());
        assert_ne!(index(other), index(id), "its slot is in use still");
        let [first, last] = works;
        drop(first);
        assert!(Arc::ptr_eq(&last, &object));
        drop(last);
        assert_eq!(Arc::strong_count(&object), 2);
        assert_eq!(index(insert(table, object.clone())), index(id));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_never_used_again() {
        let table = table();
        let first = insert(table, 0);
        let mut last = first;
        for n in 0..handle::LAST_GENERATION {
            drop(remove(table, last).unwrap());
            last = insert(table, n);
            assert_eq!(index(last), 0);
        }
        drop(remove(table, last).unwrap());
        assert_eq!(index(insert(table, 0)), 1);
        assert_eq!(look(table, first), Err(Fault::Stale));
        assert_eq!(look(table, last), Err(Fault::Stale));
    }

    /// An object that records when it is dropped.
    struct Checked {
        gone: Arc<AtomicU32>,
        number: u64,
    }

    impl Drop for Checked {
        fn drop(&mut self) {
            assert_eq!(
                self.gone.fetch_add(1, Ordering::Relaxed),
                0,
                "dropped twice"
            );
        }
    }

    #[test]
    #[cfg(feature = "std")]
    fn threads_that_make_use_and_release_handles_find_the_object_or_none() {
        let rounds = if cfg!(target_arch = "x86_64") {
            20_000
        } else {
            2_000
        };
        let table = table();
        // Handles that all threads know; some of them become stale.
        let known: Arc<[AtomicU64; 8]> = Arc::default();
        let mut drops = Vec::new();
        let threads: Vec<_> = (1..=4u64)
            .map(|thread| {
                let known = known.clone();
                std::thread::spawn(move || {
                    let (mut made, mut seen, mut random) = (Vec::new(), 0, thread);
                    for _ in 0..rounds {
                        random = random
                            .wrapping_mul(6364136223846793005)
                            .wrapping_add(thread);
                        let place = &known[(random >> 60) as usize % 8];
                        let id = place.load(Ordering::Relaxed);
                        match (random >> 40) % 4 {
                            0 => {
                                let count = Arc::new(AtomicU32::new(0));
                                let fresh = insert(
                                    table,
                                    Checked {
                                        gone: count.clone(),
                                        number: random,
                                    },
                                );
                                made.push(count);
                                let old = place.swap(fresh, Ordering::Relaxed);
                                drop(table.remove(old).ok().unwrap());
                            }
                            1 => drop(table.remove(id).ok().unwrap()),
                            _ => {
                                if let Ok(object) = table.get(id).ok().unwrap() {
                                    let before = object.number;
                                    std::thread::yield_now();
                                    assert_eq!(object.gone.load(Ordering::Relaxed), 0, "is there");
                                    assert_eq!(object.number, before);
                                    seen += 1;
                                }
                            }
                        }
                    }
                    (made, seen)
                })
            })
            .collect();
        let mut seen = 0;
        for thread in threads {
            let (made, saw) = thread.join().unwrap();
            drops.extend(made);
            seen += saw;
        }
        assert!(seen > rounds / 10, "{seen}");
        for place in &*known {
            drop(remove(table, place.load(Ordering::Relaxed)));
        }
        assert!(drops.iter().all(|gone| gone.load(Ordering::Relaxed) == 1));
        // The slots of the known handles, and those that each thread worked on.
        let slots = table.made.load(Ordering::Relaxed);
        assert!((1..=8 + 2 * 4).contains(&slots), "{slots}");
    }
}

//! Slices: the heap copies of parked stacks.
//!
//! A slice holds the bytes from the stack pointer to the top of the window and
//! nothing more. A tasklet keeps its buffer while it runs, so that switches in a steady
//! state never use the allocator. Buffers are of size classes
//! 16 bytes apart; freed ones up to 8 KiB wait in a list per class, as many
//! bytes in all as the settings allow.

use alloc::alloc::{alloc, dealloc, Layout};
use core::cell::{Cell, UnsafeCell};

use super::Budget;
use crate::error::{Error, Result};
use crate::machine::arch::SLICE_ODD;
use crate::machine::valgrind;

/// Classes end in half a granule: with the word that common allocators put in
/// front, a block fills whole granules.
const GRANULE: usize = 16;
const OFFSET: usize = 8;
/// Buffers of fewer bytes are cached.
const CACHED: usize = 8 * 1024;
const CLASSES: usize = CACHED / GRANULE;

/// The buffer of a tasklet's slice. It has no `Drop`: it is given back to its store.
#[derive(Clone, Copy)]
pub struct Buffer {
    ptr: *mut u8,
    capacity: usize,
}

impl Buffer {
    /// For debuggers: where the address lies.
    pub const PTR: usize = core::mem::offset_of!(Buffer, ptr);

    pub const NONE: Buffer = Buffer {
        ptr: core::ptr::null_mut(),
        capacity: 0,
    };

    #[inline(always)]
    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// Is it of the class of `len` bytes?
    #[inline(always)]
    pub fn fits(&self, len: usize) -> bool {
        class_capacity(len) == self.capacity
    }

    /// [`fits`](Self::fits) for the length of a slice, which is [`SLICE_ODD`] more than a multiple
    /// of 16.
    #[inline(always)]
    pub fn fits_slice(&self, len: usize) -> bool {
        debug_assert_eq!(class_capacity(len), len + (OFFSET - SLICE_ODD));
        len + (OFFSET - SLICE_ODD) == self.capacity
    }

    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

/// The capacity that serves `len` bytes.
#[inline]
fn class_capacity(len: usize) -> usize {
    (len + (GRANULE - OFFSET - 1)) / GRANULE * GRANULE + OFFSET
}

fn layout(capacity: usize) -> Layout {
    // SAFETY: every capacity came from `class_capacity` of a length that fits
    // a window, and the alignment is a power of two.
    unsafe { Layout::from_size_align_unchecked(capacity, 16) }
}

/// The slices of one runtime.
pub struct SliceStore {
    free: UnsafeCell<[*mut u8; CLASSES]>,
    cached: Cell<usize>,
    cache_limit: usize,
    in_use: Cell<usize>,
    peak: Cell<usize>,
    allocations: Cell<u64>,
    /// For tests: the allocations that still succeed; `u64::MAX` is no limit.
    fail_after: Cell<u64>,
}

impl SliceStore {
    pub fn new(cache_limit: usize) -> SliceStore {
        SliceStore {
            free: UnsafeCell::new([core::ptr::null_mut(); CLASSES]),
            cached: Cell::new(0),
            cache_limit,
            in_use: Cell::new(0),
            peak: Cell::new(0),
            allocations: Cell::new(0),
            fail_after: Cell::new(u64::MAX),
        }
    }

    /// Makes `buffer` hold exactly the class of `len` bytes. The content is not
    /// kept. On an error the buffer is as it was.
    #[inline]
    pub fn fit(&self, buffer: &mut Buffer, len: usize, budget: &Budget) -> Result<()> {
        if buffer.fits(len) {
            return Ok(());
        }
        self.refit(buffer, class_capacity(len), budget)
    }

    #[cold]
    fn refit(&self, buffer: &mut Buffer, capacity: usize, budget: &Budget) -> Result<()> {
        let fresh = self.take(capacity, budget)?;
        self.give(buffer, budget);
        *buffer = fresh;
        Ok(())
    }

    fn take(&self, capacity: usize, budget: &Budget) -> Result<Buffer> {
        let class = capacity / GRANULE;
        if class < CLASSES {
            // SAFETY: the lists are touched by this thread alone, never across
            // a call; each entry is a free block whose first word is the next.
            unsafe {
                let free = &mut *self.free.get();
                let ptr = free[class];
                if !ptr.is_null() {
                    free[class] = ptr.cast::<*mut u8>().read();
                    self.cached.set(self.cached.get() - capacity);
                    self.count(capacity);
                    return Ok(Buffer { ptr, capacity });
                }
            }
        }
        self.allocations.set(self.allocations.get() + 1);
        match self.fail_after.get() {
            u64::MAX => {}
            0 => return Err(Error::OutOfMemory),
            left => self.fail_after.set(left - 1),
        }
        budget.take(capacity)?;
        // SAFETY: capacities are never zero.
        let ptr = unsafe { alloc(layout(capacity)) };
        if ptr.is_null() {
            budget.give(capacity);
            return Err(Error::OutOfMemory);
        }
        self.count(capacity);
        Ok(Buffer { ptr, capacity })
    }

    #[inline]
    fn count(&self, capacity: usize) {
        let in_use = self.in_use.get() + capacity;
        self.in_use.set(in_use);
        if in_use > self.peak.get() {
            self.peak.set(in_use);
        }
    }

    /// Takes the buffer back; `buffer` is empty afterwards.
    pub fn give(&self, buffer: &mut Buffer, budget: &Budget) {
        let Buffer { ptr, capacity } = core::mem::replace(buffer, Buffer::NONE);
        if ptr.is_null() {
            return;
        }
        self.in_use.set(self.in_use.get() - capacity);
        let class = capacity / GRANULE;
        if class < CLASSES && self.cached.get() + capacity <= self.cache_limit {
            // SAFETY: only this thread uses the lists, never across a call; the block is free from
            // here on and has room for the link.
            unsafe {
                let free = &mut *self.free.get();
                ptr.cast::<*mut u8>().write(free[class]);
                free[class] = ptr;
            }
            self.cached.set(self.cached.get() + capacity);
        } else {
            // SAFETY: allocated in `take` with this layout.
            unsafe { dealloc(ptr, layout(capacity)) };
            budget.give(capacity);
        }
    }

    /// Gives the cache back to the allocator.
    pub fn flush(&self, budget: &Budget) {
        // SAFETY: only this thread uses the lists; every listed block was allocated with the
        // layout of its class.
        unsafe {
            let free = &mut *self.free.get();
            for (class, head) in free.iter_mut().enumerate() {
                let capacity = class * GRANULE + OFFSET;
                while !head.is_null() {
                    let ptr = *head;
                    *head = ptr.cast::<*mut u8>().read();
                    dealloc(ptr, layout(capacity));
                    budget.give(capacity);
                }
            }
        }
        self.cached.set(0);
    }

    /// Bytes in the buffers that tasklets hold.
    pub fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// The most that `in_use` has been.
    pub fn peak(&self) -> usize {
        self.peak.get()
    }

    /// Bytes in free buffers.
    pub fn cached(&self) -> usize {
        self.cached.get()
    }

    /// Requests that the cache could not serve.
    pub fn allocations(&self) -> u64 {
        self.allocations.get()
    }

    /// Makes allocations fail after `count` more; `None` ends it.
    pub fn fail_after(&self, count: Option<u64>) {
        self.fail_after.set(count.unwrap_or(u64::MAX));
    }
}

/// Copies a part of a stack that is in place. (An exchange is copied by the port's routines.)
///
/// # Safety
/// As `copy_nonoverlapping`; both addresses are on a word boundary and `len` is
/// a multiple of the word.
#[inline(always)]
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    valgrind::writable(to as usize, len);
    // SAFETY: `from` is readable and `to` writable for `len` bytes, and they do not overlap.
    valgrind::quietly(|| unsafe { core::ptr::copy_nonoverlapping(from, to, len) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_at_most_a_granule_larger_than_asked() {
        for len in 1..10_000 {
            let capacity = class_capacity(len);
            assert!(capacity >= len, "{len} does not fit {capacity}");
            assert!(
                capacity < len.max(8) + GRANULE,
                "{len} wastes {}",
                capacity - len
            );
        }
    }

    #[test]
    fn buffers_are_reused_and_the_cache_is_bounded() {
        let budget = Budget::new(usize::MAX);
        let store = SliceStore::new(1000);
        let mut buffer = Buffer::NONE;
        store.fit(&mut buffer, 300, &budget).unwrap();
        let first = buffer.ptr();
        store.give(&mut buffer, &budget);
        store.fit(&mut buffer, 300, &budget).unwrap();
        assert_eq!(buffer.ptr(), first);
        assert_eq!(store.allocations(), 1);
        let mut others = [Buffer::NONE; 5];
        for other in &mut others {
            store.fit(other, 400, &budget).unwrap();
        }
        for other in &mut others {
            store.give(other, &budget);
        }
        assert!(store.cached() <= 1000);
        store.give(&mut buffer, &budget);
        store.flush(&budget);
        assert_eq!(
            (store.in_use(), store.cached(), budget.used.get()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_refused_allocation_leaves_the_buffer_as_it_was() {
        let budget = Budget::new(500);
        let store = SliceStore::new(0);
        let mut buffer = Buffer::NONE;
        store.fit(&mut buffer, 400, &budget).unwrap();
        let (ptr, capacity) = (buffer.ptr(), buffer.capacity());
        assert!(matches!(
            store.fit(&mut buffer, 450, &budget),
            Err(Error::MemoryCeiling(500))
        ));
        assert_eq!((buffer.ptr(), buffer.capacity()), (ptr, capacity));
        store.fail_after(Some(0));
        assert!(matches!(
            store.fit(&mut buffer, 20, &budget),
            Err(Error::OutOfMemory)
        ));
        assert_eq!(buffer.capacity(), capacity);
        store.give(&mut buffer, &budget);
        assert_eq!(budget.used.get(), 0);
    }
}

//! Stacks that one tasklet owns, and a bounded pool of used ones.

use alloc::boxed::Box;
use core::cell::Cell;
use core::mem;

use super::{limit, Budget};
use crate::error::{Error, Result};
use crate::machine::os::StackMemory;
use crate::machine::valgrind;

/// A stack that one tasklet owns.
pub struct OwnStack {
    pub memory: StackMemory,
    /// See [`limit`].
    pub limit: usize,
    /// The size that was asked for, in bytes.
    size: usize,
    /// In the pool: the next stack of the list.
    below: Option<Box<OwnStack>>,
}

/// The least size of a stack, in bytes: a frame of the entry and a signal frame must fit.
pub const MIN_STACK: usize = 4096;

/// A pool of stacks. One size is pooled, the default one: a pool of all sizes
/// would serve a small request with a large stack.
pub struct StackPool {
    /// A list whose first stack was used last: it is still in the processor's caches.
    free: Cell<Option<Box<OwnStack>>>,
    pooled: Cell<usize>,
    /// Size of the pooled stacks in bytes.
    pub size: usize,
    /// How many are kept at most.
    limit: usize,
    /// Bytes below a stack that fault.
    guard: usize,
    in_use: Cell<usize>,
}

impl StackPool {
    pub fn new(size: usize, limit: usize, guard: usize) -> StackPool {
        StackPool {
            free: Cell::new(None),
            pooled: Cell::new(0),
            size,
            limit,
            guard,
            in_use: Cell::new(0),
        }
    }

    /// Is it a possible size?
    pub fn check_size(&self, size: usize) -> Result<()> {
        if size < MIN_STACK || size > isize::MAX as usize / 2 {
            return Err(Error::StackSize(size));
        }
        Ok(())
    }

    #[inline]
    pub fn take(&self, size: usize, budget: &Budget) -> Result<Box<OwnStack>> {
        if size == self.size {
            if let Some(mut stack) = self.free.take() {
                self.set_free(stack.below.take());
                self.pooled.set(self.pooled.get() - 1);
                self.in_use.set(self.in_use.get() + 1);
                valgrind::writable(stack.memory.bottom(), size);
                return Ok(stack);
            }
        }
        self.make(size, budget)
    }

    #[cold]
    #[inline(never)]
    fn make(&self, size: usize, budget: &Budget) -> Result<Box<OwnStack>> {
        self.check_size(size)?;
        budget.take(size)?;
        match StackMemory::new(size, self.guard) {
            Ok(memory) => {
                self.in_use.set(self.in_use.get() + 1);
                Ok(Box::new(OwnStack {
                    limit: limit(memory.bottom()),
                    memory,
                    size,
                    below: None,
                }))
            }
            Err(error) => {
                budget.give(size);
                Err(error)
            }
        }
    }

    #[inline]
    pub fn give(&self, mut stack: Box<OwnStack>, budget: &Budget) {
        self.in_use.set(self.in_use.get() - 1);
        let pooled = self.pooled.get();
        if stack.size == self.size && pooled < self.limit {
            let below = mem::replace(&mut stack.below, self.free.take());
            debug_assert!(below.is_none());
            mem::forget(below);
            self.set_free(Some(stack));
            self.pooled.set(pooled + 1);
        } else {
            budget.give(stack.size);
        }
    }

    /// Puts a list into the cell, which is empty: there is nothing to drop.
    #[inline(always)]
    fn set_free(&self, list: Option<Box<OwnStack>>) {
        mem::forget(self.free.replace(list));
    }

    /// Stacks that tasklets hold.
    pub fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// Stacks that wait in the pool.
    pub fn pooled(&self) -> usize {
        self.pooled.get()
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        // One by one: a list that drops itself recurses as deeply as it is long.
        let mut next = self.free.take();
        while let Some(mut stack) = next {
            next = stack.below.take();
        }
    }
}

//! Stacks that one tasklet owns, and a bounded pool of used ones.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::Budget;
use crate::error::{Error, Result};
use crate::os::StackMemory;
use crate::valgrind;

/// A stack that one tasklet owns.
pub(crate) struct OwnStack {
    pub(crate) memory: StackMemory,
    /// As asked for, in bytes.
    size: usize,
}

/// Less than this is no stack: a frame of the entry and a signal frame must fit.
pub(crate) const MIN_STACK: usize = 4096;

/// A pool of stacks. One size is pooled, the default one: a pool of all sizes
/// would serve a small request with a large stack.
pub(crate) struct StackPool {
    // Boxed: a control block has one word for its stack.
    #[allow(clippy::vec_box)]
    free: RefCell<Vec<Box<OwnStack>>>,
    /// Size of the pooled stacks in bytes.
    pub(crate) size: usize,
    /// How many are kept at most.
    limit: usize,
    in_use: Cell<usize>,
}

impl StackPool {
    pub(crate) fn new(size: usize, limit: usize) -> StackPool {
        StackPool {
            free: RefCell::new(Vec::new()),
            size,
            limit,
            in_use: Cell::new(0),
        }
    }

    /// Is it a size that can be?
    pub(crate) fn check_size(&self, size: usize) -> Result<()> {
        if size < MIN_STACK || size > isize::MAX as usize / 2 {
            return Err(Error::StackSize(size));
        }
        Ok(())
    }

    pub(crate) fn take(&self, size: usize, budget: &Budget) -> Result<Box<OwnStack>> {
        self.check_size(size)?;
        if size == self.size {
            if let Some(stack) = self.free.borrow_mut().pop() {
                valgrind::writable(stack.memory.bottom(), size);
                self.in_use.set(self.in_use.get() + 1);
                return Ok(stack);
            }
        }
        budget.take(size)?;
        match StackMemory::new(size) {
            Ok(memory) => {
                self.in_use.set(self.in_use.get() + 1);
                Ok(Box::new(OwnStack { memory, size }))
            }
            Err(error) => {
                budget.give(size);
                Err(error)
            }
        }
    }

    pub(crate) fn give(&self, stack: Box<OwnStack>, budget: &Budget) {
        self.in_use.set(self.in_use.get() - 1);
        let mut free = self.free.borrow_mut();
        if stack.size == self.size && free.len() < self.limit {
            free.push(stack);
        } else {
            budget.give(stack.size);
        }
    }

    /// Stacks that tasklets hold.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// Stacks that wait in the pool.
    pub(crate) fn pooled(&self) -> usize {
        self.free.borrow().len()
    }
}

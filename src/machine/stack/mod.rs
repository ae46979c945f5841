//! Stack memory: windows that tasklets share, slices that hold the bytes of parked ones, and
//! stacks that one tasklet owns.

pub mod own;
pub mod slice;
pub mod window;

/// The lowest stack pointer with which a tasklet may begin to switch, on a stack whose lowest
/// address is `bottom`: so that its save area fits.
pub fn limit(bottom: usize) -> usize {
    bottom + crate::machine::arch::SAVE_AREA
}

/// The memory that a runtime may take from the allocator and the system, and what it has taken.
///
/// All figures in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) used: core::cell::Cell<usize>,
    pub(crate) ceiling: core::cell::Cell<usize>,
}

impl Budget {
    pub(crate) fn new(ceiling: usize) -> Budget {
        Budget {
            used: core::cell::Cell::new(0),
            ceiling: core::cell::Cell::new(ceiling),
        }
    }

    /// Fails, with nothing taken, when the ceiling would be passed.
    #[inline]
    pub(crate) fn take(&self, bytes: usize) -> crate::Result<()> {
        let used = self.used.get().saturating_add(bytes);
        if used > self.ceiling.get() {
            return Err(crate::Error::MemoryCeiling(self.ceiling.get()));
        }
        self.used.set(used);
        Ok(())
    }

    /// Sets another ceiling, in bytes; returns the old one. What is taken already stays.
    pub(crate) fn set_ceiling(&self, ceiling: usize) -> usize {
        self.ceiling.replace(ceiling)
    }

    #[inline]
    pub(crate) fn give(&self, bytes: usize) {
        debug_assert!(
            self.used.get() >= bytes,
            "more memory given back than taken"
        );
        self.used.set(self.used.get().wrapping_sub(bytes));
    }
}

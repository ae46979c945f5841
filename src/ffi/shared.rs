//! Handles of what any thread may use: tables of the process, with thread 0 in the handle.
//!
//! No code of C's runs while a table is held: what is taken out is dropped by the caller, and an object that a call works on is kept by
//! that call, so another thread may release its handle meanwhile.

use alloc::sync::Arc;

use super::handle::{Fault, Kind, Table};
use super::status::Failure;

/// The table of a kind.
pub(super) struct Shared<T> {
    kind: Kind,
    table: storage::Guarded<Table<Arc<T>>>,
}

impl<T> Shared<T> {
    pub(super) const fn new(kind: Kind) -> Self {
        Shared {
            kind,
            table: storage::Guarded::new(Table::new(kind, 0)),
        }
    }

    fn failure(&self, fault: Fault) -> Failure {
        Failure::Handle(self.kind, fault)
    }

    /// The object that `id` names.
    #[inline(never)] // keeps the frames of blocking calls small
    pub(super) fn get(&self, id: u64) -> Result<Arc<T>, Failure> {
        self.table
            .read(|table| table.get(id).cloned())?
            .map_err(|fault| self.failure(fault))
    }

    /// Makes a handle of `object`.
    pub(super) fn insert(&self, object: Arc<T>) -> Result<u64, Failure> {
        self.table
            .write(|table| table.insert(object))?
            .map_err(|fault| self.failure(fault))
    }

    /// Takes the object out; `id` is stale from now on.
    pub(super) fn remove(&self, id: u64) -> Result<Arc<T>, Failure> {
        self.table
            .write(|table| table.remove(id))?
            .map_err(|fault| self.failure(fault))
    }

    /// How many handles are live.
    pub(super) fn live(&self) -> usize {
        self.table.read(|table| table.live()).unwrap_or(0)
    }
}

#[cfg(feature = "std")]
mod storage {
    use super::Failure;
    use std::sync::{PoisonError, RwLock};

    pub(super) struct Guarded<T>(RwLock<T>);

    impl<T> Guarded<T> {
        pub(super) const fn new(value: T) -> Self {
            Guarded(RwLock::new(value))
        }

        pub(super) fn read<R>(&self, f: impl FnOnce(&T) -> R) -> Result<R, Failure> {
            // Nothing of the tables panics halfway.
            Ok(f(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
        }

        pub(super) fn write<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, Failure> {
            Ok(f(&mut self
                .0
                .write()
                .unwrap_or_else(PoisonError::into_inner)))
        }
    }
}

/// Without std one thread has the interface to itself, as `local` makes sure.
#[cfg(not(feature = "std"))]
mod storage {
    use super::Failure;
    use core::cell::RefCell;

    pub(super) struct Guarded<T>(RefCell<T>);

    // SAFETY: the cell is touched inside of `local::with` alone, which lets in one thread for the life of the process.
    unsafe impl<T> Sync for Guarded<T> {}

    impl<T> Guarded<T> {
        pub(super) const fn new(value: T) -> Self {
            Guarded(RefCell::new(value))
        }

        pub(super) fn read<R>(&self, f: impl FnOnce(&T) -> R) -> Result<R, Failure> {
            super::super::local::with(|_| Ok(f(&self.0.borrow())))
        }

        pub(super) fn write<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, Failure> {
            super::super::local::with(|_| Ok(f(&mut self.0.borrow_mut())))
        }
    }
}

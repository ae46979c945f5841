//! Where the tables of the process lie, whose objects any thread may use.
//!
//! No code of C's runs while a table is held: what is taken out is dropped by the caller, and an object that a call works on is kept by
//! that call, so another thread may release its handle meanwhile.

use super::handle::{Kind, Table, PROCESS};
use super::status::Failure;

/// The table of a kind.
pub(super) struct Shared<T>(storage::Guarded<Table<T>>);

impl<T> Shared<T> {
    pub(super) const fn new(kind: Kind) -> Self {
        Shared(storage::Guarded::new(Table::new(kind, PROCESS)))
    }

    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Table<T>) -> R) -> Result<R, Failure> {
        self.0.with(f)
    }
}

#[cfg(feature = "std")]
mod storage {
    use super::Failure;
    use std::sync::{Mutex, PoisonError};

    pub(super) struct Guarded<T>(Mutex<T>);

    impl<T> Guarded<T> {
        pub(super) const fn new(value: T) -> Self {
            Guarded(Mutex::new(value))
        }

        pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, Failure> {
            // Nothing of the tables panics halfway.
            Ok(f(&mut self
                .0
                .lock()
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

        pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, Failure> {
            super::super::local::with(|_| Ok(f(&mut self.0.borrow_mut())))
        }
    }
}

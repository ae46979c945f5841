//! The data that AddressSanitizer and ThreadSanitizer need for each stack. Without these features
//! the types are empty.

#[cfg(not(any(feature = "asan", feature = "tsan")))]
mod kept {
    /// The data of a thread for the tools.
    pub struct Fibers;

    impl Fibers {
        pub fn new() -> Fibers {
            Fibers
        }
    }

    /// The data of a stack's owner for the tools.
    pub struct Fiber;

    impl Fiber {
        pub const NEW: Fiber = Fiber;
    }
}

#[cfg(any(feature = "asan", feature = "tsan"))]
mod kept {
    use core::cell::Cell;
    use core::ptr;

    /// Bounds of a stack; the size is 0 when they are not known.
    #[derive(Clone, Copy)]
    pub struct Bounds {
        pub bottom: *const (),
        pub size: usize,
    }

    impl Bounds {
        pub const UNKNOWN: Bounds = Bounds {
            bottom: ptr::null(),
            size: 0,
        };
    }

    pub struct Fibers {
        /// The tasklet that is leaving, until the next one has arrived.
        pub leaves: Cell<*mut ()>,
        /// For TSan: the fiber that the assembly is to announce.
        #[cfg(feature = "tsan")]
        pub next: Cell<*mut ()>,
    }

    impl Fibers {
        pub fn new() -> Fibers {
            Fibers {
                leaves: Cell::new(ptr::null_mut()),
                #[cfg(feature = "tsan")]
                next: Cell::new(ptr::null_mut()),
            }
        }
    }

    pub struct Fiber {
        /// ASan's stack of frames that may be used after their return.
        pub fake: *mut (),
        /// Bounds of the segment, while it runs on one; for main, those of the thread's stack.
        pub bounds: Bounds,
        #[cfg(feature = "tsan")]
        pub tsan: *mut (),
    }

    impl Fiber {
        pub const NEW: Fiber = Fiber {
            fake: ptr::null_mut(),
            bounds: Bounds::UNKNOWN,
            #[cfg(feature = "tsan")]
            tsan: ptr::null_mut(),
        };
    }
}

pub use kept::*;

//! What AddressSanitizer and ThreadSanitizer want to be kept for each stack. Without them, nothing.

#[cfg(not(any(feature = "asan", feature = "tsan")))]
mod kept {
    /// What a thread keeps for the tools.
    pub(crate) struct Fibers;

    impl Fibers {
        pub(crate) fn new() -> Fibers {
            Fibers
        }
    }

    /// What the owner of a stack keeps for the tools.
    pub(crate) struct Fiber;

    impl Fiber {
        pub(crate) const NEW: Fiber = Fiber;
    }
}

#[cfg(any(feature = "asan", feature = "tsan"))]
mod kept {
    use core::cell::Cell;
    use core::ptr;

    /// Bounds of a stack; nothing known: size 0.
    #[derive(Clone, Copy)]
    pub(crate) struct Bounds {
        pub(crate) bottom: *const (),
        pub(crate) size: usize,
    }

    impl Bounds {
        pub(crate) const UNKNOWN: Bounds = Bounds {
            bottom: ptr::null(),
            size: 0,
        };
    }

    pub(crate) struct Fibers {
        /// Who is leaving, until the next has arrived.
        pub(crate) leaves: Cell<*mut ()>,
        /// For TSan: whom the assembly is to announce.
        #[cfg(feature = "tsan")]
        pub(crate) next: Cell<*mut ()>,
    }

    impl Fibers {
        pub(crate) fn new() -> Fibers {
            Fibers {
                leaves: Cell::new(ptr::null_mut()),
                #[cfg(feature = "tsan")]
                next: Cell::new(ptr::null_mut()),
            }
        }
    }

    pub(crate) struct Fiber {
        /// ASan's stack of frames that may be used after their return.
        pub(crate) fake: *mut (),
        /// Of a segment, while it runs on one; of main's stack.
        pub(crate) bounds: Bounds,
        #[cfg(feature = "tsan")]
        pub(crate) tsan: *mut (),
    }

    impl Fiber {
        pub(crate) const NEW: Fiber = Fiber {
            fake: ptr::null_mut(),
            bounds: Bounds::UNKNOWN,
            #[cfg(feature = "tsan")]
            tsan: ptr::null_mut(),
        };
    }
}

pub(crate) use kept::*;

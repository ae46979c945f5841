//! What AddressSanitizer and ThreadSanitizer want to be kept for each stack. Without them, nothing.

#[cfg(not(any(feature = "asan", feature = "tsan")))]
mod kept {
    /// What a thread keeps for the tools.
    pub struct Fibers;

    impl Fibers {
        pub fn new() -> Fibers {
            Fibers
        }
    }

    /// What the owner of a stack keeps for the tools.
    pub struct Fiber;

    impl Fiber {
        pub const NEW: Fiber = Fiber;
    }
}

#[cfg(any(feature = "asan", feature = "tsan"))]
mod kept {
    use core::cell::Cell;
    use core::ptr;

    /// Bounds of a stack; nothing known: size 0.
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
        /// Who is leaving, until the next has arrived.
        pub leaves: Cell<*mut ()>,
        /// For TSan: whom the assembly is to announce.
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
        /// Of a segment, while it runs on one; of main's stack.
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

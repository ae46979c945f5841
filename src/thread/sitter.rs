//! The state of one tasklet's wait, which the threads share that may end it.
//!
//! ```text
//!   SPINS ──── park() ───► PARKED      its tasklet is about to block: who ends the wait must
//!     │                      │            send a message, too
//!     └────────┬─────────────┘
//!            end()
//!              ▼
//!            ENDED                     a tasklet that spun needs no message; it may be gone
//! ```

use super::prim::{AtomicU8, Ordering};

const LOOKS: u8 = 0;
const SITS: u8 = 1;
const CALLED: u8 = 2;

pub struct Sitter(AtomicU8);

impl Sitter {
    pub fn new() -> Sitter {
        Sitter(AtomicU8::new(LOOKS))
    }

    /// Stops spinning. False: the wait has been ended.
    pub fn sit(&self) -> bool {
        // A switch of the tests that breaks this: it looks, then parks, so an end in between is
        // overlooked.
        if cfg!(hsw_bug_late_sit) {
            if self.is_called() {
                return false;
            }
            self.0.store(SITS, Ordering::Release);
            return true;
        }
        self.0
            .compare_exchange(LOOKS, SITS, Ordering::AcqRel, Ordering::Acquire)
            .unwrap_or_else(|state| state)
            != CALLED
    }

    /// Ends the wait. A tasklet that finds its wait [ended](Sitter::is_called) sees all that was
    /// written before. True: it is parked, and a message must follow.
    #[must_use]
    pub fn call(&self) -> bool {
        self.0.swap(CALLED, Ordering::AcqRel) == SITS
    }

    pub fn is_called(&self) -> bool {
        self.0.load(Ordering::Acquire) == CALLED
    }
}

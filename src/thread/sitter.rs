//! One wait of one tasklet, as the threads see it that may end it.
//!
//! ```text
//!   LOOKS ──── sit() ────► SITS        its tasklet is about to block: who calls must send a letter, too
//!     └────────┬───────────┘
//!            call()
//!              ▼
//!           CALLED                     over. Who looked needs no letter; it may be gone already
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

    /// Stops looking. False: it was called.
    pub fn sit(&self) -> bool {
        // A test's switch: look, then sit down; a call in between is overlooked.
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

    /// Ends the wait. What was written before is seen by who finds itself [called](Sitter::is_called). True: it sits, and a letter must follow.
    #[must_use]
    pub fn call(&self) -> bool {
        self.0.swap(CALLED, Ordering::AcqRel) == SITS
    }

    pub fn is_called(&self) -> bool {
        self.0.load(Ordering::Acquire) == CALLED
    }
}

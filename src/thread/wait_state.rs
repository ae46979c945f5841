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

const SPINS: u8 = 0;
const PARKED: u8 = 1;
const ENDED: u8 = 2;

pub struct WaitState(AtomicU8);

impl WaitState {
    pub fn new() -> WaitState {
        WaitState(AtomicU8::new(SPINS))
    }

    /// Stops spinning. False: the wait has been ended.
    pub fn park(&self) -> bool {
        // A switch of the tests that breaks this: it looks, then parks, so an end in between is
        // overlooked.
        if cfg!(hsw_bug_late_park) {
            if self.is_over() {
                return false;
            }
            self.0.store(PARKED, Ordering::Release);
            return true;
        }
        self.0
            .compare_exchange(SPINS, PARKED, Ordering::AcqRel, Ordering::Acquire)
            .unwrap_or_else(|state| state)
            != ENDED
    }

    /// Ends the wait. A tasklet that finds its wait [ended](WaitState::is_over) sees all that was
    /// written before. True: it is parked, and a message must follow.
    #[must_use]
    pub fn end(&self) -> bool {
        self.0.swap(ENDED, Ordering::AcqRel) == PARKED
    }

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == ENDED
    }
}

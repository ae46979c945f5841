//! Looking a little longer before going to sleep.
//!
//! To sleep and to be woken takes a microsecond or more of either thread, an answer from a thread that runs on another processor often less. So the last tasklet
//! of a thread that could run looks for its partner for a while. It learns from what it sees: after a look in vain it sleeps through the next wait at once,
//! after two in a row through three, and so on, up to [`RARELY`]: the partner may be slow, or may be waiting for the very processor that
//! the look takes up. With one processor there is no looking.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Looks in vain cost one in 2 to this power waits, at least.
const RARELY: u32 = 8;
/// Looks between two glances at the clock.
const GLANCES: u32 = 32;

/// What a thread has learned.
pub struct Pace {
    /// The longest look. Zero: none.
    most: Cell<Duration>,
    /// Looks in vain, one after the other.
    vain: Cell<u32>,
    /// Waits without a look that are still to come.
    skip: Cell<u32>,
}

impl Pace {
    pub fn new(most: Duration) -> Pace {
        let pace = Pace {
            most: Cell::default(),
            vain: Cell::new(0),
            skip: Cell::new(0),
        };
        pace.set_most(most);
        pace
    }

    /// Another longest look from now on.
    pub fn set_most(&self, most: Duration) {
        self.most.set(match several_processors() {
            true => most,
            false => Duration::ZERO,
        });
    }

    /// Is this wait one to begin with a look?
    #[inline]
    pub fn is_time(&self) -> bool {
        let skip = self.skip.get();
        self.skip.set(skip.saturating_sub(1));
        skip == 0 && !self.most.get().is_zero()
    }

    /// Looks until `found`, or `wanted` for something else, or for as long as it may. Answers whether that was in vain.
    #[inline]
    pub fn look(&self, found: impl Fn() -> bool, wanted: impl Fn() -> bool) -> bool {
        let mut start = None;
        loop {
            for _ in 0..GLANCES {
                if found() {
                    self.vain.set(0);
                    return false;
                }
                std::hint::spin_loop();
            }
            if wanted() {
                return false;
            }
            let now = Instant::now();
            if now - *start.get_or_insert(now) >= self.most.get() {
                self.learn();
                return true;
            }
        }
    }

    /// It was in vain.
    #[cold]
    fn learn(&self) {
        self.vain.set((self.vain.get() + 1).min(RARELY));
        self.skip.set((1 << self.vain.get()) - 1);
    }
}

fn several_processors() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

//! Spinning for a while before going to sleep.
//!
//! To sleep and to be woken takes a microsecond or more of either thread; an answer from a thread
//! that runs on another processor often takes less. So the last tasklet of a thread that could run
//! spins for its partner for a while. It learns: after a spin in vain the next wait sleeps at once,
//! after two in a row the next three waits do, and so on, up to [`RARELY`]. The partner may be
//! slow, or may be waiting for the very processor that the spinning takes up. With one processor
//! there is no spinning.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// At most 2 to this power, less 1, waits in a row do not spin.
const RARELY: u32 = 8;
/// How many times it looks between two readings of the clock.
const ROUNDS: u32 = 32;

/// What a thread has learned about its spins.
pub struct Pace {
    /// The longest spin. Zero: it does not spin.
    most: Cell<Duration>,
    /// How many spins in a row were in vain.
    vain: Cell<u32>,
    /// How many waits will come without a spin.
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

    /// Sets the longest spin.
    pub fn set_most(&self, most: Duration) {
        self.most.set(match several_processors() {
            true => most,
            false => Duration::ZERO,
        });
    }

    /// Should this wait begin with a spin?
    #[inline]
    pub fn should_spin(&self) -> bool {
        let skip = self.skip.get();
        self.skip.set(skip.saturating_sub(1));
        skip == 0 && !self.most.get().is_zero()
    }

    /// Spins until `found`, or until the thread is `wanted` for something else, or for as long as
    /// it may. Returns whether that was in vain.
    #[inline]
    pub fn spin(&self, found: impl Fn() -> bool, wanted: impl Fn() -> bool) -> bool {
        let mut start = None;
        loop {
            for _ in 0..ROUNDS {
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

    /// The spin was in vain.
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

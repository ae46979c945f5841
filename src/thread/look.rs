//! Looking a little longer before going to sleep.
//!
//! To sleep and to be woken takes a few microseconds of both threads, an answer from a thread that is at work often less than one. So the last tasklet
//! of a thread that could run looks for its partner for a while. It learns from what it sees: if the last wait was longer than the longest look, the next one
//! goes to sleep at once, but for one in [`PROBE`]. With one processor there is no looking: the partner could not run meanwhile.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Of so many waits that are likely to be long, one looks all the same.
const PROBE: u32 = 16;
/// Looks between two glances at the clock.
const GLANCES: u32 = 32;

/// What a thread has learned.
pub(super) struct Pace {
    /// The longest look. Zero: none.
    most: Duration,
    /// Long waits since the last short one.
    long: Cell<u32>,
}

impl Pace {
    pub(super) fn new(most: Duration) -> Pace {
        Pace {
            most: if several_processors() {
                most
            } else {
                Duration::ZERO
            },
            long: Cell::new(0),
        }
    }
}

fn several_processors() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

/// A look that found nothing; the wait goes on.
pub(super) struct Look<'a>(Option<(&'a Pace, Instant)>);

impl Look<'_> {
    /// The wait is over. Who slept through a short one should have looked.
    pub(super) fn slept(self) {
        if let Some((pace, start)) = self.0 {
            pace.long.set(match start.elapsed() <= pace.most {
                true => 0,
                false => pace.long.get().wrapping_add(1),
            });
        }
    }
}

/// Looks until `found`, or `wanted` for something else, or for as long as `pace` has it.
pub(super) fn begin(
    pace: Option<&Pace>,
    found: impl Fn() -> bool,
    wanted: impl Fn() -> bool,
) -> Look<'_> {
    let Some(pace) = pace.filter(|pace| !pace.most.is_zero()) else {
        return Look(None);
    };
    if !pace.long.get().is_multiple_of(PROBE) {
        return Look(Some((pace, Instant::now())));
    }
    let mut start = None;
    loop {
        for _ in 0..GLANCES {
            if found() {
                pace.long.set(0);
                return Look(None);
            }
            std::hint::spin_loop();
        }
        let now = Instant::now();
        let start = *start.get_or_insert(now);
        if wanted() || now - start >= pace.most {
            return Look(Some((pace, start)));
        }
    }
}

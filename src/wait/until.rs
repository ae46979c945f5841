//! How long a wait may last, by the system's clock.

use std::time::{Duration, Instant};

/// How long to wait.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Not at all.
    Now,
    Moment(Instant),
    Ever,
}

impl Until {
    /// So long from now, which may be over at once. A time beyond the range of the clock means no
    /// limit.
    pub fn after(time: Duration) -> Until {
        Instant::now()
            .checked_add(time)
            .map_or(Until::Ever, Until::Moment)
    }

    /// As [`after`](Until::after), where no time means not to wait.
    pub fn within(time: Duration) -> Until {
        match time.is_zero() {
            true => Until::Now,
            false => Until::after(time),
        }
    }

    /// The moment at which the wait ends by itself.
    pub fn moment(self) -> Option<Instant> {
        match self {
            Until::Moment(at) => Some(at),
            Until::Now | Until::Ever => None,
        }
    }
}

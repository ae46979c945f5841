//! Semaphores.

use super::permits::Permits;
use crate::error::{StateError, WaitError};
use crate::wait::until::Until;
use crate::Result;
use std::fmt;
use std::time::Duration;

/// Permits that tasklets take and give back.
///
/// Waiters get their permits in the order they came. Whoever has a permit may give it back, on any
/// thread. More permits may be given back than were taken; [`BoundedSemaphore`] refuses that.
///
/// Cost: one compare-and-swap to take a free permit, and one to give it back without waiters.
///
/// ```
/// let two = hardswitch::sync::Semaphore::new(2);
/// let permit = two.permit()?;
/// assert!(two.try_acquire() && !two.try_acquire());
/// drop(permit);
/// assert_eq!(two.available(), 1);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Semaphore {
    permits: Permits,
}

/// A [`Semaphore`] that never has more permits than it began with.
pub struct BoundedSemaphore {
    permits: Permits,
}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`], which is given back when this is dropped.
#[must_use = "the permit is given back at once"]
pub struct Permit<'a> {
    permits: &'a Permits,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.permits.release().is_err() {
            log::error!("a permit had been released behind the back of its guard");
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Semaphore {
    /// The largest number of permits.
    pub(crate) const MOST: usize = Permits::MOST;

    /// A semaphore with `permits` free permits, at most half of `usize::MAX`.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore {
            permits: Permits::new(permits, Permits::MOST),
        }
    }
}

impl BoundedSemaphore {
    /// A semaphore with `permits` free permits, at most half of `usize::MAX`.
    pub fn new(permits: usize) -> BoundedSemaphore {
        BoundedSemaphore {
            permits: Permits::new(permits, permits),
        }
    }
}

macro_rules! semaphore {
    ($name:ident, $full:literal) => {
        impl $name {
            /// Takes a permit when it is the tasklet's turn.
            ///
            /// # Errors
            /// An error that was thrown at the tasklet while it waited,
            /// [`Error::BlockTrap`](crate::Error::BlockTrap).
            pub fn acquire(&self) -> Result<()> {
                Ok(self.permits.acquire(Until::Ever)?)
            }

            /// As [`acquire_timeout`](Self::acquire_timeout), or without a limit; the error says
            /// whether it was thrown.
            pub(crate) fn acquire_or(&self, time: Option<Duration>) -> Result<(), WaitError> {
                if self.permits.try_acquire() {
                    return Ok(());
                }
                self.permits
                    .acquire(time.map_or(Until::Ever, Until::within))
            }

            /// Takes a permit if one is free.
            pub fn try_acquire(&self) -> bool {
                self.permits.try_acquire()
            }

            /// As [`acquire`](Self::acquire), for at most `time`. Zero tries once; a time beyond
            /// the range of the clock is no limit.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire), and [`Error::Timeout`](crate::Error::Timeout).
            pub fn acquire_timeout(&self, time: Duration) -> Result<()> {
                Ok(self.acquire_or(Some(time))?)
            }

            /// As [`acquire`](Self::acquire); the permit is given back when the returned value is
            /// dropped.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire).
            pub fn permit(&self) -> Result<Permit<'_>> {
                self.acquire()?;
                Ok(Permit {
                    permits: &self.permits,
                })
            }

            /// Gives one permit back.
            ///
            /// # Errors
            #[doc = $full]
            pub fn release(&self) -> Result<()> {
                self.release_many(1)
            }

            /// Gives `count` permits back, all or none.
            ///
            /// # Errors
            #[doc = $full]
            pub fn release_many(&self, count: usize) -> Result<()> {
                self.permits
                    .release_many(count)
                    .map_err(|_| StateError::ReleasedTooOften.into())
            }

            /// Permits that are free now.
            pub fn available(&self) -> usize {
                self.permits.free()
            }

            /// How many tasklets wait for a permit now.
            pub fn waiting(&self) -> usize {
                self.permits.waiting()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("available", &self.available())
                    .finish()
            }
        }
    };
}

semaphore!(
    Semaphore,
    "[`StateError::ReleasedTooOften`] above half of `usize::MAX`."
);
semaphore!(
    BoundedSemaphore,
    "[`StateError::ReleasedTooOften`]: more than were taken."
);

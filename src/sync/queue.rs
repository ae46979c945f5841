//! The queue.

use super::permits::Permits;
use super::wait;
use crate::error::WaitError;
use crate::wait::until::Until;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// Values on their way from any tasklets to any others, first in, first out.
///
/// If it is bounded, `put` waits for room. At both ends waiters are served in the order they came.
/// A value belongs to the queue or to one getter: a getter that is killed takes none with it.
///
/// Cost: two compare-and-swaps and one short lock to put or get a value without waiting.
///
/// ```
/// let jobs = std::sync::Arc::new(hardswitch::sync::Queue::bounded(2));
/// let worker = jobs.clone();
/// let thread = std::thread::spawn(move || {
///     let mut sum = 0;
///     while let Ok(job) = worker.get() {
///         sum += job;
///     }
///     sum
/// });
/// for job in 1..=10 {
///     jobs.put(job)?;
/// }
/// jobs.close();
/// assert_eq!(thread.join().unwrap(), 55);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Queue<T> {
    values: Mutex<Values<T>>,
    /// A permit for each value; `room` has one for each free place.
    full: Permits,
    room: Permits,
}

struct Values<T> {
    list: VecDeque<T>,
    closed: bool,
}

/// A value that was not put into the queue, and the reason.
#[derive(Clone, Debug)]
pub struct Refused<T> {
    /// The reason.
    pub error: Error,
    /// The value.
    pub value: T,
}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Error {
        refused.error
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: fmt::Debug> std::error::Error for Refused<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> Queue<T> {
    /// A queue without a limit: `put` never waits.
    pub fn new() -> Queue<T> {
        Queue::bounded(usize::MAX)
    }

    /// A queue for `capacity` values, at least one.
    pub fn bounded(capacity: usize) -> Queue<T> {
        Queue {
            values: Mutex::new(Values {
                list: VecDeque::new(),
                closed: false,
            }),
            full: Permits::new(0, Permits::MOST),
            room: Permits::new(capacity.max(1), Permits::MOST),
        }
    }

    /// Appends `value` when there is room.
    ///
    /// # Errors
    /// They come with the value: [`Error::Closed`], an error that was thrown at the tasklet while
    /// it waited, [`Error::BlockTrap`].
    pub fn put(&self, value: T) -> Result<(), Refused<T>> {
        self.put_or(value, Until::Ever).map_err(Refused::new)
    }

    /// As [`put_timeout`](Self::put_timeout), or without a limit; the error says whether it was
    /// thrown.
    pub(crate) fn put_within(
        &self,
        value: T,
        time: Option<Duration>,
    ) -> Result<(), (WaitError, T)> {
        self.put_or(value, time.map_or(Until::Ever, Until::within))
    }

    /// Appends `value` if there is room now.
    ///
    /// # Errors
    /// They come with the value: [`Error::WouldBlock`], [`Error::Closed`].
    pub fn try_put(&self, value: T) -> Result<(), Refused<T>> {
        self.put_or(value, Until::Now)
            .map_err(|(ended, value)| Refused::new((at_once(ended), value)))
    }

    /// As [`put`](Self::put), for at most `time`. Zero tries once; a time beyond the range of the
    /// clock is no limit.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Error::Timeout`].
    pub fn put_timeout(&self, value: T, time: Duration) -> Result<(), Refused<T>> {
        self.put_or(value, Until::within(time))
            .map_err(Refused::new)
    }

    fn put_or(&self, value: T, until: Until) -> Result<(), (WaitError, T)> {
        if let Err(ended) = self.room.acquire(until) {
            return Err((ended, value));
        }
        let getter = {
            let mut values = wait::lock(&self.values);
            if values.closed {
                drop(values);
                return Err((WaitError::own(Error::Closed), value));
            }
            values.list.push_back(value);
            // This happens under the same mutex: a getter that is told `Closed` must not miss a
            // value that is in the queue.
            self.full.grant()
        };
        if let Some(waiter) = getter {
            self.full.wake(&waiter);
        }
        Ok(())
    }

    /// Takes the first value when there is one.
    ///
    /// # Errors
    /// [`Error::Closed`] once the queue is closed and empty, an error that was thrown at the
    /// tasklet while it waited, [`Error::BlockTrap`].
    pub fn get(&self) -> Result<T> {
        Ok(self.get_until(Until::Ever)?)
    }

    /// As [`get_timeout`](Self::get_timeout), or without a limit; the error says whether it was
    /// thrown.
    pub(crate) fn get_within(&self, time: Option<Duration>) -> Result<T, WaitError> {
        self.get_until(time.map_or(Until::Ever, Until::within))
    }

    /// Takes the first value if there is one now.
    ///
    /// # Errors
    /// [`Error::WouldBlock`], [`Error::Closed`].
    pub fn try_get(&self) -> Result<T> {
        Ok(self.get_until(Until::Now).map_err(at_once)?)
    }

    /// As [`get`](Self::get), for at most `time`. Zero tries once; a time beyond the range of the
    /// clock is no limit.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Error::Timeout`].
    pub fn get_timeout(&self, time: Duration) -> Result<T> {
        Ok(self.get_until(Until::within(time))?)
    }

    fn get_until(&self, until: Until) -> Result<T, WaitError> {
        self.full.acquire(until)?;
        let value = wait::lock(&self.values).list.pop_front();
        let _ = self.room.release();
        Ok(value.expect("a permit stands for a value"))
    }

    /// Closes the queue. No more values come in: `put` fails, also where it waits already. Values
    /// that are in it can still be taken; after them `get` fails. To close it twice is fine.
    pub fn close(&self) {
        wait::lock(&self.values).closed = true;
        self.room.close();
        self.full.close();
    }

    /// Has it been closed?
    pub fn is_closed(&self) -> bool {
        wait::lock(&self.values).closed
    }

    /// Values that are in it now.
    pub fn len(&self) -> usize {
        wait::lock(&self.values).list.len()
    }

    /// Is no value in it now?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn at_once(ended: WaitError) -> WaitError {
    match ended {
        WaitError::Hindered(Error::Timeout) => WaitError::own(Error::WouldBlock),
        other => other,
    }
}

impl<T> Refused<T> {
    fn new((ended, value): (WaitError, T)) -> Refused<T> {
        Refused {
            error: ended.into(),
            value,
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}

//! The event: a flag that tasklets wait for.

use super::wait::{self, Answer, List, Wait, Waiter};
use crate::error::WaitError;
use crate::wait::until::Until;
use crate::{Error, Result};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A flag that tasklets wait for. When it is set all waiters go on, even if it is cleared again
/// before their turn comes.
///
/// Cost: one load to test it, or to wait for it when it is set.
///
/// ```
/// use std::sync::Arc;
///
/// let ready = Arc::new(hardswitch::sync::Event::new());
/// let other = ready.clone();
/// let thread = std::thread::spawn(move || other.set());
/// ready.wait()?;
/// # thread.join().unwrap();
/// # Ok::<(), hardswitch::Error>(())
/// ```
#[derive(Default)]
pub struct Event {
    set: AtomicBool,
    list: Mutex<List>,
}

impl Event {
    /// An event that is not set.
    pub const fn new() -> Event {
        Event {
            set: AtomicBool::new(false),
            list: Mutex::new(List::new()),
        }
    }

    /// Is it set? If so, everything done before [`set`](Self::set) is visible.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Sets it: all waiters go on, in the order they came.
    pub fn set(&self) {
        let all = {
            let mut list = wait::lock(&self.list);
            self.set.store(true, Ordering::Release);
            wait::answer_all(&mut list, Answer::Granted)
        };
        wait::wake_all(all);
    }

    /// Clears it: new callers wait.
    pub fn clear(&self) {
        let _list = wait::lock(&self.list);
        self.set.store(false, Ordering::Release);
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// An error that was thrown at the tasklet meanwhile; [`Error::BlockTrap`].
    pub fn wait(&self) -> Result<()> {
        Ok(self.wait_or(None)?)
    }

    /// As [`wait_timeout`](Self::wait_timeout), or without a limit; the error says whether it was
    /// thrown.
    pub(crate) fn wait_or(&self, time: Option<Duration>) -> Result<(), WaitError> {
        if self.is_set() {
            return Ok(());
        }
        self.wait_until(time.map_or(Until::Ever, Until::within))
    }

    /// As [`wait`](Self::wait), for at most `time`. Zero only tests it; a time beyond the range of
    /// the clock is no limit.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::Timeout`].
    pub fn wait_timeout(&self, time: Duration) -> Result<()> {
        Ok(self.wait_or(Some(time))?)
    }

    /// How many tasklets wait now.
    pub fn waiting(&self) -> usize {
        wait::lock(&self.list).len()
    }

    fn wait_until(&self, until: Until) -> Result<(), WaitError> {
        if let Until::Now = until {
            return Err(WaitError::own(Error::Timeout));
        }
        let wait = Wait::begin(until)?;
        {
            let mut list = wait::lock(&self.list);
            if self.is_set() {
                return Ok(());
            }
            list.push_back(wait.waiter().clone());
        }
        let leaving = Leaving(self, wait.waiter());
        loop {
            let woken = wait.block()?;
            if wait.waiter().answer() == Answer::Granted {
                std::mem::forget(leaving);
                return Ok(());
            }
            if !woken {
                return match leaving.now() {
                    Answer::None => Err(WaitError::own(Error::Timeout)),
                    _ => Ok(()),
                };
            }
        }
    }
}

/// Takes its waiter off the list when dropped.
struct Leaving<'a>(&'a Event, &'a Arc<Waiter>);

impl Leaving<'_> {
    fn now(&self) -> Answer {
        let mut list = wait::lock(&self.0.list);
        wait::remove(&mut list, self.1);
        self.1.answer()
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .finish_non_exhaustive()
    }
}

//! The event: a flag to wait for.

use super::wait::{self, Answer, List, Until, Wait, Waiter};
use crate::error::WaitError;
use crate::{Error, Result};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A flag that tasklets wait for. All who wait go on when it is set, even if it is cleared again
/// before their turn comes.
///
/// Cost: a look, or a wait for a flag that is set, is one load.
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

    /// Is it set? What was done before [`set`](Self::set) is visible then.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Sets it: all who wait go on, in the order they came.
    pub fn set(&self) {
        let all = {
            let mut list = wait::lock(&self.list);
            self.set.store(true, Ordering::Release);
            wait::answer_all(&mut list, Answer::Granted)
        };
        wait::wake_all(all);
    }

    /// Clears it: who comes from now on waits.
    pub fn clear(&self) {
        let _list = wait::lock(&self.list);
        self.set.store(false, Ordering::Release);
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// What was thrown at the tasklet meanwhile, [`Error::BlockTrap`].
    pub fn wait(&self) -> Result<()> {
        Ok(self.wait_or(None)?)
    }

    /// As [`wait_timeout`](Self::wait_timeout), or without a limit; the error can tell what was
    /// thrown.
    pub(crate) fn wait_or(&self, time: Option<Duration>) -> Result<(), WaitError> {
        if self.is_set() {
            return Ok(());
        }
        self.wait_until(time.map_or(Until::Ever, Until::after))
    }

    /// As [`wait`](Self::wait), for at most `time`. Zero looks only; a time that the clock cannot
    /// tell is for ever.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::Timeout`].
    pub fn wait_timeout(&self, time: Duration) -> Result<()> {
        Ok(self.wait_or(Some(time))?)
    }

    /// How many wait now.
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

/// Leaves the list when dropped.
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

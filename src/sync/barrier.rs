//! The barrier.

use super::wait::{self, Answer, List, Wait, Waiter};
use crate::error::{StateError, WaitError};
use crate::wait::until::Until;
use crate::{Error, Result};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where a number of tasklets (its parties) wait for each other. When all have come they go on, and
/// it can be used again.
///
/// When one of those that wait gives up (its time is up, or it is killed), the others could wait
/// for ever. So the barrier is *broken* then: all get [`StateError::Broken`] until somebody
/// [resets](Self::reset) it.
///
/// ```
/// let barrier = std::sync::Arc::new(hardswitch::sync::Barrier::new(2));
/// let other = barrier.clone();
/// let thread = std::thread::spawn(move || other.wait().unwrap());
/// let last = barrier.wait()?;
/// assert!(last != thread.join().unwrap());
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Barrier {
    parties: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    list: List,
    broken: bool,
}

impl Barrier {
    /// A barrier for `parties` tasklets; with 0 or 1, nobody waits.
    pub fn new(parties: usize) -> Barrier {
        Barrier {
            parties,
            state: Mutex::default(),
        }
    }

    /// Waits until all parties have come. True for the one that came last.
    ///
    /// # Errors
    /// [`StateError::Broken`]; an error that was thrown at the tasklet meanwhile and
    /// [`Error::BlockTrap`], which break it.
    pub fn wait(&self) -> Result<bool> {
        Ok(self.wait_or(None)?)
    }

    /// As [`wait_timeout`](Self::wait_timeout), or without a limit; the error says whether it was
    /// thrown.
    pub(crate) fn wait_or(&self, time: Option<Duration>) -> Result<bool, WaitError> {
        self.wait_until(time.map_or(Until::Ever, Until::within))
    }

    /// As [`wait`](Self::wait), for at most `time`. With zero, only the last party passes; a time
    /// beyond the range of the clock is no limit.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::Timeout`], which breaks it.
    pub fn wait_timeout(&self, time: Duration) -> Result<bool> {
        Ok(self.wait_or(Some(time))?)
    }

    /// Breaks it: present and later parties get [`StateError::Broken`].
    pub fn abort(&self) {
        self.end(true);
    }

    /// Makes it as new. Present parties get [`StateError::Broken`].
    pub fn reset(&self) {
        self.end(false);
    }

    fn end(&self, broken: bool) {
        let all = {
            let mut state = wait::lock(&self.state);
            state.broken = broken;
            wait::answer_all(&mut state.list, Answer::Refused)
        };
        wait::wake_all(all);
    }

    /// How many parties it has.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many parties wait now.
    pub fn waiting(&self) -> usize {
        wait::lock(&self.state).list.len()
    }

    /// Is it broken?
    pub fn is_broken(&self) -> bool {
        wait::lock(&self.state).broken
    }

    /// The last party to come lets all go.
    fn come(&self, waiter: Option<&Arc<Waiter>>) -> Result<bool, WaitError> {
        let all = {
            let mut state = wait::lock(&self.state);
            if state.broken {
                return Err(WaitError::own(StateError::Broken));
            }
            if state.list.len() + 1 < self.parties {
                state.list.extend(waiter.cloned());
                return Ok(false);
            }
            wait::answer_all(&mut state.list, Answer::Granted)
        };
        wait::wake_all(all);
        Ok(true)
    }

    fn wait_until(&self, until: Until) -> Result<bool, WaitError> {
        // The last party does not need a wait.
        if wait::lock(&self.state).list.len() + 1 >= self.parties || matches!(until, Until::Now) {
            if self.come(None)? {
                return Ok(true);
            }
            if let Until::Now = until {
                self.abort();
                return Err(WaitError::own(Error::Timeout));
            }
        }
        let wait = match Wait::begin(until) {
            Ok(wait) => wait,
            Err(error) => {
                self.abort();
                return Err(error);
            }
        };
        if self.come(Some(wait.waiter()))? {
            return Ok(true);
        }
        let leaving = Leaving(self, wait.waiter());
        loop {
            let woken = wait.block()?;
            let answer = match woken {
                true => wait.waiter().answer(),
                false => leaving.now(),
            };
            let result = match answer {
                Answer::Granted => Ok(false),
                Answer::Refused => Err(WaitError::own(StateError::Broken)),
                Answer::None if woken => continue,
                Answer::None => Err(WaitError::own(Error::Timeout)),
            };
            std::mem::forget(leaving);
            return result;
        }
    }
}

/// Takes its waiter off the list when dropped. That breaks the barrier, unless the waiter was
/// answered before.
struct Leaving<'a>(&'a Barrier, &'a Arc<Waiter>);

impl Leaving<'_> {
    fn now(&self) -> Answer {
        let others = {
            let mut state = wait::lock(&self.0.state);
            if !wait::remove(&mut state.list, self.1) {
                return self.1.answer();
            }
            state.broken = true;
            wait::answer_all(&mut state.list, Answer::Refused)
        };
        wait::wake_all(others);
        Answer::None
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = wait::lock(&self.state);
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &state.list.len())
            .field("broken", &state.broken)
            .finish()
    }
}

//! Tasklets with a result that somebody waits for.
//!
//! | to wait for | |
//! |---|---|
//! | one | [`JoinHandle::join`], [`JoinHandle::join_timeout`] |
//! | all of several | [`all`] |
//! | each of several, as they end | [`each`]; its first item is "any" |
//! | one of several things of any kind | a [`Select`] with a case for the handle |
//!
//! ```
//! use hardswitch::{join, sleep};
//! use std::time::Duration;
//!
//! let square = |n: u64| join::spawn(move || {
//!     sleep(Duration::from_millis(n))?;
//!     Ok(n * n)
//! });
//! assert_eq!(join::all([square(3)?, square(1)?])?, [9, 1]);
//! let (which, value) = join::each([square(300)?, square(2)?]).next().unwrap()?;
//! assert_eq!((which, value?), (1, 4));
//! # Ok::<(), hardswitch::Error>(())
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::channel::queue::QueueChannel;
use crate::error::{Error, Result, StateError, WaitError};
use crate::machine::os;
use crate::select::{Receivable, Select, Target, Targeted};
use crate::tasklet::{Builder, Tasklet};

/// A tasklet's result, once it has ended. Dropping the handle changes nothing.
///
/// What ends the tasklet with an error, or a panic, is the result of who joins it; it
/// does not come out of [`run`](crate::run), and no error handler is asked. That it was
/// killed is [`StateError::Killed`]: [`Error::Exit`] always means the one who gets it.
///
/// Who comes first has the result; then others who wait get [`Error::Closed`]. It stays
/// until somebody has it: who is killed before it is back from `join` leaves it to the next.
pub struct JoinHandle<T: 'static> {
    tasklet: Tasklet,
    outcome: QueueChannel<T>,
}

/// The end of the tasklet: says how it was, also when the function never ran.
struct Ending<T: 'static>(QueueChannel<T>);

impl<T: 'static> Drop for Ending<T> {
    fn drop(&mut self) {
        if !self.0.is_concluded() {
            self.0.conclude(Err(WaitError::own(StateError::Killed)));
        }
    }
}

/// Makes a tasklet that runs `f`, as [`spawn`](crate::spawn) does. Costs two allocations
/// more.
///
/// # Errors
/// As [`spawn`](crate::spawn).
pub fn spawn<T: 'static>(f: impl FnOnce() -> Result<T> + 'static) -> Result<JoinHandle<T>> {
    spawn_with(Tasklet::builder(), f)
}

/// As [`spawn`], as the builder says.
///
/// # Errors
/// As [`Builder::spawn`].
pub fn spawn_with<T: 'static>(
    builder: Builder,
    f: impl FnOnce() -> Result<T> + 'static,
) -> Result<JoinHandle<T>> {
    let outcome = QueueChannel::once();
    let ending = Ending(outcome.clone());
    let tasklet = builder.spawn(move || {
        let mut value = None;
        let ended = os::catch(|| {
            value = Some(f()?);
            Ok(())
        });
        if matches!(ended, Err(Error::Exit)) {
            // It is told so as one that never ran is.
            return Err(Error::Exit);
        }
        let outcome = ended.and_then(|()| value.ok_or(Error::ValueLost));
        ending.0.conclude(outcome.map_err(WaitError::Thrown));
        Ok(())
    })?;
    Ok(JoinHandle { tasklet, outcome })
}

impl<T: 'static> JoinHandle<T> {
    /// The tasklet: to name, kill or look at.
    pub fn tasklet(&self) -> &Tasklet {
        &self.tasklet
    }

    /// Can its result be had without waiting?
    pub fn is_done(&self) -> bool {
        self.outcome.is_concluded()
    }

    /// Waits until it has ended, and takes its result.
    ///
    /// # Errors
    /// What the tasklet ended with: its own error, [`Error::Panicked`],
    /// [`StateError::Killed`]. What a [wait](QueueChannel::receive) can fail with.
    pub fn join(self) -> Result<T> {
        self.outcome.receive()
    }

    /// As [`JoinHandle::join`] or, with a time, [`JoinHandle::join_timeout`]. What the tasklet
    /// ended with is told from why the wait has ended.
    pub(crate) fn wait(&self, time: Option<Duration>) -> Result<T, WaitError> {
        match time {
            Some(time) => self.outcome.receive_timeout_or(time),
            None => self.outcome.receive_or(),
        }
    }

    /// Has somebody had its result?
    pub(crate) fn is_taken(&self) -> bool {
        self.outcome.is_closing()
    }

    /// As [`JoinHandle::join`], but waits no longer than `time`. The tasklet goes on.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Closed`] when the result has been taken; as
    /// [`JoinHandle::join`].
    pub fn join_timeout(&self, time: Duration) -> Result<T> {
        self.outcome.receive_timeout(time)
    }
}

impl<T: 'static> Targeted for JoinHandle<T> {
    fn target(&self) -> Target {
        self.outcome.target()
    }
}

/// A [`join`](JoinHandle::join); closed when the result has been taken.
impl<T: 'static> Receivable<T> for JoinHandle<T> {}

impl<T: 'static> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "JoinHandle({:?}, done: {})",
            self.tasklet,
            self.is_done()
        )
    }
}

/// Waits for all; their results, in the order of the handles.
///
/// # Errors
/// That of the first, in this order, that has failed; the others go on. As
/// [`JoinHandle::join`].
pub fn all<T: 'static>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Result<Vec<T>> {
    handles.into_iter().map(JoinHandle::join).collect()
}

/// Waits for each, as they end.
pub fn each<T: 'static>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Each<T> {
    Each {
        left: handles.into_iter().enumerate().collect(),
    }
}

/// See [`each`]. An item is a tasklet's number among the handles, and its result; or why
/// the wait has failed, which changes nothing. Those that have ended already come first,
/// in the order of the handles. Costs O(those left) for each.
pub struct Each<T: 'static> {
    left: Vec<(usize, JoinHandle<T>)>,
}

impl<T: 'static> Each<T> {
    /// The handles of those that are left.
    pub fn into_rest(self) -> impl Iterator<Item = JoinHandle<T>> {
        self.left.into_iter().map(|(_, handle)| handle)
    }
}

impl<T: 'static> Iterator for Each<T> {
    type Item = Result<(usize, Result<T>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let mut select = Select::new().in_order();
        let cases: Vec<_> = self.left.iter().map(|(_, h)| select.receive(h)).collect();
        let mut done = match select.wait() {
            Ok(done) => done,
            Err(error) => return Some(Err(error)),
        };
        let at = done.index();
        let (number, _) = self.left.remove(at);
        let result = done.received(cases[at])?;
        Some(Ok((number, result)))
    }
}

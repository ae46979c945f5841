//! Tasklets with a result that another tasklet waits for.
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

use crate::builder::Builder;
use crate::channel::case::{Receivable, Target, Targeted};
use crate::channel::queue::QueueChannel;
use crate::core::contain::returned;
use crate::core::references::Tasklet;
use crate::error::{Error, Result, StateError, WaitError};
use crate::machine::os;
use crate::select::Select;

/// A tasklet's result, once it has ended. Dropping the handle changes nothing.
///
/// An error or a panic of the tasklet is the result of the `join`; it does not come out of
/// [`run`](crate::run), and no error handler is asked. If the tasklet was killed the result is
/// [`StateError::Killed`]: [`Error::Exit`] always means the tasklet that gets it.
///
/// The first `join` gets the result; then others that wait get [`Error::Closed`]. The result stays
/// until a `join` has returned it: a tasklet that is killed in `join` leaves it to the next one.
pub struct JoinHandle<T: 'static> {
    tasklet: Tasklet,
    outcome: QueueChannel<T>,
}

/// Tells the result when the tasklet ends, also when its function never ran.
struct Ending<T: 'static>(QueueChannel<T>);

impl<T: 'static> Drop for Ending<T> {
    fn drop(&mut self) {
        if !self.0.is_concluded() {
            self.0.conclude(Err(WaitError::own(StateError::Killed)));
        }
    }
}

/// Makes a tasklet that runs `f`, as [`spawn`](crate::spawn) does. It costs two allocations more.
///
/// # Errors
/// As [`spawn`](crate::spawn).
pub fn spawn<T: 'static>(f: impl FnOnce() -> Result<T> + 'static) -> Result<JoinHandle<T>> {
    spawn_with(Tasklet::builder(), f)
}

/// As [`spawn`], with the settings of the builder.
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
            // The drop of `Ending` tells that it was killed, as for a tasklet that never ran.
            return Err(Error::Exit);
        }
        let outcome = ended.and_then(|()| value.ok_or(Error::ValueLost));
        ending.0.conclude(outcome.map_err(WaitError::Thrown));
        Ok(())
    })?;
    Ok(JoinHandle { tasklet, outcome })
}

impl<T: 'static> JoinHandle<T> {
    /// The tasklet, for its name, its state or a kill.
    pub fn tasklet(&self) -> &Tasklet {
        &self.tasklet
    }

    /// Can its result be had without waiting?
    pub fn is_done(&self) -> bool {
        self.outcome.is_concluded()
    }

    /// Waits until the tasklet has ended, and takes its result.
    ///
    /// # Errors
    /// Those of the tasklet: its own error, [`Error::Panicked`], [`StateError::Killed`]. Those of
    /// the [wait](QueueChannel::receive).
    pub fn join(self) -> Result<T> {
        let result = self.outcome.receive();
        returned(self, result)
    }

    /// As [`JoinHandle::join`] or, with a time, [`JoinHandle::join_timeout`]. It distinguishes an
    /// error of the tasklet from an error of the wait.
    pub(crate) fn wait(&self, time: Option<Duration>) -> Result<T, WaitError> {
        match time {
            Some(time) => self.outcome.receive_timeout_or(time),
            None => self.outcome.receive_or(),
        }
    }

    /// Has its result been taken?
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

/// Waits for all tasklets, and returns their results in the order of the handles.
///
/// # Errors
/// The error of the first tasklet, in this order, that has failed; the others go on. Otherwise as
/// [`JoinHandle::join`].
pub fn all<T: 'static>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Result<Vec<T>> {
    let mut results = Vec::new();
    let mut handles = handles.into_iter();
    let joined = handles.try_for_each(|handle| {
        results.push(handle.join()?);
        Ok(())
    });
    match joined {
        Ok(()) => Ok(results),
        Err(error) => returned((results, handles), Err(error)),
    }
}

/// Waits for each tasklet, in the order in which they end.
pub fn each<T: 'static>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Each<T> {
    Each {
        left: handles.into_iter().enumerate().collect(),
    }
}

/// See [`each`]. An item is a tasklet's number among the handles, and its result; or an error of
/// the wait, which changes nothing. Tasklets that have ended already come first, in the order of
/// the handles. Each item costs O(tasklets left).
pub struct Each<T: 'static> {
    left: Vec<(usize, JoinHandle<T>)>,
}

impl<T: 'static> Each<T> {
    /// The handles of the tasklets that are left.
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

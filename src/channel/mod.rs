//! Channels: unbuffered rendezvous between the tasklets of a thread.
//!
//! | file | what |
//! |---|---|
//! | `mod` | the handle, and how to iterate |
//! | `core` | a channel without its type: the queue of waiting tasklets |
//! | `operate` | sending and receiving |
//! | `stand_in` | waiting in several queues at once, or with a time limit |
//! | `claim` | which of several threads ends such a wait |
//! | `case`, `wait` | one of several operations, and how to wait for it |
//! | `queue` | channels with a queue of values |
//! | `wait_point` | a place to wait that is not a channel |

pub mod case;
pub mod claim;
mod core;
pub mod operate;
mod prim;
pub mod queue;
pub mod stand_in;
pub mod wait;
pub mod wait_point;

use ::core::any::Any;
use ::core::fmt;
use ::core::marker::PhantomData;
use ::core::time::Duration;
use alloc::rc::Rc;
use alloc::vec::Vec;

use self::case::{Receivable, Sendable, Target, Targeted};
use self::core::SCHEDULE_ALL;
pub use self::core::{unlink_blocked, Core, Preference, RECEIVE, SEND};
use self::operate::Missed;
use crate::core::contain::returned;
use crate::core::references::Tasklet;
use crate::core::value::Slot;
#[allow(unused_imports)] // for the documentation
use crate::error::StateError;
use crate::error::{Error, Result, WaitError};

/// Sends one value after the other. Those that are left after an error go before it is returned.
pub fn send_all<T>(
    values: impl IntoIterator<Item = T>,
    mut send: impl FnMut(T) -> Result<()>,
) -> Result<usize> {
    let mut values = values.into_iter();
    let mut count = 0;
    let sent = values.try_for_each(|value| {
        send(value)?;
        count += 1;
        Ok(())
    });
    returned(values, sent.map(|()| count))
}

/// A channel: `send` waits for a receiver, `receive` for a sender, and a value
/// moves from one to the other. For the tasklets of one thread.
///
/// A handle; clones refer to the same channel. Sending and receiving cost a
/// few nanoseconds and no allocation for values of up to two words (larger ones
/// are boxed).
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(hardswitch::Channel::<u32>::new());
/// ```
pub struct Channel<T: 'static> {
    core: Rc<Core>,
    _values: PhantomData<fn(T) -> T>,
}

impl<T: 'static> Channel<T> {
    /// A new channel; it prefers the receiver.
    pub fn new() -> Channel<T> {
        Channel {
            core: Rc::new(Core::new()),
            _values: PhantomData,
        }
    }

    /// A channel of the library's own: the channel callback is not told of it, and it is not
    /// counted.
    pub(crate) fn private() -> Channel<T> {
        let channel = Channel::new();
        channel.core.make_private();
        channel
    }

    /// Hands `value` to a receiver; waits until there is one.
    ///
    /// # Errors
    /// When it would wait: [`Error::Closed`], [`Error::BlockTrap`],
    /// [`Error::Deadlock`]. When it would switch: [`Error::SwitchTrap`], no
    /// memory for a slice. What was thrown into the caller meanwhile. The value
    /// is dropped then.
    #[inline]
    pub fn send(&self, value: T) -> Result<()> {
        self.send_or(value)
    }

    /// As [`Channel::send`]; the error can tell whether it was thrown.
    #[inline(always)]
    pub(crate) fn send_or<E: From<WaitError>>(&self, value: T) -> Result<(), E> {
        self.core.send(value)
    }

    /// Takes a value from a sender; waits until there is one.
    ///
    /// # Errors
    /// As [`Channel::send`]; the error that a sender
    /// [threw](Channel::send_throw); [`Error::ValueLost`];
    /// [`Error::WrongType`] when the slot was changed by hand. When something is thrown
    /// into the caller after a sender has handed over, and before the caller had its turn,
    /// the value is dropped: the rendezvous has taken place. (A
    /// [`QueueChannel`](crate::QueueChannel) keeps it.)
    #[inline]
    pub fn receive(&self) -> Result<T> {
        self.receive_or()
    }

    /// As [`Channel::receive`]; the error can tell whether it was thrown.
    #[inline(always)]
    pub(crate) fn receive_or<E: From<WaitError>>(&self) -> Result<T, E> {
        self.core.receive()
    }

    /// Sends an error: the receiver's `receive` returns it.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_throw(&self, error: impl Into<Error>) -> Result<()> {
        self.send_throw_or(error.into())
    }

    pub(crate) fn send_throw_or<E: From<WaitError>>(&self, error: Error) -> Result<(), E> {
        self.core.send_bomb(error)
    }

    /// Sends one value after the other; returns how many.
    ///
    /// # Errors
    /// That of the first `send` that fails; the rest is not sent.
    pub fn send_sequence(&self, values: impl IntoIterator<Item = T>) -> Result<usize> {
        send_all(values, |value| self.send(value))
    }

    /// Sends if a receiver waits; else gives the value back.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] or [`Error::Closed`], with the value; what `send`
    /// fails with after that, without it.
    pub fn try_send(&self, value: T) -> Result<(), (Error, Option<T>)> {
        self.try_send_or(value)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn try_send_or(&self, value: T) -> Result<(), (WaitError, Option<T>)> {
        if !self.core.secure(SEND) {
            return Err((WaitError::own(self.would_block()), Some(value)));
        }
        self.send_secured(value).map_err(|missed| match missed {
            Missed::Ended(error) => (error, None),
            Missed::Gone(back) => (WaitError::own(self.would_block()), back.value()),
        })
    }

    /// Receives if a sender waits.
    ///
    /// # Errors
    /// [`Error::WouldBlock`], [`Error::Closed`]; as `receive`.
    pub fn try_receive(&self) -> Result<T> {
        Ok(self.try_receive_or()?)
    }

    pub(crate) fn try_receive_or(&self) -> Result<T, WaitError> {
        if !self.core.secure(RECEIVE) {
            return Err(WaitError::own(self.would_block()));
        }
        self.receive_secured().map_err(|missed| match missed {
            Missed::Ended(error) => error,
            Missed::Gone(()) => WaitError::own(self.would_block()),
        })
    }

    /// Sends to a partner that has been [secured](Core::secure).
    #[inline]
    fn send_secured(&self, value: T) -> Result<(), Missed<WaitError, Slot>> {
        let met = self.core.meet_receiver(value);
        met.inspect_err(|_| self.core.unsecure())
    }

    /// As [`send_secured`](Channel::send_secured).
    #[inline]
    fn receive_secured<E: From<WaitError>>(&self) -> Result<T, Missed<E, ()>> {
        let met = self.core.receive_if(|| self.core.secure(RECEIVE));
        met.inspect_err(|_| self.core.unsecure())
    }

    /// Receives, if a sender waits: an item of an iteration.
    #[inline]
    pub(crate) fn next_waiting<E: From<WaitError>>(&self) -> Option<Result<T, E>> {
        if !self.core.secure(RECEIVE) {
            return None;
        }
        match self.receive_secured() {
            Ok(value) => Some(Ok(value)),
            Err(Missed::Ended(error)) => Some(Err(error)),
            Err(Missed::Gone(())) => None,
        }
    }

    /// As [`Channel::send`], but waits no longer than `time`. When the value was
    /// not handed over, it comes back with the error.
    ///
    /// Zero does not wait at all. A time beyond the clock's range is for ever.
    /// [`time`](crate::time) says what fires timeouts. The main tasklet, and the
    /// last runnable one while main is blocked, *pump* meanwhile instead
    /// of leaving the run queue: posted events, sockets and timers are served, and
    /// the others run; so there is no deadlock while a timeout runs. (Without std
    /// there is no loop to sleep in: they spin.)
    ///
    /// Costs as `send` when a receiver waits, two allocations when not.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as `send`; [`StateError::NoClock`]; what makes a
    /// [pump](crate::MainLoop::pump) fail.
    pub fn send_timeout(&self, value: T, time: Duration) -> Result<(), (Error, Option<T>)> {
        self.send_timeout_or(value, time)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn send_timeout_or(
        &self,
        value: T,
        time: Duration,
    ) -> Result<(), (WaitError, Option<T>)> {
        let slot = if self.core.secure(SEND) {
            match self.send_secured(value) {
                Ok(()) => return Ok(()),
                Err(Missed::Ended(error)) => return Err((error, None)),
                Err(Missed::Gone(back)) => back,
            }
        } else {
            Slot::new(value)
        };
        wait::send_within(self.target(), slot, time)
    }

    /// As [`Channel::receive`], but waits no longer than `time`; what
    /// [`Channel::send_timeout`] says holds here.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as `receive`; [`StateError::NoClock`]; what makes a
    /// [pump](crate::MainLoop::pump) fail.
    pub fn receive_timeout(&self, time: Duration) -> Result<T> {
        Ok(self.receive_timeout_or(time)?)
    }

    pub(crate) fn receive_timeout_or(&self, time: Duration) -> Result<T, WaitError> {
        if self.core.secure(RECEIVE) {
            match self.receive_secured() {
                Ok(value) => return Ok(value),
                Err(Missed::Ended(error)) => return Err(error),
                Err(Missed::Gone(())) => {}
            }
        }
        wait::receive_within(self.target(), time)
    }

    fn would_block(&self) -> Error {
        if self.is_closing() {
            Error::Closed
        } else {
            Error::WouldBlock
        }
    }

    /// The next value of an iteration: `None` once the channel is closing and no
    /// sender waits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Result<T>> {
        self.next_or()
    }

    #[inline(always)]
    pub(crate) fn next_or<E: From<WaitError>>(&self) -> Option<Result<T, E>> {
        if self.core.closing.get() {
            return self.next_waiting();
        }
        Some(self.core.receive())
    }

    /// Receives until the channel is closed.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { channel: self }
    }

    /// Receives as long as senders wait: ends where [`Channel::receive`] would
    /// block. An error that was sent is an item.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { channel: self }
    }

    /// The value that the host keeps with the channel; see [`Channel::set_user_data`].
    pub fn user_data(&self) -> Option<Rc<dyn Any>> {
        self.core.user_data.borrow().clone()
    }

    /// The user data, if it is a `D`.
    pub fn user_data_as<D: Any>(&self) -> Option<Rc<D>> {
        self.user_data()?.downcast().ok()
    }

    /// Keeps any value of the host's with the channel (for all of its handles);
    /// returns the old one. A value that holds a handle of the same channel keeps
    /// both alive for ever.
    pub fn set_user_data(&self, data: Option<Rc<dyn Any>>) -> Option<Rc<dyn Any>> {
        self.core.user_data.replace(data)
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The side that goes on first when two tasklets meet.
    pub fn preference(&self) -> Preference {
        Preference::from_sign(self.core.preference.get().into())
    }

    /// Sets the side that goes on first.
    pub fn set_preference(&self, preference: Preference) {
        self.core.set_preference(preference);
    }

    /// Does every operation let all others run?
    pub fn schedule_all(&self) -> bool {
        self.core.mode.get() & SCHEDULE_ALL != 0
    }

    /// With `true`, the tasklet that comes second goes to the end of the queue behind
    /// its partner, whatever the preference.
    pub fn set_schedule_all(&self, on: bool) {
        let mode = &self.core.mode;
        mode.set(mode.get() & !SCHEDULE_ALL | if on { SCHEDULE_ALL } else { 0 });
    }

    /// From now on no tasklet may start to wait; those that wait are still served.
    pub fn close(&self) {
        self.core.closing.set(true);
    }

    /// [Closes](Channel::close), and ends all waits, of senders or
    /// receivers, with [`Error::Closed`]; returns how many. The tasklets are queued
    /// in the order in which they had waited, and none has run yet; the caller goes
    /// on. The values that senders were about to send are dropped, in the caller.
    ///
    /// This goes beyond Stackless, where `close` wakes no tasklet. O(waiting).
    pub fn close_and_wake(&self) -> usize {
        self.core.close_and_wake()
    }

    /// Undoes [`Channel::close`].
    pub fn open(&self) {
        self.core.closing.set(false);
    }

    /// Has it been closed?
    pub fn is_closing(&self) -> bool {
        self.core.closing.get()
    }

    /// Is it closed, and does no tasklet wait any more?
    pub fn is_closed(&self) -> bool {
        self.is_closing() && self.balance() == 0
    }

    /// How many senders wait, or minus how many receivers. Each case of a
    /// [`Select`](crate::Select) that waits counts as one.
    pub fn balance(&self) -> isize {
        self.core.settle();
        self.core.balance.get()
    }

    /// The tasklet that has waited longest. For the others: [`Channel::waiting`].
    pub fn queue(&self) -> Option<Tasklet> {
        self.core.settle();
        let head = self.core.head.get();
        // SAFETY: a member of the queue is a live task, or the stand-in of one.
        (!head.is_null()).then(|| unsafe { Tasklet::from_ref(stand_in::whose(head)) })
    }

    /// All tasklets that wait, in the order in which they came: also those in a select, with a
    /// time limit, or pumping. Each wait counts, as in the balance.
    pub fn waiting(&self) -> Vec<Tasklet> {
        self.core.settle();
        let mut all = Vec::new();
        let mut task = self.core.head.get();
        while !task.is_null() {
            // SAFETY: a member of the queue is a live task, or the stand-in of one.
            unsafe {
                all.push(Tasklet::from_ref(stand_in::whose(task)));
                task = (*task).next;
            }
        }
        all
    }

    /// A number that no other channel alive at the same time has.
    pub fn id(&self) -> usize {
        Rc::as_ptr(&self.core) as usize
    }
}

impl<T: 'static> Default for Channel<T> {
    fn default() -> Channel<T> {
        Channel::new()
    }
}

impl<T: 'static> Clone for Channel<T> {
    fn clone(&self) -> Channel<T> {
        Channel {
            core: Rc::clone(&self.core),
            _values: PhantomData,
        }
    }
}

impl<T: 'static> PartialEq for Channel<T> {
    fn eq(&self, other: &Channel<T>) -> bool {
        Rc::ptr_eq(&self.core, &other.core)
    }
}

impl<T: 'static> Eq for Channel<T> {}

impl<T: 'static> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({:#x}, balance {})", self.id(), self.balance())
    }
}

/// An iteration over a channel, see [`Channel::iter`].
pub struct Iter<'a, T: 'static> {
    channel: &'a Channel<T>,
}

impl<T: 'static> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.channel.next()
    }
}

/// An iteration over what can be received at once, see [`Channel::try_iter`].
pub struct TryIter<'a, T: 'static> {
    channel: &'a Channel<T>,
}

impl<T: 'static> Iterator for TryIter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.channel.next_waiting()
    }
}

impl<'a, T: 'static> IntoIterator for &'a Channel<T> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: 'static> Targeted for Channel<T> {
    fn target(&self) -> Target {
        Target::near(self.core(), None)
    }
}

impl<T: 'static> Receivable<T> for Channel<T> {}
impl<T: 'static> Sendable<T> for Channel<T> {}

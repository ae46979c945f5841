//! Channels with a queue of values (`QueueChannel` of stacklesslib and of CCP's
//! successor of Stackless), here with a bound.

use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;

use crate::channel::case::{Queue, Receivable, Sendable, Target, Targeted};
use crate::channel::operate::Missed;
use crate::channel::{send_all, wait, Channel, Preference, SEND};
use crate::core::references::Tasklet;
use crate::core::transfer::opened;
use crate::core::value::{Parcel, Sender, Slot};
use crate::error::{Error, Result, StateError, WaitError};

/// A channel that keeps up to `bound` values which have not been received yet: a sender
/// waits only when the queue is full, and sending does not switch. A tasklet that is woken
/// goes to the end of the run queue.
///
/// A handle, for the tasklets of one thread; clones refer to the same queue.
/// Values arrive in the order in which they were sent, also those of senders that
/// had to wait.
///
/// ```
/// use hardswitch::QueueChannel;
///
/// let queue = QueueChannel::bounded(2);
/// queue.send("a")?;
/// queue.send("b")?;
/// assert!(queue.try_send("c").is_err());
/// assert_eq!(queue.receive()?, "a");
/// queue.close();
/// assert_eq!(queue.iter().map(Result::unwrap).collect::<Vec<_>>(), ["b"]);
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct QueueChannel<T: 'static> {
    shared: Rc<Shared<T>>,
}

/// What was sent: a value, or an error. (An error that was not sent is an end by the library.)
type Item<T> = Result<T, WaitError>;

struct Shared<T: 'static> {
    /// Where receivers wait (the queue is empty) or senders (it is full).
    channel: Channel<T>,
    queue: RefCell<VecDeque<Item<T>>>,
    bound: usize,
    /// The parcels' way back to the queue.
    me: Weak<Shared<T>>,
    /// Of a queue for one value: has the value been sent?
    once: Option<Cell<bool>>,
}

impl<T: 'static> Shared<T> {
    /// Does a value that is sent now belong into the queue? Not when a receiver waits, when the
    /// queue is full (also if senders wait), or when the channel is closing and has to refuse.
    fn has_room(&self) -> bool {
        self.queue.borrow().len() < self.bound
            && self.channel.balance() == 0
            && !self.channel.is_closing()
    }

    /// Gives `item` to the receiver that has waited longest, or puts it into the queue, if it
    /// belongs there. Else it comes back: its sender has to wait, or is refused.
    /// Errors: the channel callback is being called; the item comes back as well.
    fn pass_on(&self, item: Item<T>) -> Result<Option<Item<T>>, (WaitError, Item<T>)> {
        let core = self.channel.core();
        if core.secure(SEND) {
            let (told, slot) = core.show(Slot::of(item));
            // A value that the callback has put into the slot is sent, as with the other channels.
            let item = opened(slot);
            if let Err(error) = told {
                core.unsecure();
                return Err((WaitError::Hindered(error), item));
            }
            self.hand_over(item);
            return Ok(None);
        }
        if !self.has_room() {
            return Ok(Some(item));
        }
        match self.may_change() {
            Ok(()) => self.queue.borrow_mut().push_back(item),
            Err(refused) => return Err((refused, item)),
        }
        Ok(None)
    }

    /// An error in a channel callback: the operation for which it is called may have found the
    /// queue empty, or full, and is about to wait because of that.
    fn may_change(&self) -> Result<(), WaitError> {
        let core = self.channel.core();
        if core.runtime().in_channel_callback.get() && !core.private.get() {
            return Err(WaitError::own(StateError::RecursiveChannel));
        }
        Ok(())
    }

    /// Gives `item` to the receiver that has waited longest, or puts it at the front of the queue
    /// if none waits. If the receiver is killed before its turn, the item goes to the next one.
    fn hand_over(&self, item: Item<T>) {
        if !self.channel.core().secure(SEND) {
            self.queue.borrow_mut().push_front(item);
            return;
        }
        let from = self.me.clone() as Weak<dyn Sender<T>>;
        let served = self
            .channel
            .core()
            .serve(Slot::new(Parcel::new(item, from)));
        debug_assert!(served, "a receiver that was secured");
    }

    /// Takes the first of the queue; the first waiting sender's value takes the
    /// place that is free. `None`: the queue is empty.
    /// Errors: the channel callback is being called.
    fn dequeue(&self) -> Result<Option<Item<T>>, WaitError> {
        if self.queue.borrow().is_empty() {
            return Ok(None);
        }
        self.may_change()?;
        let first = self.queue.borrow_mut().pop_front();
        if let Some(slot) = self.channel.core().collect() {
            let next = opened(slot);
            self.queue.borrow_mut().push_back(next);
        }
        self.taken();
        Ok(first)
    }
}

impl<T: 'static> Sender<T> for Shared<T> {
    fn taken(&self) {
        if self.once.is_some() {
            // No other value will come.
            self.channel.close_and_wake();
        }
    }

    fn take_back(&self, item: Item<T>) {
        self.hand_over(item);
    }
}

impl<T: 'static> QueueChannel<T> {
    /// A queue of any length: a sender never waits. It grows while its values are not
    /// received; prefer a bound.
    pub fn unbounded() -> QueueChannel<T> {
        QueueChannel::bounded(usize::MAX)
    }

    /// A queue of up to `bound` values. With 0 it is a channel that prefers
    /// [neither](Preference::Neither). Memory is taken as values come.
    pub fn bounded(bound: usize) -> QueueChannel<T> {
        QueueChannel::with(Channel::new(), bound, None)
    }

    /// A queue of the library's own, for a single value: taking it closes the queue.
    pub(crate) fn once() -> QueueChannel<T> {
        QueueChannel::with(Channel::private(), 1, Some(Cell::new(false)))
    }

    fn with(channel: Channel<T>, bound: usize, once: Option<Cell<bool>>) -> QueueChannel<T> {
        channel.set_preference(Preference::Neither);
        QueueChannel {
            shared: Rc::new_cyclic(|me| Shared {
                channel,
                queue: RefCell::new(VecDeque::new()),
                bound,
                me: me.clone(),
                once,
            }),
        }
    }

    fn channel(&self) -> &Channel<T> {
        &self.shared.channel
    }

    /// Of a queue for [one](QueueChannel::once) value: sends it. Never waits, and never fails.
    pub(crate) fn conclude(&self, item: Item<T>) {
        if let Some(sent) = &self.shared.once {
            sent.set(true);
        }
        self.shared.hand_over(item);
    }

    /// Of a queue for [one](QueueChannel::once) value: has the value been sent?
    pub(crate) fn is_concluded(&self) -> bool {
        self.shared.once.as_ref().is_some_and(Cell::get)
    }

    /// Hands `value` to a receiver that waits, or queues it; waits while the queue
    /// is full.
    ///
    /// A receiver is woken for a value, and has it when its turn comes. If it is killed, or
    /// thrown at, before that, the value goes to the next receiver, or back to the front of
    /// the queue.
    ///
    /// # Errors
    /// [`Error::Closed`]; when it would wait, as [`Channel::send`].
    pub fn send(&self, value: T) -> Result<()> {
        self.send_or(value)
    }

    /// As [`QueueChannel::send`]; the error can tell whether it was thrown.
    #[inline(always)]
    pub(crate) fn send_or<E: From<WaitError>>(&self, value: T) -> Result<(), E> {
        match self.shared.pass_on(Ok(value)) {
            Ok(Some(Ok(value))) => self.channel().send_or(value),
            Err((ended, _)) => Err(ended.into()),
            _ => Ok(()),
        }
    }

    /// Queues an error: the receiver's `receive` returns it.
    ///
    /// # Errors
    /// As [`QueueChannel::send`].
    pub fn send_throw(&self, error: impl Into<Error>) -> Result<()> {
        self.send_throw_or(error.into())
    }

    pub(crate) fn send_throw_or<E: From<WaitError>>(&self, error: Error) -> Result<(), E> {
        match self.shared.pass_on(Err(WaitError::Thrown(error))) {
            Ok(Some(Err(error))) => self.channel().send_throw_or(error.into()),
            Err((ended, _)) => Err(ended.into()),
            _ => Ok(()),
        }
    }

    /// Sends if it need not wait; else gives the value back.
    ///
    /// # Errors
    /// As [`Channel::try_send`].
    pub fn try_send(&self, value: T) -> Result<(), (Error, Option<T>)> {
        self.try_send_or(value)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn try_send_or(&self, value: T) -> Result<(), (WaitError, Option<T>)> {
        match self.shared.pass_on(Ok(value)) {
            Ok(Some(Ok(value))) => self.channel().try_send_or(value),
            Err((ended, back)) => Err((ended, back.ok())),
            _ => Ok(()),
        }
    }

    /// Sends; waits no longer than `time`.
    ///
    /// # Errors
    /// As [`Channel::send_timeout`].
    pub fn send_timeout(&self, value: T, time: Duration) -> Result<(), (Error, Option<T>)> {
        self.send_timeout_or(value, time)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn send_timeout_or(
        &self,
        value: T,
        time: Duration,
    ) -> Result<(), (WaitError, Option<T>)> {
        match self.shared.pass_on(Ok(value)) {
            Ok(Some(Ok(value))) => wait::send_within(self.target(), Slot::new(value), time),
            Err((ended, back)) => Err((ended, back.ok())),
            _ => Ok(()),
        }
    }

    /// Sends one value after the other; returns how many.
    ///
    /// # Errors
    /// That of the first `send` that fails; the rest is not sent.
    pub fn send_sequence(&self, values: impl IntoIterator<Item = T>) -> Result<usize> {
        send_all(values, |value| self.send(value))
    }

    #[inline(always)]
    fn first<E: From<WaitError>>(&self) -> Option<Result<T, E>> {
        match self.shared.dequeue() {
            Ok(first) => Some(first?.map_err(E::from)),
            Err(refused) => Some(Err(refused.into())),
        }
    }

    /// Takes the first value; waits while there is none.
    ///
    /// # Errors
    /// The error that was sent; when it would wait, as [`Channel::receive`].
    pub fn receive(&self) -> Result<T> {
        self.receive_or()
    }

    /// As [`QueueChannel::receive`]; the error can tell whether it was thrown.
    #[inline(always)]
    pub(crate) fn receive_or<E: From<WaitError>>(&self) -> Result<T, E> {
        loop {
            if let Some(first) = self.first().or_else(|| self.wait_for_first()) {
                return first;
            }
        }
    }

    /// The queue is empty: waits for a value. `None` when there is one in the queue, since the
    /// channel callback has killed a receiver that had been woken for it.
    #[inline(always)]
    fn wait_for_first<E: From<WaitError>>(&self) -> Option<Result<T, E>> {
        match self.channel().core().receive_if(|| self.is_empty()) {
            Ok(value) => Some(Ok(value)),
            Err(Missed::Ended(error)) => Some(Err(error)),
            Err(Missed::Gone(())) => None,
        }
    }

    /// Takes the first value if there is one.
    ///
    /// # Errors
    /// As [`Channel::try_receive`].
    pub fn try_receive(&self) -> Result<T> {
        Ok(self.try_receive_or()?)
    }

    pub(crate) fn try_receive_or(&self) -> Result<T, WaitError> {
        self.first()
            .unwrap_or_else(|| self.channel().try_receive_or())
    }

    /// Takes the first value; waits no longer than `time`.
    ///
    /// # Errors
    /// As [`Channel::receive_timeout`].
    pub fn receive_timeout(&self, time: Duration) -> Result<T> {
        Ok(self.receive_timeout_or(time)?)
    }

    pub(crate) fn receive_timeout_or(&self, time: Duration) -> Result<T, WaitError> {
        self.first()
            .unwrap_or_else(|| wait::receive_within(self.target(), time))
    }

    /// The next value of an iteration: `None` once the queue is closing and empty.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Result<T>> {
        self.next_or()
    }

    #[inline(always)]
    pub(crate) fn next_or<E: From<WaitError>>(&self) -> Option<Result<T, E>> {
        loop {
            if let Some(first) = self.first() {
                return Some(first);
            }
            if self.is_closing() {
                match self.channel().next_waiting() {
                    // A callback may have given something back.
                    None if !self.is_empty() => continue,
                    next => return next,
                }
            }
            if let Some(first) = self.wait_for_first() {
                return Some(first);
            }
        }
    }

    /// Receives until the queue is closed and empty.
    pub fn iter(&self) -> QueueIter<'_, T> {
        QueueIter { queue: self }
    }

    /// Values in the queue; those of senders that wait are not.
    pub fn len(&self) -> usize {
        self.shared.queue.borrow().len()
    }

    /// Is no value in the queue?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the queue takes.
    pub fn bound(&self) -> usize {
        self.shared.bound
    }

    /// Values in the queue and senders that wait; or minus how many receivers wait.
    pub fn balance(&self) -> isize {
        self.len() as isize + self.channel().balance()
    }

    /// The tasklet that has waited longest.
    pub fn queue(&self) -> Option<Tasklet> {
        self.channel().queue()
    }

    /// From now on nothing more is queued and no tasklet may start to wait; values that are
    /// queued can still be received.
    pub fn close(&self) {
        self.channel().close();
    }

    /// [Closes](QueueChannel::close), and ends all waits with
    /// [`Error::Closed`]; returns how many. Values that are queued stay.
    pub fn close_and_wake(&self) -> usize {
        self.channel().close_and_wake()
    }

    /// Undoes [`QueueChannel::close`].
    pub fn open(&self) {
        self.channel().open();
    }

    /// Has it been closed?
    pub fn is_closing(&self) -> bool {
        self.channel().is_closing()
    }

    /// Is it closed and empty, and does no tasklet wait any more?
    pub fn is_closed(&self) -> bool {
        self.is_closing() && self.balance() == 0
    }

    /// A number that no other channel alive at the same time has.
    pub fn id(&self) -> usize {
        self.channel().id()
    }
}

impl<T: 'static> Queue for Shared<T> {
    fn is_ready(&self, direction: i8) -> bool {
        match direction {
            SEND => self.has_room() || self.channel.core().partner_waits(SEND),
            _ => !self.queue.borrow().is_empty(),
        }
    }

    fn pass(&self, slot: &mut Slot, direction: i8) -> Result<Result<Slot, WaitError>, WaitError> {
        if direction == SEND {
            let item = opened(slot.take());
            return match self.pass_on(item) {
                Ok(None) => Ok(Ok(Slot::EMPTY)),
                Ok(Some(_)) => unreachable!("it was ready"),
                Err((ended, back)) => {
                    *slot = Slot::of(back);
                    Err(ended)
                }
            };
        }
        let first = self.dequeue()?.expect("a queue that is not empty");
        Ok(first.map(Slot::new))
    }
}

impl<T: 'static> Targeted for QueueChannel<T> {
    fn target(&self) -> Target {
        let queue = Rc::clone(&self.shared) as Rc<dyn Queue>;
        Target::near(self.channel().core(), Some(queue))
    }
}

impl<T: 'static> Receivable<T> for QueueChannel<T> {}
impl<T: 'static> Sendable<T> for QueueChannel<T> {}

impl<T: 'static> Clone for QueueChannel<T> {
    fn clone(&self) -> QueueChannel<T> {
        QueueChannel {
            shared: Rc::clone(&self.shared),
        }
    }
}

impl<T: 'static> PartialEq for QueueChannel<T> {
    fn eq(&self, other: &QueueChannel<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: 'static> Eq for QueueChannel<T> {}

impl<T: 'static> fmt::Debug for QueueChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueChannel({:#x}, {} queued)", self.id(), self.len())
    }
}

/// An iteration over a queue, see [`QueueChannel::iter`].
pub struct QueueIter<'a, T: 'static> {
    queue: &'a QueueChannel<T>,
}

impl<T: 'static> Iterator for QueueIter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.queue.next()
    }
}

impl<'a, T: 'static> IntoIterator for &'a QueueChannel<T> {
    type Item = Result<T>;
    type IntoIter = QueueIter<'a, T>;

    fn into_iter(self) -> QueueIter<'a, T> {
        self.iter()
    }
}

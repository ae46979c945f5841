//! Channels with a queue of values (`QueueChannel` of stacklesslib and of CCP's
//! successor of Stackless), here with a bound.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;

use crate::channel::{Channel, Preference, SEND};
use crate::error::{Error, Result};
use crate::select::{self, Queue, Receivable, Sendable, Target, Targeted};
use crate::tasklet::Tasklet;
use crate::value::Slot;

/// A channel that keeps up to `bound` values nobody has received yet: a sender
/// waits only when the queue is full, and nobody is switched to. Whoever is woken
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

struct Shared<T: 'static> {
    /// Where receivers wait (the queue is empty) or senders (it is full).
    channel: Channel<T>,
    /// An error is one that was sent.
    queue: RefCell<VecDeque<Result<T>>>,
    bound: usize,
}

impl<T: 'static> Shared<T> {
    /// Is the queue where a value belongs that is sent now? Not when somebody
    /// receives; or it is full (and perhaps senders wait: the queue is full then);
    /// or the channel's own refusal is wanted.
    fn has_room(&self) -> bool {
        self.queue.borrow().len() < self.bound
            && self.channel.balance() == 0
            && !self.channel.is_closing()
    }

    /// Puts `item` into the queue, if that is where it belongs.
    fn enqueue(&self, item: Result<T>) -> Result<(), Result<T>> {
        if self.channel.core().secure(SEND) || !self.has_room() {
            return Err(item);
        }
        self.queue.borrow_mut().push_back(item);
        Ok(())
    }

    /// Takes the first of the queue; the first waiting sender's value takes the
    /// place that is free.
    fn dequeue(&self) -> Option<Result<T>> {
        let first = self.queue.borrow_mut().pop_front()?;
        if let Some(slot) = self.channel.core().collect() {
            self.queue.borrow_mut().push_back(opened(slot));
        }
        Some(first)
    }
}

impl<T: 'static> QueueChannel<T> {
    /// A queue of any length: a sender never waits. It grows as long as nobody
    /// receives; prefer a bound.
    pub fn unbounded() -> QueueChannel<T> {
        QueueChannel::bounded(usize::MAX)
    }

    /// A queue of up to `bound` values. With 0 it is a channel that prefers
    /// [neither](Preference::Neither). Memory is taken as values come.
    pub fn bounded(bound: usize) -> QueueChannel<T> {
        let channel = Channel::new();
        channel.set_preference(Preference::Neither);
        QueueChannel {
            shared: Rc::new(Shared {
                channel,
                queue: RefCell::new(VecDeque::new()),
                bound,
            }),
        }
    }

    fn channel(&self) -> &Channel<T> {
        &self.shared.channel
    }

    /// Hands `value` to a receiver that waits, or queues it; waits while the queue
    /// is full.
    ///
    /// # Errors
    /// [`Error::Closed`]; when it would wait, as [`Channel::send`].
    pub fn send(&self, value: T) -> Result<()> {
        match self.shared.enqueue(Ok(value)) {
            Err(Ok(value)) => self.channel().send_secured(value),
            _ => Ok(()),
        }
    }

    /// Queues an error: the receiver's `receive` returns it.
    ///
    /// # Errors
    /// As [`QueueChannel::send`].
    pub fn send_throw(&self, error: impl Into<Error>) -> Result<()> {
        match self.shared.enqueue(Err(error.into())) {
            Err(Err(error)) => {
                let sent = self.channel().send_throw(error);
                sent.inspect_err(|_| self.channel().core().let_go())
            }
            _ => Ok(()),
        }
    }

    /// Sends if it need not wait; else gives the value back.
    ///
    /// # Errors
    /// As [`Channel::try_send`].
    pub fn try_send(&self, value: T) -> Result<(), (Error, Option<T>)> {
        match self.shared.enqueue(Ok(value)) {
            Err(Ok(value)) => self.channel().try_send(value),
            _ => Ok(()),
        }
    }

    /// Sends; waits no longer than `time`.
    ///
    /// # Errors
    /// As [`Channel::send_timeout`].
    pub fn send_timeout(&self, value: T, time: Duration) -> Result<(), (Error, Option<T>)> {
        match self.shared.enqueue(Ok(value)) {
            Err(Ok(value)) => self.channel().send_timeout(value, time),
            _ => Ok(()),
        }
    }

    /// Sends one value after the other; returns how many.
    ///
    /// # Errors
    /// That of the first `send` that fails; the rest is not sent.
    pub fn send_sequence(&self, values: impl IntoIterator<Item = T>) -> Result<usize> {
        let mut count = 0;
        for value in values {
            self.send(value)?;
            count += 1;
        }
        Ok(count)
    }

    /// Takes the first value; waits while there is none.
    ///
    /// # Errors
    /// The error that was sent; when it would wait, as [`Channel::receive`].
    pub fn receive(&self) -> Result<T> {
        self.shared
            .dequeue()
            .unwrap_or_else(|| self.channel().receive())
    }

    /// Takes the first value if there is one.
    ///
    /// # Errors
    /// As [`Channel::try_receive`].
    pub fn try_receive(&self) -> Result<T> {
        self.shared
            .dequeue()
            .unwrap_or_else(|| self.channel().try_receive())
    }

    /// Takes the first value; waits no longer than `time`.
    ///
    /// # Errors
    /// As [`Channel::receive_timeout`].
    pub fn receive_timeout(&self, time: Duration) -> Result<T> {
        self.shared
            .dequeue()
            .unwrap_or_else(|| self.channel().receive_timeout(time))
    }

    /// The next value of an iteration: `None` once the queue is closing and empty.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Result<T>> {
        self.shared.dequeue().or_else(|| self.channel().next())
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

    /// Who has waited longest.
    pub fn queue(&self) -> Option<Tasklet> {
        self.channel().queue()
    }

    /// From now on nothing more is queued and nobody may start to wait; what is
    /// queued can still be received.
    pub fn close(&self) {
        self.channel().close();
    }

    /// [Closes](QueueChannel::close), and ends the waits of all who wait with
    /// [`Error::Closed`]; returns how many. What is queued stays.
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

    /// Closed, empty, and nobody waits any more?
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
            SEND => self.has_room(),
            _ => !self.queue.borrow().is_empty(),
        }
    }

    fn pass(&self, slot: Slot, direction: i8) -> Result<Slot> {
        if direction == SEND {
            self.queue.borrow_mut().push_back(opened(slot));
            return Ok(Slot::EMPTY);
        }
        self.dequeue()
            .expect("a queue that is not empty")
            .map(Slot::new)
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

/// What a sender's slot held.
fn opened<T: 'static>(slot: Slot) -> Result<T> {
    select::value(slot)
}

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

//! A case: one of several operations that a tasklet waits for.

use alloc::rc::Rc;
use core::any::Any;
use core::time::Duration;

use super::core::Core;
use crate::core::value::Slot;
use crate::error::{Result, WaitError};

/// The queue of a channel that has one, as a select sees it.
pub trait Queue {
    /// Can something be put in (`SEND`) or taken out (`RECEIVE`) at once?
    fn is_ready(&self, direction: i8) -> bool;

    /// Does the operation: puts in what is in `slot`, or returns what is taken out, which may be
    /// an error that was sent. The queue is ready, and a partner that waits has been secured. After
    /// an error of the operation itself the value to put in is still in the slot.
    fn pass(&self, slot: &mut Slot, direction: i8) -> Result<Result<Slot, WaitError>, WaitError>;
}

/// A channel between threads. It knows how to wait for it.
pub trait Far {
    /// A number that no other channel has.
    fn place(&self) -> usize;

    /// Does one of `cases`, one of which is on this channel: see [`perform`](super::wait::perform).
    fn perform(
        &self,
        cases: &mut [Case],
        ordered: bool,
        patience: Patience,
    ) -> Result<Chosen, WaitError>;

    fn as_any(&self) -> &dyn Any;
}

/// The channel that a case operates on.
#[doc(hidden)]
pub struct Target(On);

enum On {
    /// A channel of this thread: the core where partners wait, and the queue of values, if any.
    Near(Rc<Core>, Option<Rc<dyn Queue>>),
    Far(Rc<dyn Far>),
}

impl Target {
    pub(crate) fn near(core: &Rc<Core>, queue: Option<Rc<dyn Queue>>) -> Target {
        Target(On::Near(Rc::clone(core), queue))
    }

    pub(crate) fn is_far(&self) -> bool {
        matches!(self.0, On::Far(_))
    }

    /// A channel that other threads use, too.
    pub(crate) fn far(channel: Rc<dyn Far>) -> Target {
        Target(On::Far(channel))
    }
}

mod sealed {
    pub trait Select {
        #[doc(hidden)]
        fn target(&self) -> super::Target;
    }
}
pub use sealed::Select as Targeted;

/// What a [`Select`](crate::Select) can receive a `T` from: a [`Channel`](crate::Channel), a
/// [`QueueChannel`](crate::QueueChannel), a `thread::Channel`, the end of a
/// [joined](crate::join) tasklet.
pub trait Receivable<T>: sealed::Select {}

/// What a [`Select`](crate::Select) can send a `T` to: a [`Channel`](crate::Channel), a
/// [`QueueChannel`](crate::QueueChannel), a `thread::Channel`.
pub trait Sendable<T>: sealed::Select {}

/// One operation of a select.
pub struct Case {
    pub target: Target,
    pub direction: i8,
    /// The value to send.
    pub slot: Slot,
}

impl Case {
    /// The channel, if it is one of this thread.
    pub fn near(&self) -> Option<&Core> {
        match &self.target.0 {
            On::Near(core, _) => Some(core),
            On::Far(_) => None,
        }
    }

    /// The channel of a case that is on one of this thread.
    pub fn core(&self) -> &Core {
        self.near().expect("a channel of this thread")
    }

    /// The queue, if the operation can be done on it at once.
    pub fn ready_queue(&self) -> Option<&Rc<dyn Queue>> {
        match &self.target.0 {
            On::Near(_, Some(queue)) if queue.is_ready(self.direction) => Some(queue),
            _ => None,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.partner_waits() || self.ready_queue().is_some()
    }

    pub fn partner_waits(&self) -> bool {
        let core = self.core();
        core.partner_waits(self.direction) && {
            core.settle();
            core.partner_waits(self.direction)
        }
    }

    /// It was ready: is it still, and can no other thread meet the partner first any more?
    pub fn secure(&self) -> bool {
        self.core().secure(self.direction) || self.ready_queue().is_some()
    }

    /// The channel, if it is one between threads.
    pub fn far(&self) -> Option<&Rc<dyn Far>> {
        match &self.target.0 {
            On::Near(..) => None,
            On::Far(channel) => Some(channel),
        }
    }

    /// The number of its channel: no other channel has it.
    pub fn place(&self) -> usize {
        match &self.target.0 {
            On::Near(core, _) => Rc::as_ptr(core) as usize,
            On::Far(channel) => channel.place(),
        }
    }

    pub fn direction(&self) -> i8 {
        self.direction
    }

    /// The value to send, while it is here.
    pub fn take<T: 'static>(&mut self) -> Option<T> {
        self.slot.take().value()
    }

    pub fn put<T: 'static>(&mut self, value: T) {
        self.slot = Slot::new(value);
    }
}

/// How long to wait, before the clock of the thread is asked. Waits that go by the system's clock
/// have `Until`.
#[derive(Clone, Copy)]
pub enum Patience {
    None,
    For(Duration),
    Endless,
}

/// The index of the case that was done, and its result: the value that was received, nothing (it
/// was a send), the error that was sent, or `Closed`.
pub type Chosen = (usize, Result<Slot, WaitError>);

//! `select`: waiting for several channels at once, and for a time.
//!
//! The waiting itself is in [`channel::wait`](crate::channel::wait).

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::channel::case::{Case, Chosen, Patience, Targeted};
pub use crate::channel::case::{Receivable, Sendable};
use crate::channel::wait::perform;
#[allow(unused_imports)] // for the documentation
use crate::channel::Channel;
use crate::channel::{RECEIVE, SEND};
use crate::core::contain::contain_each;
use crate::core::transfer::opened;
use crate::core::value::Slot;
#[allow(unused_imports)] // for the documentation
use crate::error::StateError;
use crate::error::{Error, Result, WaitError};

/// Waits for the first of several channel operations that can be done, and does
/// that one.
///
/// ```
/// use hardswitch::{spawn, Channel, Select};
///
/// # fn main() -> hardswitch::Result<()> {
/// let (words, numbers) = (Channel::new(), Channel::<u32>::new());
/// let sender = words.clone();
/// spawn(move || sender.send("hello"))?;
///
/// let mut select = Select::new();
/// let word = select.receive(&words);
/// let number = select.send(&numbers, 5);
/// let mut done = select.wait()?;
/// if let Some(word) = done.received(word) {
///     assert_eq!(word?, "hello");
/// } else if let Some(sent) = done.sent(number) {
///     sent?;
/// }
/// assert_eq!(done.unsent(number), Some(5));
/// # Ok(())
/// # }
/// ```
///
/// **Which one.** If several can be done at once, each has the same chance; the random choices
/// of a thread are the same in each run of a program. With
/// [`Select::in_order`] the case added first wins. If none can be done but a
/// channel is [closed](Channel::close), that case is chosen, with
/// [`Error::Closed`].
///
/// A case may be about a [`QueueChannel`](crate::QueueChannel): it can be done when the
/// queue has a value, or room for one. It may also be about a `thread::Channel`: a partner on
/// another thread is made runnable there, which switches nothing here. Whether such a partner
/// waits can change until the case is done; if several threads try, one of them meets the
/// select.
///
/// **Waiting.** Otherwise the tasklet blocks on all channels. In each it has a
/// place in the queue and counts in the balance, once per case, as sender or
/// receiver. A partner meets it like a tasklet that waits only there:
/// preference and `schedule_all` of that channel decide which one goes on. When one case
/// is done, or the tasklet is killed, it leaves all channels at once.
/// [`Channel::close_and_wake`] ends it with that case.
///
/// While it waits it [is blocked](crate::Tasklet::is_blocked), and
/// [`Channel::queue`] names it, but it has no direction and no neighbours.
///
/// A select cannot send and receive on the same channel. The channel callback is
/// called for the case that can be done, or for each case when it has to wait.
///
/// Costs O(cases): an allocation for the cases, and a second one (128 bytes a case)
/// when it has to wait. With channels between threads it costs O(cases log cases), holds the locks
/// of all these channels at once, and takes three more allocations for each of them.
pub struct Select {
    cases: Vec<Case>,
    ordered: bool,
    /// Are some of its channels between threads?
    far: bool,
}

/// A receive of a [`Select`].
pub struct ReceiveCase<T> {
    index: usize,
    _value: PhantomData<fn() -> T>,
}

/// A send of a [`Select`].
pub struct SendCase<T> {
    index: usize,
    _value: PhantomData<fn() -> T>,
}

impl<T> ReceiveCase<T> {
    /// The index of the case: 0 for the first that was added.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<T> SendCase<T> {
    /// The index of the case: 0 for the first that was added.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<T> Clone for ReceiveCase<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for ReceiveCase<T> {}
impl<T> Clone for SendCase<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendCase<T> {}

impl Select {
    /// A select without cases.
    pub fn new() -> Select {
        Select {
            cases: Vec::new(),
            ordered: false,
            far: false,
        }
    }

    /// Adds the case: receive from `channel`.
    pub fn receive<T: 'static>(&mut self, channel: &impl Receivable<T>) -> ReceiveCase<T> {
        ReceiveCase {
            index: self.add(channel, RECEIVE, Slot::EMPTY),
            _value: PhantomData,
        }
    }

    /// Adds the case: send `value` on `channel`. If another case is chosen,
    /// [`Selected::unsent`] has the value; it is dropped when the select fails.
    pub fn send<T: 'static>(&mut self, channel: &impl Sendable<T>, value: T) -> SendCase<T> {
        SendCase {
            index: self.add(channel, SEND, Slot::new(value)),
            _value: PhantomData,
        }
    }

    #[inline]
    fn add(&mut self, channel: &impl Targeted, direction: i8, slot: Slot) -> usize {
        let target = channel.target();
        self.far |= target.is_far();
        self.cases.push(Case {
            target,
            direction,
            slot,
        });
        self.cases.len() - 1
    }

    /// Of several cases that can be done at once, the one that was added first
    /// wins.
    #[must_use]
    pub fn in_order(mut self) -> Select {
        self.ordered = true;
        self
    }

    /// Waits until a case can be done.
    ///
    /// # Errors
    /// When it would wait: [`Error::BlockTrap`], [`Error::Deadlock`],
    /// [`StateError::SelectNothing`]. When it would switch: [`Error::SwitchTrap`],
    /// no memory for a slice. [`StateError::SelectBothWays`]. What was thrown into
    /// the caller meanwhile.
    pub fn wait(self) -> Result<Selected> {
        self.perform(Patience::Endless)
    }

    /// As [`Select::wait`], but no longer than `time`; what
    /// [`Channel::send_timeout`] says about time holds here. Without cases it just
    /// lets the time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as [`Select::wait`]; [`StateError::NoClock`].
    pub fn wait_timeout(self, time: Duration) -> Result<Selected> {
        self.perform(Patience::For(time))
    }

    /// Does a case that can be done at once (or whose channel is closed).
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; as [`Select::wait`].
    pub fn try_wait(self) -> Result<Selected> {
        self.perform(Patience::None)
    }

    fn perform(mut self, patience: Patience) -> Result<Selected> {
        let (index, outcome) = match self.decide(patience) {
            Ok(chosen) => chosen,
            Err(ended) => {
                contain_each("a destructor of what a select did not send", self.cases);
                return Err(ended.into());
            }
        };
        Ok(Selected {
            index,
            outcome: Some(outcome.map_err(Error::from)),
            cases: self.cases,
        })
    }

    fn decide(&mut self, patience: Patience) -> Result<Chosen, WaitError> {
        if self.far {
            if let Some(far) = self.cases.iter().find_map(Case::far).cloned() {
                return far.perform(&mut self.cases, self.ordered, patience);
            }
        }
        perform(&mut self.cases, self.ordered, patience)
    }

    /// For the C interface: as `wait_timeout` (`None`: as `wait`), and the cases
    /// stay here, with the values that were not sent, also when it fails.
    pub(crate) fn choose(&mut self, time: Option<Duration>) -> Result<Chosen, WaitError> {
        self.decide(time.map_or(Patience::Endless, Patience::For))
    }

    pub(crate) fn cases(&mut self) -> &mut [Case] {
        &mut self.cases
    }
}

impl Default for Select {
    fn default() -> Select {
        Select::new()
    }
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Select({} cases)", self.cases.len())
    }
}

/// What a [`Select`] has done. A received value that is not asked for is dropped
/// with it.
#[must_use = "it may hold a received value"]
pub struct Selected {
    index: usize,
    outcome: Option<Result<Slot>>,
    cases: Vec<Case>,
}

impl Selected {
    /// The index of the case that was done: 0 for the first that was added.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The value that was received, if it was this case; or the error that was sent, or
    /// [`Error::Closed`]. Can be asked once: `None` afterwards.
    pub fn received<T: 'static>(&mut self, case: ReceiveCase<T>) -> Option<Result<T>> {
        if case.index != self.index {
            return None;
        }
        Some(self.outcome.take()?.and_then(|slot| Ok(opened(slot)?)))
    }

    /// Whether the value was sent, if it was this case; or [`Error::Closed`].
    /// Can be asked once: `None` afterwards.
    pub fn sent<T: 'static>(&mut self, case: SendCase<T>) -> Option<Result<()>> {
        if case.index != self.index {
            return None;
        }
        Some(self.outcome.take()?.map(drop))
    }

    /// The value of a send that was not done. Can be asked once: `None` afterwards.
    pub fn unsent<T: 'static>(&mut self, case: SendCase<T>) -> Option<T> {
        self.cases.get_mut(case.index)?.take()
    }
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match &self.outcome {
            None => "taken",
            Some(Ok(_)) => "done",
            Some(Err(_)) => "failed",
        };
        write!(f, "Selected(case {}, {outcome})", self.index)
    }
}

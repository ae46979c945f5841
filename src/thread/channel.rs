//! Channels between tasklets of different threads.
//!
//! A value never passes through a tasklet's transfer slot here. It waits in the heap, in the *wait*
//! of the sender or the receiver, and is moved from one to the other under the channel's lock. No
//! destructor runs under the lock.
//!
//! Here is what a caller sees, and what a channel and a wait consist of; `operate` sends and
//! receives; `case` makes the channel a case of a select.

use crate::channel::send_all;
use crate::core::contain::returned;
use crate::core::runtime::Runtime;
use crate::core::scheduler::{give_way, may_switch};
use crate::core::thrown;
use crate::core::value::Slot;
use crate::error::WaitError;
use crate::error::{Error, Result};
use crate::Preference;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::attachment::{Leave, Local, Waker};
use super::home::Mark;
use super::meeting::{self, Meeting, Waiting};
use super::select::Joint;

mod case;
mod operate;

use crate::wait::until::Until;

/// A channel between tasklets of any threads: `send` waits for a receiver, `receive` for a sender,
/// and a value moves from one to the other.
///
/// It is a handle that any thread may use; clones refer to the same channel. Plain threads can use
/// it too: their flow of control is their main tasklet.
///
/// It differs from [`Channel`](crate::Channel) as follows:
///
/// * A partner on another thread is made runnable there, whatever the preference; the caller goes
///   on without a switch. Partners on one thread behave as with the local channel (preference,
///   `schedule_all`).
/// * One cannot see which tasklets wait. The operation calls the [channel
///   callback](crate::set_channel_callback) of its thread. Other threads may change whether it will
///   block between the callback and the operation.
/// * A thread that has nothing else to do sleeps in the system until it is woken.
///   [`Error::Deadlock`] counts all threads that use the library: the last one that can run is not
///   allowed to wait. But as long as some handle has never been used and some thread has not used
///   the library yet, no deadlock is reported: the handle may be on its way to that thread.
/// * `hardswitch::run()` returns when only tasklets are left that wait;
///   [`MainLoop::run_until_idle`](crate::MainLoop::run_until_idle) waits with them, until no other
///   thread could wake them.
///
/// A tasklet that is killed while it waits leaves the channel, and so does one that ends with its
/// thread. A [`Select`](crate::Select) can wait for several such channels and for local ones at the
/// same time.
///
/// Cost: a lock; for the first wait through a handle an allocation. A system call on either side
/// when a thread has to be woken from its sleep. A thread that has no other tasklet to run first
/// spins for its partner ([`Settings::spin`](crate::Settings::spin)).
///
/// ```
/// let numbers = hardswitch::thread::Channel::new();
/// let there = numbers.clone();
/// let thread = std::thread::spawn(move || there.send_sequence(1..=3).unwrap());
/// assert_eq!([numbers.receive()?, numbers.receive()?, numbers.receive()?], [1, 2, 3]);
/// thread.join().unwrap();
/// # Ok::<(), hardswitch::Error>(())
/// ```
pub struct Channel<T: Send + 'static> {
    core: Arc<Core<T>>,
    mark: Mark,
    /// The last wait through this handle, kept for the next one. It saves an allocation, and keeps
    /// away from counts that other threads touch.
    spare: Mutex<Option<Arc<Wait<T>>>>,
}

/// Two threads pass it to and fro all the time, so it has a cache line to itself (128 bytes on a
/// Cell).
#[repr(C, align(128))]
struct Core<T> {
    meeting: Meeting<Brought<T>, Wait<T>>,
    preference: AtomicI8,
    schedule_all: AtomicBool,
}

type Locked<'a, T> = meeting::Locked<'a, Brought<T>, Wait<T>>;

/// What a receiver gets: a value; an error that was sent; or the news that the channel was closed.
type Brought<T> = Result<T, WaitError>;

/// The reason why something was not sent, and the thing itself, if nobody got it.
type Unsent<T> = (WaitError, Option<Brought<T>>);

/// Why it was not sent. What was not is dropped.
fn why<T>((error, unsent): Unsent<T>) -> WaitError {
    returned(unsent, error)
}

/// A wait of one tasklet.
struct Wait<T> {
    whose: Whose,
    /// The value that a sender brings, or that a receiver got.
    value: Mutex<Option<Brought<T>>>,
    core: Weak<Core<T>>,
}

enum Whose {
    Tasklet(Waker),
    /// It is a select's, for this case of it.
    Select(Arc<Joint>, u32),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Under these locks only the growth of a queue can panic, which leaves the queue whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Wait<T> {
    /// For a caller that takes the wait out of the queue. It ends the wait when the value has been
    /// handed over and the lock is free again, because the waiting tasklet may need both at once.
    fn waker(&self) -> &Waker {
        match &self.whose {
            Whose::Tasklet(waker) => waker,
            Whose::Select(joint, _) => &joint.waker,
        }
    }

    /// Leaves the queue. False: a partner has come, and the value has been handed over.
    fn withdraw(&self, core: &Core<T>) -> bool {
        core.meeting.lock().remove(self)
    }
}

impl<T> Core<T> {
    /// A number that no other living channel of this kind has.
    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn preference(&self) -> Preference {
        Preference::from_sign(self.preference.load(Ordering::Relaxed).into())
    }

    /// Calls the calling thread's channel callback with `slot` as the slot of the running tasklet;
    /// returns what is in the slot afterwards.
    #[cold]
    fn call_back(&self, mut slot: Slot, sends: bool) -> (Result<()>, Slot) {
        let runtime = Runtime::get();
        let balance = self.meeting.lock().balance();
        let will_block = if sends { balance >= 0 } else { balance <= 0 };
        let me = runtime.current();
        // SAFETY: `me` is the running tasklet of this thread, so it is live; nobody switches in the
        // callback.
        unsafe {
            slot = (*me).slot.put(slot);
            let told =
                crate::channel::operate::call_back(runtime, me, self.id(), sends, will_block);
            slot = (*me).slot.put(slot);
            (told, slot)
        }
    }

    /// The caller and `partner` have met, and the value has been handed over: wakes the partner.
    fn meet(&self, local: &Local, partner: Arc<Wait<T>>, prefers_partner: Preference) {
        let all = self.schedule_all.load(Ordering::Relaxed);
        let next = self.preference() == prefers_partner;
        let ended = partner.waker().end();
        if !partner.waker().is_of(local) {
            // The partner's thread may have ended just now; then the partner has left without
            // noticing that it was served.
            partner.waker().tell(ended);
            return;
        }
        let next = next && !all && may_switch(Runtime::get());
        let woken = partner.waker().tell_here(ended, local, next);
        drop(partner);
        if (next && woken) || (all && may_switch(Runtime::get())) {
            // The value has been handed over, so this operation must not fail. If something was
            // thrown at the caller meanwhile, its next wait reports that.
            if let Err(WaitError::Thrown(error)) = give_way() {
                let runtime = Runtime::get();
                let me = runtime.current();
                // SAFETY: `me` is the running tasklet of this thread, so it is live.
                unsafe { thrown::keep(runtime, me, thrown::level_of(me), error) };
            }
        }
    }
}

impl<T> Waiting for Wait<T> {
    fn is_one_of_several(&self) -> bool {
        matches!(self.whose, Whose::Select(..))
    }

    fn claim(&self) -> bool {
        match &self.whose {
            Whose::Tasklet(_) => true,
            Whose::Select(joint, case) => joint.claim.take_for(*case),
        }
    }

    fn is_open(&self) -> bool {
        match &self.whose {
            Whose::Tasklet(_) => true,
            Whose::Select(joint, _) => joint.claim.is_open(),
        }
    }
}

impl<T: Send> Leave for Wait<T> {
    fn leave(&self) {
        if let Some(core) = self.core.upgrade() {
            self.withdraw(&core);
        }
    }
}

impl<T: Send + 'static> Channel<T> {
    /// Makes a channel; it prefers the receiver.
    pub fn new() -> Channel<T> {
        Channel {
            core: Arc::new(Core {
                meeting: Meeting::new(),
                preference: AtomicI8::new(Preference::default() as i8),
                schedule_all: AtomicBool::new(false),
            }),
            mark: Mark::new(),
            spare: Mutex::new(None),
        }
    }

    /// Hands `value` to a receiver; waits until there is one.
    ///
    /// # Errors
    /// When it would have to wait: [`Error::Closed`], [`Error::BlockTrap`], [`Error::Deadlock`];
    /// [`Error::SwitchTrap`], no memory for a slice. An error that was thrown at the caller
    /// meanwhile. The value is dropped then, unless a receiver has got it already.
    pub fn send(&self, value: T) -> Result<()> {
        Ok(self.send_or(value)?)
    }

    /// As [`Channel::send`]; the error says whether it was thrown.
    #[inline]
    pub(crate) fn send_or(&self, value: T) -> Result<(), WaitError> {
        self.bring(Ok(value), Until::Ever).map_err(why)
    }

    /// Sends an error: the receiver's `receive` returns it.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_throw(&self, error: impl Into<Error>) -> Result<()> {
        Ok(self.send_throw_or(error.into())?)
    }

    pub(crate) fn send_throw_or(&self, error: Error) -> Result<(), WaitError> {
        self.bring(Err(WaitError::Thrown(error)), Until::Ever)
            .map_err(why)
    }

    /// Sends one value after the other; returns how many were sent.
    ///
    /// # Errors
    /// That of the first `send` that fails; the remaining values are not sent.
    pub fn send_sequence(&self, values: impl IntoIterator<Item = T>) -> Result<usize> {
        send_all(values, |value| self.send(value))
    }

    /// Sends if a receiver waits; else gives the value back.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] or [`Error::Closed`], with the value; without it, an error that was
    /// thrown at the caller after the value was handed over.
    pub fn try_send(&self, value: T) -> Result<(), (Error, Option<T>)> {
        self.try_send_or(value)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn try_send_or(&self, value: T) -> Result<(), (WaitError, Option<T>)> {
        self.bring(Ok(value), Until::Now)
            .map_err(|(error, value)| (error, value.and_then(Result::ok)))
    }

    /// As [`Channel::send`], but waits no longer than `time`.
    ///
    /// # Errors
    /// [`Error::Timeout`], with the value; as `send`.
    pub fn send_timeout(&self, value: T, time: Duration) -> Result<(), (Error, Option<T>)> {
        self.send_timeout_or(value, time)
            .map_err(|(ended, back)| (ended.into(), back))
    }

    pub(crate) fn send_timeout_or(
        &self,
        value: T,
        time: Duration,
    ) -> Result<(), (WaitError, Option<T>)> {
        self.bring(Ok(value), Until::after(time))
            .map_err(|(error, value)| (error, value.and_then(Result::ok)))
    }

    /// Takes a value from a sender; waits until there is one.
    ///
    /// # Errors
    /// As [`Channel::send`]; the error that a sender [threw](Channel::send_throw). If something is
    /// thrown at the caller after a value has come, the value is dropped, as with the local
    /// channel.
    pub fn receive(&self) -> Result<T> {
        Ok(self.receive_or()?)
    }

    /// As [`Channel::receive`]; the error says whether it was thrown.
    #[inline]
    pub(crate) fn receive_or(&self) -> Result<T, WaitError> {
        self.fetch(Until::Ever)
    }

    /// Receives if a sender waits.
    ///
    /// # Errors
    /// [`Error::WouldBlock`], [`Error::Closed`]; as `receive`.
    pub fn try_receive(&self) -> Result<T> {
        Ok(self.try_receive_or()?)
    }

    pub(crate) fn try_receive_or(&self) -> Result<T, WaitError> {
        self.fetch(Until::Now)
    }

    /// As [`Channel::receive`], but waits no longer than `time`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as `receive`.
    pub fn receive_timeout(&self, time: Duration) -> Result<T> {
        Ok(self.receive_timeout_or(time)?)
    }

    pub(crate) fn receive_timeout_or(&self, time: Duration) -> Result<T, WaitError> {
        self.fetch(Until::after(time))
    }

    /// The next value of an iteration: `None` once the channel is closing and no sender waits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&self) -> Option<Result<T>> {
        self.next_or().map(|received| received.map_err(Error::from))
    }

    pub(crate) fn next_or(&self) -> Option<Result<T, WaitError>> {
        {
            let mut locked = self.lock();
            if locked.is_closing() && locked.balance() <= 0 {
                return None;
            }
        }
        match self.receive_or() {
            // Another thread has closed it in between.
            Err(WaitError::Hindered(Error::Closed)) => None,
            other => Some(other),
        }
    }

    /// Receives until the channel is closed.
    pub fn iter(&self) -> impl Iterator<Item = Result<T>> + '_ {
        std::iter::from_fn(|| self.next())
    }

    /// Which side goes on first when two tasklets of the same thread meet.
    pub fn preference(&self) -> Preference {
        self.core.preference()
    }

    /// Sets which side goes on first when two tasklets of the same thread meet.
    pub fn set_preference(&self, preference: Preference) {
        self.core
            .preference
            .store(preference as i8, Ordering::Relaxed);
    }

    /// Does every operation between two tasklets of the same thread let all others run?
    pub fn schedule_all(&self) -> bool {
        self.core.schedule_all.load(Ordering::Relaxed)
    }

    /// With `true`, the side that comes second lets all others of its thread run, if its partner is
    /// one of them.
    pub fn set_schedule_all(&self, on: bool) {
        self.core.schedule_all.store(on, Ordering::Relaxed);
    }

    /// From now on nobody may start to wait; present waits are still served.
    pub fn close(&self) {
        self.lock().close();
    }

    /// [Closes](Channel::close) the channel and ends with [`Error::Closed`] all waits on it, of
    /// senders or receivers on whatever thread; returns how many. The tasklets are queued on their
    /// threads in the order in which they had waited; the caller goes on. Senders get their value
    /// back, if their operation gives values back.
    ///
    /// Stackless has no such operation: its `close` wakes nobody. Cost: O(waiting).
    pub fn close_and_wake(&self) -> usize {
        let mut locked = self.lock();
        let (spun, queued) = locked.dissolve(Err(WaitError::own(Error::Closed)));
        for wait in &queued {
            // A sender's value is left where it is: that tells the sender that it was not received.
            lock(&wait.value).get_or_insert_with(|| Err(WaitError::own(Error::Closed)));
        }
        drop(locked);
        let woken = usize::from(spun) + queued.len();
        for wait in queued {
            wait.waker().wake(wait.waker().end());
        }
        woken
    }

    /// Undoes [`Channel::close`].
    pub fn open(&self) {
        self.lock().open();
    }

    /// Has it been closed?
    pub fn is_closing(&self) -> bool {
        self.lock().is_closing()
    }

    /// Is it closed, and nobody waits any more?
    pub fn is_closed(&self) -> bool {
        let mut locked = self.lock();
        locked.is_closing() && locked.balance() == 0
    }

    /// How many tasklets wait: a positive number of senders, or a negative number of receivers.
    /// Other threads may change it at any time.
    pub fn balance(&self) -> isize {
        self.lock().balance()
    }

    /// A number that no other living channel of this kind has.
    pub fn id(&self) -> usize {
        self.core.id()
    }

    fn lock(&self) -> Locked<'_, T> {
        self.core.meeting.lock()
    }
}

impl<T: Send + 'static> Default for Channel<T> {
    fn default() -> Channel<T> {
        Channel::new()
    }
}

impl<T: Send + 'static> Clone for Channel<T> {
    fn clone(&self) -> Channel<T> {
        Channel {
            core: self.core.clone(),
            mark: Mark::new(),
            spare: Mutex::new(None),
        }
    }
}

impl<T: Send + 'static> PartialEq for Channel<T> {
    fn eq(&self, other: &Channel<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<T: Send + 'static> Eq for Channel<T> {}

impl<T: Send + 'static> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({:#x}, balance {})", self.id(), self.balance())
    }
}

const _: () = {
    const fn across_threads<T: Send + Sync>() {}
    across_threads::<Channel<std::cell::Cell<u8>>>();
};
